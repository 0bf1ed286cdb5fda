package wire

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
)

// What a session left is neither taken for nothing nor begun in again.
func TestASessionWithoutItsDatabaseIsNamed(t *testing.T) {
	c := config.Default()
	c.Out, c.Name = t.TempDir(), "reach-001"
	dir := filepath.Join(c.Out, c.Name)
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "episodes"), 0o755), os.WriteFile(filepath.Join(dir, "episodes", "demo-00000.mcap"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), c, byTheClock()); !errors.Is(err, store.ErrLost) {
		t.Errorf("begun: %v", err)
	}
	if _, err := Resume(t.Context(), c.Out, c.Name, nil, nil, byTheClock()); !errors.Is(err, store.ErrLost) {
		t.Errorf("gone on with: %v", err)
	}
}

// Of what a session may go on with, some is no part of its figures, and some is.
func TestSessionsThatBeganOtherwise(t *testing.T) {
	c := config.Default()
	c.Out, c.Name = t.TempDir(), "reach-001"
	if other, err := Otherwise(c); err != nil || other != nil {
		t.Errorf("before it began: %v, %v", other, err)
	}
	b, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Create(filepath.Join(c.Out, c.Name), b)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for set, want := range map[string]string{
		"session.episodes=7": "", "robot.pace=real": "", "guard.recover.max_per_hour=3": "", "bus.listen=127.0.0.1:0": "",
		"learner.updates=7": "learner.updates", "perception.gate=hold": "perception.gate", "robot.moved=0.01": "robot.moved", "session.realign=5": "session.realign",
	} {
		now := c
		key, value, _ := strings.Cut(set, "=")
		if err := now.Set(key, value); err != nil {
			t.Fatal(err)
		}
		got := ""
		other, err := Otherwise(now)
		for _, ch := range other {
			got += ch.Key
		}
		if err != nil || got != want {
			t.Errorf("%s: %q and %v, want %q", set, got, err, want)
		}
	}
}

// Who puts the world back is no part of what was recorded.
func TestTheServiceThatPutsTheWorldBackMayBeMended(t *testing.T) {
	c := config.Default()
	c.Robot.ROS.Again = "/rapport/rest"
	b, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Create(filepath.Join(t.TempDir(), "reach-001"), b)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	now := c
	now.Robot.ROS.Again = "/rapport/reset"
	got, err := agree(t.Context(), st, func(string) (config.Config, error) { return now, nil })
	if err != nil || got.Robot.ROS.Again != "/rapport/reset" {
		t.Errorf("%q, %v", got.Robot.ROS.Again, err)
	}
	now.Robot.ROS.Rate = 10
	if _, err := agree(t.Context(), st, func(string) (config.Config, error) { return now, nil }); err == nil {
		t.Error("another rate is taken")
	}
}
