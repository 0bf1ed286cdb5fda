package buffer_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// sight is look with two cameras.
func sight() view.Config {
	v := look()
	v.Cameras = []view.Camera{{Name: "wrist", W: 16, H: 12}, {Name: "side", W: 8, H: 8}}
	return v
}

// filmed is episode with the frames of sight, in another order than it has them.
func filmed(id string, origin policy.Origin, base float32, T int) policy.Episode {
	e := episode(id, origin, base, T)
	for t := range e.Inputs {
		for i, c := range slices.Backward(sight().Cameras) {
			f := robot.Frame{Camera: c.Name, W: c.W, H: c.H, Pix: make([]byte, 3*c.W*c.H)}
			for j := range f.Pix {
				f.Pix[j] = byte(31*int(base) + 57*t + 101*i + j*(1+i))
			}
			e.Inputs[t].Frames = append(e.Inputs[t].Frames, f)
		}
	}
	return e
}

// picture is what a batch holds of input t, by the definition.
func picture(t testing.TB, c buffer.Config, in policy.Input) []byte {
	t.Helper()
	var all []byte
	for _, cam := range c.View.Cameras {
		for _, f := range in.Frames {
			if f.Camera != cam.Name {
				continue
			}
			pix := slices.Clone(f.Pix)
			if c.JPEG > 0 {
				data, err := vision.EncodeJPEG(f, c.JPEG)
				if err == nil {
					err = vision.DecodeJPEG(pix, f.W, f.H, data)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, pix...)
		}
	}
	return all
}

// outlook is the reward, the discount and the next step of n steps from t on,
// and the return from there, by the definition.
func outlook(c buffer.Config, e policy.Episode, t, n int) (reward, discount float32, next int, ret float32) {
	scale := c.Scale
	if scale == 0 {
		scale = 1
	}
	ends := e.Terminal || c.Finite && e.Len() >= c.View.Horizon
	next = min(t+max(1, n), e.Len())
	sum, all := 0.0, 0.0
	for i := t; i < e.Len(); i++ {
		r := math.Pow(c.Gamma, float64(i-t)) * (scale*e.Rewards[i] + c.Shift)
		if all += r; i < next {
			sum += r
		}
	}
	if c.Tail == buffer.TailSteady && !ends {
		last := scale*e.Rewards[e.Len()-1] + c.Shift
		all += math.Pow(c.Gamma, float64(e.Len()-t)) * last / (1 - c.Gamma)
	}
	d := math.Pow(c.Gamma, float64(next-t))
	if ends && next == e.Len() {
		d = 0
	}
	return float32(sum), float32(d), next, float32(all)
}

func close32(a, b float32) bool {
	return math.Abs(float64(a-b)) <= 1e-6*max(1, math.Abs(float64(b)))
}

// checkBatch compares every row with the episode that it says it is from.
func checkBatch(t testing.TB, c buffer.Config, dst *buffer.Batch, truth map[string]policy.Episode) {
	t.Helper()
	P := c.View.Pixels()
	for i := range dst.Reward {
		id, step := dst.At(i)
		e, ok := truth[id]
		if !ok {
			t.Fatalf("row %d is from episode %q, which is not there", i, id)
		}
		reward, discount, next, ret := outlook(c, e, step, c.Steps)
		if dst.Obs[i] != e.Inputs[step].Features.Embed[0] || dst.Next[i] != e.Inputs[next].Features.Embed[0] {
			t.Fatalf("%s step %d: observation %v leads to %v, want %v to %v", id, step, dst.Obs[i], dst.Next[i], e.Inputs[step].Features.Embed[0], e.Inputs[next].Features.Embed[0])
		}
		if want := float32(e.Applied[step].Delta[0] / 0.01); !close32(dst.Act[i], want) {
			t.Fatalf("%s step %d: action %v, want %v", id, step, dst.Act[i], want)
		}
		if !close32(dst.Reward[i], reward) || !close32(dst.Discount[i], discount) {
			t.Fatalf("%s step %d: reward %v, discount %v; want %v, %v", id, step, dst.Reward[i], dst.Discount[i], reward, discount)
		}
		if c.Returns && !close32(dst.Return[i], ret) {
			t.Fatalf("%s step %d: return %v, want %v", id, step, dst.Return[i], ret)
		}
		if !bytes.Equal(dst.Pix[i*P:(i+1)*P], picture(t, c, e.Inputs[step])) || !bytes.Equal(dst.NextPix[i*P:(i+1)*P], picture(t, c, e.Inputs[next])) {
			t.Fatalf("%s step %d: frames are not those of inputs %d and %d", id, step, step, next)
		}
	}
}

// open is buffer.New for a test that closes it.
func open(t testing.TB, c buffer.Config) *buffer.Buffer {
	t.Helper()
	b, err := buffer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func add(t testing.TB, b *buffer.Buffer, es ...policy.Episode) {
	t.Helper()
	for _, e := range es {
		if added, err := b.Add(e); err != nil || !added {
			t.Fatalf("Add(%s) = %v, %v", e.ID, added, err)
		}
	}
}

func byID(es ...policy.Episode) map[string]policy.Episode {
	m := make(map[string]policy.Episode)
	for _, e := range es {
		m[e.ID] = e
	}
	return m
}

func seed(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 17)) }

// storages are the ways in which frames are kept.
func storages(t testing.TB) map[string]func(*buffer.Config) {
	m := make(map[string]func(*buffer.Config))
	for _, quality := range []int{0, 90} {
		for _, disk := range []bool{false, true} {
			m[fmt.Sprintf("JPEG %d, disk %v", quality, disk)] = func(c *buffer.Config) {
				c.JPEG = quality
				if disk {
					c.Dir, c.Segment, c.Workers = t.TempDir(), 4000, 2
				}
			}
		}
	}
	return m
}
