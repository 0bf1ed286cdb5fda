package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) replayCmd() *cobra.Command {
	var rc wire.ReplayConfig
	var topics []string
	var check bool
	cmd := &cobra.Command{
		Use:   "replay FILE...",
		Short: "Run perception and rewards over recordings, and check those of a session",
		Long: `Run the encoder and the reward of a session over recordings: the episodes of
sessions, by file or by folder, and bags of others (.bag, .mcap, rosbag2), of
which the cameras count. Without --session the first file's own session judges.

--out writes steps.csv and steps.parquet with a row a step, curves.png, and with
--film a film of each recording beside the frames that it was matched with.

--check shows that the rewards that were logged come out again, within 1e-6 of
the features that were logged with them, and their sums in session.db too; the
exit code says whether they do (docs/replaying.md).`,
		Example: `  rapport replay runs/group-001 --out replayed
  rapport replay runs/group-001 --check
  rapport replay monday.bag --session runs/group-001 --map front=/camera/color/image_raw`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name recordings to replay, or the folder of a session, as runs/group-001")}
			}
			rc.Files = args
			var err error
			if rc.Map, err = topicMap(topics, false); err != nil {
				return usageError{err}
			}
			if !(rc.Speed >= 0) || math.IsInf(rc.Speed, 0) {
				return usageError{fmt.Errorf("--speed is %v; want 1 for the recorded pace, 2 for twice it, or 0 for as fast as possible", rc.Speed)}
			}
			if rc.From < 0 || rc.To < 0 || rc.To > 0 && rc.To <= rc.From {
				return usageError{fmt.Errorf("--from %v and --to %v leave nothing of a bag", rc.From, rc.To)}
			}
			if rc.Film && rc.Out == "" {
				return usageError{errors.New("--film wants a folder to write to: name it by --out")}
			}
			if err := vacant(rc.Out); err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			r, err := wire.ReplayFiles(cmd.Context(), rc, a.environ, a.sets, a.options(bars))
			if err != nil {
				a.restart(rc.Out, "another by --out")
				return err
			}
			bars.close()
			if err := a.note(r.Session); err != nil {
				return err
			}
			if err := printReplay(a.stdout, r, rc.Out); err != nil {
				return err
			}
			if check {
				return printVerdict(a.stdout, r.Check())
			}
			return errors.Join(r.Left()...)
		},
	}
	cmd.Flags().StringVar(&rc.Session, "session", "", "folder of the session whose encoder and reward see the recordings")
	cmd.Flags().StringArrayVar(&topics, "map", nil, "a camera of a bag and its topic, as front=/camera/color/image_raw; may be repeated")
	cmd.Flags().DurationVar(&rc.From, "from", 0, "where in a bag to begin, as 1m30s")
	cmd.Flags().DurationVar(&rc.To, "to", 0, "where in a bag to end; 0 is its end")
	cmd.Flags().Float64Var(&rc.Speed, "speed", 0, "times the recorded pace; 0 is as fast as possible")
	cmd.Flags().BoolVar(&rc.Live, "live", false, "also score each prefix, as the live plot does")
	cmd.Flags().StringVarP(&rc.Out, "out", "o", "", "empty or new folder for tables, curves and films")
	cmd.Flags().BoolVar(&rc.Film, "film", false, "write films into the folder of --out")
	cmd.Flags().BoolVar(&check, "check", false, "fail unless the logged rewards come out again")
	return cmd
}

// vacant refuses a folder of --out, which may be unnamed or missing, that holds
// something.
func vacant(out string) error {
	if out == "" {
		return nil
	}
	if es, err := os.ReadDir(out); err == nil && len(es) > 0 {
		return fmt.Errorf("%s is not empty; remove it, or write to another folder with --out", out)
	}
	return nil
}

// writable refuses a file that a flag names, which may be "", where it is there already or
// cannot be written: known before the work, not after it.
func writable(flag, path string) error {
	if path == "" {
		return nil
	}
	if err := wire.Vacant(path); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}

// restart says how to begin again, once interrupted, where the folder holds a part: it is
// refused then.
func (a *app) restart(out, other string) {
	if vacant(out) != nil {
		a.again = fmt.Sprintf("the same command, once %s is removed, or with %s", out, other)
	}
}

// topicMap reads NAME=TOPIC pairs. If none, an empty topic takes out what would be guessed.
func topicMap(pairs []string, none bool) (map[string]string, error) {
	m := map[string]string{}
	for _, p := range pairs {
		name, topic, ok := strings.Cut(p, "=")
		if !ok || name == "" || topic == "" && !none {
			return nil, fmt.Errorf("--map is %q; want a camera and its topic, as front=/camera/color/image_raw", p)
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("--map names the camera %q twice", name)
		}
		m[name] = topic
	}
	return m, nil
}

func printReplay(w io.Writer, r wire.Replay, out string) error {
	var rewards, returns []float64
	var gaps wire.Gaps
	steps := 0
	for i := range r.Takes {
		t := &r.Takes[i]
		for _, n := range t.Notes {
			fmt.Fprintf(w, "note       %s: %s\n", t.ID, n)
		}
		if len(t.Steps) == 0 {
			continue
		}
		steps += len(t.Steps)
		returns = append(returns, t.Return())
		for _, s := range t.Steps {
			rewards = append(rewards, s.Reward)
		}
		gaps.Missing += t.Gaps.Missing
		gaps.Stale += t.Gaps.Stale
		gaps.Longest = max(gaps.Longest, t.Gaps.Longest)
	}
	fmt.Fprintf(w, "\nsession    %s (encoder %.12s, reward %.12s)\n", r.Session, r.Encoder, r.Reward)
	fmt.Fprintf(w, "recordings %d of %d whole, %d steps\n", len(r.Takes)-len(r.Left()), len(r.Takes), steps)
	if len(rewards) > 0 {
		fmt.Fprintf(w, "return     %.3f in the median, %.3f to %.3f\n", report.Quantile(returns, 0.5), slices.Min(returns), slices.Max(returns))
		fmt.Fprintf(w, "reward     quantiles 0 %.4f, 10 %% %.4f, 50 %% %.4f, 90 %% %.4f, 100 %% %.4f\n",
			slices.Min(rewards), report.Quantile(rewards, 0.1), report.Quantile(rewards, 0.5), report.Quantile(rewards, 0.9), slices.Max(rewards))
	}
	if n := r.Frames(); n > 0 {
		fmt.Fprintf(w, "frames     %d, %.0f a second; %d gaps, %d seen twice, %v at most between two\n", n, float64(n)/max(r.Took.Seconds(), 1e-9), gaps.Missing, gaps.Stale, gaps.Longest.Round(time.Millisecond))
	}
	if out != "" {
		fmt.Fprintf(w, "written    %s\n", filepath.Join(out, "steps.csv, steps.parquet, curves.png"))
	}
	return nil
}

// printVerdict tells what the check found, and returns why the answer is no.
func printVerdict(w io.Writer, v wire.Verdict) error {
	fmt.Fprintf(w, "check      %d rewards of %d episodes, from the features logged with them: largest difference %.3g", v.Rewards, v.Episodes, v.Worst)
	if v.Episode != "" {
		fmt.Fprintf(w, " (%s, step %d)", v.Episode, v.Step)
	}
	fmt.Fprintf(w, ", limit %g\n", wire.Tolerance)
	if v.Returns > 0 {
		fmt.Fprintf(w, "returns    %d in session.db: largest difference %.3g (%s)\n", v.Returns, v.WorstReturn, v.ReturnOf)
	}
	if v.Exact > 0 {
		fmt.Fprintf(w, "frames     %d rewards from frames kept without loss: largest difference %.3g, limit %g\n", v.Exact, v.ExactWorst, wire.Tolerance)
	}
	if v.Frames > 0 {
		fmt.Fprintf(w, "frames     as JPEG kept them, which is not what was scored: features differ by up to %.3g, rewards by up to %.3g\n", v.Drift, v.FrameWorst)
	}
	if v.Unscored > 0 {
		fmt.Fprintf(w, "unscored   %d rollouts, which people ranked: no reward was logged of them\n", v.Unscored)
	}
	if v.Earlier > 0 {
		fmt.Fprintf(w, "earlier    %d episodes were scored by a reward of before, which the session keeps, and are compared by that\n", v.Earlier)
	}
	if v.Unnamed > 0 {
		fmt.Fprintf(w, "unnamed    %d episodes do not say which encoder and reward made their numbers: they are of an older version\n", v.Unnamed)
	}
	if err := v.Err(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "the logged rewards come out again")
	return err
}
