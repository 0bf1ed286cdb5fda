package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) rewardCompareCmd() *cobra.Command {
	cc := wire.CompareConfig{Every: 4, Saliency: 3, Patches: 8}
	var topics []string
	var columns string
	cmd := &cobra.Command{
		Use:   "compare RUN|EPISODE|BAG|DATASET...",
		Short: "How several rewards rate the same episodes, and whether they agree",
		Long: `Have several rewards rate the same episodes: those of sessions, by folder or by
file, bags of others, LeRobot folders and robomimic files. Without --session the
first session among them judges: its encoder, its preferred videos.

The table has Spearman's rank correlation of every two rewards, of all frames and
of the returns, and their STARC distance (Skalse et al. 2024) on the logged
transitions: 0 for the same reason to act, 1 for the opposite. Where the episodes
are of a simulated session, they are lived through again for the truth, and each
reward is measured as RAPL's authors do: Spearman with the true distance to the
goal within an episode, every 4th frame, averaged over the "negative" rollouts.

Compared are the rewards as logged, the session's, that of the frozen encoder, two
with another gamma and cost, and the truth; --reward NAME=KIND adds others:

` + kindsHelp() + `
--out writes frames.csv, returns.csv, pairs.csv, truth.csv, curves.png, pairs.png and
saliency.png: frames on which red is what the reward would miss (docs/reward-compare.md).`,
		Example: `  rapport reward compare runs/group-001 --out compared
  rapport reward compare runs/group-001 --reward soft=rapl:gamma=5 --reward both=krc:of=rapl+frozen
  rapport reward compare runs/group-002 --session runs/group-001 --reward other=session:dir=runs/group-003
  rapport reward compare monday.bag --session runs/group-001 --map front=/camera/color/image_raw`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name recordings to compare rewards on, or the folder of a session, as runs/group-001")}
			}
			cc.Files = args
			var err error
			for _, file := range args {
				if _, err := os.Stat(file); err != nil {
					return fmt.Errorf("%w; name recordings: a session's folder, as runs/group-001, an episode, a bag or a dataset", err)
				}
			}
			if cc.Map, err = topicMap(topics, false); err != nil {
				return usageError{err}
			}
			if cc.Columns, err = readMap("--columns", columns); err != nil {
				return err
			}
			switch {
			case cc.Every < 1:
				return usageError{fmt.Errorf("--every is %d; want 1 for every frame, or more", cc.Every)}
			case !(cc.Discount >= 0 && cc.Discount < 1):
				return usageError{fmt.Errorf("--discount is %v; want 0 for the learner's, or a number below 1", cc.Discount)}
			case cc.Saliency < 0 || cc.Saliency > 8:
				return usageError{fmt.Errorf("--saliency is %d; want 0 for none, to 8 frames", cc.Saliency)}
			case cc.Patches < 2 || cc.Patches > 32:
				return usageError{fmt.Errorf("--patches is %d; want 2 to 32", cc.Patches)}
			case cc.Bare && len(cc.Rewards) == 0:
				return usageError{errors.New("--bare leaves no reward; name some by --reward")}
			}
			if err := vacant(cc.Out); err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			c, err := wire.CompareRewards(cmd.Context(), cc, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			if err := a.note(c.Session); err != nil {
				return err
			}
			if err := printComparison(a.stdout, c, cc.Out); err != nil {
				return err
			}
			return errors.Join(c.Left()...)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cc.Session, "session", "", "folder of the session whose encoder and rewards see the recordings")
	f.StringArrayVar(&cc.Rewards, "reward", nil, "another reward, as soft=rapl:gamma=1; may be repeated")
	f.BoolVar(&cc.Bare, "bare", false, "only the rewards of --reward")
	f.StringArrayVar(&topics, "map", nil, "a camera of a bag or a dataset and its topic or name there, as front=/camera/color/image_raw; may be repeated")
	f.StringVar(&columns, "columns", "", "YAML file that says what the columns of a foreign dataset mean (docs/datasets.md)")
	f.DurationVar(&cc.From, "from", 0, "where in a bag to begin, as 1m30s")
	f.DurationVar(&cc.To, "to", 0, "where in a bag to end; 0 is its end")
	f.Float64Var(&cc.Discount, "discount", 0, "of STARC; 0 is the learner's")
	f.IntVar(&cc.Every, "every", cc.Every, "hold every so many-th frame against the truth")
	f.StringVarP(&cc.Out, "out", "o", "", "empty or new folder for tables and pictures")
	f.IntVar(&cc.Saliency, "saliency", cc.Saliency, "frames whose saliency is drawn; 0 for none")
	f.IntVar(&cc.Patches, "patches", cc.Patches, "that a side of an image is cut into for it")
	f.StringVar(&cc.Of, "episode", "", "the episode whose saliency is drawn; the last one without it")
	return cmd
}

// kindsHelp lists the kinds of rewards, and what one of them ranks by.
func kindsHelp() string {
	var b strings.Builder
	for _, k := range wire.KindsOfRewards() {
		fmt.Fprintf(&b, "  %-9s %s\n", k[0], k[1])
	}
	b.WriteString("\nThe criteria of heron:\n\n")
	for _, c := range wire.CriteriaOfHERON() {
		fmt.Fprintf(&b, "  %-9s %s\n", c[0], c[1])
	}
	return b.String()
}

// figure prints a correlation or a distance.
func figure(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.3f", x)
}

func printComparison(w io.Writer, c wire.Comparison, out string) error {
	steps, rated := 0, 0
	for _, e := range c.Episodes {
		for _, n := range e.Notes {
			fmt.Fprintf(w, "note       %s: %s\n", e.ID, n)
		}
		if len(e.Rewards) > 0 {
			rated++
			steps += e.Steps
		}
	}
	fmt.Fprintf(w, "\nsession    %s\nrecordings %d of %d rated, %d steps\n\n", c.Session, rated, len(c.Episodes), steps)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "reward\twhat")
	for i, name := range c.Rewards {
		fmt.Fprintf(t, "%s\t%s\n", name, c.About[i])
	}
	if len(c.Pairs) > 0 {
		fmt.Fprintln(t, "\na\tb\tSpearman, frames\treturns\tSTARC\tepisodes")
		for _, p := range c.Pairs {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\n", c.Rewards[p.A], c.Rewards[p.B], figure(p.PerFrame), figure(p.PerReturn), figure(p.STARC), p.Episodes)
		}
	}
	if len(c.Truth) > 0 {
		fmt.Fprintf(t, "\nSpearman with the true distance, every %d. frame\tnegative\tof\tall\tof\treturns\n", c.Every)
		for k, j := range c.Truth {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\n", c.Rewards[k], figure(j.Negative), j.OfNegative, figure(j.All), j.OfAll, figure(j.Returns))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if out == "" {
		return nil
	}
	fmt.Fprintf(w, "\nwritten    %s\n", filepath.Join(out, "frames.csv, returns.csv, pairs.csv, truth.csv, curves.png, pairs.png"))
	if c.Salient != "" {
		fmt.Fprintf(w, "saliency   %s of %s\n", filepath.Join(out, "saliency.png"), c.Salient)
	}
	return nil
}
