package sample

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// Process is what a Search searches in.
type Process struct {
	Chain *diffusion.Chain // over any number of elements
	// Denoiser makes one for so many chunks at once.
	Denoiser func(rows int) (Denoiser, error)
	Len      int // numbers of a chunk, H*k
	// Middle and Half (k,) are what -1 to 1 of the normalised scale stand for; nil:
	// themselves.
	Middle, Half []float32
}

// Search draws chunks. It is used by one goroutine.
type Search struct {
	cfg    Config
	chain  *diffusion.Chain
	length int
	mid    []float32
	half   []float32
	reward Reward
	climb  Gradient // nil where reward has no gradient

	levels []*level // from the dearest to the plain sample
	pace   *Pace
	seen   []float32 // what the rewards are asked for, of the chunk under way

	// of FK, see fk.go
	logw, weight, value, before, best, sum, prod []float64
	from                                         []int
	reno                                         *reno
}

// level is a number of particles.
type level struct {
	n                        int // particles
	den                      Denoiser
	x, out, guess, push, act []float32 // (n, H, k)
	grad, back               []float32
	value                    []float64 // (n,)
	cost                     *float64  // of Pace.costs
}

// NewSearch returns a Search in p by reward. Guided, NRG and ReNO want a Gradient.
func NewSearch(p Process, c Config, reward Reward) (*Search, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.complete()
	s := &Search{cfg: c, chain: p.Chain, length: p.Len, mid: p.Middle, half: p.Half, reward: reward}
	s.climb, _ = reward.(Gradient)
	if c.Kind != Plain && reward == nil {
		return nil, errors.New("sample: no reward to search by: give one, or take the plain sampler")
	}
	switch {
	case (c.Kind == Guided || c.Kind == NRG || c.Kind == ReNO) && s.climb == nil:
		return nil, fmt.Errorf("sample: %v wants a reward with a gradient, this one only tells values: take best or fk", c.Kind)
	case c.Kind == NRG && !p.Chain.Flows():
		return nil, errors.New("sample: nrg wants a flow, and the policy is a diffusion: take guided")
	case c.Kind == Guided && p.Chain.Flows():
		return nil, errors.New("sample: guided wants a diffusion, and the policy is a flow: take nrg")
	}
	if c.Kind == FK || c.Kind == ReNO {
		_, _, _, _, sigma := p.Chain.Affine(0)
		if c.Kind == FK && c.N > 1 && p.Chain.Steps() > 1 && sigma == 0 {
			return nil, errors.New("sample: fk wants a chain that adds noise on the way, or resampled particles stay one: set Draw.Eta to 1 or Method to DDPM, or take best")
		}
		if c.Kind == ReNO && !p.Chain.Flows() && sigma != 0 {
			return nil, errors.New("sample: reno wants a chain without noise on the way: DDIM with Eta 0, or a flow")
		}
	}
	n := 1
	if c.Kind == Best || c.Kind == FK {
		n = c.N
	}
	for ; ; n /= 2 {
		l := &level{n: n}
		var err error
		if l.den, err = p.Denoiser(n); err != nil {
			return nil, fmt.Errorf("sample: %w", err)
		}
		for _, a := range []*[]float32{&l.x, &l.out, &l.guess, &l.push, &l.act, &l.grad, &l.back} {
			*a = make([]float32, n*p.Len)
		}
		l.value = make([]float64, n)
		s.levels = append(s.levels, l)
		if n == 1 {
			break
		}
	}
	n = s.levels[0].n
	for _, a := range []*[]float64{&s.logw, &s.weight, &s.value, &s.before, &s.best, &s.sum, &s.prod} {
		*a = make([]float64, n)
	}
	s.from = make([]int, n)
	if s.pace = c.Pace; s.pace == nil {
		s.pace = &Pace{}
	}
	if len(s.pace.costs) != len(s.levels) { // of none, or of another search
		*s.pace = Pace{costs: make([]float64, len(s.levels))}
	}
	for i, l := range s.levels {
		l.cost = &s.pace.costs[i]
	}
	if c.Kind == ReNO {
		s.reno = newReno(p.Chain.Steps(), p.Len)
	}
	return s, nil
}

// units writes chunks of the normalised scale as the view shows them.
func (s *Search) units(dst, x []float32) {
	if s.mid == nil {
		copy(dst, x)
		return
	}
	k := len(s.mid)
	for i, v := range x {
		dst[i] = v*s.half[i%k] + s.mid[i%k]
	}
}

// values rates the chunks x of l.
func (s *Search) values(l *level, x []float32) {
	s.units(l.act, x)
	s.reward.Value(l.value, l.act, s.seen)
	for i, v := range l.value {
		if math.IsNaN(v) {
			l.value[i] = math.Inf(-1) // never chosen
		}
	}
}

// climbs writes to l.grad the reward's gradient at x of l, on the normalised scale.
// A gradient that is not finite is none.
func (s *Search) climbs(l *level, x []float32) {
	s.units(l.act, x)
	s.climb.Grad(l.value, l.grad, l.act, s.seen)
	bad := false
	for i := range l.grad {
		if s.half != nil {
			l.grad[i] *= s.half[i%len(s.half)]
		}
		d := l.grad[i] - l.grad[i]
		bad = bad || d != d
	}
	if bad {
		clear(l.grad)
	}
}

// Draw writes to dst (H, k) a chunk as the view shows actions for the history seen
// (To, D), of which the denoisers know. first says that it is an episode's first. It
// does not allocate.
func (s *Search) Draw(dst, seen []float32, first bool, rng *rand.Rand) {
	s.start()
	s.draw(dst, seen, first, rng)
}

// draw is Draw within a budget that has begun.
func (s *Search) draw(dst, seen []float32, first bool, rng *rand.Rand) {
	s.seen = seen
	kind := s.cfg.Kind
	if kind == ReNO && !first && !s.cfg.Repeat {
		kind = Plain
	}
	at := len(s.levels) - 1
	if kind == Best || kind == FK {
		at = s.affordable()
	}
	plain := at == len(s.levels)-1 && s.levels[0].n > 1
	s.pace.count(at, plain)
	l := s.levels[at]
	for i := range l.x {
		l.x[i] = float32(rng.NormFloat64())
	}
	var x []float32
	switch kind {
	case ReNO:
		x = s.improve(l)
	default:
		x = s.run(l, kind, rng)
	}
	s.stop()
	s.units(dst, x)
}

// run takes the chain's steps from the noise in l.x and returns the chunk chosen.
func (s *Search) run(l *level, kind Kind, rng *rand.Rand) []float32 {
	K := s.chain.Steps()
	if kind == FK {
		s.weigh(l)
	}
	faded := false
	for i := range K {
		if l.n > 1 && s.short(l, K-i) { // the tick would be missed: go on with the likeliest few
			l = s.fewer(l, i, K-i)
		}
		began := s.now()
		l.den.Predict(l.out, l.x, s.chain.Time(i))
		var push []float32
		if (kind == Guided || kind == NRG) && s.cfg.Scale > 0 {
			switch {
			case !s.timed():
				push = s.guide(l, i, kind)
			case *l.cost == 0: // the first step of all shows what a plain one costs
			case s.left() < *l.cost*float64(K-i)*margin+s.pace.pull:
				if s.pace.cut(); !faded { // once a chunk, so that guidance comes back
					s.pace.pull, faded = s.pace.pull*fade, true
				}
			default:
				before := s.now()
				push = s.guide(l, i, kind)
				s.pace.pull = max(s.pace.pull*fade, (s.now() - before).Seconds())
			}
		}
		steer := kind == FK && i+1 < K && i >= s.cfg.First && (i-s.cfg.First)%s.cfg.Every == 0 && l.n > 1
		if steer || l.n > 1 && s.timed() {
			s.chain.Guess(i, l.guess, l.x, l.out)
		}
		s.chain.Back(i, l.x, l.out, push, rng)
		if steer {
			s.values(l, l.guess)
			s.steer(l, rng)
		}
		if push == nil { // guidance is what is left out when short of time, so its cost is not the plain step's
			s.took(l, began)
		}
	}
	if l.n == 1 {
		return l.x
	}
	s.values(l, l.x)
	if kind == FK && s.cfg.Tilted {
		for i := range l.n {
			s.logw[i] += s.potential(i, l.value[i], true)
		}
		s.normalise(l.n)
		return l.x[s.pick(l.n, rng)*s.length:][:s.length]
	}
	return l.x[s.top(l)*s.length:][:s.length]
}

// top is the particle that the reward likes best.
func (s *Search) top(l *level) int {
	top := 0
	for i, v := range l.value {
		if v > l.value[top] {
			top = i
		}
	}
	return top
}

// Metrics tells what was drawn so far.
func (s *Search) Metrics() []policy.Metric { return s.pace.metrics() }

// Config is the search's, complete.
func (s *Search) Config() Config { return s.cfg }
