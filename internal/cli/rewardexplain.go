package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) rewardExplainCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "explain RUN EPISODE",
		Short: "Show what is behind the reward of an episode",
		Long: `Show why EPISODE of the session RUN was worth what it was: the transport plan
between its frames and those of the nearest preferred video, frames that were matched
with each other, and the reward of every step. EPISODE is an id, as online-00012, or
best, worst or last. The same numbers are written as JSON beside the PNG
(docs/rapl.md).`,
		Example: "  rapport reward explain runs/group-001 worst -o worst.png",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("want a session and an episode, as runs/group-001 best")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.HasSuffix(out, ".png") {
				return usageError{fmt.Errorf("--out is %q; want the name of a PNG file", out)}
			}
			beside := strings.TrimSuffix(out, ".png") + ".json"
			if err := wire.Vacant(out, beside); err != nil { // of both, before either is written
				return err
			}
			if err := a.unread(args[0]); err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			e, err := wire.Explain(cmd.Context(), args[0], args[1], a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			var png bytes.Buffer
			if err := e.Draw(&png); err != nil {
				return err
			}
			b, err := e.Encode()
			if err != nil {
				return err
			}
			if err := wire.WriteNew(out, png.Bytes()); err != nil {
				return err
			}
			if err := wire.WriteNew(beside, b); err != nil {
				return err
			}
			bars.close()
			_, err = fmt.Fprintf(a.stdout, "%s: return %.3f over %d steps, nearest to %s at a distance of %.4f\n%s, %s\n", e.Episode, e.Return(), e.T, e.Name, e.Distance, out, beside)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "explained.png", "file to write, which must not be there yet")
	return cmd
}
