package bc_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/view"
)

// vivid is a base that acts, and a residual of it.
func vivid(t *testing.T, bound float64) (base, r *bc.Net) {
	t.Helper()
	base, _ = exported(t, arch())
	r, err := base.Residual(bound, rand.New(rand.NewPCG(3, 4)))
	if err != nil {
		t.Fatal(err)
	}
	return base, r
}

// scatter makes a head say what it likes.
func scatter(n *bc.Net, far float64) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, p := range n.Params() {
		for i := range p.Data {
			p.Data[i] += float32(far * rng.NormFloat64())
		}
	}
}

func TestResidualBeginsAsItsBase(t *testing.T) {
	base, r := vivid(t, 0.5)
	for _, mode := range []bc.Mode{bc.Mean, bc.Sample} {
		was := player(t, bc.PolicyConfig{Mode: mode}, encoded(t, base))
		is := player(t, bc.PolicyConfig{Mode: mode}, encoded(t, r))
		for _, in := range demos(1, 5)[0].Inputs {
			want, err := was.Act(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := is.Act(t.Context(), in); err != nil || got != want {
				t.Fatalf("mode %d, step %d: %v, %v; the base does %v", mode, in.Step, got, err, want)
			}
		}
	}
}

// By the formula, for the head's own numbers and for the file's, and never further from
// the base than the bound; gradients are those of the head.
func TestResidualIsBounded(t *testing.T) {
	const B, bound = 6, 0.3
	for _, far := range []float64{0.1, 30} {
		base, r := vivid(t, bound)
		scatter(r, far)
		read, err := bc.Decode(encoded(t, r.Clone()))
		if err != nil {
			t.Fatal(err)
		}
		g := nn.NewGraph()
		x := g.Input(B, r.Dim())
		was, f, raw, again := base.Frozen(g, x), r.Head().Frozen(g, x), r.Raw(g, x), read.Frozen(g, x)
		weight := g.Input(raw.Shape...)
		loss := g.Sum(g.Mul(raw, weight))
		rng := rand.New(rand.NewPCG(1, 1))
		for _, n := range []*nn.Node{x, weight} {
			for i := range n.Value {
				n.Value[i] = float32(rng.NormFloat64())
			}
		}
		g.Forward()
		moved := 0.0
		for i, v := range raw.Value {
			want := float64(was.Value[i]) + bound*math.Tanh(float64(f.Value[i]))
			if math.Abs(float64(v)-want) > 1e-5 || again.Value[i] != v {
				t.Fatalf("number %d is %v, and %v from its parameters; want %v", i, v, again.Value[i], want)
			}
			moved = max(moved, math.Abs(float64(v-was.Value[i])))
		}
		if moved > bound+1e-6 || moved < 0.05 {
			t.Errorf("heads scattered by %v move by %v, want something up to %v", far, moved, bound)
		}
		if far > 1 {
			continue // the tanh is flat there
		}
		nn.ZeroGrad(r.Params())
		g.Backward(loss)
		for _, p := range r.Params() {
			for i := 0; i < len(p.Data); i += 97 {
				want := policytest.Slope(p, i, func() float64 {
					g.Forward()
					sum := 0.0
					for j, v := range raw.Value {
						sum += float64(v) * float64(weight.Value[j])
					}
					return sum
				})
				// float32 over steps of 1e-4.
				if got := float64(p.Grad[i]); math.Abs(got-want) > 2e-2*(1+math.Abs(want)) {
					t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
				}
			}
		}
	}
}

func TestResidualRefusesWhatItCannotBe(t *testing.T) {
	base, r := vivid(t, 0.5)
	rng := rand.New(rand.NewPCG(1, 1))
	seeing := arch()
	seeing.View.Cameras = []view.Camera{{Name: "front", W: 16, H: 16}}
	eyed, err := bc.NewNet(seeing, rng)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		of    *bc.Net
		bound float64
		want  string
	}{
		{r, 0.5, "residual of a residual"},
		{base, -1, "Residual is -1"},
		{base, math.Inf(1), "Residual is +Inf"},
		{eyed, 0.5, "the view has cameras"},
	} {
		if _, err := tt.of.Residual(tt.bound, rng); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	// A file that claims a base which it does not hold.
	p := encoded(t, base)
	ts, meta, err := nn.Decode(p.Data)
	if err != nil {
		t.Fatal(err)
	}
	meta["arch"] = strings.Replace(meta["arch"], "{", `{"Residual":0.5,`, 1)
	data, err := nn.Encode(ts, meta)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bc.Decode(policy.Params{Data: data}); err == nil || !strings.Contains(err.Error(), "want at least") {
		t.Errorf("parameters without the base they claim: %v", err)
	}
	if d := r.Arch.Diff(base.Arch); len(d) != 1 || !strings.Contains(d[0], "Arch.Residual is 0.5 and 0") {
		t.Errorf("the shapes differ in %v", d)
	}
}
