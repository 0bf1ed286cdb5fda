package preference

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
)

// Net rewards frames by an ensemble of small networks over frozen features, and
// implements Model and reward.Scorer. It is safe for several goroutines.
type Net struct {
	cfg   Config
	width int
	scale Scale
	// Of the clips fitted to:
	length     float64   // mean frames, T̄
	zero, unit []float64 // (E,) mean and standard deviation of each member's rewards
	mlp        *nn.MLP
	raw        *nn.Param // (E,) what the tie strengths are made of
	pool       sync.Pool // of *bench
}

// rows are frames that a bench takes at once.
const rows = 64

// bench computes the rewards of frames.
type bench struct {
	g    *nn.Graph
	x, r *nn.Node // (rows, D), (E, rows, 1)
}

func newNet(cfg Config, width, members int, rng *rand.Rand) *Net {
	n := &Net{cfg: cfg, width: width, scale: Scale{Mean: make([]float32, width), Factor: make([]float32, width)}, length: 1}
	// Output weights of a tenth: the first answers are all near even.
	n.mlp = nn.NewMLP("reward", nn.MLPConfig{In: width, Hidden: cfg.Hidden, Out: 1, Members: members, OutScale: 0.1}, rng)
	n.raw = nn.NewParam("strength", members)
	for e := range members {
		n.zero, n.unit = append(n.zero, 0), append(n.unit, 1)
		n.raw.Data[e] = float32(inverseSoftplus(cfg.Strength - cfg.Ties.least()))
	}
	n.pool.New = func() any {
		b := &bench{g: nn.NewGraph()}
		b.x = b.g.Input(rows, width)
		b.r = n.mlp.Frozen(b.g, b.x)
		return b
	}
	return n
}

// least is what strengths are above.
func (t Ties) least() float64 {
	if t == RaoKupper {
		return 1
	}
	return 0
}

func inverseSoftplus(y float64) float64 {
	if y <= 0 {
		return 0
	}
	return y + math.Log(-math.Expm1(-y))
}

// strength is k or ν of member e, and its derivative by the raw parameter.
func (n *Net) strength(e int) (k, slope float64) {
	if n.cfg.Ties == BradleyTerry {
		return 0, 0
	}
	s := float64(n.raw.Data[e])
	return n.cfg.Ties.least() + softplus(s), sigmoid(s)
}

// look takes what frames are standardised by, and the mean length.
func (n *Net) look(pairs []Pair) {
	n.scale = NewScale(pairs)
	frames := 0
	for _, p := range pairs {
		frames += p.A.Len() + p.B.Len()
	}
	n.length = float64(frames) / float64(2*len(pairs))
}

// calibrate makes every member's rewards of the frames fitted to have mean 0 and
// standard deviation 1: Bradley-Terry leaves both open.
func (n *Net) calibrate(pairs []Pair) {
	E := len(n.zero)
	sum, square := make([]float64, E), make([]float64, E)
	frames := 0
	for _, p := range pairs {
		for _, c := range [2]*Clip{&p.A, &p.B} {
			T := c.Len()
			frames += T
			n.each(T, func(t int) []float32 { return c.Frame(t) }, func(_, e int, r float64) {
				sum[e] += r
				square[e] += r * r
			})
		}
	}
	for e := range E {
		m := sum[e] / float64(frames)
		n.zero[e] = m
		n.unit[e] = math.Sqrt(max(square[e]/float64(frames)-m*m, 0))
		if !(n.unit[e] > 1e-9) {
			n.unit[e] = 1
		}
	}
}

// each computes the members' raw rewards of T frames, frame by frame, member by
// member.
func (n *Net) each(T int, frame func(t int) []float32, got func(t, e int, r float64)) {
	b := n.pool.Get().(*bench)
	defer n.pool.Put(b)
	for from := 0; from < T; from += rows {
		m := min(rows, T-from)
		for i := range m {
			n.scale.Apply(b.x.Value[i*n.width:(i+1)*n.width], frame(from+i))
		}
		b.g.ForwardTo(b.r)
		for i := range m {
			for e := range n.zero {
				got(from+i, e, float64(b.r.Value[e*rows+i]))
			}
		}
	}
}

// Members is the number of networks.
func (n *Net) Members() int { return len(n.zero) }

// Strength is the mean k or ν of the members; 0 without ties.
func (n *Net) Strength() float64 {
	var s float64
	for e := range n.zero {
		k, _ := n.strength(e)
		s += k / float64(len(n.zero))
	}
	return s
}

// utilities writes what each member thinks c is worth, in units of a Bradley-Terry
// model, to dst (E,).
func (n *Net) utilities(dst []float64, c Clip) error {
	if err := n.scale.Fits(c); err != nil {
		return err
	}
	clear(dst)
	T := c.Len()
	share := 1 / n.length
	if n.cfg.Return == Mean {
		share = 1 / float64(T)
	}
	n.each(T, c.Frame, func(_, e int, r float64) { dst[e] += share * r })
	return nil
}

// Utility implements Model: the mean of the members.
func (n *Net) Utility(c Clip) (float64, error) {
	u, _, err := n.Worth(c)
	return u, err
}

// Worth is Utility with the standard deviation between members, their disagreement.
func (n *Net) Worth(c Clip) (utility, spread float64, err error) {
	u := make([]float64, len(n.zero))
	if err := n.utilities(u, c); err != nil {
		return 0, 0, err
	}
	utility, spread = moments(u)
	return utility, spread, nil
}

// Odds implements Model: the mean of the members' odds.
func (n *Net) Odds(a, b Clip) (Odds, error) {
	u := make([]float64, 2*len(n.zero))
	ua, ub := u[:len(n.zero)], u[len(n.zero):]
	if err := n.utilities(ua, a); err != nil {
		return Odds{}, err
	}
	if err := n.utilities(ub, b); err != nil {
		return Odds{}, err
	}
	var o Odds
	c := 1 / float64(len(n.zero))
	for e := range n.zero {
		k, _ := n.strength(e)
		p := n.cfg.Ties.Odds(ua[e]-ub[e], k)
		o.First += c * p.First
		o.Second += c * p.Second
		o.Tie += c * p.Tie
	}
	return o, nil
}

// Disagreement is the variance between members of the chance that a is better than
// b, given that one is: Christiano et al. (section 2.2.4) ask about the pairs in
// which it is largest.
func (n *Net) Disagreement(a, b Clip) (float64, error) {
	E := len(n.zero)
	u := make([]float64, 2*E)
	if err := n.utilities(u[:E], a); err != nil {
		return 0, err
	}
	if err := n.utilities(u[E:], b); err != nil {
		return 0, err
	}
	for e := range E {
		u[e] = sigmoid(u[e] - u[E+e])
	}
	_, s := moments(u[:E])
	return s * s, nil
}

// Frames writes the reward of every frame to dst (T,), in the unit of Score but
// without pessimism, and the members' disagreement to spread (T,) unless it is nil.
func (n *Net) Frames(dst, spread []float64, c Clip) error {
	if err := n.scale.Fits(c); err != nil {
		return err
	}
	if len(dst) != c.Len() || spread != nil && len(spread) != c.Len() {
		return fmt.Errorf("preference: room for %d rewards and %d spreads of %d frames", len(dst), len(spread), c.Len())
	}
	n.frames(dst, spread, c.Frame)
	return nil
}

func (n *Net) frames(dst, spread []float64, frame func(int) []float32) {
	E := float64(len(n.zero))
	clear(dst)
	clear(spread) // sums of squares first
	n.each(len(dst), frame, func(t, e int, r float64) {
		z := (r - n.zero[e]) / n.unit[e]
		dst[t] += z / E
		if spread != nil {
			spread[t] += z * z / E
		}
	})
	for t := range spread {
		spread[t] = math.Sqrt(max(spread[t]-dst[t]*dst[t], 0))
	}
}

// Score implements reward.Scorer. Rewards have mean 0 and standard deviation 1 over
// the frames of the labelled clips, less Config.Pessimism times the disagreement.
// As everywhere the first feature, seen right after the reset, is not rated.
func (n *Net) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if len(dst) < 1 || len(traj) != len(dst)+1 {
		return fmt.Errorf("preference: %d features for %d rewards, want one more and at least two", len(traj), len(dst))
	}
	for t, f := range traj[1:] {
		if len(f.Embed) != n.width {
			return fmt.Errorf("preference: frame %d: %d features, want %d: was it embedded by another encoder?", t+1, len(f.Embed), n.width)
		}
		for j, x := range f.Embed {
			if x-x != 0 {
				return fmt.Errorf("preference: frame %d: feature[%d] is %v", t+1, j, x)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var spread []float64
	if n.cfg.Pessimism > 0 {
		spread = make([]float64, len(dst))
	}
	n.frames(dst, spread, func(t int) []float32 { return traj[t+1].Embed })
	for t := range spread {
		dst[t] -= n.cfg.Pessimism * spread[t]
	}
	return nil
}

// moments are the mean and the standard deviation of x.
func moments(x []float64) (mean, dev float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		dev += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, math.Sqrt(dev)
}
