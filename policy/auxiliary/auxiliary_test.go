package auxiliary_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/auxiliary"
)

// task has states of which an expert's action needs a part, and the reward another.
type task struct{ x, action, reward []float32 }

const (
	state  = 8
	width  = 12
	action = 2
)

func draw(rng *rand.Rand, n int) task {
	var t task
	for range n {
		var s [state]float32
		for i := range s {
			s[i] = float32(rng.NormFloat64())
		}
		t.x = append(t.x, s[:]...)
		t.action = append(t.action, tanh(s[0]+0.5*s[1]*s[2]), tanh(s[1]-s[3]))
		// How near the arm is to where it should be: not a linear matter.
		t.reward = append(t.reward, -float32(math.Hypot(float64(s[4]-s[0]), float64(s[5]+s[1]))))
	}
	return t
}

func tanh(x float32) float32 { return float32(math.Tanh(float64(x))) }

// trained clones the expert, with the heads or without, and returns the trunk's features
// of other states and how well the actions are met there.
func trained(t *testing.T, seed uint64, aux bool) (probe, clone float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 21))
	data, fresh := draw(rng, 2000), draw(rng, 1000)
	trunk := nn.NewMLP("trunk", nn.MLPConfig{In: state, Hidden: []int{48}, Out: width}, rng)
	head := nn.NewMLP("head", nn.MLPConfig{In: width, Out: action}, rng)
	heads := auxiliary.New("aux", auxiliary.Config{Width: width, State: state}, rng)
	const B = 100
	g := nn.NewGraph()
	x, y, r := g.Input(B, state), g.Input(B, action), g.Input(B)
	z := g.ReLU(trunk.Forward(g, x))
	loss := g.MSE(head.Forward(g, z), y)
	params := append(trunk.Params(), head.Params()...)
	if aux {
		loss = g.Add(loss, heads.Loss(g, z, r, x))
		params = append(params, heads.Params()...)
	}
	adam := nn.NewAdam(params, nn.AdamConfig{LR: 3e-3})
	for range 1500 {
		for b := range B {
			i := rng.IntN(len(data.reward))
			copy(x.Value[b*state:(b+1)*state], data.x[i*state:])
			copy(y.Value[b*action:(b+1)*action], data.action[i*action:])
			r.Value[b] = data.reward[i]
		}
		g.Forward()
		nn.ZeroGrad(params)
		g.Backward(loss)
		adam.Step()
	}
	read := nn.NewGraph()
	n := len(fresh.reward)
	in := read.Input(n, state)
	out := read.ReLU(trunk.Frozen(read, in))
	act := head.Frozen(read, out)
	copy(in.Value, fresh.x)
	read.Forward()
	for i, a := range act.Value {
		d := float64(a - fresh.action[i])
		clone += d * d / float64(len(act.Value))
	}
	return linear(t, out.Value, fresh.reward), clone
}

// linear is the mean squared error of the best linear prediction of y by the rows of z,
// fitted on one half and measured on the other.
func linear(t *testing.T, z, y []float32) float64 {
	t.Helper()
	half := len(y) / 2
	a, b := mat.NewDense(half+width+1, width+1, nil), mat.NewVecDense(half+width+1, nil)
	row := func(i int) []float64 {
		r := []float64{1}
		for _, v := range z[i*width : (i+1)*width] {
			r = append(r, float64(v))
		}
		return r
	}
	for i := range half {
		a.SetRow(i, row(i))
		b.SetVec(i, float64(y[i]))
	}
	for j := range width + 1 {
		a.Set(half+j, j, 1e-3) // features may be dead
	}
	var w mat.VecDense
	if err := w.SolveVec(a, b); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i := half; i < len(y); i++ {
		e := -float64(y[i])
		for j, v := range row(i) {
			e += v * w.AtVec(j)
		}
		sum += e * e
	}
	return sum / float64(len(y)-half)
}

func TestRewardIsReadFromTheTrunk(t *testing.T) {
	for seed := range uint64(3) {
		plain, was := trained(t, seed, false)
		with, is := trained(t, seed, true)
		t.Logf("seed %d: probe %.3f without, %.3f with the heads (%.0f %% less); clone %.4f and %.4f", seed, plain, with, 100*(1-with/plain), was, is)
		if with > 0.8*plain {
			t.Errorf("seed %d: a probe for the reward errs by %.3f with the heads, by %.3f without, want 20 %% less", seed, with, plain)
		}
	}
}

func TestLossAgainstDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	h := auxiliary.New("aux", auxiliary.Config{Width: 3, State: 2, Hidden: []int{4}, Reward: 0.7, Rebuild: 0.3}, rng)
	g := nn.NewGraph()
	z, r, s := g.InputGrad(2, 3), g.Input(2), g.Input(2, 2)
	for _, v := range [][]float32{z.Value, r.Value, s.Value} {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	}
	loss := h.Loss(g, z, r, s)
	g.Forward()
	nn.ZeroGrad(h.Params())
	g.Backward(loss)
	for i := range z.Value {
		const step = 1e-2
		was := z.Value[i]
		z.Value[i] = was + step
		g.Forward()
		up := loss.Value[0]
		z.Value[i] = was - step
		g.Forward()
		down := loss.Value[0]
		z.Value[i] = was
		if want := (up - down) / (2 * step); math.Abs(float64(z.Grad[i]-want)) > 2e-3 {
			t.Errorf("d loss / d z[%d] is %v, want %v", i, z.Grad[i], want)
		}
	}
	if len(h.Params()) != 8 {
		t.Errorf("%d parameters, want weights and biases of two layers of two heads", len(h.Params()))
	}
	only := auxiliary.New("aux", auxiliary.Config{Width: 3}, rng)
	if len(only.Params()) != 2 || only.Loss(g, z, r, nil) == nil {
		t.Error("heads without a state to rebuild have another shape than one linear layer")
	}
}
