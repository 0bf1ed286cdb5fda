package encoder

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/nn"
)

func pupil(t *testing.T, batch, colours int) (*Conv, *Pupil, Film, Data) {
	t.Helper()
	d, _ := pushing(3, 2, 6, "front", "side")
	cfg := small("front", "side")
	cfg.Shape.Side, cfg.Shape.Colours = 32, colours
	c := trained(t, cfg, d)
	film, err := c.Film(d.Clips[0].Frames)
	if err != nil {
		t.Fatal(err)
	}
	return c, c.Pupil(batch), film, d
}

func TestPupilEmbedsAsItsTeacher(t *testing.T) {
	for _, colours := range []int{0, 3} {
		c, p, film, d := pupil(t, 4, colours) // 7 ticks: a batch and a part of one
		for name, c := range map[string]*Conv{"teacher": c, "what it became": p.Conv()} {
			z := make([]float32, film.T*p.Dim())
			p.Embed(z, film)
			for i, fs := range d.Clips[0].Frames {
				f, err := c.Extract(t.Context(), fs)
				if err != nil {
					t.Fatal(err)
				}
				if len(f.Embed) != p.Dim() {
					t.Fatalf("%s, %d colours: %d numbers, want %d", name, colours, len(f.Embed), p.Dim())
				}
				for k, v := range f.Embed {
					if math.Abs(float64(v-z[i*p.Dim()+k])) > 1e-4 {
						t.Errorf("%s, %d colours, tick %d: embedding[%d] is %g, want %g", name, colours, i, k, z[i*p.Dim()+k], v)
					}
				}
			}
		}
	}
}

func TestPupilGradientAgainstDifferences(t *testing.T) {
	_, p, film, _ := pupil(t, 4, 3) // colours learn nothing
	rng := rand.New(rand.NewPCG(1, 1))
	w, z := make([]float32, film.T*p.Dim()), make([]float32, film.T*p.Dim())
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	value := func() float64 {
		p.Embed(z, film)
		var sum float64
		for i, v := range z {
			sum += float64(v) * float64(w[i])
		}
		return sum
	}
	nn.ZeroGrad(p.Params())
	p.Backward(w, film)
	for _, q := range p.Params() {
		for range 3 {
			i := rng.IntN(len(q.Data))
			const step = 1e-4
			at, mid := q.Data[i], value()
			q.Data[i] = at + step
			right := (value() - mid) / step
			q.Data[i] = at - step
			left := (mid - value()) / step
			q.Data[i] = at
			// Kinks of ReLUs, which even areas of the image pass together, part the
			// two sides; float32 makes each good to about 0.05.
			got, slack := float64(q.Grad[i]), 0.05+0.02*math.Abs(left)
			if got < min(left, right)-slack || got > max(left, right)+slack {
				t.Errorf("%s[%d]: gradient %g, want %g to %g", q.Name, i, got, left, right)
			}
		}
	}
}

func TestPupilLeavesItsTeacherAlone(t *testing.T) {
	c, p, film, d := pupil(t, 4, 3)
	was, err := c.Extract(t.Context(), d.Clips[0].Frames[0])
	if err != nil {
		t.Fatal(err)
	}
	dz := make([]float32, film.T*p.Dim())
	for i := range dz {
		dz[i] = 1
	}
	adam := nn.NewAdam(p.Params(), nn.AdamConfig{LR: 1e-2})
	nn.ZeroGrad(p.Params())
	p.Backward(dz, film)
	adam.Step()
	learned := p.Conv()
	is, err := c.Extract(t.Context(), d.Clips[0].Frames[0])
	if err != nil {
		t.Fatal(err)
	}
	if x := cmp.Diff(was, is); x != "" {
		t.Error(x)
	}
	other, err := learned.Extract(t.Context(), d.Clips[0].Frames[0])
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(was.Embed, other.Embed) {
		t.Error("nothing was learned")
	}
	// What was learned outlives a file.
	b, err := learned.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(b); err != nil {
		t.Error(err)
	}
}

// The memory of a step does not grow with the clip.
func TestPupilMemoryIsBounded(t *testing.T) {
	_, p, film, _ := pupil(t, 4, 0)
	film.T *= 20
	for i, pix := range film.pix {
		for range 19 {
			film.pix[i] = append(film.pix[i], pix...)
		}
	}
	z := make([]float32, film.T*p.Dim())
	step := func() {
		p.Embed(z, film)
		p.Backward(z, film)
	}
	step()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	step()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("%d bytes for a step", n)
	}
}
