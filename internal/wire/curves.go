package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/rlpd"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
	"github.com/rapport-rl/rapport/sim/xmagical"
)

// CurveStudy says what is learned in the world of two dimensions: by each kind of
// reward a policy that sees the world's state, as in XIRL (arXiv:2106.03911), while
// the reward sees its pictures.
type CurveStudy struct {
	Kinds    []string // values of reward.kind; and bc, which clones the prior alone
	Labels   int      // comparisons answered
	From     string   // robot.embodiment that encoder and reward are learnt of; "": the configured one
	Pile     int      // rollouts that may be asked about
	Ticks    int      // of learning
	Every    int      // ticks between evaluations
	Evaluate int      // episodes of an evaluation
	// Keep takes every curve as soon as it is there, of which an error ends the study; nil: nobody.
	Keep func(Curve) error
}

// CurvePoint is an evaluation.
type CurvePoint struct {
	Ticks    int     // learned from before it
	Success  float64 // share of the episodes, by the truth
	Distance float64 // mean true distance at the end, m
}

// Curve is what a kind of reward came to.
type Curve struct {
	Kind string
	// Rho is the mean over the prior's rollouts of Spearman's correlation between
	// reward and minus the true distance; 0 for bc.
	Rho    float64
	Points []CurvePoint
}

// stacked is how many states a policy sees at once, the newest last, as in XIRL.
const stacked = 3

// Curves learns by each kind of reward. All share prior rollouts of mixed quality,
// encoder and answers. It depends on c, above all its seed, and st alone.
func Curves(ctx context.Context, c config.Config, st CurveStudy, tell Progress) ([]Curve, error) {
	if !flat(c) {
		return nil, errors.New("wire: learning curves are of the world xmagical; set robot.world=xmagical")
	}
	if st.Ticks < c.Robot.Horizon || st.Every < c.Robot.Horizon || st.Evaluate < 1 || st.Labels < 4 || st.Pile < 1 {
		return nil, fmt.Errorf("wire: %d ticks, evaluations of %d episodes every %d ticks, %d labels, %d rollouts; want at least an episode of %d ticks each, and 4 labels", st.Ticks, st.Evaluate, st.Every, st.Labels, st.Pile, c.Robot.Horizon)
	}
	for _, k := range st.Kinds {
		if k != "bc" && !slices.Contains(Studied(), k) {
			return nil, fmt.Errorf("wire: no reward of kind %q is learned here; want some of bc, %v", k, Studied())
		}
	}
	prior, err := collect(ctx, c, tell)
	if err != nil {
		return nil, err
	}
	l := &flatLab{c: c, st: st, tell: tell}
	shown := c
	seen := prior
	if st.From != "" && st.From != c.Robot.Body {
		shown.Robot.Body = st.From
		if seen, err = collect(ctx, shown, tell); err != nil {
			return nil, err
		}
	}
	if l.eyes, _, err = trainEyes(ctx, shown, seen, tell); err != nil {
		return nil, err
	}
	if err := look(ctx, l.eyes, seen, tell); err != nil {
		return nil, err
	}
	if shown.Robot.Body != c.Robot.Body {
		if err := look(ctx, l.eyes, prior, tell); err != nil {
			return nil, err
		}
	}
	more, err := crew{cfg: shown, of: online, from: 1 << 20, eyes: l.eyes}.collect(ctx, st.Pile, func(n int) { tell("rollouts", n, st.Pile, "") })
	if err != nil {
		return nil, err
	}
	if err := l.ask(append(slices.Clone(seen), more...)); err != nil {
		return nil, err
	}
	if err := l.restate(ctx, prior); err != nil {
		return nil, err
	}
	var out []Curve
	for _, kind := range st.Kinds {
		cv, err := l.curve(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("wire: %s: %w", kind, err)
		}
		out = append(out, cv)
		if st.Keep != nil {
			if err := st.Keep(cv); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// flatLab is what the curves of a seed share.
type flatLab struct {
	c    config.Config
	st   CurveStudy
	tell Progress
	eyes eyes

	experts, liked, rest []rapl.Video
	triplets             []rapl.Triplet

	view  view.Config
	prior []demo // with states instead of features in the episodes
	seen  [][]perception.Features
}

// ask has the person look at rollouts.
func (l *flatLab) ask(pile []demo) error {
	truths, videos, err := sightings(nil, pile)
	if err != nil {
		return err
	}
	who := person.New(rand.NewPCG(draw(l.c.Seed, people, -1), 0), 0)
	for _, i := range who.Pick(truths, l.c.Reward.Experts) {
		l.experts = append(l.experts, videos[i])
	}
	if len(l.experts) == 0 {
		return errors.New("wire: the person likes none of the rollouts; raise demos.good")
	}
	l.liked, l.rest = parted(who, truths, videos)
	for _, a := range who.Triplets(truths, l.st.Labels) {
		l.triplets = append(l.triplets, rapl.Triplet{Anchor: videos[a.Anchor], Better: videos[a.Better], Worse: videos[a.Worse]})
	}
	if len(l.triplets) < l.st.Labels {
		return fmt.Errorf("wire: the person could answer %d of %d comparisons; take more rollouts", len(l.triplets), l.st.Labels)
	}
	return nil
}

// restate plays the prior's commands again, which gives its states.
func (l *flatLab) restate(ctx context.Context, prior []demo) error {
	w, err := l.world(false)
	if err != nil {
		return err
	}
	defer w.Close()
	for i, d := range prior {
		l.seen = append(l.seen, d.episode.Trajectory())
		e := d.episode
		e.Inputs = slices.Clone(e.Inputs)
		w.Start(draw(l.c.Seed, demonstrations, i))
		var s stack
		for t := range e.Inputs {
			if t > 0 {
				if _, err := w.Step(ctx, e.Applied[t-1]); err != nil {
					return err
				}
			}
			e.Inputs[t] = s.input(w, t)
		}
		end, want := w.Truth().Distance, d.truth[len(d.truth)-1].Distance
		if end != want {
			return fmt.Errorf("wire: demonstration %d ended at a distance of %g m and, played again, of %g", i, want, end)
		}
		l.prior = append(l.prior, demo{episode: e, truth: d.truth})
		l.view = l.viewOf(len(e.Inputs[0].Features.Embed))
	}
	return nil
}

// viewOf is what policies see and command: the stacked states and the clock.
func (l *flatLab) viewOf(n int) view.Config {
	v := viewConfig(l.c, n)
	v.Place, v.Heading, v.Fingers = nil, false, false
	return v
}

// world is the configured one, with or without cameras.
func (l *flatLab) world(draws bool) (*xmagical.World, error) {
	w, err := newWorld(l.c)
	if err != nil {
		return nil, err
	}
	xw := w.(*xmagical.World)
	if draws {
		return xw, nil
	}
	xc := xw.Config()
	xc.Cameras = []xmagical.Camera{}
	return xmagical.New(xc)
}

// stack holds the last states.
type stack struct{ rows [stacked][]float64 }

// input is what a policy sees now. Before the first tick the world stood still.
func (s *stack) input(w *xmagical.World, t int) policy.Input {
	now := w.AppendState(nil)
	if t == 0 {
		for i := range s.rows {
			s.rows[i] = now
		}
	}
	copy(s.rows[:], s.rows[1:])
	s.rows[stacked-1] = now
	in := policy.Input{Step: t}
	for _, r := range s.rows {
		for _, v := range r {
			in.Features.Embed = append(in.Features.Embed, float32(v))
		}
	}
	return in
}

// play is an episode by pi. The features are nil if the world draws nothing.
func (l *flatLab) play(ctx context.Context, w *xmagical.World, pi player, seed uint64, n int, sees bool) (policy.Episode, []perception.Features, []sim.Truth, error) {
	e := policy.Episode{ID: fmt.Sprintf("curve-%06d", n), Seq: uint64(n), Seed: seed}
	var fs []perception.Features
	var truths []sim.Truth
	obs, err := w.ResetSeed(ctx, seed)
	pi.Begin(uint64(n))
	var s stack
	for t := 0; ; t++ {
		if err != nil {
			return e, nil, nil, err
		}
		in := s.input(w, t)
		e.Inputs, truths = append(e.Inputs, in), append(truths, w.Truth())
		if sees {
			f, err := l.eyes.Extract(ctx, obs.Frames)
			if err != nil {
				return e, nil, nil, err
			}
			fs = append(fs, f)
		}
		if t == l.c.Robot.Horizon {
			return e, fs, truths, nil
		}
		var c robot.Command
		if c, err = pi.Act(ctx, in); err != nil {
			return e, nil, nil, err
		}
		if obs, err = w.Step(ctx, c); err == nil {
			e.Applied, e.By, e.Version = append(e.Applied, obs.Applied), append(e.By, obs.By), append(e.Version, 0)
		}
	}
}

// scorer learns a kind of reward.
func (l *flatLab) scorer(ctx context.Context, kind string) (reward.Scorer, error) {
	rc := l.c.Reward
	rc.Kind = kind
	t := taste{Version: tasteVersion, Kind: kind, Experts: l.experts, Gamma: rc.Gamma}
	if err := t.Cost.UnmarshalText([]byte(rc.Cost)); err != nil {
		return nil, err
	}
	if config.Comparing(kind) {
		rep, err := t.compare(ctx, rc, l.c.Seed, l.triplets)
		if err != nil {
			return nil, err
		}
		l.tell("reward "+kind, 1, 1, fmt.Sprintf("%.0f %% of the held-out answers told right", 100*rep.After.Accuracy))
	}
	if err := worded(rc, len(l.c.Robot.Cameras), l.experts[0].D); err != nil {
		return nil, err
	}
	if err := t.learn(ctx, rc, draw(l.c.Seed, networks, 3), l.liked, l.rest); err != nil {
		return nil, err
	}
	return t.scorer()
}

// relabelled scores an episode, before it is brought to the scale of the prior's.
func relabelled(ctx context.Context, r reward.Scorer, fs []perception.Features, truths []sim.Truth) ([]float64, error) {
	dst := make([]float64, len(truths)-1)
	if _, ok := r.(truth); !ok {
		return dst, r.Score(ctx, dst, fs)
	}
	for t := range dst {
		dst[t] = truths[t+1].Reward
	}
	return dst, nil
}

// curve learns by one kind of reward. Each is brought to mean 0 and deviation 1 over
// the prior, so that no kind has another temperature than the others; the episodes
// are all of one length, so that a constant changes nothing.
func (l *flatLab) curve(ctx context.Context, kind string) (Curve, error) {
	cv := Curve{Kind: kind}
	if kind == "bc" {
		return l.cloned(ctx)
	}
	r, err := l.scorer(ctx, kind)
	if err != nil {
		return cv, err
	}
	learner, err := rlpd.New(l.learner(), nil)
	if err != nil {
		return cv, err
	}
	defer learner.Close()
	var all []float64
	rewards := make([][]float64, len(l.prior))
	var rhos []float64
	for i, d := range l.prior {
		if rewards[i], err = relabelled(ctx, r, l.seen[i], d.truth); err != nil {
			return cv, err
		}
		all = append(all, rewards[i]...)
		if rho := correlation(rewards[i], d.truth); !math.IsNaN(rho) {
			rhos = append(rhos, rho)
		}
	}
	cv.Rho = stat.Mean(rhos, nil)
	mean, sd := stat.MeanStdDev(all, nil)
	level := func(rs []float64) {
		for i := range rs {
			rs[i] = (rs[i] - mean) / max(sd, 1e-9)
		}
	}
	for i, d := range l.prior {
		level(rewards[i])
		d.episode.Origin, d.episode.Rewards = policy.Demo, rewards[i]
		if err := learner.Add(ctx, d.episode); err != nil {
			return cv, err
		}
	}
	_, known := r.(truth)
	w, err := l.world(!known)
	if err != nil {
		return cv, err
	}
	defer w.Close()
	pi, err := newPlayer(ctx, l.c, l.view, false, true)
	if err != nil {
		return cv, err
	}
	T := l.c.Robot.Horizon
	for n, ticks := 0, 0; ; n++ {
		// A round is as many gradient steps as an episode has ticks.
		if _, err := learner.Update(ctx); err != nil {
			return cv, err
		}
		ps, err := learner.Latest(ctx)
		if err != nil {
			return cv, err
		}
		if ticks/st(l.st.Every, T) > (ticks-T)/st(l.st.Every, T) || n == 0 || ticks >= l.st.Ticks {
			p, err := l.judge(ctx, ps)
			if err != nil {
				return cv, err
			}
			p.Ticks = ticks
			cv.Points = append(cv.Points, p)
			l.tell("learn by "+kind, ticks, l.st.Ticks, fmt.Sprintf("success %.0f %%, distance %.2f m", 100*p.Success, p.Distance))
		}
		if ticks >= l.st.Ticks {
			return cv, nil
		}
		if err := pi.Load(ps); err != nil {
			return cv, err
		}
		e, fs, truths, err := l.play(ctx, w, pi, draw(l.c.Seed, online, n), n, !known)
		if err != nil {
			return cv, err
		}
		if e.Rewards, err = relabelled(ctx, r, fs, truths); err != nil {
			return cv, err
		}
		level(e.Rewards)
		if err := learner.Add(ctx, e); err != nil {
			return cv, err
		}
		ticks += T
	}
}

// st is every, as whole episodes of T ticks.
func st(every, T int) int { return max(1, every/T) * T }

// learner is RLPD, small: XIRL's networks are 1024 wide.
func (l *flatLab) learner() rlpd.Config {
	c := l.c.Learner
	const utd = 2
	return rlpd.Config{
		Arch:  bc.Arch{View: l.view, Hidden: l.c.Policy.Hidden},
		Gamma: 0.97, Batch: c.Batch, UTD: utd, Round: max(1, l.c.Robot.Horizon/utd),
		Critics: 2, CriticHidden: c.Hidden, CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3,
		Steps: c.Steps, Alpha: 0.1, Finite: true, Seed: draw(l.c.Seed, networks, 4),
	}
}

// cloned imitates the prior.
func (l *flatLab) cloned(ctx context.Context) (Curve, error) {
	cv := Curve{Kind: "bc"}
	var es []policy.Episode
	for _, d := range l.prior {
		d.episode.Origin = policy.Demo
		es = append(es, d.episode)
	}
	net, _, err := bc.Train(ctx, bc.Config{Arch: bc.Arch{View: l.view, Hidden: l.c.Policy.Hidden}, Steps: l.c.Policy.Clone.Steps, Batch: l.c.Policy.Clone.Batch,
		LR: l.c.Policy.Clone.Rate, Seed: draw(l.c.Seed, networks, 1)}, es, nil)
	if err != nil {
		return cv, err
	}
	ps, err := net.Encode(1)
	if err != nil {
		return cv, err
	}
	p, err := l.judge(ctx, ps)
	cv.Points = []CurvePoint{p}
	return cv, err
}

// judge evaluates parameters without exploration, always on the same seeds.
func (l *flatLab) judge(ctx context.Context, ps policy.Params) (CurvePoint, error) {
	var p CurvePoint
	w, err := l.world(false)
	if err != nil {
		return p, err
	}
	defer w.Close()
	pi, err := newPlayer(ctx, l.c, l.view, false, false)
	if err != nil {
		return p, err
	}
	if err := pi.Load(ps); err != nil {
		return p, err
	}
	n := float64(l.st.Evaluate)
	for i := range l.st.Evaluate {
		_, _, truths, err := l.play(ctx, w, pi, draw(l.c.Seed, evaluation, i), i, false)
		if err != nil {
			return p, err
		}
		end := truths[len(truths)-1]
		p.Distance += end.Distance / n
		if end.Success {
			p.Success += 1 / n
		}
	}
	return p, nil
}
