package iql_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/iql"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// closing is l, closed after the test.
func closing(t *testing.T, c iql.Config, start *bc.Net) (*iql.Learner, error) {
	l, err := iql.New(c, start)
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
	for name, change := range map[string]func(t *testing.T, c *iql.Config){
		"by priority":           func(t *testing.T, c *iql.Config) { c.Prioritised = byPriority() },
		"in a folder":           func(t *testing.T, c *iql.Config) { c.Dir = t.TempDir() },
		"a folder by priority":  func(t *testing.T, c *iql.Config) { c.Dir, c.Prioritised = t.TempDir(), byPriority() },
		"few kept, by priority": func(t *testing.T, c *iql.Config) { c.Capacity, c.Prioritised = 40, byPriority() },
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
						return iql.New(c, nil)
					},
				},
			})
		})
	}
}

func policyConfig(seed uint64) iql.Config {
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
	run := func(l *iql.Learner, es []policy.Episode) []byte {
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
	l, err := iql.New(c, nil)
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
	pri := func(c *iql.Config) { c.Prioritised = byPriority() }
	build := func(t *testing.T, n int, change func(*iql.Config)) *iql.Learner {
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
		from, to func(*iql.Config)
		n        int
		want     string
	}{
		{pri, func(*iql.Config) {}, 3, "want both or none"},
		{func(*iql.Config) {}, pri, 3, "want both or none"},
		{pri, pri, 2, "add those of the session first"},
		{pri, pri, 4, "restore before adding the later ones"},
		{pri, func(c *iql.Config) { pri(c); c.Dir = t.TempDir() }, 2, "add those of the session first"},
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

// TestLearnsByPriority: as TestLearnsFromMixedDemonstrations, offline.
func TestLearnsByPriority(t *testing.T) {
	beside := [2]float64{0.16, -0.12}
	prior := policytest.Demos(120, 1, [2]float64{}, beside, beside)
	net, _, err := bc.Train(t.Context(), bc.Config{Arch: bc.Arch{View: policytest.View(), Hidden: []int{64, 64}}, Steps: 500, Seed: 1}, prior, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := iql.New(iql.Config{
		Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, CriticHidden: []int{64, 64}, Round: 50,
		Expectile: 0.9, Beta: 1, CriticLR: 1e-3, ValueLR: 1e-3, ActorLR: 1e-3, Tau: 0.02, Decay: 1000, Seed: 1,
		Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 1000},
	}, net)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range prior {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	cloned := success(t, l)
	for range 20 {
		update(t, l)
	}
	offline := success(t, l)
	t.Logf("success %v cloned, %v offline", cloned, offline)
	if cloned > 0.5 || offline < 0.8 {
		t.Errorf("success %v cloned, %v offline, want at most 0.5, then at least 0.8", cloned, offline)
	}
}

// TestSpreadOfAFolder: what the folder held before counts once it is added again.
func TestSpreadOfAFolder(t *testing.T) {
	c := policyConfig(1)
	c.Spread = 100
	es := policytest.Demos(3, 1, [2]float64{})
	want := metric(t, update(t, learner(t, c, es...)), "reward_mean")
	c.Dir = t.TempDir()
	l := learner(t, c, es...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = learner(t, c, es...)
	defer l.Close()
	if got := metric(t, update(t, l), "reward_mean"); got != want {
		t.Errorf("mean reward = %v from a folder, want %v", got, want)
	}
}
