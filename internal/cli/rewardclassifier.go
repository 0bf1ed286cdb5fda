package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/classifier"
)

func (a *app) rewardClassifierCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "classifier",
		Short: "Mark frames as success or failure, and train a classifier of them",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.classifierCollectCmd(), a.classifierTrainCmd())
	return cmd
}

func (a *app) classifierCollectCmd() *cobra.Command {
	var good, bad []string
	var m wire.Marking
	cmd := &cobra.Command{
		Use:   "collect [RUN]",
		Short: "Mark frames of recorded episodes as success or failure",
		Long: `Mark frames of episodes of the session RUN (without it, the newest) as showing the
task done or not done. A range is EPISODE:FROM-TO or EPISODE:FRAME, counted from 0,
the frame after the reset. Marks are added to those there are, in success-marks.json
in the session's folder; a later mark of the same frame overrules an earlier one
(docs/success.md). The session must not be running.`,
		Example: `  rapport reward classifier collect runs/group-001 --success online-00003:40-45 --failure online-00003:0-30
  rapport label runs/group-001 --kind segments && rapport reward classifier collect runs/group-001 --answers
  rapport reward classifier collect runs/group-001 --outcome 3`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, side := range []struct {
				ranges  []string
				success bool
			}{{good, true}, {bad, false}} {
				for _, r := range side.ranges {
					f, err := markOf(r, side.success)
					if err != nil {
						return usageError{err}
					}
					m.Frames = append(m.Frames, f)
				}
			}
			if len(m.Frames) == 0 && m.Outcome == 0 && !m.Demos && !m.Answers {
				return usageError{errors.New("nothing to mark: give --success and --failure ranges, as online-00003:40-45, or --answers, --outcome or --demos")}
			}
			if m.Outcome < 0 {
				return usageError{fmt.Errorf("--outcome is %d; want a number of frames", m.Outcome)}
			}
			dir, err := a.session(args)
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			n, err := wire.MarkSuccess(cmd.Context(), dir, m, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			_, err = fmt.Fprintf(a.stdout, "%s: %d marks\n", dir, n)
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&good, "success", nil, "frames that show the task done, as online-00003:40-45; may be repeated")
	f.StringArrayVar(&bad, "failure", nil, "frames that show it not done; may be repeated")
	f.BoolVar(&m.Answers, "answers", false, "take the stretches marked in the browser (rapport label RUN --kind segments): good as done, bad as not done")
	f.BoolVar(&m.Demos, "demos", false, "mark every frame of the demonstrations by what the simulator told of it")
	f.IntVar(&m.Outcome, "outcome", 0, "mark this many last frames of every online episode by its known outcome (simulation)")
	return cmd
}

// markOf reads EPISODE:FROM-TO.
func markOf(s string, success bool) (wire.Marked, error) {
	bad := fmt.Errorf("%q is no range of frames; want EPISODE:FROM-TO, as online-00003:40-45", s)
	id, span, ok := strings.Cut(s, ":")
	if !ok || id == "" {
		return wire.Marked{}, bad
	}
	from, to, two := strings.Cut(span, "-")
	if !two {
		to = from
	}
	m := wire.Marked{Episode: id, Success: success}
	var errs [2]error
	m.From, errs[0] = strconv.Atoi(from)
	m.To, errs[1] = strconv.Atoi(to)
	if errs[0] != nil || errs[1] != nil || m.From < 0 || m.To < m.From {
		return wire.Marked{}, bad
	}
	return m, nil
}

func (a *app) classifierTrainCmd() *cobra.Command {
	var c wire.Classifying
	cmd := &cobra.Command{
		Use:   "train [RUN]",
		Short: "Train a success classifier on the marked frames",
		Long: `Train a success classifier on the marked frames of the session RUN (without it, the
newest), and print how well it tells frames of episodes that it has not learned from.
It is kept in the session as its next version, and written to --out if named; with a
precision below --precision neither happens. A session with reward.success classifier
uses it from when it is gone on with (docs/success.md).`,
		Example: "  rapport reward classifier train runs/group-001 --augment 4 --precision 0.95",
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkClassifying(c); err != nil {
				return usageError{err}
			}
			if err := writable("--out", c.Out); err != nil {
				return err
			}
			dir, err := a.session(args)
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			rep, err := wire.TrainClassifier(cmd.Context(), dir, c, a.environ, a.sets, a.options(bars))
			bars.close()
			if err != nil && !errors.Is(err, classifier.ErrPrecision) {
				return err
			}
			_, wrong := fmt.Fprintf(a.stdout, "%s: %s", dir, rep)
			return errors.Join(err, wrong)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&c.Precision, "precision", 0.9, "least precision on unseen episodes; below it the classifier is refused")
	f.StringVar(&c.Sees, "sees", "", "what it looks at: features (the embedding), points (where tracked points are) or both; empty: points, where the session tracks them")
	f.IntVar(&c.Hidden, "hidden", wire.ByWhatItSees, "units of a hidden layer; 0: logistic regression; -1: 16 where it sees points, else 0")
	f.IntVar(&c.Folds, "folds", 5, "folds of the cross-validation over episodes")
	f.Float64Var(&c.Jitter, "jitter", 0, "deviation of noise on the standardised input")
	f.IntVar(&c.Copies, "augment", 0, "changed copies of every marked frame to learn from besides, where it sees features")
	f.StringVarP(&c.Out, "out", "o", "", "file to write it to as well, which must not be there yet")
	return cmd
}

// checkClassifying says what is wrong with the flags of a training, before frames are read for it.
func checkClassifying(c wire.Classifying) error {
	if err := wantPrecision(c.Precision); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{"", "features", "points", "both"}, c.Sees):
		return fmt.Errorf("--sees is %q; want features, points, both, or nothing", c.Sees)
	case c.Hidden < 0 && c.Hidden != wire.ByWhatItSees:
		return fmt.Errorf("--hidden is %d; want a number of units, 0 for none, or %d", c.Hidden, wire.ByWhatItSees)
	case c.Folds < 2:
		return fmt.Errorf("--folds is %d; want 2 at least", c.Folds)
	case !(c.Jitter >= 0):
		return fmt.Errorf("--jitter is %v; want a deviation, 0 or more", c.Jitter)
	case c.Copies < 0:
		return fmt.Errorf("--augment is %d; want a number of copies, 0 or more", c.Copies)
	}
	return nil
}

// wantPrecision refuses what is no precision.
func wantPrecision(p float64) error {
	if !(p > 0 && p <= 1) {
		return fmt.Errorf("--precision is %v; want more than 0 and at most 1, as 0.9", p)
	}
	return nil
}
