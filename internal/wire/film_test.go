package wire

import (
	"context"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
)

// likes is a reward that compares with a video of that name.
type likes string

func (likes) Score(context.Context, []float64, []perception.Features) error { return nil }

func (l likes) Explain(context.Context, []perception.Features) (rapl.Explanation, error) {
	return rapl.Explanation{Name: string(l), T: 1, Frames: 1, Plan: []float64{1}, Cost: []float64{0}, Match: []int{0}, Rewards: []float64{-1}}, nil
}

// What an alignment preferred are rollouts, which a session that begins from it does not hold: its
// report explains the reward without their frames, and says so.
func TestReportsGoWithoutFramesThatAreElsewhere(t *testing.T) {
	a, _ := openedAlign(t)
	a.s.cfg.Session.Record = true
	r, err := a.s.explain(t.Context(), parts{scorer: likes("rollout-00002")}, take{frames: make([][]robot.Frame, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Plan) != 1 || len(r.Pairs) != 0 || !strings.Contains(r.Name, "against rollout-00002, whose frames are not in this session's folder") {
		t.Errorf("explained as %+v", r)
	}
}
