package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) rewardAlignCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "align [RUN]",
		Short: "Align a session's reward anew with all that people said",
		Long: `Align the reward of the session RUN (without it, the newest) with all its labels,
those that people gave since too, and store it as the next version: that of kind rapl
from what it has, those of kind rlhf, btt and pal from the beginning. The encoder
stays as it is. A session that is gone on with (rapport run --resume) learns by the
new reward, also from the episodes that it has; so do sessions that begin from it
(session.from). rapport run --resume --drop-checkpoint reward takes it back.`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.session(args)
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			re, err := wire.Align(cmd.Context(), dir, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			b, f := re.Before, re.After
			fmt.Fprintf(a.stdout, "%s: reward %d from %d answers (%d to learn from, %d held out)\n", dir, re.Version, re.Answers, re.Train, re.Held)
			if re.Kind != "rapl" { // fitted from nothing, and not to probabilities of likeness
				_, err = fmt.Fprintf(a.stdout, "held out: accuracy %.2f, loss %.3f, calibration error %.3f\n", f.Accuracy, f.Loss, f.ECE)
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "held out: accuracy %.2f to %.2f, loss %.3f to %.3f, Brier score %.3f to %.3f, calibration error %.3f to %.3f; epoch %d of %d\n",
				b.Accuracy, f.Accuracy, b.Loss, f.Loss, b.Brier, f.Brier, b.ECE, f.ECE, re.Best, len(re.Epochs))
			return err
		},
	}
}
