package guard_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
)

// along records commands on the arm behind a guard, and judges others along it.
func along(t *testing.T, cfg guard.Config, n int, wish, policy func(i int) robot.Command) []guard.Ruling {
	t.Helper()
	ctx := context.Background()
	g, err := guard.New(newArm(withArm(cfg)), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := guard.NewDry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	obs, err := g.Reset(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d.Start(&obs.State)
	var out []guard.Ruling
	for i := range n {
		out = append(out, d.Judge(&obs.State, policy(i)))
		if obs, err = g.Step(ctx, wish(i)); err != nil {
			t.Fatal(err)
		}
		d.Moved(obs.Applied)
	}
	return out
}

func TestDryNamesTheLimit(t *testing.T) {
	rest := func(int) robot.Command { return robot.Command{Grip: 1} }
	for name, tt := range map[string]struct {
		change func(*guard.Config)
		wish   robot.Command
		want   string // the first limit; a joint's may follow
		got    float64
		max    float64
	}{
		"a small command": {nil, robot.Command{Delta: [6]float64{0.005}}, "", 0, 0},
		"speed":           {nil, robot.Command{Delta: [6]float64{0.012, 0.016}}, "speed", 0.4, 0.25},
		"turn":            {nil, robot.Command{Delta: [6]float64{5: 0.05}}, "turn", 1, 0.5},
		"grip":            {nil, robot.Command{Grip: 1.5}, "grip", 1.5, 1},
		"workspace": {func(c *guard.Config) { c.Box.Max[2] = 0.4 }, robot.Command{Delta: [6]float64{2: 0.005}}, "workspace z",
			0, 0}, // the arm begins above the box: see below
		"lead":         {func(c *guard.Config) { c.Lead = 0.002 }, robot.Command{Delta: [6]float64{1: -0.01}}, "lead y", -0.01, -0.002},
		"acceleration": {func(c *guard.Config) { c.Acc = 1 }, robot.Command{Delta: [6]float64{0.01}}, "acceleration x", 4, 1 / math.Sqrt(3)},
		"not finite":   {nil, robot.Command{Delta: [6]float64{3: math.Inf(1)}}, "rx is not finite", math.Inf(1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := guard.Default(franka.Panda())
			if tt.change != nil {
				tt.change(&cfg)
			}
			r := along(t, cfg, 1, rest, func(int) robot.Command { return tt.wish })[0]
			if tt.want == "" {
				if len(r.Breaches) > 0 {
					t.Errorf("breaches %v, want none", r.Breaches)
				}
				return
			}
			if len(r.Breaches) == 0 || r.Breaches[0].Limit != tt.want {
				t.Fatalf("breaches %v, want %s", r.Breaches, tt.want)
			}
			if name == "workspace" {
				// Outside the box already, what would have passed is to stay there.
				if b := r.Breaches[0]; math.Abs(b.By()-0.005) > 1e-12 {
					t.Errorf("beyond by %v m, want 0.005", b.By())
				}
				return
			}
			if b := r.Breaches[0]; math.Abs(b.Got-tt.got) > 1e-9 || math.Abs(b.Max-tt.max) > 1e-9 {
				t.Errorf("%v, want %v against %v", r.Breaches[0], tt.got, tt.max)
			}
		})
	}
}

// Along recordings of adversarial commands, what has no breach passes as it is
// and what has one is altered; and what the recording itself wished is judged as
// the guard had judged it.
func TestDryAgreesWithTheGuard(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	names := map[string]int{}
	for range 60 {
		cfg := guard.Default(franka.Panda())
		if rng.IntN(4) == 0 {
			cfg.Arm = nil
		}
		cfg.Lead *= math.Pow(10, -2*rng.Float64())
		draw := func(scale float64) robot.Command {
			c := robot.Command{Grip: 1.2*rng.Float64() - 0.1}
			for i := range c.Delta {
				c.Delta[i] = scale * rng.NormFloat64() * float64(rng.IntN(2))
			}
			return c
		}
		scales := []float64{1e-3, 0.01, 0.1, 10}
		scale := scales[rng.IntN(len(scales))]
		var wishes []robot.Command
		for range 40 {
			wishes = append(wishes, draw(scale))
		}
		for _, r := range along(t, cfg, 40, func(i int) robot.Command { return wishes[i] }, func(int) robot.Command { return draw(scale) }) {
			altered := r.Verdict&(guard.Clipped|guard.Scaled) != 0
			if altered != (len(r.Breaches) > 0) {
				t.Fatalf("altered %v (verdict %b), but breaches %v", altered, r.Verdict, r.Breaches)
			}
			for _, b := range r.Breaches {
				names[strings.Fields(b.Limit)[0]]++
				if !(b.By() > 0) {
					t.Fatalf("%v is not beyond its limit", b)
				}
			}
		}
		// The policy is the one that was recorded.
		ctx := context.Background()
		g, err := guard.New(newArm(withArm(cfg)), cfg)
		if err != nil {
			t.Fatal(err)
		}
		d, err := guard.NewDry(cfg)
		if err != nil {
			t.Fatal(err)
		}
		obs, err := g.Reset(ctx)
		if err != nil {
			t.Fatal(err)
		}
		d.Start(&obs.State)
		for i, w := range wishes {
			r := d.Judge(&obs.State, w)
			if obs, err = g.Step(ctx, w); err != nil {
				t.Fatal(err)
			}
			if obs.Applied != r.Applied {
				t.Fatalf("step %d: the guard applied %+v, a dry run %+v", i, obs.Applied, r.Applied)
			}
			d.Moved(obs.Applied)
		}
	}
	for _, want := range []string{"speed", "turn", "workspace", "lead", "acceleration", "joint", "grip"} {
		if names[want] == 0 {
			t.Errorf("no command broke a limit of %s: %v", want, names)
		}
	}
}

// withArm gives the test's arm, which needs one, its limits.
func withArm(cfg guard.Config) guard.Config {
	if cfg.Arm == nil {
		arm := franka.Panda()
		cfg.Arm = &arm
	}
	return cfg
}

func TestDryRefusesLimitsThatAreNone(t *testing.T) {
	if _, err := guard.NewDry(guard.Config{}); err == nil {
		t.Error("a dry run within no limits")
	}
}

// Of a state whose squares overflow no limit of the joints can be told: nothing is left of a motion.
func TestWhatCannotBeComputedIsAHold(t *testing.T) {
	d, err := guard.NewDry(guard.Default(franka.Panda()))
	if err != nil {
		t.Fatal(err)
	}
	q := franka.Ready()
	st := robot.State{Q: q, EE: franka.Forward(&q)}
	d.Start(&st)
	st.EE.P[0] = 1e200
	r := d.Judge(&st, robot.Command{Delta: [6]float64{1: 0.001, 4: 0.001}})
	if r.Applied.Delta != [6]float64{} || r.Verdict&guard.Held == 0 || len(r.Breaches) == 0 {
		t.Errorf("%v by %v for %v, want a hold", r.Applied.Delta, r.Verdict, r.Breaches)
	}
}
