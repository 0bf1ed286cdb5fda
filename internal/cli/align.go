package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/label"
)

// aligning is what rapport align and its steps share.
type aligning struct {
	a              *app
	person, listen string
}

// alignCmd is the whole pipeline; its steps are commands of their own below it.
func (a *app) alignCmd() *cobra.Command {
	g := &aligning{a: a}
	cmd := &cobra.Command{
		Use:   "align [RUN]",
		Short: "Bring a policy that draws chunks to what people rank",
		Long: `Bring a diffusion policy to what people like (docs/align-pipeline.md): it does some
episodes, people rank a few of them in the browser, a reward learns from the answers
(RAPL) and ranks all of them, and an aligner fine-tunes the policy with that. At the
end both policies are evaluated on the same fresh starts.

RUN is the folder of an alignment to go on with; without it a new one begins, of the
cup, whose policy is cloned from demonstrations of both behaviours. Of an earlier
session's policy: --set session.from=runs/cup-001. Each step keeps what it made and
skips what is done; after a stop, rapport align RUN goes on.

--person simulated has a simulated person answer, which is for experiments alone.`,
		Example: `  rapport align                                     # asks you, in the browser
  rapport align --person simulated --set align.labels=20
  rapport align runs/cup-001 --set align.aligner=diffusion-dpo
  rapport align rank runs/cup-001                   # one step alone`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return nil
			}
			// That of another step, misspelt: steps that there are take their own arguments.
			return usageError{fmt.Errorf("there is no step %q; want one of %s, and then RUN, or RUN alone for all of them", args[0], strings.Join(wire.AlignSteps()[1:], ", "))}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := g.begin(args)
			if err != nil {
				return err
			}
			a.keeps(g.again(dir, len(args) == 1))
			if err := g.steps(cmd.Context(), dir, wire.AlignSteps()); err != nil {
				return err
			}
			return g.print(dir)
		},
	}
	g.flags(cmd)
	for _, s := range []struct{ name, short string }{
		{wire.AlignRollouts, "Have the policy do episodes, kept with the chains of their chunks"},
		{wire.AlignRank, "Ask people which episodes are better, in the browser"},
		{wire.AlignEncoder, "Align the reward with the answers"},
		{wire.AlignSynthetic, "Rank all episodes by that reward"},
		{wire.AlignTune, "Fine-tune the policy with the rankings"},
		{wire.AlignEvaluate, "Evaluate the policy before and after on fresh starts"},
	} {
		step := &cobra.Command{
			Use:   s.name + " RUN",
			Short: s.short,
			Args: func(_ *cobra.Command, args []string) error {
				if len(args) != 1 {
					return usageError{errors.New("want the folder of an alignment, as runs/cup-001; begin one with: rapport align")}
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := g.check(); err != nil {
					return err
				}
				a.keeps(same)
				if err := g.steps(cmd.Context(), args[0], []string{s.name}); err != nil || s.name != wire.AlignEvaluate {
					return err
				}
				return g.print(args[0])
			},
		}
		g.flags(step)
		cmd.AddCommand(step)
	}
	return cmd
}

func (g *aligning) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&g.person, "person", "browser", "who ranks: browser (a person) | simulated (for experiments)")
	cmd.Flags().StringVar(&g.listen, "listen", defaultPage, "address of the page that asks; port 0 picks a free one")
}

func (g *aligning) check() error {
	if !slices.Contains([]string{"browser", "simulated"}, g.person) {
		return usageError{fmt.Errorf("--person is %q; want browser or simulated", g.person)}
	}
	return nil
}

// begin is the folder of the alignment that args name, or of a new one.
func (g *aligning) begin(args []string) (string, error) {
	if err := g.check(); err != nil {
		return "", err
	}
	if len(args) == 1 {
		return args[0], nil
	}
	c, err := wire.AlignConfig(g.a.file, g.a.environ, g.a.sets)
	if err != nil {
		return "", usageError{err}
	}
	if g.a.file != "" {
		if err := g.a.pins(wire.AlignPinned(c, g.a.file), "alignments have their own"); err != nil {
			return "", err
		}
	}
	g.a.file = "" // from now on it is in the folder, which open goes by
	return wire.BeginAlign(c)
}

// again is the command that goes on with the alignment in dir. What was set for one that was
// there before is not in its folder, and is said again.
func (g *aligning) again(dir string, given bool) string {
	words := []string{"rapport", "align", wire.Quoted(dir)}
	if g.person == "simulated" {
		words = append(words, "--person", g.person)
	}
	if g.listen != "" && g.listen != defaultPage {
		words = append(words, "--listen", wire.Quoted(g.listen))
	}
	if given {
		for _, kv := range g.a.sets {
			words = append(words, "--set", wire.Quoted(kv))
		}
	}
	return strings.Join(words, " ")
}

// steps does some steps, each with the folder for itself, so that the page that asks
// can have it in between.
func (g *aligning) steps(ctx context.Context, dir string, names []string) error {
	bars := newProgress(g.a.stderr)
	defer bars.close()
	for _, name := range names {
		if name == wire.AlignRank && g.person != "simulated" {
			if err := g.ask(ctx, dir, bars); err != nil {
				return err
			}
		}
		note, err := g.step(ctx, dir, name, g.a.options(bars))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(g.a.stdout, "%-10s %s\n", name, note); err != nil {
			return err
		}
	}
	return nil
}

func (g *aligning) step(ctx context.Context, dir, name string, o wire.Options) (note string, err error) {
	al, err := g.open(dir, o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, al.Close()) }()
	return al.Do(ctx, name)
}

// open opens an alignment. What an earlier part of this command was given for a new
// one is said again, and changes nothing.
func (g *aligning) open(dir string, o wire.Options) (*wire.Alignment, error) {
	if g.a.file != "" {
		return nil, usageError{fmt.Errorf("-c %s is for a new alignment; %s goes on as its folder configures it, and --set changes what may be another", g.a.file, dir)}
	}
	al, err := wire.OpenAlign(dir, g.a.environ, g.a.sets, o)
	if wrong := (wire.Wrong{}); errors.As(err, &wrong) {
		return nil, usageError{err}
	}
	if err == nil && g.person == "simulated" {
		al.Simulate()
	}
	return al, err
}

const (
	// counted is how often the answers are counted while the page asks.
	counted = time.Second
	// lingers is how long the page stays once nothing more is asked, so that the last answer can
	// be taken back.
	lingers = 5 * time.Second
	// gone is after how long whoever is not heard of has left the page, which asks every five
	// seconds, and behind another window once a minute.
	gone = 2 * time.Minute
)

// ask serves the page until there are enough answers.
func (g *aligning) ask(ctx context.Context, dir string, bars *progress) error {
	al, err := g.open(dir, g.a.options(newProgress(io.Discard)))
	if err != nil {
		return err
	}
	st, err := al.Stands(ctx)
	if err = errors.Join(err, al.Close()); err != nil || st.Enough() {
		return err
	}
	c := al.Config()
	clips, err := wire.NewClips(dir, nil, nil)
	if err != nil {
		return err
	}
	besides := "please give the others in a browser"
	if st.Answers >= st.Wanted {
		besides = "but " + st.Awaited + " are wanted besides; please have them given in a browser"
	}
	if _, err := fmt.Fprintf(g.a.stdout, "%d of %d answers are there; %s:\n", st.Answers, st.Wanted, besides); err != nil {
		return err
	}
	d := &drivers{a: g.a}
	w := &waiting{count: func(ls []label.Label) wire.Stand { return wire.Stands(ls, c.Align) }, tell: bars.step, again: al.Again}
	o := ask.Options{
		Kinds: wire.RankedKinds(c.Align), Kind: label.Kind(c.Align.Ask), Clips: c.Align.Clips, Shared: 4, Ask: st.Wanted, Reels: wire.Rollouts{Clips: clips, N: c.Align.Rollouts},
		Source: rand.NewPCG(c.Seed, 0), Way: c.Align.Query, Ways: ways(clips, c.Seed),
		Heard: func(ls []label.Label) []label.Label { return wire.Asked(ls, c.Align) }, Count: w.together, Idle: w.idle,
	}
	page, done := context.WithCancel(ctx)
	defer done()
	served := make(chan error, 1)
	go func() { served <- g.a.label(page, d, c, dir, g.listen, o) }()
	b := &foundBook{d: d, dir: dir}
	defer b.close()
	return w.wait(ctx, b, served, done)
}

// waiting waits for the answers that people give at the page.
type waiting struct {
	count func([]label.Label) wire.Stand
	tell  func(stage string, done, total int, note string)
	again func(step string, others ...string) string

	mu   sync.Mutex
	came map[string]came // who, to the page
}

// came is when somebody asked for a question last, and whether none was left.
type came struct {
	at   time.Time
	none bool
}

func (w *waiting) idle(who string, none bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.came == nil {
		w.came = map[string]came{}
	}
	w.came[who] = came{time.Now(), none}
}

// stuck says that of those at the page nobody is left a question, whom st awaits among them: others
// may come.
func (w *waiting) stuck(st wire.Stand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.came, func(_ string, c came) bool { return time.Since(c.at) > gone })
	for _, c := range w.came {
		if !c.none {
			return false
		}
	}
	_, here := w.came[st.Person]
	return len(w.came) > 0 && (st.Awaited == "" || here)
}

// together is what everybody at the page is told of all answers.
func (w *waiting) together(ls []label.Label) ask.Count {
	st := w.count(ls)
	n := ask.Count{Answers: st.Answers, Asked: st.Wanted, Done: st.Enough()}
	switch {
	case n.Done:
		n.Note = fmt.Sprintf("That is all that was asked for: %d answers. Thank you. In some seconds the alignment goes on, and this page ends; until then the last answer can be taken back.", n.Answers)
	case n.Answers >= n.Asked:
		n.Note = fmt.Sprintf("There are %d answers, but %s are wanted besides.", n.Answers, st.Awaited)
	}
	return n
}

// wait counts the answers until there are enough or nothing is left to ask, and ends the page by
// done. served is how that ended.
func (w *waiting) wait(ctx context.Context, b label.Book, served <-chan error, done func()) error {
	tick := time.NewTicker(counted)
	defer tick.Stop()
	var was wire.Stand
	var since time.Time // nothing more is asked
	for {
		select {
		case err := <-served:
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
		ls, err := b.Labels(ctx)
		if errors.Is(err, store.ErrInUse) {
			continue // another command looks at the session, as rapport eval does
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		st := w.count(ls)
		if st != was && ctx.Err() == nil {
			note := ""
			if st.Awaited != "" {
				note = "wanted besides: " + st.Awaited
			}
			w.tell("answers", st.Answers, st.Wanted, note)
			was = st
		}
		if !st.Enough() && !w.stuck(st) {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < lingers {
			continue
		}
		done()
		if err := <-served; err != nil || st.Enough() {
			return err
		}
		return w.spent(st)
	}
}

// spent is the error where everything was asked and too little answered.
func (w *waiting) spent(st wire.Stand) error {
	how := fmt.Sprintf("make more rollouts to ask about: %s", w.again("", fmt.Sprintf("align.rollouts=%d", 2*st.Rollouts)))
	if st.Awaited != "" { // of fewer answers these lack, too
		return fmt.Errorf("nobody at the page is left a question about the %d rollouts, and %s are wanted besides the %d that count; %s, or name somebody else, by align.person", st.Rollouts, st.Awaited, st.Answers, how)
	}
	if st.Answers >= 2 {
		how = fmt.Sprintf("go on with these: %s, or %s", w.again("", fmt.Sprintf("align.labels=%d", st.Answers)), how)
	}
	return fmt.Errorf("nobody at the page is left a question about the %d rollouts, and %d of the %d answers that are wanted count (cannot tell does not); %s", st.Rollouts, st.Answers, st.Wanted, how)
}

// print tells how it went, and where everything lies.
func (g *aligning) print(dir string) (err error) {
	al, err := g.open(dir, g.a.options(newProgress(io.Discard)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, al.Close()) }()
	r, err := al.Result()
	if err != nil {
		return err
	}
	w := g.a.stdout
	fmt.Fprintf(w, "\nasked      %d answers by %s, which decide %d comparisons\n", r.Answers, r.Person, r.Decided)
	fmt.Fprintf(w, "ranked     %d rollouts by %s\n", r.Rollouts, r.By)
	if r.Round == 0 {
		fmt.Fprintf(w, "aligned    not by %s: %s\n\n", r.Aligner, wire.Stays)
	} else {
		fmt.Fprintf(w, "aligned    %s, round %d, KL %.2f nats a chain\n\n", r.Aligner, r.Round, r.KL)
	}
	for _, x := range []struct {
		name          string
		before, after report.Share
	}{
		{"success", r.Before.Success, r.After.Success}, {"preferred", r.Before.Preferred, r.After.Preferred}, {"undesired", r.Before.Undesired, r.After.Undesired},
	} {
		if x.before.Of == 0 {
			continue // a task that is done in one way
		}
		fmt.Fprintf(w, "%-10s before %v\n%-10s after  %v\n", x.name, x.before, "", x.after)
	}
	for _, p := range r.People {
		served := ""
		if p.Served {
			served = ", whom it serves"
		}
		fmt.Fprintf(w, "%-10s finds it better than before at %d of %d starts, worse at %d%s\n", p.Person, p.Better, p.Of, p.Worse, served)
	}
	if r.Worse {
		tried := ""
		if r.By != "labels" {
			tried = "           or let the policy of each round do 20 episodes, which count in the choice of the round,\n" +
				"               " + al.Again("", "align.trials=20") + "\n"
		}
		fmt.Fprintf(w, "\nworse      success fell by more than chance may. Keep the policy of before, and search among its chunks without training,\n"+
			"               rapport eval %s --policy cloned --set policy.diffusion.sampler.kind=best --set policy.diffusion.sampler.draws=8\n%s"+
			"           or align it by comparisons that push less far, beside imitation of what ranks high (docs/align-pipeline.md),\n"+
			"               %s\n"+
			"           or align it by more answers,\n"+
			"               %s\n", wire.Quoted(r.Dir), tried, al.Again("", "align.beta=1", "align.rehearse=64"), al.More(r.Answers))
	}
	_, err = fmt.Fprintf(w, "\npolicy     %s\nrankings   %s\nsession    %s (rapport eval %s)\n", r.Policy, r.Rankings, r.Dir, wire.Quoted(r.Dir))
	return err
}
