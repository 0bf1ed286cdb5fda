package wire

import (
	"errors"
	"os"
	"path/filepath"
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
