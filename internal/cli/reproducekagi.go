package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/classifier"
)

// wayRun is what rapport reproduce kagi does.
type wayRun struct {
	seeds seedSpan
	tasks []string
	kinds []string
	share float64 // of the demonstrations
	steps int     // of offline; 0: as many as the session of kagi has
	out   string
}

// wayKinds are what can be learned by: KAGI's reward, either half of it, the
// demonstrations alone, and KAGI's reward with success told by a classifier.
var wayKinds = []string{"kagi", "sparse", "dense", "offline", "classifier"}

// wayPoint is what came of one kind with one seed.
type wayPoint struct {
	Kind   string       `json:"kind"`
	Before report.Share `json:"before"`
	After  report.Share `json:"after"`
	Ticks  int          `json:"ticks"` // see soon; 0: never
	// Success in the first and the last lately episodes; none in files of before these were kept.
	Early *report.Share `json:"early,omitempty"`
	Late  *report.Share `json:"late,omitempty"`
	// Of classifier: how it told frames of demonstrations that it had not learned from,
	// and the episodes at whose end the simulator agreed with it.
	Measured *classifier.Measure `json:"measured,omitempty"`
	Agreed   *report.Share       `json:"agreed,omitempty"`
	Settings settings            `json:"settings"`
}

func (a *app) reproduceKAGICmd() *cobra.Command {
	r := wayRun{}
	cmd := &cobra.Command{
		Use:   "kagi",
		Short: "Compare KAGI's reward with its sparse and its dense half, and with demonstrations alone",
		Long: `For every task and each of the seeds 1, 2, ... run a session by each kind of reward,
with tracked points in the policy's input and episodes that end with success:

  kagi     progress along waypoints, and success in its place where it is told
  sparse   success alone: what progress adds is a thousandth
  dense    progress alone; that an episode ends with success is all that tells it
  offline  IQL on the demonstrations of kagi's session, without any episode
  classifier  as kagi, but success is told by a classifier, trained on the frames of the
           same demonstrations, which the simulator marks as a person would

A table in Markdown goes to stdout: success of the cloned policy and after learning, in
the mean over the seeds with its 95 % interval by Student's t, and the control ticks
until 90 % of the success while exploring of the last 20 episodes was reached. That is
told of 20 episodes, so that a seed whose first 20 did as well has it from the start: the
table counts these, and their ticks are those of 20 episodes, no time of learning. Sessions
and a file of each task and seed go to --to. What is in there already is read and not
made again, and refused where it was made with other settings; a session that was
interrupted is gone on with.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return usageError{err}
			}
			if err := a.settled(walked(map[string]string{"reward.kind": "what is learned by is that of --kinds"})); err != nil {
				return err
			}
			return a.ways(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	r.seeds.flag(cmd, "seeds", seedsUsage)
	f.StringSliceVar(&r.tasks, "tasks", []string{"reach", "stack", "almonds", "spatula", "cover"}, "tasks that a plan comes with")
	f.StringSliceVar(&r.kinds, "kinds", wayKinds[:4], "what is learned by: "+strings.Join(wayKinds, ", "))
	f.Float64Var(&r.share, "demos", 1, "share of the demonstrations, as 0.2 for a fifth")
	f.IntVar(&r.steps, "steps", 0, "gradient steps of offline; 0: as many as kagi's session has in all")
	f.StringVar(&r.out, "to", "runs/reproduce-kagi", "folder of sessions and figures")
	return cmd
}

func (r *wayRun) check() error {
	if err := errors.Join(wantSome("--tasks", r.tasks), wantSome("--kinds", r.kinds)); err != nil {
		return err
	}
	for _, k := range r.kinds {
		if !slices.Contains(wayKinds, k) {
			return fmt.Errorf("--kinds names %q; want some of %s", k, strings.Join(wayKinds, ", "))
		}
	}
	for _, k := range []string{"offline", "classifier"} {
		if slices.Contains(r.kinds, k) && !slices.Contains(r.kinds, "kagi") {
			return fmt.Errorf("--kinds has %s without kagi, whose session's demonstrations it learns from; add kagi", k)
		}
	}
	planned := []string{"reach", "group", "clutter", "stack", "almonds", "spatula", "cover"}
	for _, t := range r.tasks {
		if !slices.Contains(planned, t) {
			return fmt.Errorf("--tasks names %q; want some of %s", t, strings.Join(planned, ", "))
		}
	}
	if !(r.share > 0 && r.share <= 1) {
		return fmt.Errorf("--demos is %v; want above 0 and at most 1, as 0.2 for a fifth", r.share)
	}
	if r.steps < 0 {
		return fmt.Errorf("--steps is %d; want at least 1, or 0 for as many as kagi's session has", r.steps)
	}
	return nil
}

// config is a session's.
func (r wayRun) config(a *app, task, kind string, seed int) (config.Config, error) {
	sets := append([]string{
		"robot.task=" + task, "seed=" + strconv.Itoa(seed), "reward.kind=kagi", "policy.keys=true", "session.end=success", "session.record=false",
	}, a.sets...)
	c, err := config.Load(a.file, a.environ, sets)
	if err != nil {
		return c, usageError{err}
	}
	c.Out, c.Name = r.out, r.session(task, kind, seed)
	few := func(n int) int { return int(math.Ceil(r.share * float64(n))) }
	c.Demos.Good, c.Demos.Bad = few(c.Demos.Good), few(c.Demos.Bad)
	c.Reward.Experts = min(c.Reward.Experts, c.Demos.Good)
	switch kind {
	case "sparse":
		c.Reward.KAGI.Top = 0.001
	case "dense":
		c.Reward.KAGI.Sparse = "none"
	case "classifier":
		c.Reward.KAGI.Sparse = "classifier"
	}
	return c, c.Validate()
}

// settings are those of a kind, and what they are where nobody sets anything.
func (r wayRun) settings(a *app, task, kind string, seed int) (settings, config.Config, error) {
	learned := kind
	if kind == "offline" {
		learned = "kagi" // it learns from that session
	}
	c, err := r.config(a, task, learned, seed)
	if err != nil {
		return nil, c, err
	}
	// A share of the demonstrations by default may be too few; nothing is made with these.
	own, _ := r.config(&app{}, task, learned, seed)
	flags := settings{}
	if kind == "offline" {
		flags["--steps"] = strconv.Itoa(r.steps)
	}
	if r.share != 1 { // names have it in hundredths
		flags["--demos"] = strconv.FormatFloat(r.share, 'g', -1, 64)
	}
	return settingsOf(c, own, flags), own, nil
}

// stepsOf is how long offline learns beside a session of c.
func (r wayRun) stepsOf(c config.Config) int {
	return cmp.Or(r.steps, c.Learner.Warmup+c.Session.Episodes*c.Learner.Updates)
}

// name is a task's, with the share of the demonstrations in hundredths.
func (r wayRun) name(task string) string {
	if r.share == 1 {
		return task
	}
	return fmt.Sprintf("%s-demos%.0f", task, 100*r.share)
}

// session is the name of a session.
func (r wayRun) session(task, kind string, seed int) string {
	return fmt.Sprintf("%s-%s-%d", r.name(task), kind, seed)
}

// ways makes what is missing and writes it up.
func (a *app) ways(ctx context.Context, r wayRun) error {
	points, err := eachSeed(r.out, r.tasks, r.seeds, func(task string, seed int) ([]wayPoint, error) {
		return a.waysOf(ctx, r, task, seed)
	})
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(r.markdown(points))
	return err
}

// waysOf is one task and seed, read from its file or made.
func (a *app) waysOf(ctx context.Context, r wayRun, task string, seed int) ([]wayPoint, error) {
	file := fileOf(r.out, r.name(task), seed)
	var have []wayPoint
	if _, err := found(file, &have); err != nil {
		return nil, err
	}
	for _, p := range have { // those that are not asked for, too: others begin from their sessions
		if p.Kind == "offline" && !slices.Contains(r.kinds, p.Kind) {
			continue
		}
		now, own, err := r.settings(a, task, p.Kind, seed)
		if err != nil {
			return nil, err
		}
		if err := a.madeSo(file, p.Settings, now, own); err != nil {
			return nil, err
		}
	}
	for _, kind := range wayKinds { // kagi before offline, whatever the order asked for
		if !slices.Contains(r.kinds, kind) || slices.ContainsFunc(have, func(p wayPoint) bool { return p.Kind == kind }) {
			continue
		}
		fmt.Fprintf(a.stderr, "%s by %s, seed %d of %v\n", r.name(task), kind, seed, r.seeds)
		p, err := a.wayOf(ctx, r, task, kind, seed, have)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		if p.Settings, _, err = r.settings(a, task, kind, seed); err != nil {
			return nil, err
		}
		have = append(have, p)
		if err := keep(file, have); err != nil {
			return nil, err
		}
	}
	return have, nil
}

// wayOf makes one point; offline learns from the session of kagi among have.
func (a *app) wayOf(ctx context.Context, r wayRun, task, kind string, seed int, have []wayPoint) (wayPoint, error) {
	p := wayPoint{Kind: kind}
	if kind == "offline" {
		c, err := r.config(a, task, "kagi", seed)
		if err != nil {
			return p, err
		}
		i := slices.IndexFunc(have, func(p wayPoint) bool { return p.Kind == "kagi" })
		p.Before = have[i].Before
		p.After, err = a.offline(ctx, filepath.Join(c.Out, c.Name), "iql", r.stepsOf(c), c.Session.Evaluate)
		return p, err
	}
	c, err := r.config(a, task, kind, seed)
	if err != nil {
		return p, err
	}
	if c, err = r.begin(c, task, seed, have); err != nil {
		return p, err
	}
	if kind == "classifier" {
		if c.Session.From == "" {
			return p, fmt.Errorf("%s has no session of kagi or sparse any more, on whose demonstrations the classifier learns; take another folder with --to", r.out)
		}
		if p.Measured, err = a.classify(ctx, c.Session.From); err != nil {
			return p, err
		}
	}
	res, err := a.once(ctx, c)
	if err != nil {
		return p, err
	}
	p.Before, p.After = res.Before, res.After
	outcomes, err := wire.Outcomes(ctx, res.Dir)
	p.Ticks = soon(outcomes)
	if n := len(outcomes); n > 0 {
		p.Early, p.Late = of(outcomes[:min(lately, n)]), of(outcomes[max(0, n-lately):])
	}
	if kind == "classifier" {
		p.Agreed = &report.Share{}
		for _, o := range outcomes {
			if p.Agreed.Of++; o.Said == o.Success {
				p.Agreed.Hits++
			}
		}
	}
	return p, err
}

// classify trains a classifier of success in the session in dir, on its demonstrations.
func (a *app) classify(ctx context.Context, dir string) (*classifier.Measure, error) {
	bars := newProgress(a.stderr)
	defer bars.close()
	if _, err := wire.MarkSuccess(ctx, dir, wire.Marking{Demos: true}, a.environ, nil, a.options(bars)); err != nil {
		return nil, err
	}
	rep, err := wire.TrainClassifier(ctx, dir, wire.Classifying{Config: classifier.Config{Hidden: wire.ByWhatItSees}}, a.environ, nil, a.options(bars))
	return &rep.Measured, err
}

// begin has a new session begin from the first of have that is still there. A reward by
// waypoints is all that they differ in, so encoder, clone and demonstrations are the same to the
// bit, and only made once. The demonstrations of dense tell no success, which the others want.
func (r wayRun) begin(c config.Config, task string, seed int, have []wayPoint) (config.Config, error) {
	if c.Session.From != "" {
		return c, nil
	}
	mine := filepath.Join(c.Out, c.Name, "config.yaml")
	if _, err := os.Stat(mine); err == nil { // it goes on as it began
		was, err := config.Load(mine, nil, nil)
		c.Session.From = was.Session.From
		return c, err
	}
	for _, p := range have {
		if p.Kind != "kagi" && p.Kind != "sparse" {
			continue
		}
		dir := filepath.Join(r.out, r.session(task, p.Kind, seed))
		if _, err := os.Stat(filepath.Join(dir, "session.db")); err == nil {
			c.Session.From = dir
			return c, nil
		}
	}
	return c, nil
}

// lately is of how many episodes success while exploring is told.
const lately = 20

// soon is how many control ticks it took until success in the lately last episodes was
// 90 % of what it was in the end; 0: there was none in the end.
func soon(os []wire.Outcome) (ticks int) {
	rate := func(end int) int { return of(os[max(0, end-lately):end]).Hits }
	final := rate(len(os))
	if final == 0 {
		return 0
	}
	for i, o := range os {
		ticks += o.Ticks
		if i+1 >= min(lately, len(os)) && float64(rate(i+1)) >= 0.9*float64(final) {
			break
		}
	}
	return ticks
}

// of is success in episodes.
func of(os []wire.Outcome) *report.Share {
	s := &report.Share{Of: len(os)}
	for _, o := range os {
		if o.Success {
			s.Hits++
		}
	}
	return s
}

// ready says that the first episodes already did as soon has it of the last.
func (p wayPoint) ready() bool {
	return p.Late != nil && p.Late.Hits > 0 && float64(p.Early.Hits) >= 0.9*float64(p.Late.Hits)
}

func (r wayRun) markdown(points map[string][][]wayPoint) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "| task | learned by | cloned | after | ticks to 90 %% of it, exploring |\n|---|---|---|---|---|\n")
	for _, task := range r.tasks {
		for _, kind := range r.kinds {
			var before, after, ticks []float64
			ready := 0
			for _, ps := range points[task] {
				for _, p := range ps {
					if p.Kind != kind {
						continue
					}
					if p.ready() {
						ready++
					}
					before, after = append(before, 100*p.Before.Rate()), append(after, 100*p.After.Rate())
					if p.Ticks > 0 {
						ticks = append(ticks, float64(p.Ticks))
					}
				}
			}
			if len(after) == 0 {
				continue
			}
			c, ch := report.Interval(before)
			m, h := report.Interval(after)
			when := "–"
			if len(ticks) > 0 {
				t, th := report.Interval(ticks)
				when = interval(t, th, 0)
				if len(ticks) < len(after) {
					when += fmt.Sprintf(" (%d of %d seeds)", len(ticks), len(after))
				}
				if ready > 0 {
					when = "≤ " + when + fmt.Sprintf(" (%d of %d seeds from the start)", ready, len(after))
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s %% | %s %% | %s |\n", r.name(task), kind, interval(c, ch, 1), interval(m, h, 1), when)
		}
	}
	if slices.Contains(r.kinds, "classifier") {
		r.judged(&b, points)
	}
	return b.Bytes()
}

// judged is how the classifiers told success.
func (r wayRun) judged(b *bytes.Buffer, points map[string][][]wayPoint) {
	fmt.Fprintf(b, "\n| classifier of | precision, on frames of demonstrations it had not learned from | recall | the simulator agrees at the end of |\n|---|---|---|---|\n")
	for _, task := range r.tasks {
		var all classifier.Measure
		var agreed report.Share
		for _, ps := range points[task] {
			for _, p := range ps {
				if p.Measured == nil {
					continue
				}
				all.TP, all.FP, all.TN, all.FN = all.TP+p.Measured.TP, all.FP+p.Measured.FP, all.TN+p.Measured.TN, all.FN+p.Measured.FN
				agreed.Hits, agreed.Of = agreed.Hits+p.Agreed.Hits, agreed.Of+p.Agreed.Of
			}
		}
		fmt.Fprintf(b, "| %s | %.1f %% | %.1f %% | %d of %d episodes |\n", r.name(task), 100*all.Precision(), 100*all.Recall(), agreed.Hits, agreed.Of)
	}
}
