package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/combine"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim"
)

// exhibit is an episode as rewards that are compared see it.
type exhibit struct {
	id     string
	traj   []perception.Features // (T+1,) by the session's encoder
	ticks  []record.Tick         // (T+1,) without frames where the recording is a stream
	logged []float64             // (T,); nil for none
	truth  []sim.Truth           // (T+1,); nil where it cannot be had
	film   footage               // to be shown again to other encoders
	torn   error                 // nil where the film is whole; it ends with what is
}

// Len is T.
func (e *exhibit) Len() int { return len(e.traj) - 1 }

// rival is a reward that is compared with others.
type rival struct {
	name, what string
	// rate gives a number a step, or nil where it has nothing to say of an episode.
	rate func(ctx context.Context, e *exhibit) ([]float64, error)
	// scorer rates by the features of the session's encoder alone; nil if it does not.
	scorer reward.Scorer
	// points says that it goes by tracked points, or a part of it does: of what carries none it
	// says nothing, and covered pixels do not move it.
	points bool
}

// ofPoints says whether a reward goes by tracked points.
func ofPoints(s reward.Scorer) bool {
	switch s.(type) {
	case sighted, sightedExplainer, *kagi.Scorer:
		return true
	}
	return false
}

// scored is a rival that looks at the features of the session's encoder.
func scored(name, what string, s reward.Scorer) rival {
	return rival{name: name, what: what, scorer: s, points: ofPoints(s), rate: func(ctx context.Context, e *exhibit) ([]float64, error) {
		dst := make([]float64, e.Len())
		return dst, s.Score(ctx, dst, e.traj)
	}}
}

// bench is what rivals are made from.
type bench struct {
	s       *Session
	parts   parts
	visit   func(dir string) (*Session, error) // another session
	log     *slog.Logger
	earlier []rival // those that were named before
}

// guests are the sessions that are looked at, each of them once.
type guests struct {
	open []*Session
	what string // is done with them
	o    Options
}

func (g *guests) visit(dir string) (*Session, error) {
	for _, s := range g.open {
		if same(dir, s.Dir()) {
			return s, nil
		}
	}
	s, err := visit(dir, judged, g.what, nil, nil, g.o)
	if err == nil {
		g.open = append(g.open, s)
	}
	return s, err
}

func (g *guests) close() error {
	var errs []error
	for _, s := range g.open {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// rivalKind is one way to make a reward to compare.
type rivalKind struct {
	kind, about string
	make        func(ctx context.Context, b *bench, name string, o *choices) (rival, error)
}

// rivalKinds are what --reward NAME=KIND may name. A new reward is one more line.
func rivalKinds() []rivalKind {
	return []rivalKind{
		{"logged", "the rewards that the recording holds", loggedRival},
		{"own", "the session's reward, of whatever kind", ownRival},
		{"rapl", "RAPL's; gamma, cost (cosine, l2) and form (mean, squared) may be other; labels=N aligns anew by the first N comparisons in the answers", raplRival},
		{"frozen", "the same preferred videos in the encoder's own embedding, without what people's answers aligned; gamma, cost, form", frozenRival},
		{"goal", "distance to how the preferred videos end, in the encoder's embedding", learnedRival("goal")},
		{"tcc", "temporal cycle-consistency, with form (transport, goal)", learnedRival("tcc")},
		{"rlhf", "learned from the answers without the preferred videos; the first labels=N comparisons in them, or those of person=NAME alone", rlhfRival},
		{"btt", "learned from answers and ties, of all or of person=NAME; model (rao-kupper, davidson) and its strength (k above 1, or nu; 0: learned); axes=smooth+safe of the answers with these reasons, by weights=1+0.5", bttRival},
		{"heron", "of criteria in the order of their importance, as order=success+force; each decides between two episodes that differ by more than margin deviations (HERON); nobody's answers are asked for", heronRival},
		{"pal", "what person=NAME likes, or without one all have in common, by a model of all who answered (PAL) with so many prototypes; model=b has these follow how an episode begins", palRival},
		{"vpl", "what VPL infers of person=NAME from their answers; of a stranger without", vplRival},
		{"regret", "what person=NAME likes where their answers judge what was made of a start, and not what fell to it (regret), of so many components", regretRival},
		{"gail", "a discriminator of the preferred videos and those that lost", learnedRival("gail")},
		{"vlm", "the reward that rapport pipeline offline-vlm --reward wrote to the file file=NAME, of this session's encoder", vlmRival},
		{"session", "the encoder and the reward of the session in the folder dir", sessionRival},
		{"krc", "signed geometric mean of the rewards of=A+B+..., each from lo to hi; potential is the discount of its shaping", krcRival},
		{"harmonic", "λ-harmonic mean of the rewards of=A+B, each from lo to hi, A with the weight lambda", harmonicRival},
		{"truth", "the simulator's true reward, where the episode can be lived through again", truthRival},
		{"distance", "the simulator's true distance to the goal, negated", distanceRival},
	}
}

// KindsOfRewards lists the kinds that --reward knows, with what they are.
func KindsOfRewards() [][2]string {
	var out [][2]string
	for _, k := range rivalKinds() {
		out = append(out, [2]string{k.kind, k.about})
	}
	return out
}

// usualRivals are compared where nobody says otherwise. A session's own reward bears the
// name of its kind.
func usualRivals(p parts) []string {
	specs := []string{"logged=logged"}
	if p.scorer != nil {
		specs = append(specs, p.taste.kind()+"=own")
	}
	if k := p.taste.kind(); len(p.taste.Experts) == 0 {
		// It learns from no videos, and may have none that anybody preferred.
	} else if k == "rapl" && p.taste.Head != nil {
		specs = append(specs, "frozen=frozen", "rapl-gamma1=rapl:gamma=1", "rapl-l2=rapl:cost=l2,gamma=1")
	} else if k != "features" {
		specs = append(specs, "frozen=frozen")
	}
	return append(specs, "truth=truth")
}

// rivals makes the rewards of the specifications NAME=KIND[:KEY=VALUE,...] in order.
func (b *bench) rivals(ctx context.Context, specs []string) ([]rival, error) {
	for _, spec := range specs {
		name, rest, ok := strings.Cut(spec, "=")
		kind, args, _ := strings.Cut(rest, ":")
		if !ok || name == "" || kind == "" {
			return nil, fmt.Errorf("wire: the reward %q; want NAME=KIND or NAME=KIND:KEY=VALUE,..., as soft=rapl:gamma=1", spec)
		}
		if slices.ContainsFunc(b.earlier, func(r rival) bool { return r.name == name }) {
			return nil, fmt.Errorf("wire: two rewards are called %q", name)
		}
		kinds := rivalKinds()
		i := slices.IndexFunc(kinds, func(k rivalKind) bool { return k.kind == kind })
		if i < 0 {
			var known []string
			for _, k := range kinds {
				known = append(known, k.kind)
			}
			return nil, fmt.Errorf("wire: reward %s: there is no kind %q; there are %s", name, kind, strings.Join(known, ", "))
		}
		o, err := parseChoices(args)
		if err != nil {
			return nil, fmt.Errorf("wire: reward %s: %w", name, err)
		}
		r, err := kinds[i].make(ctx, b, name, o)
		if err = errors.Join(err, o.end()); err != nil {
			return nil, fmt.Errorf("wire: reward %s: %w", name, err)
		}
		b.earlier = append(b.earlier, r)
	}
	return b.earlier, nil
}

// choices are the KEY=VALUE of a reward. Each taker notes what is wrong, and end tells.
type choices struct {
	kv   map[string]string
	errs []error
}

func parseChoices(s string) (*choices, error) {
	o := &choices{kv: map[string]string{}}
	for _, p := range strings.Split(s, ",") {
		if p == "" && s == "" {
			continue
		}
		k, v, ok := strings.Cut(p, "=")
		if _, twice := o.kv[k]; !ok || k == "" || v == "" || twice {
			return nil, fmt.Errorf("%q; want KEY=VALUE, each key once", p)
		}
		o.kv[k] = v
	}
	return o, nil
}

func (o *choices) text(key, otherwise string) string {
	v, ok := o.kv[key]
	if !ok {
		return otherwise
	}
	delete(o.kv, key)
	return v
}

func (o *choices) number(key string, otherwise float64) float64 {
	v, ok := o.kv[key]
	if !ok {
		return otherwise
	}
	delete(o.kv, key)
	x, err := strconv.ParseFloat(v, 64)
	if err != nil || x-x != 0 {
		o.errs = append(o.errs, fmt.Errorf("%s is %q, want a number", key, v))
	}
	return x
}

func (o *choices) end() error {
	for k := range o.kv {
		o.errs = append(o.errs, fmt.Errorf("this kind has no %s", k))
	}
	err := errors.Join(o.errs...)
	clear(o.kv)
	o.errs = nil // told once
	return err
}

func loggedRival(_ context.Context, _ *bench, name string, _ *choices) (rival, error) {
	return rival{name: name, what: "as logged", rate: func(_ context.Context, e *exhibit) ([]float64, error) {
		if len(e.logged) != e.Len() {
			return nil, nil
		}
		return e.logged, nil
	}}, nil
}

func ownRival(_ context.Context, b *bench, name string, _ *choices) (rival, error) {
	if b.parts.scorer == nil {
		return rival{}, errNoTruth
	}
	return scored(name, "the session's reward: "+b.parts.named(b.s.cfg.Reward), b.parts.scorer), nil
}

func raplRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	own := b.parts.taste.kind() == "rapl"
	if _, anew := o.kv["labels"]; anew || !own {
		return learnedRival("rapl")(ctx, b, name, o)
	}
	return otherRAPL(b, name, "the session's reward", b.parts.taste.Head, o)
}

func frozenRival(_ context.Context, b *bench, name string, o *choices) (rival, error) {
	return otherRAPL(b, name, "the encoder's own embedding", nil, o)
}

// otherRAPL compares with the session's preferred videos in another way.
func otherRAPL(b *bench, name, what string, head *rapl.Head, o *choices) (rival, error) {
	t := b.parts.taste
	c := rapl.Config{Cost: t.Cost, Gamma: o.number("gamma", t.Gamma), Head: head}
	cost := o.text("cost", t.Cost.String())
	form := o.text("form", c.Form.String())
	if err := errors.Join(c.Cost.UnmarshalText([]byte(cost)), c.Form.UnmarshalText([]byte(form))); err != nil {
		return rival{}, err
	}
	s, err := rapl.New(t.Experts, c)
	if err != nil {
		return rival{}, err
	}
	if c.Gamma == 0 {
		c.Gamma = rapl.DefaultGamma
	}
	return scored(name, fmt.Sprintf("%s, %s cost, gamma %g, %s", what, cost, c.Gamma, form), t.Sight.judged(s)), nil
}

func sessionRival(ctx context.Context, b *bench, name string, o *choices) (rival, error) {
	dir := o.text("dir", "")
	if dir == "" {
		return rival{}, errors.New("the folder of the session is not said; want dir=runs/group-002")
	}
	s, err := b.visit(dir)
	if err != nil {
		return rival{}, err
	}
	p, err := s.judges(ctx)
	if err != nil {
		return rival{}, err
	}
	return rival{name: name, what: "encoder and reward of " + dir, points: ofPoints(p.scorer), rate: func(ctx context.Context, e *exhibit) ([]float64, error) {
		traj, err := embedded(ctx, s, p, e.film)
		if err != nil || traj == nil {
			return nil, err
		}
		dst := make([]float64, len(traj)-1)
		return dst, p.scorer.Score(ctx, dst, traj)
	}}, nil
}

// lenders are the encoder and the reward of the session that judges. One whose reward
// is the simulator's truth has none for recordings, and lends its encoder alone.
func (s *Session) lenders(ctx context.Context) (parts, error) {
	p, err := s.judges(ctx)
	if errors.Is(err, errNoTruth) {
		p.scorer, err = nil, nil
	}
	return p, err
}

// embedded shows a recording to a session's encoder; nil for one without frames.
func embedded(ctx context.Context, s *Session, p parts, f footage) ([]perception.Features, error) {
	var out Replayed
	w := watcher{p: &projector{s: s, parts: p}, out: &out, gaps: gapCounter{}}
	if err := w.see(ctx, f); err != nil {
		return nil, err
	}
	return w.seen, nil
}

// of finds the rewards of a combination among those named before; points says that some of them
// go by these.
func (b *bench) of(o *choices) (ps []combine.Part, points bool, err error) {
	lo, hi := o.number("lo", -1), o.number("hi", 0)
	for _, n := range strings.Split(o.text("of", ""), "+") {
		i := slices.IndexFunc(b.earlier, func(r rival) bool { return r.name == n })
		if i < 0 || b.earlier[i].scorer == nil {
			return nil, false, fmt.Errorf("of names %q; want rewards of features that were named before, as of=rapl+frozen", n)
		}
		ps = append(ps, combine.Part{Name: n, Scorer: b.earlier[i].scorer, Lo: lo, Hi: hi})
		points = points || b.earlier[i].points
	}
	return ps, points, nil
}

// combined is a rival made of others.
func combined(name, what string, s reward.Scorer, points bool) rival {
	r := scored(name, what, s)
	r.points = points
	return r
}

func krcRival(_ context.Context, b *bench, name string, o *choices) (rival, error) {
	ps, points, err := b.of(o)
	if err != nil {
		return rival{}, err
	}
	s, err := combine.NewKRC(ps, combine.KRCConfig{Potential: o.number("potential", 0), Log: b.log})
	if err != nil {
		return rival{}, err
	}
	return combined(name, fmt.Sprintf("signed geometric mean of %d rewards", len(ps)), s, points), nil
}

func harmonicRival(_ context.Context, b *bench, name string, o *choices) (rival, error) {
	ps, points, err := b.of(o)
	if err != nil {
		return rival{}, err
	}
	if len(ps) != 2 {
		return rival{}, fmt.Errorf("of names %d rewards, want two", len(ps))
	}
	lambda := o.number("lambda", 0.5)
	s, err := combine.NewHarmonic(lambda, ps[0], ps[1], b.log)
	if err != nil {
		return rival{}, err
	}
	return combined(name, fmt.Sprintf("harmonic mean of %s and %s, λ = %g", ps[0].Name, ps[1].Name, lambda), s, points), nil
}

func truthRival(_ context.Context, _ *bench, name string, _ *choices) (rival, error) {
	return rival{name: name, what: "the simulator's true reward", rate: func(_ context.Context, e *exhibit) ([]float64, error) {
		return told(e, func(t sim.Truth) float64 { return t.Reward }), nil
	}}, nil
}

func distanceRival(_ context.Context, _ *bench, name string, _ *choices) (rival, error) {
	return rival{name: name, what: "minus the true distance to the goal, m", rate: func(_ context.Context, e *exhibit) ([]float64, error) {
		return told(e, func(t sim.Truth) float64 { return -t.Distance }), nil
	}}, nil
}

// told reads a number of each step's truth; nil where it is not known.
func told(e *exhibit, f func(sim.Truth) float64) []float64 {
	if len(e.truth) != len(e.traj) {
		return nil
	}
	out := make([]float64, e.Len())
	for i, t := range e.truth[1:] {
		out[i] = f(t)
	}
	return out
}

// finite says that there is a number for every step.
func finite(xs []float64) bool {
	return !slices.ContainsFunc(xs, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}
