package trunk_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
)

func cams() []view.Camera {
	return []view.Camera{{Name: "front", W: 13, H: 11}, {Name: "wrist", W: 8, H: 9}}
}

func small() trunk.Config {
	return trunk.Config{Channels: 5, Strides: []int{2, 1}, Latent: 4, Shift: 2}
}

func newNet(t testing.TB) *trunk.Net {
	t.Helper()
	n, err := trunk.New(small(), cams(), rand.New(rand.NewPCG(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func frames(rows int) []byte {
	rng := rand.New(rand.NewPCG(2, 0))
	pix := make([]byte, rows*3*(13*11+8*9))
	for i := range pix {
		pix[i] = byte(rng.IntN(256))
	}
	return pix
}

// picture is an image by the book: pixels as lists of channels.
type picture [][][]float64

func photo(pix []byte, cam view.Camera) picture {
	var p picture
	for y := range cam.H {
		p = append(p, nil)
		for x := range cam.W {
			px := make([]float64, 3)
			for c := range px {
				px[c] = float64(pix[3*(y*cam.W+x)+c])/255 - 0.5
			}
			p[y] = append(p[y], px)
		}
	}
	return p
}

// convolve is max(0, w*p + b) for weights (O,C,3,3).
func convolve(p picture, w, b *nn.Param, stride int) picture {
	var out picture
	C := w.Shape[1]
	for y := 0; y+3 <= len(p); y += stride {
		out = append(out, nil)
		for x := 0; x+3 <= len(p[0]); x += stride {
			px := make([]float64, w.Shape[0])
			for o := range px {
				s := float64(b.Data[o])
				for c := range C {
					for i := range 9 {
						s += float64(w.Data[(o*C+c)*9+i]) * p[y+i/3][x+i%3][c]
					}
				}
				px[o] = max(0, s)
			}
			out[len(out)-1] = append(out[len(out)-1], px)
		}
	}
	return out
}

// latents is the head: tanh(LayerNorm(w p + b)).
func latents(p picture, w, b, gain, bias *nn.Param) []float64 {
	var flat []float64
	for _, row := range p {
		for _, px := range row {
			flat = append(flat, px...)
		}
	}
	z := make([]float64, len(b.Data))
	mean, square := 0.0, 0.0
	for i := range z {
		z[i] = float64(b.Data[i])
		for j, v := range flat {
			z[i] += float64(w.Data[i*len(flat)+j]) * v
		}
		mean += z[i] / float64(len(z))
	}
	for _, v := range z {
		square += (v - mean) * (v - mean) / float64(len(z))
	}
	for i := range z {
		z[i] = math.Tanh((z[i]-mean)/math.Sqrt(square+1e-5)*float64(gain.Data[i]) + float64(bias.Data[i]))
	}
	return z
}

func TestLatentsAreByTheBook(t *testing.T) {
	n := newNet(t)
	ps := n.Params()
	rng := rand.New(rand.NewPCG(3, 0))
	for _, p := range ps {
		for i := range p.Data {
			p.Data[i] += float32(0.1 * rng.NormFloat64())
		}
	}
	const B = 3
	pix := frames(B)
	g := nn.NewGraph()
	e := n.Eye(g, B)
	z := n.Forward(g, e)
	e.Put(pix, 0, nil)
	g.ForwardTo(z)
	if len(z.Value) != B*n.Dim() || n.Dim() != 8 {
		t.Fatalf("%d numbers of %d latents a row", len(z.Value), n.Dim())
	}
	P := len(pix) / B
	for b := range B {
		row := pix[b*P : (b+1)*P]
		for c, cam := range cams() {
			p := photo(row, cam)
			row = row[3*cam.W*cam.H:]
			own := ps[c*8 : (c+1)*8]
			for i, stride := range small().Strides {
				p = convolve(p, own[2*i], own[2*i+1], stride)
			}
			for i, want := range latents(p, own[4], own[5], own[6], own[7]) {
				if got := z.Value[b*8+c*4+i]; math.Abs(float64(got)-want) > 1e-5 {
					t.Errorf("row %d, camera %s, latent %d is %v, want %v", b, cam.Name, i, got, want)
				}
			}
		}
	}
	frozen := nn.NewGraph()
	fe := n.Eye(frozen, B)
	fz := n.Frozen(frozen, fe)
	fe.Put(pix, 0, nil)
	frozen.ForwardTo(fz)
	for i, v := range z.Value {
		if v != fz.Value[i] {
			t.Fatal("frozen latents differ")
		}
	}
}

// A shifted frame is the frame seen by a camera that looks elsewhere.
func TestShiftsAreDrawnForEachCamera(t *testing.T) {
	n := newNet(t)
	g := nn.NewGraph()
	e := n.Eye(g, 1)
	z := n.Forward(g, e)
	pix := frames(1)
	seen := map[float32]bool{}
	for seed := range uint64(40) {
		e.Put(pix, n.Config.Shift, rand.New(rand.NewPCG(seed, 0)))
		g.ForwardTo(z)
		seen[z.Value[0]] = true
	}
	if len(seen) < 10 {
		t.Errorf("40 draws of 25 shifts gave %d different latents", len(seen))
	}
}

func TestCloneIsItsOwn(t *testing.T) {
	n := newNet(t)
	if got, want := nn.Count(n.Params()), small().Count(cams()); float64(got) != want {
		t.Errorf("%d numbers, but Count says %v", got, want)
	}
	c := n.Clone()
	for i, p := range c.Params() {
		q := n.Params()[i]
		if p.Name != q.Name || &p.Data[0] == &q.Data[0] {
			t.Errorf("%s is not a copy of %s", p.Name, q.Name)
		}
		for j, v := range p.Data {
			if v != q.Data[j] {
				t.Fatalf("%s differs", p.Name)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    trunk.Config
		cams []view.Camera
		want string
	}{
		{"no cameras", trunk.Config{}, nil, "no cameras"},
		{"too small for the kernels", trunk.Config{Strides: []int{2, 2, 2}}, cams(), "\"front\" of 13x11 pixels is too small for 3 convolutions: after 2"},
		{"stride", trunk.Config{Strides: []int{0}}, cams(), "Strides[0] is 0"},
		{"channels", trunk.Config{Channels: -1}, cams(), "Channels is -1"},
		{"latents", trunk.Config{Latent: 1 << 20}, cams(), "Latent is"},
		{"layers", trunk.Config{Strides: make([]int, 17)}, cams(), "17 layers"},
		{"shift", trunk.Config{Strides: []int{1}, Shift: 9}, cams(), "Shift is 9 pixels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := trunk.New(tt.c, tt.cams, rand.New(rand.NewPCG(0, 0)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestStepDoesNotAllocate(t *testing.T) {
	n := newNet(t)
	g := nn.NewGraph()
	e := n.Eye(g, 4)
	loss := g.Mean(g.Square(n.Forward(g, e)))
	ps := n.Params()
	pix, rng := frames(4), rand.New(rand.NewPCG(0, 0))
	step := func() {
		e.Put(pix, 2, rng)
		g.Forward()
		nn.ZeroGrad(ps)
		g.Backward(loss)
	}
	step()
	if a := testing.AllocsPerRun(10, step); a != 0 {
		t.Errorf("a step allocates %v times", a)
	}
}
