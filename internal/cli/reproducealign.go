package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
)

// alignStudy is what rapport reproduce align does.
type alignStudy struct {
	seeds                         seedSpan
	tasks, by, aligners, samplers []string
	labels                        []int
	draws                         int
	out                           string
}

// alignVariant is one way of aligning the same rollouts.
type alignVariant struct {
	labels      int
	by, aligner string
	// sampler, if there is one, searches among the chunks of the policy as it was cloned,
	// by the critic that the aligner leaves; the aligner does nothing then.
	sampler string
	draws   int // chunks that are searched at a time, of samplers with some
}

// alignPoint is what came of a variant.
type alignPoint struct {
	wire.Aligned
	Settings settings
}

// searched is what the sampler does, in the words that join; empty without one.
func (v alignVariant) searched(join string) string {
	switch v.sampler {
	case "guided", "nrg":
		return v.sampler
	case "":
		return ""
	}
	return v.sampler + join + strconv.Itoa(v.draws)
}

func (a *app) reproduceAlignCmd() *cobra.Command {
	var r alignStudy
	cmd := &cobra.Command{
		Use:   "align",
		Short: "Align policies by numbers of answers, who ranks, and aligners, with intervals",
		Long: `For every task and each of the seeds 1, 2, ...: clone a policy of demonstrations of
both behaviours and have it do the rollouts once; then, for each number of --labels,
each of --by and each of --aligners, align it by a simulated person's answers to
those same rollouts, and evaluate it before and after on the same fresh starts
(docs/align-pipeline.md). With --samplers the policy as it was cloned is evaluated
there, too, each sampler searching among its chunks by the critic that the first of
--aligners leaves of the same answers, so that training is compared with searching.

A table in Markdown goes to stdout: success, preferred and undesired before and
after, in percent of starts, the KL, and how the reward ranks, with 95 % intervals
over the seeds by Student's t. The result of every alignment is a file of its own in
--to. What is in there already is read and not made again, and refused where it was
made with other settings.`,
		Example: `  rapport reproduce align --seeds 5 --tasks cup --labels 10,20,50,100 --by rapl,rlhf,labels
  rapport reproduce align --labels 20 --by rapl --samplers best,fk,guided --draws 8
  rapport reproduce align --aligners flow-dpo,rwr,seppo --set policy.diffusion.process=flow`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return usageError{err}
			}
			if err := a.settled(walked(map[string]string{
				"align.labels": "the numbers of answers are those of --labels", "align.by": "who ranks is that of --by",
				"align.aligner": "the aligners are those of --aligners",
			})); err != nil {
				return err
			}
			return a.alignments(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	r.seeds.flag(cmd, "seeds", seedsUsage)
	f.StringSliceVar(&r.tasks, "tasks", []string{"cup"}, "tasks: cup, chips, fork")
	f.IntSliceVar(&r.labels, "labels", []int{10, 20, 50, 100}, "numbers of answers")
	f.StringSliceVar(&r.by, "by", []string{"rapl", "rlhf", "labels"}, "who ranks all rollouts")
	f.StringSliceVar(&r.aligners, "aligners", []string{"diffusion-dpo"}, "aligners: "+strings.Join(config.Aligners(), ", "))
	f.StringSliceVar(&r.samplers, "samplers", nil, "samplers of the cloned policy (docs/sample.md): best, fk, guided, nrg, reno")
	f.IntVar(&r.draws, "draws", 8, "chunks that best and fk draw side by side; iterations of reno")
	f.StringVar(&r.out, "to", "runs/reproduce-align", "folder of results and sessions")
	return cmd
}

func (r alignStudy) check() error {
	for _, t := range r.tasks {
		if !slices.Contains([]string{"cup", "chips", "fork"}, t) {
			return fmt.Errorf("--tasks names %q, which is not done in two ways; want some of cup, chips, fork", t)
		}
	}
	return errors.Join(wantSome("--tasks", r.tasks), wantSome("--labels", r.labels), wantSome("--by", r.by), wantSome("--aligners", r.aligners),
		wantOnce("--samplers", r.samplers))
}

// variants are all ways of aligning, the fewest answers first.
func (r alignStudy) variants() (vs []alignVariant) {
	for _, n := range slices.Sorted(slices.Values(r.labels)) {
		for _, by := range r.by {
			for _, aligner := range r.aligners {
				vs = append(vs, alignVariant{labels: n, by: by, aligner: aligner})
			}
			for _, sampler := range r.samplers {
				vs = append(vs, alignVariant{n, by, r.aligners[0], sampler, r.draws})
			}
		}
	}
	return vs
}

// sets are the settings of a variant of a task, which go before others.
func (v alignVariant) sets(others []string, task string) []string {
	return append(slices.Clone(others), "robot.task="+task, "align.labels="+strconv.Itoa(v.labels), "align.by="+v.by, "align.aligner="+v.aligner)
}

// settings are those of the variant of a task, and what they are where nobody sets anything.
func (v alignVariant) settings(a *app, task string) (settings, config.Config, error) {
	c, err := wire.AlignConfig(a.file, a.environ, v.sets(a.sets, task))
	if err != nil {
		return nil, c, err
	}
	// No session may come of these: some aligners want what somebody has to set.
	own, _ := wire.AlignConfig("", nil, v.sets(nil, task))
	return settingsOf(c, own, nil), own, nil
}

// search is c with the variant's sampler.
func (v alignVariant) search(c config.Config) config.Config {
	c.Policy.Diffusion.Sampler.Kind, c.Policy.Diffusion.Sampler.Draws = v.sampler, v.draws
	return c
}

// String names the variant.
func (v alignVariant) String() string {
	s := fmt.Sprintf("%d answers, %s, %s", v.labels, v.by, v.aligner)
	if v.sampler != "" {
		s = fmt.Sprintf("%d answers, %s, searched by %s", v.labels, v.by, v.searched(" of "))
	}
	return s
}

// alignments makes what is missing, and writes it up.
func (a *app) alignments(ctx context.Context, r alignStudy) error {
	// Nothing is begun that one of the variants would end.
	configs := map[string]config.Config{}
	for _, task := range r.tasks {
		for _, v := range r.variants() {
			c, err := wire.AlignConfig(a.file, a.environ, v.sets(a.sets, task))
			if err != nil {
				return usageError{err}
			}
			if v.sampler != "" {
				if err := v.search(c).Validate(); err != nil {
					return usageError{err}
				}
			}
			configs[task] = c
		}
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	results := map[string][][]wire.Aligned{} // by task: of each variant the seeds'
	for _, task := range r.tasks {
		results[task] = make([][]wire.Aligned, len(r.variants()))
	}
	var last *wire.Alignment
	for seed := range r.seeds.all() {
		for _, task := range r.tasks {
			c := configs[task]
			c.Seed, c.Out, c.Name = uint64(seed), r.out, fmt.Sprintf("%s-%d", task, seed)
			if p := c.Policy.Diffusion.Process; p != "diffusion" {
				c.Name = fmt.Sprintf("%s-%s-%d", task, p, seed)
			}
			for i, v := range r.variants() {
				res, err := a.alignVariant(ctx, c, v, &last)
				if err != nil {
					return fmt.Errorf("%s, %v: %w", c.Name, v, err)
				}
				results[task][i] = append(results[task][i], res)
			}
		}
	}
	return r.markdown(a.stdout, results)
}

// alignVariant is the result of a variant in the session that c names, read from its
// file or made. Variants share the session, and with it the clone and the rollouts: each
// step does again what depends on other settings, and the file is what is left of each. What
// the variant before, last, saw of the rollouts is not lived through again.
func (a *app) alignVariant(ctx context.Context, c config.Config, v alignVariant, last **wire.Alignment) (res wire.Aligned, err error) {
	dir := filepath.Join(c.Out, c.Name)
	file := fmt.Sprintf("%s-%d-%s-%s", dir, v.labels, v.by, v.aligner)
	if v.sampler != "" {
		file += "-" + v.searched("-")
	}
	file += ".json"
	now, own, err := v.settings(a, c.Robot.Task)
	if err != nil {
		return res, err
	}
	var was alignPoint
	if ok, err := found(file, &was); err != nil {
		return res, err
	} else if ok {
		return was.Aligned, a.madeSo(file, was.Settings, now, own)
	}
	if err := a.askedSo(dir, now, own); err != nil {
		return res, err
	}
	if _, err := os.Stat(filepath.Join(dir, "session.db")); errors.Is(err, os.ErrNotExist) {
		if _, err := wire.BeginAlign(c); err != nil {
			return res, err
		}
	} else if err != nil {
		return res, err
	}
	fmt.Fprintf(a.stderr, "%s: %v\n", c.Name, v)
	bars := newProgress(a.stderr)
	defer bars.close()
	al, err := wire.OpenAlign(dir, a.environ, append(v.sets(a.sets, c.Robot.Task), "seed="+strconv.FormatUint(c.Seed, 10)), a.options(bars))
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, al.Close()) }()
	al.Simulate()
	al.Recall(*last)
	*last = al
	steps := wire.AlignSteps()
	if v.sampler != "" {
		steps = steps[:slices.Index(steps, wire.AlignTune)]
	}
	for _, step := range steps {
		if _, err := al.Do(ctx, step); err != nil {
			return res, err
		}
	}
	if v.sampler != "" {
		res, err = al.Search(ctx, v.search(al.Config()).Policy.Diffusion.Sampler)
	} else {
		res, err = al.Result()
	}
	if err != nil {
		return res, err
	}
	// The next variant writes where these are.
	res.Policy, res.Rankings = "", ""
	return res, keep(file, alignPoint{res, now})
}

// askedSo refuses to go on with the answers of a session's simulated person where other questions
// were asked than those of now: they would be learned from under the name of these. Marks of
// parts of rollouts are answers of their own.
func (a *app) askedSo(dir string, now settings, own config.Config) error {
	if now["align.ask"] == "segments" {
		return nil
	}
	asked := settings{}
	for _, key := range []string{"align.ask", "align.query", "align.clips"} {
		if v, ok := now[key]; ok {
			asked[key] = v
		}
	}
	const rollouts = "align.rollouts"
	asked[rollouts] = cmp.Or(now[rollouts], strconv.Itoa(own.Align.Rollouts))
	var was settings
	file := dir + "-questions.json"
	if ok, err := found(file, &was); err != nil {
		return err
	} else if ok {
		if _, told := was[rollouts]; !told { // of before
			delete(asked, rollouts)
		}
		return a.madeSo(file, was, asked, own)
	}
	return keep(file, asked)
}

// markdown writes the table, a row for each variant of each task, and one of what
// simulated people find where there are several.
func (r alignStudy) markdown(w io.Writer, results map[string][][]wire.Aligned) error {
	var b, people strings.Builder
	b.WriteString("| task | answers | who ranks | aligner | success, % | preferred, % | undesired, % | KL, nats a chain | ranks as the person, % of pairs |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, task := range r.tasks {
		for i, v := range r.variants() {
			over := func(digits int, of func(wire.Aligned) float64) string {
				var xs []float64
				for _, res := range results[task][i] {
					xs = append(xs, of(res))
				}
				mean, half := report.Interval(xs)
				return interval(mean, half, digits)
			}
			change := func(of func(wire.AlignedResult) report.Share) string {
				return over(0, func(x wire.Aligned) float64 { return 100 * of(x.Before).Rate() }) + " to " +
					over(0, func(x wire.Aligned) float64 { return 100 * of(x.After).Rate() })
			}
			ranks := "–" // nobody's in particular
			if !slices.ContainsFunc(results[task][i], func(x wire.Aligned) bool { return x.Right < 0 }) {
				ranks = over(0, func(x wire.Aligned) float64 { return 100 * x.Right })
			}
			aligner, kl := v.aligner, over(1, func(x wire.Aligned) float64 { return x.KL })
			if v.sampler != "" { // the policy is what it was
				aligner, kl = "searched: "+v.searched(" of "), "–"
			}
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s | %s | %s |\n", task, v.labels, v.by, aligner,
				change(func(x wire.AlignedResult) report.Share { return x.Success }),
				change(func(x wire.AlignedResult) report.Share { return x.Preferred }),
				change(func(x wire.AlignedResult) report.Share { return x.Undesired }),
				kl,
				ranks)
			for k, p := range results[task][i][0].People {
				if p.Served {
					p.Person += ", served"
				}
				// Of a seed without the others' people, nobody knows.
				share := func(of func(wire.Regard) int) string {
					return over(0, func(x wire.Aligned) float64 {
						if k >= len(x.People) || x.People[k].Of == 0 {
							return math.NaN()
						}
						return 100 * float64(of(x.People[k])) / float64(x.People[k].Of)
					})
				}
				fmt.Fprintf(&people, "| %s | %d | %s | %s | %s | %s |\n", task, v.labels, aligner, p.Person,
					share(func(p wire.Regard) int { return p.Better }), share(func(p wire.Regard) int { return p.Worse }))
			}
		}
	}
	if people.Len() > 0 {
		b.WriteString("\n| task | answers | aligner | person | finds it better than before, % of starts | worse, % |\n|---|---|---|---|---|---|\n" + people.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
