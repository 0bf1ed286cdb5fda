package rlpd_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

// closing is l, closed after the test.
func closing(t *testing.T, c rlpd.Config, start *bc.Net) (*rlpd.Learner, error) {
	l, err := rlpd.New(c, start)
	if err == nil {
		t.Cleanup(func() {
			for range 2 {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	return l, err
}

func byPriority() buffer.Prioritised { return buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 30} }

func TestLearnerIsAKeeperWhateverItsReplay(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, c *rlpd.Config){
		"by priority":           func(t *testing.T, c *rlpd.Config) { c.Prioritised = byPriority() },
		"in a folder":           func(t *testing.T, c *rlpd.Config) { c.Dir = t.TempDir() },
		"a folder by priority":  func(t *testing.T, c *rlpd.Config) { c.Dir, c.Prioritised = t.TempDir(), byPriority() },
		"few kept, by priority": func(t *testing.T, c *rlpd.Config) { c.Capacity, c.Prioritised = 40, byPriority() },
	} {
		t.Run(name, func(t *testing.T) {
			policytest.TestKeeper(t, policytest.Subject{
				New: func(seed uint64) (policy.Keeper, error) {
					c := policyConfig(seed)
					change(t, &c)
					return closing(t, c, nil)
				},
				Others: map[string]func() (policy.Keeper, error){
					"Critics is": func() (policy.Keeper, error) {
						c := policyConfig(1)
						c.Critics = 5
						return rlpd.New(c, nil)
					},
				},
			})
		})
	}
}

func policyConfig(seed uint64) rlpd.Config {
	c := small()
	c.Arch, c.Seed, c.Steps = policytest.Arch(), seed, 2
	return c
}

// TestFolderGoesBackWithTheCheckpoint: a learner of a folder that holds more than
// the checkpoint knew goes on as the one that was not interrupted.
func TestFolderGoesBackWithTheCheckpoint(t *testing.T) {
	c := policyConfig(1)
	c.Dir, c.Prioritised = t.TempDir(), byPriority()
	es := policytest.Demos(5, 1, [2]float64{})
	run := func(l *rlpd.Learner, es []policy.Episode) []byte {
		t.Helper()
		for _, e := range es {
			if err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := l.Save(&out); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	l, err := rlpd.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	middle := run(l, es[:3])
	want := run(l, es[3:])
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = closing(t, c, nil); err != nil {
		t.Fatal(err)
	}
	if n := l.Count().Episodes; n != 5 {
		t.Fatalf("the folder holds %d episodes, want 5", n)
	}
	if err := l.Restore(bytes.NewReader(middle)); err != nil {
		t.Fatal(err)
	}
	if n := l.Count().Episodes; n != 3 {
		t.Fatalf("%d episodes after Restore, want 3", n)
	}
	if !bytes.Equal(run(l, es), want) {
		t.Error("it went on otherwise than the one that was not interrupted")
	}
}

func TestRestoreRefusesAnotherReplay(t *testing.T) {
	es := policytest.Demos(4, 1, [2]float64{})
	pri := func(c *rlpd.Config) { c.Prioritised = byPriority() }
	build := func(t *testing.T, n int, change func(*rlpd.Config)) *rlpd.Learner {
		c := policyConfig(1)
		change(&c)
		l, err := closing(t, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es[:n] {
			if err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
	for _, c := range []struct {
		from, to func(*rlpd.Config)
		n        int
		want     string
	}{
		{pri, func(*rlpd.Config) {}, 3, "want both or none"},
		{func(*rlpd.Config) {}, pri, 3, "want both or none"},
		{pri, pri, 2, "add those of the session first"},
		{pri, pri, 4, "restore before adding the later ones"},
		{pri, func(c *rlpd.Config) { pri(c); c.Dir = t.TempDir() }, 2, "add those of the session first"},
	} {
		var saved, before, after bytes.Buffer
		if err := build(t, 3, c.from).Save(&saved); err != nil {
			t.Fatal(err)
		}
		l := build(t, c.n, c.to)
		if err := l.Save(&before); err != nil {
			t.Fatal(err)
		}
		if err := l.Restore(&saved); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("refused with %v, want %q", err, c.want)
		}
		if err := l.Save(&after); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before.Bytes(), after.Bytes()) {
			t.Errorf("what it refused (%s) changed it", c.want)
		}
	}
}

func TestLearnerThatSeesIsAKeeperOfJPEGs(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) {
			c := seeing(seed)
			c.JPEG, c.Dir, c.Prioritised = 90, t.TempDir(), byPriority()
			return closing(t, c, nil)
		},
	})
}

// TestLearnsByPriority: as TestLearnsFromAPoorClone.
func TestLearnsByPriority(t *testing.T) {
	prior := policytest.Demos(10, 1, [2]float64{0.12, -0.09})
	net, _, err := bc.Train(t.Context(), bc.Config{Arch: bc.Arch{View: policytest.View(), Hidden: []int{64, 64}}, Steps: 500, Seed: 1}, prior, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := rlpd.New(rlpd.Config{
		Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, UTD: 2, Round: 20, Warmup: 300, Critics: 5, CriticHidden: []int{64, 64},
		CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Tau: 0.02, Steps: 3, Seed: 1, Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 2000},
	}, net)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range prior {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	rate := func(ps policy.Params) float64 {
		t.Helper()
		v, err := policytest.Success(t.Context(), ps)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	latest := func() policy.Params {
		t.Helper()
		ps, err := l.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ps
	}
	before := rate(latest())
	for n := range 50 {
		e, err := policytest.Explore(t.Context(), latest(), n, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		update(t, l)
	}
	after := rate(latest())
	t.Logf("success %v before and %v after", before, after)
	if before >= 0.5 || after < 0.9 {
		t.Errorf("success %v before and %v after, want below 0.5 and at least 0.9", before, after)
	}
}
