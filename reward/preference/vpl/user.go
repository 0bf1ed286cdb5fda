package vpl

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/preference"
)

// lanes are the frames, each with a z, and reads the answers that a bench takes at once.
const (
	lanes = 128
	reads = 8
)

// bench runs the networks.
type bench struct {
	mu                  sync.Mutex
	g                   *nn.Graph
	x, z, r             *nn.Node // (lanes, D), (lanes, Latent), (lanes, 1)
	y                   *nn.Node // (reads, 2D + 1)
	precision, weighted *nn.Node // (reads, Latent)
}

// ready prepares m for use: at most 256 frames of pairs say what is usual.
func (m *Model) ready(pairs []preference.Pair) {
	D := len(m.scale.Mean)
	b := &bench{g: nn.NewGraph()}
	b.x, b.z = b.g.Input(lanes, D), b.g.Input(lanes, m.cfg.Latent)
	b.r = m.rew.Frozen(b.g, b.g.Concat(b.x, b.z))
	b.y = b.g.Input(reads, 2*D+1)
	b.precision, b.weighted = m.evidence(b.g, b.y, b.g.Frozen)
	m.bench = b
	var fs [][]float32
	for _, p := range pairs {
		for _, c := range [2]*preference.Clip{&p.A, &p.B} {
			for t := range c.Len() {
				fs = append(fs, c.Frame(t))
			}
		}
	}
	every := (len(fs) + 255) / 256
	for i := 0; i < len(fs); i += every {
		m.usual = append(m.usual, fs[i])
	}
}

// rewards calls got with the reward of every frame to every z (n, Latent).
func (m *Model) rewards(T int, frame func(int) []float32, zs []float64, got func(t, s int, r float64)) {
	b := m.bench
	b.mu.Lock()
	defer b.mu.Unlock()
	D, L := len(m.scale.Mean), m.cfg.Latent
	n := len(zs) / L
	lane := 0
	flush := func(end int) {
		b.g.ForwardTo(b.r)
		for i := range lane {
			k := end - lane + i
			got(k/n, k%n, float64(b.r.Value[i]))
		}
		lane = 0
	}
	for k := range T * n {
		m.scale.Apply(b.x.Value[lane*D:(lane+1)*D], frame(k/n))
		for j := range L {
			b.z.Value[lane*L+j] = float32(zs[k%n*L+j])
		}
		if lane++; lane == lanes {
			flush(k + 1)
		}
	}
	if lane > 0 {
		flush(T * n)
	}
}

// User is what is known of one person. It implements preference.Model and
// reward.Scorer and is safe for several goroutines.
type User struct {
	m         *Model
	precision []float64 // (Latent,) of z
	weighted  []float64 // (Latent,) precision times mean
	zs        []float64 // (Samples, Latent) draws of z

	once       sync.Once
	zero, unit []float64 // (Samples,) mean and deviation of usual frames' rewards
}

// Stranger is somebody of whom nothing is known but that they are like the others.
func (m *Model) Stranger() *User {
	u := &User{m: m, precision: make([]float64, m.cfg.Latent), weighted: make([]float64, m.cfg.Latent)}
	for j := range u.precision {
		u.precision[j] = 1
	}
	u.draw()
	return u
}

// People lists those fitted to, sorted.
func (m *Model) People() []string {
	var names []string
	for n := range m.people {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// User is somebody fitted to, known by all their answers.
func (m *Model) User(name string) (*User, error) {
	ps, ok := m.people[name]
	if !ok {
		return nil, fmt.Errorf("vpl: nobody named %q was fitted to: begin with a Stranger", name)
	}
	return m.Stranger().Told(ps...)
}

// Told is the same person after more answers. Unknown verdicts tell nothing.
func (u *User) Told(answers ...preference.Pair) (*User, error) {
	m := u.m
	n := &User{m: m, precision: slices.Clone(u.precision), weighted: slices.Clone(u.weighted)}
	var known []preference.Pair
	for _, p := range answers {
		for _, c := range [...]preference.Clip{p.A, p.B} {
			if err := m.scale.Fits(c); err != nil {
				return nil, fmt.Errorf("vpl: %w", err)
			}
		}
		if p.Verdict != preference.Unknown {
			known = append(known, p)
		}
	}
	b, W, L := m.bench, 2*len(m.scale.Mean)+1, m.cfg.Latent
	b.mu.Lock()
	for some := range slices.Chunk(known, reads) {
		for i := range some {
			m.summary(b.y.Value[i*W:(i+1)*W], &some[i])
		}
		b.g.ForwardTo(b.weighted)
		for i := range some {
			for j := range L {
				n.precision[j] += float64(b.precision.Value[i*L+j])
				n.weighted[j] += float64(b.weighted.Value[i*L+j])
			}
		}
	}
	b.mu.Unlock()
	n.draw()
	return n, nil
}

// draw makes the samples of z. All Users share their noise, so that what differs
// between two is who they are.
func (u *User) draw() {
	L := len(u.precision)
	u.zs = make([]float64, len(u.m.noise))
	for i, e := range u.m.noise {
		j := i % L
		u.zs[i] = u.weighted[j]/u.precision[j] + e/math.Sqrt(u.precision[j])
	}
}

// Latent is what is known of z: mean and standard deviation (Latent,).
func (u *User) Latent() (mean, dev []float64) {
	for j, p := range u.precision {
		mean, dev = append(mean, u.weighted[j]/p), append(dev, 1/math.Sqrt(p))
	}
	return mean, dev
}

// utilities writes what c is worth at every sample to dst (Samples,).
func (u *User) utilities(dst []float64, c preference.Clip) error {
	if err := u.m.scale.Fits(c); err != nil {
		return err
	}
	clear(dst)
	T := c.Len()
	u.m.rewards(T, c.Frame, u.zs, func(_, s int, r float64) { dst[s] += r / float64(T) })
	return nil
}

// Utility implements preference.Model: the mean over what the person may be.
func (u *User) Utility(c preference.Clip) (float64, error) {
	us := make([]float64, u.m.cfg.Samples)
	if err := u.utilities(us, c); err != nil {
		return 0, err
	}
	var sum float64
	for _, x := range us {
		sum += x / float64(len(us))
	}
	return sum, nil
}

// Odds implements preference.Model: the mean over what the person may be.
func (u *User) Odds(a, b preference.Clip) (preference.Odds, error) {
	o, _, err := u.odds(a, b)
	return o, err
}

// odds also gives the information, in bits, that the answer holds about z.
func (u *User) odds(a, b preference.Clip) (mean preference.Odds, bits float64, err error) {
	S := u.m.cfg.Samples
	x := make([]float64, 2*S)
	if err := u.utilities(x[:S], a); err != nil {
		return preference.Odds{}, 0, err
	}
	if err := u.utilities(x[S:], b); err != nil {
		return preference.Odds{}, 0, err
	}
	inside := 0.0
	for s := range S {
		o := u.m.cfg.Ties.Odds(x[s]-x[S+s], u.m.cfg.Strength)
		mean.First += o.First / float64(S)
		mean.Second += o.Second / float64(S)
		mean.Tie += o.Tie / float64(S)
		inside += o.Entropy() / float64(S)
	}
	return mean, max(mean.Entropy()-inside, 0), nil
}

// Gain is how many bits the answer to a pair is expected to tell of who the person
// is: the mutual information of answer and z, H(E_z P) − E_z H(P).
func (u *User) Gain(a, b preference.Clip) (float64, error) {
	_, bits, err := u.odds(a, b)
	return bits, err
}

// Ask chooses the pair whose answer tells most, the first of equals.
func (u *User) Ask(candidates []preference.Pair) (index int, bits float64, err error) {
	return preference.Ask(candidates, u.Gain)
}

// calibrate finds the mean and deviation of every sample's rewards of usual frames:
// people's rewards differ in scale, and reinforcement learning with them would too.
func (u *User) calibrate() {
	S := u.m.cfg.Samples
	u.zero, u.unit = make([]float64, S), make([]float64, S)
	n := float64(len(u.m.usual))
	u.m.rewards(len(u.m.usual), func(t int) []float32 { return u.m.usual[t] }, u.zs, func(_, s int, r float64) {
		u.zero[s] += r / n
		u.unit[s] += r * r / n
	})
	for s := range S {
		if u.unit[s] = math.Sqrt(max(u.unit[s]-u.zero[s]*u.zero[s], 0)); !(u.unit[s] > 1e-9) {
			u.unit[s] = 1
		}
	}
}

// Score implements reward.Scorer: the reward of each frame arrived at, with mean 0 and
// deviation 1 over the frames fitted to for every z, and the mean over z.
func (u *User) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	c, err := u.m.scale.Arrived(ctx, "vpl", len(dst), traj)
	if err != nil {
		return err
	}
	u.once.Do(u.calibrate)
	clear(dst)
	u.m.rewards(c.Len(), c.Frame, u.zs, func(t, s int, r float64) {
		dst[t] += (r - u.zero[s]) / u.unit[s] / float64(len(u.zero))
	})
	return nil
}
