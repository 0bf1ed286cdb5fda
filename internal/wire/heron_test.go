package wire

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// pressed is an episode of three ticks a second apart, whose only features are its force
// and its path, done at one of them.
func pressed(force, path float64, done int) performed {
	p := performed{clip: preference.Clip{Name: fmt.Sprint(force, path), D: 2, Embed: []float32{float32(force), float32(path)}}}
	for t := range 3 {
		s := robot.State{Stamp: time.Unix(int64(t), 0)}
		s.EE.P[0] = path * float64(t) / 2
		s.Wrench = [6]float64{0, 0, 0, 99, 99, 99} // torques do not count
		if t == 1 {
			s.Wrench[0], s.Wrench[1] = 0.6*force, -0.8*force
		}
		p.states, p.truths = append(p.states, s), append(p.truths, sim.Truth{Success: t >= done})
	}
	return p
}

func TestCriteriaAreWhatTheHelpSays(t *testing.T) {
	p, never := pressed(5, 0.4, 1), pressed(5, 0.4, 3)
	for name, want := range map[string][2]float64{"success": {1, 0}, "force": {5, 5}, "time": {1, 2}, "path": {0.4, 0.4}} {
		c, _, err := ordered([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range []performed{p, never} {
			if got := c[0].of(x.states, x.truths); math.Abs(got-want[i]) > 1e-12 {
				t.Errorf("%s is %v, want %v", name, got, want[i])
			}
		}
	}
}

// What comes first decides: episodes that press hard go a short way.
func TestRewardGoesByWhatComesFirst(t *testing.T) {
	var of []performed
	for i := range 16 {
		of = append(of, pressed(float64(i), float64(16-i), i%2*3))
	}
	for _, tt := range []struct {
		order  string
		gentle bool // is better
		by     string
	}{{"force+path", true, "path 0"}, {"path+force", false, "force 0"}, {"success+force", true, "decided by success "}} {
		c, _, err := ordered(strings.Split(tt.order, "+"))
		if err != nil {
			t.Fatal(err)
		}
		n, rep, by, err := rankBy(t.Context(), c, 0.1, of, 1)
		if err != nil {
			t.Fatal(err)
		}
		// Of two that were both done, or both not.
		gentle, err := n.Utility(of[2].clip)
		if err != nil {
			t.Fatal(err)
		}
		hard, err := n.Utility(of[14].clip)
		if err != nil {
			t.Fatal(err)
		}
		if (gentle > hard) != tt.gentle || !strings.Contains(by, tt.by) || rep.By[0] == 0 {
			t.Errorf("%s: the gentle episode is worth %.2f, the hard one %.2f, %s", tt.order, gentle, hard, by)
		}
	}
}
