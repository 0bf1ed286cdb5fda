package critic

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
)

const (
	batch   = 5
	actions = 3
)

// setting is a term on networks that have something to say.
type setting struct {
	*Conservative
	actor  *bc.Net
	critic *nn.MLP
	rows   Rows
	D      int       // numbers of a row
	seen   []float32 // rows.Obs as the policy saw them, when it drew
}

func newSetting(t *testing.T, change func(c *Conserve)) *setting {
	t.Helper()
	return newSettingOf(t, look(), change)
}

func newSettingOf(t *testing.T, v view.Config, change func(c *Conserve)) *setting {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	c := Conserve{Weight: 0.7, Actions: actions}
	if change != nil {
		change(&c)
	}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	actor, err := bc.NewNet(bc.Arch{View: v, Hidden: []int{5}, Trunk: trunk.Config{Channels: 2, Strides: []int{2}, Latent: 4, Shift: -1}}, rng)
	if err != nil {
		t.Fatal(err)
	}
	s := &setting{actor: actor, D: actor.Dim(), critic: NewQOf("q", actor.Dim()+2, 4, []int{7, 5}, rng)}
	for _, p := range slices.Concat(actor.Params(), s.critic.Params()) {
		for i := range p.Data {
			p.Data[i] += float32(0.3 * rng.NormFloat64())
		}
	}
	s.rows = Rows{Obs: make([]float32, batch*s.D), Next: make([]float32, batch*s.D), Act: make([]float32, batch*2), Return: make([]float32, batch)}
	Normal(s.rows.Obs, rng)
	Normal(s.rows.Next, rng)
	for i := range s.rows.Act {
		s.rows.Act[i] = float32(2*rng.Float64() - 1)
	}
	// Returns low and high, so that some values are held and others are not.
	for i := range s.rows.Return {
		s.rows.Return[i] = float32(rng.NormFloat64())
	}
	s.seen = slices.Clone(s.rows.Obs)
	s.Conservative = NewConservative(c, actor, s.critic, batch, 0.01, nil)
	return s
}

// byTheBook is the term for the actions that were drawn last, and the share of
// values below the returns.
func (s *setting) byTheBook(calibrate bool) (gap, bound float64) {
	for e := range 4 {
		for i := range batch {
			x := policytest.Row(s.rows.Obs, i, s.D)
			value := func(a []float64) float64 {
				return policytest.Network(s.critic.Params(), e, append(slices.Clone(x), a...), true)[0]
			}
			ret := float64(s.rows.Return[i])
			sum := 0.0
			for j := range actions {
				sum += math.Exp(value(policytest.Row(s.random.Value, i*actions+j, 2))) * 4 // density 1/2 an axis
				for k, from := range [][]float32{s.rows.Next, s.seen} {
					noise := policytest.Row(s.noise[k].Value, i*actions+j, 2)
					a, logp := policytest.Drawn(s.actor, policytest.Row(from, i, s.D), noise)
					q := value(a)
					if q < ret {
						bound += 1.0 / (4 * batch * 2 * actions)
						if calibrate {
							q = ret
						}
					}
					sum += math.Exp(q - logp)
				}
			}
			gap += (math.Log(sum) - value(policytest.Row(s.rows.Act, i, 2))) / (4 * batch)
		}
	}
	return gap, bound
}

func TestConservativeTermAndGradient(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *Conserve)
		// what the weight 0.7 is multiplied by
		factor float64
	}{
		{"calibrated", nil, 1},
		{"plain", func(c *Conserve) { c.Plain = true }, 1},
		{"with a Lagrange factor", func(c *Conserve) { c.Gap = 0.5 }, math.E},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSetting(t, tt.change)
			nn.ZeroGrad(s.critic.Params())
			loss := s.Add(s.rows, 0.7, rand.New(rand.NewPCG(5, 6)))
			plain := s.cfg.Plain
			want, wantBound := s.byTheBook(!plain)
			gap, bound := s.Told()
			if math.Abs(gap-want) > 1e-4*(1+math.Abs(want)) || math.Abs(bound-wantBound) > 1e-6 {
				t.Errorf("gap %v and bound %v, want %v and %v", gap, bound, want, wantBound)
			}
			if bound < 0.1 || bound > 0.9 {
				t.Errorf("%v of the values are bound: the test tells too little", bound)
			}
			if want := 0.7 * tt.factor * (want - s.cfg.Gap); math.Abs(loss-want) > 1e-4*(1+math.Abs(want)) {
				t.Errorf("loss = %v, want %v", loss, want)
			}
			for _, p := range s.critic.Params() {
				for i := 0; i < len(p.Data); i += 5 {
					want := 0.7 * tt.factor * policytest.Slope(p, i, func() float64 { gap, _ := s.byTheBook(!plain); return gap })
					// Kinks of the ReLUs and float32 parameters: 1 %.
					if got := float64(p.Grad[i]); math.Abs(got-want) > 1e-2*(0.1+math.Abs(want)) {
						t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
					}
				}
			}
			for _, p := range s.actor.Params() {
				if slices.ContainsFunc(p.Grad, func(v float32) bool { return v != 0 }) {
					t.Errorf("the actor's %s has a gradient", p.Name)
				}
			}
		})
	}
}

// TestConservativeGradientByWhatIsSeen: it is that of the values alone; the
// policy's actions, which come of the same rows, are constants.
func TestConservativeGradientByWhatIsSeen(t *testing.T) {
	v := look()
	v.Cameras = []view.Camera{{Name: "top", W: 8, H: 8}}
	s := newSettingOf(t, v, nil)
	if s.D != 3+4 {
		t.Fatalf("the networks read %d numbers, want a row of 3 and 4 latents", s.D)
	}
	for range 2 { // nothing is left over from the first
		nn.ZeroGrad(s.critic.Params())
		s.Add(s.rows, 0.7, rand.New(rand.NewPCG(5, 6)))
	}
	rows, most := &nn.Param{Data: s.rows.Obs}, 0.0
	for i, got := range s.X().Grad {
		want := 0.7 * policytest.Slope(rows, i, func() float64 { gap, _ := s.byTheBook(true); return gap })
		if math.Abs(float64(got)-want) > 1e-2*(0.02+math.Abs(want)) {
			t.Errorf("gradient by number %d = %v, want %v", i, got, want)
		}
		most = max(most, math.Abs(want))
	}
	if most < 0.02 {
		t.Errorf("no gradient is larger than %v: the test tells too little", most)
	}
}

func TestGradientsAreAddedTo(t *testing.T) {
	s := newSetting(t, nil)
	p := s.critic.Params()[0]
	nn.ZeroGrad(s.critic.Params())
	s.Add(s.rows, 0.7, rand.New(rand.NewPCG(5, 6)))
	alone := slices.Clone(p.Grad)
	nn.ZeroGrad(s.critic.Params())
	for i := range p.Grad {
		p.Grad[i] = 10
	}
	s.Add(s.rows, 0.7, rand.New(rand.NewPCG(5, 6)))
	for i, v := range p.Grad {
		if math.Abs(float64(v-10-alone[i])) > 1e-5 {
			t.Fatalf("gradient %d = %v, want 10 more than %v", i, v, alone[i])
		}
	}
}

func TestDrawnActionsAreUniform(t *testing.T) {
	s := newSetting(t, nil)
	rng := rand.New(rand.NewPCG(5, 6))
	mean, square, n := 0.0, 0.0, 0.0
	for range 300 {
		s.Add(s.rows, 0.7, rng)
		for _, a := range s.random.Value {
			if a < -1 || a >= 1 {
				t.Fatalf("random action %v", a)
			}
			mean, square, n = mean+float64(a), square+float64(a)*float64(a), n+1
		}
	}
	// Of 9,000 draws the deviations are 0.006 and 0.003: five of them.
	if math.Abs(mean/n) > 0.03 || math.Abs(square/n-1.0/3) > 0.016 {
		t.Errorf("mean %v and mean square %v, want 0 and 1/3", mean/n, square/n)
	}
}

func TestLagrangeFactorSteersTheGap(t *testing.T) {
	for _, tt := range []struct {
		name string
		gap  float64
		up   bool
	}{{"below what it is", 1e-3, true}, {"above what it is", 1e3, false}} {
		s := newSetting(t, func(c *Conserve) { c.Gap = tt.gap })
		before := s.Factor()
		for range 20 {
			s.Add(s.rows, 0.7, rand.New(rand.NewPCG(5, 6)))
		}
		if math.Abs(before-math.E) > 1e-6 || (s.Factor() > before) != tt.up {
			t.Errorf("%s: factor went from %v to %v", tt.name, before, s.Factor())
		}
	}
	if s := newSetting(t, nil); s.Factor() != 1 {
		t.Errorf("factor without a gap = %v, want 1", s.Factor())
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	s := newSetting(t, func(c *Conserve) { c.Gap = 1 })
	rng := rand.New(rand.NewPCG(5, 6))
	s.Add(s.rows, 0.7, rng)
	if n := testing.AllocsPerRun(10, func() { s.Add(s.rows, 0.7, rng) }); n != 0 {
		t.Errorf("Add allocates %v times, want 0", n)
	}
}

func TestConserveNamesTheField(t *testing.T) {
	for want, c := range map[string]Conserve{
		"Weight":  {},
		"Actions": {Weight: 1, Actions: -1},
		"Gap":     {Weight: 1, Gap: -1},
		"Online":  {Weight: 1, Online: math.Inf(1)},
	} {
		if err := c.Complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
	c := Conserve{Weight: 5}
	if err := c.Complete(); err != nil || c.Online != 5 || c.Actions != 10 {
		t.Errorf("completed to %+v, %v", c, err)
	}
	c = Conserve{Weight: 5, Online: -1}
	if err := c.Complete(); err != nil || c.Online != 0 {
		t.Errorf("without a term online: %+v, %v", c, err)
	}
}

// BenchmarkAdd has Cal-QL's shapes.
func BenchmarkAdd(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	v := look()
	v.Embed = 64
	actor, err := bc.NewNet(bc.Arch{View: v}, rng)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{4, 10} {
		b.Run(map[int]string{4: "4 actions", 10: "10 actions"}[n], func(b *testing.B) {
			t := NewConservative(Conserve{Weight: 1, Actions: n}, actor, NewQ("q", v, 2, []int{256, 256}, rng), 256, 3e-4, nil)
			rows := Rows{Obs: make([]float32, 256*64), Next: make([]float32, 256*64), Act: make([]float32, 512), Return: make([]float32, 256)}
			b.ReportAllocs()
			for b.Loop() {
				t.Add(rows, 1, rng)
			}
		})
	}
}
