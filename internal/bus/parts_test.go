package bus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// pool is a small extractor: means of a grid of blocks, and the brightest pixel
// as a keypoint.
type pool struct{ grid int }

func (p pool) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	if len(fs) == 0 {
		return perception.Features{}, fmt.Errorf("pool: no frames: %w", robot.ErrStale)
	}
	if err := ctx.Err(); err != nil {
		return perception.Features{}, err
	}
	out := perception.Features{Stamp: fs[0].Stamp}
	for _, f := range fs {
		sums := make([]float32, p.grid*p.grid)
		best, bx, by := -1, 0, 0
		for y := range f.H {
			for x := range f.W {
				b := f.Pix[3*(y*f.W+x):]
				v := int(b[0]) + 2*int(b[1]) + 3*int(b[2])
				sums[(y*p.grid/f.H)*p.grid+x*p.grid/f.W] += float32(v) / 1530
				if v > best {
					best, bx, by = v, x, y
				}
			}
		}
		out.Embed = append(out.Embed, sums...)
		out.Keys = append(out.Keys, perception.Keypoint{Name: "bright", Camera: f.Camera, X: float64(bx), Y: float64(by), Score: float64(best) / 1530})
	}
	return out, nil
}

// nearness scores by the distance to the trajectory's last features.
type nearness struct{}

func (nearness) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	goal := traj[len(traj)-1].Embed
	for t := range dst {
		if len(traj[t+1].Embed) != len(goal) {
			return fmt.Errorf("nearness: step %d has %d dimensions, the goal %d: %w", t, len(traj[t+1].Embed), len(goal), robot.ErrStale)
		}
		s := 0.0
		for i, v := range traj[t+1].Embed {
			s += float64(v-goal[i]) * float64(v-goal[i])
		}
		dst[t] = -math.Sqrt(s)
	}
	return ctx.Err()
}

// linear is a policy whose parameters are seven gains.
type linear struct {
	mu    sync.Mutex
	gains [7]float64
}

func (p *linear) Act(ctx context.Context, in policy.Input) (robot.Command, error) {
	if in.State.Q[0] > 3 {
		return robot.Command{}, fmt.Errorf("linear: joint 1 is out of range: %w", robot.ErrStopped)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var c robot.Command
	for i := range c.Delta {
		c.Delta[i] = p.gains[i] * (in.State.Q[i] + float64(in.Step))
		if len(in.Features.Embed) > 0 {
			c.Delta[i] += float64(in.Features.Embed[i%len(in.Features.Embed)])
		}
	}
	c.Grip = p.gains[6]
	return c, ctx.Err()
}

func (p *linear) Load(v policy.Params) error {
	if len(v.Data) != 56 {
		return fmt.Errorf("linear: %d bytes of parameters, want 56", len(v.Data))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.gains {
		p.gains[i] = math.Float64frombits(binary.LittleEndian.Uint64(v.Data[8*i:]))
	}
	return nil
}

func gains(version uint64, g [7]float64) policy.Params {
	p := policy.Params{Version: version}
	for _, v := range g {
		p.Data = binary.LittleEndian.AppendUint64(p.Data, math.Float64bits(v))
	}
	return p
}

// averager is a learner that averages the commands of its episodes.
type averager struct {
	eps     map[string]policy.Episode
	order   []string
	updates uint64
	mean    [7]float64
}

func (l *averager) Add(_ context.Context, e policy.Episode) error {
	if e.Rewards == nil {
		return fmt.Errorf("averager: episode %s is not labelled", e.ID)
	}
	if _, ok := l.eps[e.ID]; ok {
		return nil
	}
	if l.eps == nil {
		l.eps = make(map[string]policy.Episode)
	}
	l.eps[e.ID] = e
	l.order = append(l.order, e.ID)
	return nil
}

func (l *averager) Update(ctx context.Context) (policy.Stats, error) {
	n := 0.0
	l.mean = [7]float64{}
	for _, id := range l.order {
		for _, c := range l.eps[id].Applied {
			n++
			for i, v := range c.Delta {
				l.mean[i] += (v - l.mean[i]) / n
			}
		}
	}
	l.updates++
	return policy.Stats{Updates: l.updates, Metrics: []policy.Metric{{Name: "episodes", Value: float64(len(l.order))}, {Name: "x", Value: l.mean[0]}}}, ctx.Err()
}

func (l *averager) Latest(context.Context) (policy.Params, error) {
	return gains(l.updates, l.mean), nil
}

func someFrames(r *rand.Rand, n, w, h int) []robot.Frame {
	fs := make([]robot.Frame, n)
	for i := range fs {
		fs[i] = robot.Frame{Camera: fmt.Sprintf("cam%d", i), Seq: r.Uint64(), Stamp: time.Unix(0, r.Int64()).UTC(), W: w, H: h, Pix: make([]byte, 3*w*h)}
		for j := range fs[i].Pix {
			fs[i].Pix[j] = byte(r.Uint32())
		}
	}
	return fs
}

func someFeatures(r *rand.Rand, d, keys int) perception.Features {
	f := perception.Features{Stamp: time.Unix(r.Int64N(1<<40), r.Int64N(1e9)).UTC()}
	for range d {
		f.Embed = append(f.Embed, float32(r.NormFloat64()))
	}
	for i := range keys {
		f.Keys = append(f.Keys, perception.Keypoint{Name: fmt.Sprintf("k%d", i), Camera: "wrist", X: r.Float64() * 96, Y: r.Float64() * 96, Score: r.Float64()})
	}
	return f
}

func someState(r *rand.Rand) robot.State {
	s := robot.State{Stamp: time.Unix(r.Int64N(1<<40), r.Int64N(1e9)).UTC(), Grip: r.Float64() * 0.08}
	for i := range s.Q {
		s.Q[i], s.DQ[i] = r.Float64(), r.NormFloat64()
	}
	for i := range s.Wrench {
		s.Wrench[i] = r.NormFloat64()
	}
	s.EE.P, s.EE.Q = [3]float64{r.Float64(), r.Float64(), r.Float64()}, [4]float64{1, 0, 0, 0}
	return s
}

func someInput(r *rand.Rand, step, d int) policy.Input {
	return policy.Input{Step: step, Features: someFeatures(r, d, 0), State: someState(r)}
}

func someEpisode(r *rand.Rand, id string, steps, d, keys int) policy.Episode {
	e := policy.Episode{ID: id, Seq: r.Uint64(), Seed: r.Uint64(), Origin: policy.Origin(r.IntN(2)), Terminal: r.IntN(2) == 0}
	for t := range steps + 1 {
		in := someInput(r, t, d)
		in.Features = someFeatures(r, d, keys)
		e.Inputs = append(e.Inputs, in)
		if t < steps {
			e.Applied = append(e.Applied, robot.Command{Delta: [6]float64{r.Float64(), r.Float64()}, Grip: r.Float64()})
			e.By = append(e.By, robot.Source(r.IntN(4)))
			e.Version = append(e.Version, r.Uint64())
			e.Rewards = append(e.Rewards, -r.Float64())
		}
	}
	return e
}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 1)) }
