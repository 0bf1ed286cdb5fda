package cli

import (
	"bytes"
	"context"
	"encoding/csv"
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
	"github.com/rapport-rl/rapport/internal/whole"
	"github.com/rapport-rl/rapport/internal/wire"
)

// flatRun is what rapport reproduce xmagical does.
type flatRun struct {
	seeds       seedSpan
	tasks       []string
	body, from  string
	out         string
	kinds       []string
	labels      int
	pile        int
	ticks       int
	every       int
	evaluations int
}

func (a *app) reproduceXMagicalCmd() *cobra.Command {
	r := flatRun{}
	cmd := &cobra.Command{
		Use:   "xmagical",
		Short: "Draw learning curves of every kind of reward in the world of two dimensions",
		Long: `For every task and each of the seeds 1, 2, ...: show good and bad demonstrations,
train an encoder on their pictures, ask the simulated person, learn each kind of
reward, and by each a policy that sees the world's state, from scratch, with the
demonstrations as prior data (RLPD). bc clones the demonstrations alone.

--from short learns encoder and reward of another embodiment than the policy's.

A table in Markdown goes to stdout; curves.csv, curves.png and a file of each task
and seed to --to. What is in there already is read and not made again, and refused
where it was made with other settings.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return usageError{err}
			}
			if err := a.settled(walked(map[string]string{
				"reward.kind": "the rewards are those of --kinds", "robot.world": "it is xmagical's", "robot.embodiment": "that is --embodiment",
			})); err != nil {
				return err
			}
			return a.flatCurves(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	r.seeds.flag(cmd, "seeds", seedsUsage)
	f.StringSliceVar(&r.tasks, "tasks", []string{"avoid", "group"}, "tasks: sweep, avoid, group")
	f.StringVar(&r.body, "embodiment", "medium", "the policy's: short, medium, long, gripper")
	f.StringVar(&r.from, "from", "", "embodiment that encoder and reward are learnt of; empty: the policy's")
	f.StringSliceVar(&r.kinds, "kinds", []string{"bc", "truth", "rapl", "rlhf", "tcc"}, "kinds of rewards, and bc")
	f.StringVar(&r.out, "to", "runs/reproduce-xmagical", "folder of figures and tables")
	f.IntVar(&r.labels, "labels", 150, "comparisons answered")
	f.IntVar(&r.pile, "rollouts", 60, "rollouts, besides the demonstrations, that may be asked about")
	f.IntVar(&r.ticks, "ticks", 10000, "control ticks of learning")
	f.IntVar(&r.every, "every", 1000, "ticks between evaluations")
	f.IntVar(&r.evaluations, "evaluate", 20, "fresh episodes of an evaluation")
	return cmd
}

func (r *flatRun) check() error {
	if err := errors.Join(wantSome("--tasks", r.tasks), wantSome("--kinds", r.kinds)); err != nil {
		return err
	}
	for _, k := range r.kinds {
		if k != "bc" && !slices.Contains(wire.Studied(), k) {
			return fmt.Errorf("--kinds names %q; want some of bc, %s", k, strings.Join(wire.Studied(), ", "))
		}
	}
	for _, t := range r.tasks {
		if !slices.Contains([]string{"sweep", "avoid", "group"}, t) {
			return fmt.Errorf("--tasks names %q; want some of sweep, avoid, group", t)
		}
	}
	for flag, b := range map[string]string{"embodiment": r.body, "from": r.from} {
		if !slices.Contains([]string{"short", "medium", "long", "gripper"}, b) && (b != "" || flag == "embodiment") {
			return fmt.Errorf("--%s is %q; want one of short, medium, long, gripper", flag, b)
		}
	}
	return nil
}

// flatCurves makes what is missing and writes it up.
func (a *app) flatCurves(ctx context.Context, r flatRun) error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	curves := map[string][][]wire.Curve{} // by task: of each seed
	for seed := range r.seeds.all() {
		for _, task := range r.tasks {
			sets := []string{"robot.world=xmagical", "robot.task=" + task, "robot.embodiment=" + r.body, "seed=" + strconv.Itoa(seed)}
			own, err := config.Load("", nil, sets)
			if err != nil {
				return usageError{err}
			}
			c, err := config.Load(a.file, a.environ, append(sets, a.sets...))
			if err != nil {
				return usageError{err}
			}
			if err := learnable(c, r.kinds); err != nil {
				return err
			}
			cs, err := a.flatCurve(ctx, c, own, r)
			if err != nil {
				return fmt.Errorf("%s, seed %d: %w", task, seed, err)
			}
			curves[task] = append(curves[task], cs)
		}
	}
	if err := r.csv(curves); err != nil {
		return err
	}
	if err := r.plot(curves); err != nil {
		return err
	}
	_, err := a.stdout.Write(r.markdown(curves))
	return err
}

// name is the file of a task and seed, without its ending.
func (r flatRun) name(task string) string {
	s := task + "-" + r.body
	if r.from != "" && r.from != r.body {
		s += "-from-" + r.from
	}
	return s
}

// flatPoint is what came of a kind of reward.
type flatPoint struct {
	wire.Curve
	Settings settings
}

// flatCurve is one task and seed, read from its file or made; own is its configuration where
// nobody sets anything.
func (a *app) flatCurve(ctx context.Context, c, own config.Config, r flatRun) ([]wire.Curve, error) {
	file := fileOf(r.out, r.name(c.Robot.Task), int(c.Seed))
	var points []flatPoint
	if _, err := found(file, &points); err != nil {
		return nil, err
	}
	now := settingsOf(c, own, settings{
		"--labels": strconv.Itoa(r.labels), "--rollouts": strconv.Itoa(r.pile), "--ticks": strconv.Itoa(r.ticks),
		"--every": strconv.Itoa(r.every), "--evaluate": strconv.Itoa(r.evaluations),
	})
	var have []wire.Curve
	for _, p := range points {
		if slices.Contains(r.kinds, p.Kind) {
			if err := a.madeSo(file, p.Settings, now, own); err != nil {
				return nil, err
			}
		}
		have = append(have, p.Curve)
	}
	st := wire.CurveStudy{Labels: r.labels, From: r.from, Pile: r.pile, Ticks: r.ticks, Every: r.every, Evaluate: r.evaluations}
	st.Keep = func(cv wire.Curve) error {
		points = append(points, flatPoint{cv, now})
		return keep(file, points)
	}
	for _, k := range r.kinds {
		if !slices.ContainsFunc(have, func(cv wire.Curve) bool { return cv.Kind == k }) {
			st.Kinds = append(st.Kinds, k)
		}
	}
	if len(st.Kinds) == 0 {
		return have, nil
	}
	fmt.Fprintf(a.stderr, "%s, seed %d of %v: %s\n", r.name(c.Robot.Task), c.Seed, r.seeds, strings.Join(st.Kinds, ", "))
	bars := newProgress(a.stderr)
	cs, err := wire.Curves(ctx, c, st, a.options(bars).Tell)
	bars.close()
	if err != nil {
		return nil, err
	}
	return append(have, cs...), nil
}

// at is, of each seed, what of the k-th evaluation of a kind.
func at(seeds [][]wire.Curve, kind string, k int, of func(wire.CurvePoint) float64) []float64 {
	var xs []float64
	for _, cs := range seeds {
		for _, cv := range cs {
			if cv.Kind == kind && k < len(cv.Points) {
				xs = append(xs, of(cv.Points[k]))
			}
		}
	}
	return xs
}

// ticksOf are those of a kind's evaluations.
func ticksOf(seeds [][]wire.Curve, kind string) []int {
	var ts []int
	for _, cv := range seeds[0] {
		if cv.Kind == kind {
			for _, p := range cv.Points {
				ts = append(ts, p.Ticks)
			}
		}
	}
	return ts
}

func success(p wire.CurvePoint) float64  { return 100 * p.Success }
func distance(p wire.CurvePoint) float64 { return p.Distance }

func (r flatRun) csv(curves map[string][][]wire.Curve) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"task", "embodiment", "from", "seed", "kind", "ticks", "success", "distance", "rho"}}
	g := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	for _, task := range r.tasks {
		for i, cs := range curves[task] {
			for _, cv := range cs {
				for _, p := range cv.Points {
					rows = append(rows, []string{task, r.body, r.from, strconv.Itoa(r.seeds.first + i), cv.Kind, strconv.Itoa(p.Ticks), g(p.Success), g(p.Distance), g(cv.Rho)})
				}
			}
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return whole.Write(filepath.Join(r.out, "curves.csv"), b.Bytes())
}

func (r flatRun) plot(curves map[string][][]wire.Curve) error {
	var plots []report.LinesPlot
	for _, task := range r.tasks {
		p := report.LinesPlot{Title: fmt.Sprintf("%s, %s, %d seeds", task, r.body, r.seeds.count()), X: "control ticks", Y: "success, %"}
		for _, kind := range r.kinds {
			l := report.Line{Name: kind, Flat: kind == "bc"}
			for k, t := range ticksOf(curves[task], kind) {
				m, h := report.Interval(at(curves[task], kind, k, success))
				l.X, l.Y, l.Half = append(l.X, float64(t)), append(l.Y, m), append(l.Half, h)
			}
			if l.Flat && len(l.X) == 1 {
				l.X, l.Y, l.Half = []float64{0, float64(r.ticks)}, []float64{l.Y[0], l.Y[0]}, nil
			}
			if len(l.X) > 0 {
				p.Lines = append(p.Lines, l)
			}
		}
		plots = append(plots, p)
	}
	var b bytes.Buffer
	if err := report.Lines(&b, plots...); err != nil {
		return err
	}
	return whole.Write(filepath.Join(r.out, "curves.png"), b.Bytes())
}

// markdown tells the last evaluation, and the mean over all of them, which says how
// soon a policy became good.
func (r flatRun) markdown(curves map[string][][]wire.Curve) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "| task | reward | Spearman | success after %d ticks | distance, m | success, mean over the curve |\n|---|---|---|---|---|---|\n", r.ticks)
	for _, task := range r.tasks {
		for _, kind := range r.kinds {
			n := len(ticksOf(curves[task], kind))
			if n == 0 {
				continue
			}
			var area, rho []float64
			for _, cs := range curves[task] {
				for _, cv := range cs {
					if cv.Kind != kind {
						continue
					}
					rho = append(rho, cv.Rho)
					sum := 0.0
					for _, p := range cv.Points {
						sum += success(p) / float64(len(cv.Points))
					}
					area = append(area, sum)
				}
			}
			s, sh := report.Interval(at(curves[task], kind, n-1, success))
			d, dh := report.Interval(at(curves[task], kind, n-1, distance))
			m, mh := report.Interval(area)
			rm, rh := report.Interval(rho)
			corr := interval(rm, rh, 2)
			if kind == "bc" {
				corr = "–"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s %% | %s | %s %% |\n", task, kind, corr, interval(s, sh, 0), interval(d, dh, 2), interval(m, mh, 0))
		}
	}
	return b.Bytes()
}
