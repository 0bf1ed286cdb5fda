package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

// raplRun is what rapport reproduce rapl does.
type raplRun struct {
	seeds         seedSpan
	labels        []int
	kinds, tasks  []string
	out           string
	pile, held    int
	gamma         float64
	policies      []string // KIND or KIND:LABELS
	policySeeds   seedSpan
	table         int // labels of the table
	skipSpearmans bool
}

func (a *app) reproduceRAPLCmd() *cobra.Command {
	r := raplRun{}
	cmd := &cobra.Command{
		Use:   "rapl",
		Short: "Compare kinds of rewards by Spearman's correlation with the truth, and by the policies they make",
		Long: `For every task and each of the seeds 1, 2, ...: make rollouts of mixed quality, ask
the simulated person about one part of them, learn each kind of reward, and
correlate its rewards with the true distance on the other part (every 4th frame;
mean over the rollouts that the person dislikes, as table 1 of arXiv:2412.04835).
The task cross is group with encoder and answers from one arm, and rollouts by
another (robot.look orange).

Tables in Markdown go to stdout; rewards.csv, rewards.png and a file of each task
and seed to --to. What is in there already is read and not made again, and refused
where it was made with other settings.

--policies rapl:150,truth,rlhf:150,rlhf:300 fine-tunes a policy by each of these
rewards besides, in ordinary sessions below out.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			how := walked(map[string]string{"reward.kind": "the rewards are those of --kinds and --policies", "robot.look": "it is of the task"})
			delete(how, "out") // sessions of --policies go there
			if len(r.policies) == 0 {
				how["reward.gamma"] = "that of the rewards that are correlated is --gamma"
			}
			if err := a.settled(how); err != nil {
				return err
			}
			c, err := a.load()
			if err != nil {
				return err
			}
			if err := r.check(); err != nil {
				return usageError{err}
			}
			if err := learnable(c, r.kinds); err != nil {
				return err
			}
			if !r.skipSpearmans {
				if err := a.correlate(cmd.Context(), c, r); err != nil {
					return err
				}
			}
			return a.policies(cmd.Context(), c, r)
		},
	}
	f := cmd.Flags()
	r.seeds.flag(cmd, "seeds", seedsUsage)
	f.IntSliceVar(&r.labels, "labels", []int{150}, "numbers of comparisons, as 10,30,75,150,300")
	f.StringSliceVar(&r.kinds, "kinds", raplKinds, "kinds of rewards")
	f.StringSliceVar(&r.tasks, "tasks", []string{"group", "clutter", "cross"}, "tasks: group, clutter, reach, cross")
	f.StringVar(&r.out, "to", "runs/reproduce-rapl", "folder of figures and tables")
	f.IntVar(&r.pile, "rollouts", 200, "rollouts that may be asked about")
	f.Float64Var(&r.gamma, "gamma", 1, "reward.gamma of the rewards that are correlated: the authors', by which a frame is compared with nearly all of a video")
	f.IntVar(&r.held, "held-out", 100, "rollouts that are judged on")
	f.StringSliceVar(&r.policies, "policies", nil, "rewards to fine-tune by, as rapl:150,truth,rlhf:300")
	r.policySeeds.flag(cmd, "policy-seeds", "seeds of --policies, as --seeds")
	f.BoolVar(&r.skipSpearmans, "policies-only", false, "leave the correlations out")
	return cmd
}

func (r *raplRun) check() error {
	if err := errors.Join(wantSome("--tasks", r.tasks), wantSome("--kinds", r.kinds)); err != nil {
		return err
	}
	for _, k := range r.kinds {
		if !slices.Contains(wire.Studied(), k) {
			return fmt.Errorf("--kinds names %q; want some of %s", k, strings.Join(wire.Studied(), ", "))
		}
	}
	for _, t := range r.tasks {
		if !slices.Contains([]string{"group", "clutter", "reach", "cross"}, t) {
			return fmt.Errorf("--tasks names %q; want some of group, clutter, reach, cross", t)
		}
	}
	slices.Sort(r.labels)
	r.labels = slices.Compact(r.labels)
	if len(r.labels) == 0 || r.labels[0] < 4 {
		return fmt.Errorf("--labels is %v; want numbers from 4 on", r.labels)
	}
	r.table = r.labels[len(r.labels)-1]
	if slices.Contains(r.labels, 150) {
		r.table = 150
	}
	if r.pile < 1 || r.held < 1 {
		return fmt.Errorf("--rollouts is %d and --held-out %d; want at least 1 of each", r.pile, r.held)
	}
	for _, p := range r.policies {
		if _, _, err := policyOf(p); err != nil {
			return err
		}
	}
	switch {
	case len(r.policies) == 0 && r.skipSpearmans:
		return errors.New("--policies-only leaves the correlations out, and --policies names nothing; name rewards to fine-tune by, as --policies rapl,truth")
	case len(r.policies) > 0 && len(r.fineTuned()) == 0:
		return errors.New("--policies fine-tunes no policy on the task cross, and --tasks names no other; add group, clutter or reach")
	}
	return wantOnce("--policies", r.policies)
}

// fineTuned are the tasks that --policies are of: cross is group seen by another's encoder.
func (r *raplRun) fineTuned() []string {
	return slices.DeleteFunc(slices.Clone(r.tasks), func(t string) bool { return t == "cross" })
}

// policyOf reads KIND or KIND:LABELS.
func policyOf(s string) (kind string, labels int, err error) {
	kind, n, ok := strings.Cut(s, ":")
	if !slices.Contains(raplKinds, kind) {
		return "", 0, fmt.Errorf("--policies names %q; want some of %s", s, strings.Join(raplKinds, ", "))
	}
	if ok {
		if labels, err = strconv.Atoi(n); err != nil || labels < 4 {
			return "", 0, fmt.Errorf("--policies names %q; want a number of labels from 4 on behind the colon", s)
		}
	}
	return kind, labels, nil
}

// correlate makes what is missing of the comparison and writes it up.
func (a *app) correlate(ctx context.Context, c config.Config, r raplRun) error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	points := map[string][][]wire.Point{} // by task: of each seed
	for _, task := range r.tasks {
		for seed := range r.seeds.all() {
			c.Seed = uint64(seed)
			ps, err := a.compared(ctx, c, r, task)
			if err != nil {
				return fmt.Errorf("%s, seed %d: %w", task, seed, err)
			}
			points[task] = append(points[task], ps)
		}
	}
	if err := r.csv(points); err != nil {
		return err
	}
	if err := r.plot(points); err != nil {
		return err
	}
	_, err := a.stdout.Write(r.markdown(points))
	return err
}

// compared is one task and seed, read from its file or made.
func (a *app) compared(ctx context.Context, c config.Config, r raplRun, task string) ([]wire.Point, error) {
	file := filepath.Join(r.out, fmt.Sprintf("%s-%d.csv", task, c.Seed))
	have, by, err := readFile(file)
	if err != nil {
		return nil, err
	}
	own := config.Default()
	for _, d := range []*config.Config{&c, &own} {
		d.Robot.Task, d.Robot.Look, d.Reward.Gamma = task, "panda", r.gamma
	}
	now := settingsOf(c, own, settings{"--rollouts": strconv.Itoa(r.pile), "--held-out": strconv.Itoa(r.held), "--gamma": strconv.FormatFloat(r.gamma, 'g', -1, 64)})
	missing := r
	missing.kinds, missing.labels = nil, nil
	for _, k := range r.kinds {
		if slices.ContainsFunc(have, func(p wire.Point) bool { return p.Kind == k }) {
			if err := a.madeSo(file, by[k], now, own); err != nil {
				return nil, err
			}
		}
		lacks := func(n int) bool { return find(have, k, n) < 0 }
		if slices.ContainsFunc(r.labels, lacks) {
			missing.kinds = append(missing.kinds, k)
		}
		if config.Comparing(k) {
			missing.labels = append(missing.labels, slices.DeleteFunc(slices.Clone(r.labels), func(n int) bool { return !lacks(n) })...)
		}
	}
	if len(missing.kinds) == 0 {
		return have, nil
	}
	// The person's answers are the same however many are asked for, and so is what comes of the
	// first of them.
	slices.Sort(missing.labels)
	if missing.labels = slices.Compact(missing.labels); len(missing.labels) == 0 {
		missing.labels = r.labels
	}
	st := wire.Study{Kinds: missing.kinds, Labels: missing.labels, Pile: r.pile, Held: r.held}
	// Group and cross differ in the arm of the rollouts judged on alone.
	files := map[string]string{"panda": file}
	if task == "group" || task == "cross" {
		c.Robot.Task, files = "group", map[string]string{}
		for _, t := range []string{"group", "cross"} {
			look, name := map[string]string{"group": "panda", "cross": "orange"}[t], filepath.Join(r.out, fmt.Sprintf("%s-%d.csv", t, c.Seed))
			if t != task {
				if !slices.Contains(r.tasks, t) {
					continue
				}
				there, err := a.madeBeside(name, missing, now, own)
				if err != nil {
					return nil, err
				}
				if there {
					continue
				}
			}
			st.Looks, files[look] = append(st.Looks, look), name
		}
	}
	fmt.Fprintf(a.stderr, "%s, seed %d of %v: %s\n", task, c.Seed, r.seeds, strings.Join(missing.kinds, ", "))
	bars := newProgress(a.stderr)
	ps, err := wire.Compare(ctx, c, st, a.options(bars).Tell)
	bars.close()
	if err != nil {
		return nil, err
	}
	for look, name := range files {
		was, by := have, by
		if name != file {
			if was, by, err = readFile(name); err != nil {
				return nil, err
			}
		}
		was = slices.DeleteFunc(was, func(p wire.Point) bool {
			return slices.Contains(missing.kinds, p.Kind) && (p.Labels == 0 || slices.Contains(missing.labels, p.Labels))
		})
		for _, k := range missing.kinds {
			// What stays of a file of before does not tell its settings, and these are not its.
			if !slices.ContainsFunc(was, func(p wire.Point) bool { return p.Kind == k }) {
				by[k] = now
			}
		}
		for _, p := range ps {
			if p.Look == look {
				was = append(was, p)
			}
		}
		if err := writeFile(name, was, by); err != nil {
			return nil, err
		}
		if name == file {
			have = was
		}
	}
	return have, nil
}

// madeBeside says whether a file that is made with another has all of r already, and
// refuses one that was made with other settings.
func (a *app) madeBeside(name string, r raplRun, now settings, own config.Config) (all bool, err error) {
	have, by, err := readFile(name)
	if err != nil {
		return false, err
	}
	all = true
	for _, k := range r.kinds {
		if slices.ContainsFunc(have, func(p wire.Point) bool { return p.Kind == k }) {
			if err := a.madeSo(name, by[k], now, own); err != nil {
				return false, err
			}
		}
		for _, n := range r.labels {
			all = all && find(have, k, n) >= 0
		}
	}
	return all, nil
}

// find is the index of the point of a kind from so many labels, or -1. Kinds that
// ask for none have one point.
func find(ps []wire.Point, kind string, labels int) int {
	return slices.IndexFunc(ps, func(p wire.Point) bool { return p.Kind == kind && (p.Labels == labels || p.Labels == 0) })
}

// raplKinds are the kinds of rewards that are compared unless others are named, and that
// policies are made by: those whose spread was measured.
var raplKinds = []string{"rapl", "features", "goal", "tcc", "rlhf", "gail", "truth"}

// spread is the standard deviation of each kind's rewards of a frame on Group, as
// Point.Spread measured it. learner.scale is set so that all are as large as RAPL's.
var spread = map[string]float64{"rapl": 0.40, "features": 0.29, "goal": 0.25, "tcc": 0.35, "rlhf": 0.96, "gail": 0.94, "truth": 0.40}

// policies fine-tunes by each reward of --policies and prints success.
func (a *app) policies(ctx context.Context, c config.Config, r raplRun) error {
	if len(r.policies) == 0 {
		return nil
	}
	var rows strings.Builder
	before := map[string][]float64{}
	after := map[string][]float64{}
	for _, task := range r.fineTuned() {
		for _, p := range r.policies {
			kind, labels, _ := policyOf(p)
			for seed := range r.policySeeds.all() {
				d := c
				d.Robot.Task, d.Seed, d.Reward.Kind = task, uint64(seed), kind
				d.Name = fmt.Sprintf("reproduce-rapl-%s-%s-%d", task, strings.ReplaceAll(p, ":", "-"), seed)
				d.Learner.Scale *= spread["rapl"] / spread[kind]
				if labels > 0 {
					d.Reward.Triplets = labels
				}
				fmt.Fprintf(a.stderr, "%s by %s, seed %d of %v\n", task, p, seed, r.policySeeds)
				if err := d.Validate(); err != nil {
					return usageError{err}
				}
				if err := apart(d); err != nil {
					return err
				}
				res, err := a.once(ctx, d)
				if err != nil {
					return fmt.Errorf("%s by %s, seed %d: %w", task, p, seed, err)
				}
				key := task + " " + p
				before[key], after[key] = append(before[key], 100*res.Before.Rate()), append(after[key], 100*res.After.Rate())
			}
			b, bh := report.Interval(before[task+" "+p])
			f, fh := report.Interval(after[task+" "+p])
			fmt.Fprintf(&rows, "| %s | %s | %s %% | %s %% |\n", task, p, interval(b, bh, 1), interval(f, fh, 1))
		}
	}
	_, err := fmt.Fprintf(a.stdout, "\nSuccess on %d fresh seeds each, %d sessions a row, %d episodes.\n\n| task | reward | cloned | fine-tuned |\n|---|---|---|---|\n%s", c.Session.Evaluate, r.policySeeds.count(), c.Session.Episodes, rows.String())
	return err
}
