package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/vlm"
)

// pipelineCmd is what runs from recordings to a policy in one go.
func (a *app) pipelineCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pipeline",
		Short: "From recordings to a policy in one go",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.offlineVLMCmd())
	return cmd
}

func (a *app) offlineVLMCmd() *cobra.Command {
	var goal, out, kept string
	var v wire.OfflineVLM
	cmd := &cobra.Command{
		Use:   "offline-vlm RUN --goal TEXT",
		Short: "Learn a policy from a vision-language model's comparisons of recorded frames",
		Long: `Ask a vision-language model which of two frames of the session RUN shows the goal
achieved better, fit a reward to its answers, label the session's episodes by it, and
learn a policy from them (offline RL-VLM-F, docs/visual-rewards.md). The endpoint is
that of RAPPORT_VLM_URL, RAPPORT_VLM_KEY and RAPPORT_VLM_MODEL, and has the seconds of
RAPPORT_VLM_DEADLINE (60) for a try. Answers are kept in vlm-answers.jsonl in the
session's folder: the same questions are never asked again.`,
		Example: `  rapport pipeline offline-vlm runs/group-001 --goal "to push the two objects together" -o vlm.safetensors
  rapport eval runs/group-001 --policy vlm.safetensors`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("want a session, as runs/group-001")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(goal) == "" {
				return usageError{errors.New(`--goal is missing: say what is to be achieved, as --goal "to push the two objects together"`)}
			}
			if v.Pairs < 10 || v.Steps < 1 || v.Steps > 100_000_000 {
				return usageError{fmt.Errorf("--pairs is %d and --steps %d; want 10 and 1 at least", v.Pairs, v.Steps)}
			}
			if err := errors.Join(writable("--out", out), writable("--reward", kept)); err != nil {
				return err
			}
			if err := a.unread(args[0]); err != nil {
				return err
			}
			conf := vlm.FromEnv(a.getenv)
			conf.Log = a.log
			c, err := vlm.New(conf)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "the model     %s, which is shown the frames\n", conf)
			v.Model, v.Name, v.Goal = judge.Over(c), c.Model(), goal
			bars := newProgress(a.stderr)
			defer bars.close()
			t, j, err := wire.TrainByVLM(cmd.Context(), args[0], v, a.environ, a.sets, a.options(bars))
			bars.close()
			if j.Asked > 0 {
				fmt.Fprintf(a.stdout, "\nasked         %d pairs in both orders by %d calls; %d told by their place, %d without an answer\n", j.Asked, j.Calls, j.Swapped, j.None)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "reward        from %d answers; tells %.1f %% of %d others alike\n", j.Train, 100*j.Accuracy, j.Held)
			if kept != "" {
				if err := wire.WriteNew(kept, j.Reward); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "              %s\n", kept)
			}
			if err := wire.WriteNew(out, t.Params.Data); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "learned from  %d episodes, %d transitions\nparameters    %s\n", t.Episodes, t.Rows, out)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&goal, "goal", "", "what is to be achieved, as the model is told")
	f.IntVar(&v.Pairs, "pairs", 500, "pairs of frames to ask about, by four calls each")
	f.IntVar(&v.Steps, "steps", 5000, "gradient steps of the policy")
	f.StringVarP(&out, "out", "o", "vlm.safetensors", "file of the policy, which must not be there yet")
	f.StringVar(&kept, "reward", "", "file to write the reward to as well, for rapport reward compare --reward NAME=vlm:file=FILE")
	f.StringVar(&v.Answers, "answers", "", "file that keeps the answers; empty: in the session's folder")
	return cmd
}

// getenv looks into the environment that Main was given.
func (a *app) getenv(name string) string {
	for _, kv := range a.environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}
