package buffer_test

import (
	"bytes"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// TestReturnRewindsAFolder: to the episodes of the mark with the priorities of
// then; with equal ones where some were evicted since.
func TestReturnRewindsAFolder(t *testing.T) {
	for _, c := range []struct {
		name             string
		capacity, online int
		kept             bool
	}{
		{"all there", 100, 12, true},
		{"one evicted", 12, 6, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := filled(t, buffer.Config{
				View: look(), Capacity: c.capacity, Gamma: 0.9, Dir: t.TempDir(), Prioritised: buffer.Prioritised{Alpha: 1},
			}, episode("a", policy.Online, 0, 6), episode("b", policy.Online, 100, 6))
			defer b.Close()
			rate(t, b, 0, func(obs float32) float32 { return obs + 1 })
			m, err := b.Mark()
			if err != nil {
				t.Fatal(err)
			}
			add(t, b, episode("c", policy.Online, 200, 6))
			if err := b.Return(m); err != nil {
				t.Fatal(err)
			}
			if n := b.Count(); n.Episodes != 2 || n.Online != c.online {
				t.Errorf("after Return: %+v, want 2 episodes and %d transitions", n, c.online)
			}
			again, err := b.Mark()
			if err != nil {
				t.Fatal(err)
			}
			if kept := bytes.Equal(again.Priorities, m.Priorities); kept != c.kept {
				t.Errorf("the priorities are those of then: %v, want %v", kept, c.kept)
			}
			add(t, b, episode("c", policy.Online, 200, 6))
		})
	}
}

func TestReturnRefuses(t *testing.T) {
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9})
	if err := b.Fits(buffer.Mark{Episodes: -1}); err == nil {
		t.Error("a mark of -1 episodes fits")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Return(buffer.Mark{}); err != buffer.ErrClosed {
		t.Errorf("Return = %v, want %v", err, buffer.ErrClosed)
	}
}
