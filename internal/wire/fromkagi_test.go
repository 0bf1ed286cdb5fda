package wire

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
)

// A session by waypoints that begins from one whose reward by them is another is to the bit
// the one that began afresh: its demonstrations are paid anew.
func TestDemonstrationsOfASessionByWaypointsArePaidAnew(t *testing.T) {
	ctx := t.Context()
	c := waypointed(t, "reach")
	c.Demos.Good, c.Demos.Bad, c.Session.End = 2, 1, "success"
	prepared := func(name string, change func(c *config.Config)) parts {
		t.Helper()
		c := c
		c.Name = name
		change(&c)
		s, err := Create(ctx, c, quietly())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		p, err := s.prepare(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := prepared("first", func(*config.Config) {})
	for _, tt := range []struct {
		name   string
		change func(k *config.KAGI)
	}{
		{"dense", func(k *config.KAGI) { k.Sparse = "none" }},
		{"potential", func(k *config.KAGI) { k.Potential, k.Tolerance, k.Top = true, 0.05, 0.5 }},
	} {
		want := prepared(tt.name, func(c *config.Config) { tt.change(&c.Reward.KAGI) })
		got := prepared(tt.name+"-from", func(c *config.Config) {
			tt.change(&c.Reward.KAGI)
			c.Session.From = filepath.Join(c.Out, "first")
		})
		if !reflect.DeepEqual(got.clone, want.clone) {
			t.Errorf("%s: the clone is another", tt.name)
		}
		differs := false
		for i, d := range got.demos {
			if !reflect.DeepEqual(d.Rewards, want.demos[i].Rewards) {
				t.Errorf("%s: %s is paid %v, want %v", tt.name, d.ID, d.Rewards, want.demos[i].Rewards)
			}
			differs = differs || !reflect.DeepEqual(d.Rewards, first.demos[i].Rewards)
		}
		if !differs {
			t.Errorf("%s pays as the first does, so that this shows nothing", tt.name)
		}
	}
	c.Name, c.Session.From = "truth", filepath.Join(c.Out, "dense")
	_, err := Create(ctx, c, quietly())
	wantErr(t, err, "reward.kagi.sparse is truth", "reward.kagi.sparse=none")
	c.Robot.Task, c.Reward.KAGI.Sparse = "stack", "none"
	_, err = Create(ctx, c, quietly())
	wantErr(t, err, "task reach", "the points ball", "red, blue")
}
