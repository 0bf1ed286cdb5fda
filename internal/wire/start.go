package wire

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/record"
)

const (
	// askew is how far a start's turn about the vertical may be from the demonstrations', untold, rad (ours).
	askew = 0.1
	// tellers is how many demonstrations tell where all begin.
	tellers = 50
)

// starts holds where an arm on ROS begins its episodes against where the demonstrations of
// session.from do. An axis that the policy does not command keeps what the start gives it, for
// every episode: such a start is refused. From elsewhere on the others, or turned, the policy sees
// what it was never shown, and may yet find its way: far says so.
func starts(cfg config.Config) (far string, err error) {
	from, at := cfg.Session.From, cfg.Robot.ROS.Start
	if from == "" || !real(cfg) {
		return "", nil
	}
	demos, err := beginnings(from)
	if err != nil || len(demos) == 0 {
		return "", err // what it has none of, inherit tells
	}
	want, fixed, driven := at.At, []string(nil), false
	for i, axis := range axisNames[:3] {
		var along []float64
		near := false
		for _, p := range demos {
			along = append(along, p.P[i])
			near = near || math.Abs(p.P[i]-at.At[i]) <= at.Tolerance
		}
		if near {
			continue
		}
		slices.Sort(along)
		want[i] = math.Round(1000*along[len(along)/2])/1000 + 0 // no -0
		if slices.Contains(cfg.Policy.Axes, axis) {
			driven = true
		} else {
			fixed = append(fixed, axis)
		}
	}
	begin := fmt.Sprintf("robot.ros.start.at is [%s], but the demonstrations of %s begin at [%s] m", triple(at.At), from, triple(want))
	remedy := fmt.Sprintf("--set 'robot.ros.start.at=[%s]'", triple(want))
	if len(fixed) > 0 {
		return "", fmt.Errorf("wire: session.from: %s, and the policy never moves the hand along %s (policy.axes); want %s, or, where it is meant to stay so far from there, a larger robot.ros.start.tolerance (%g m)",
			begin, strings.Join(fixed, " and "), remedy, at.Tolerance)
	}
	if driven {
		far = fmt.Sprintf("%s, and the policy was not shown the way there; %s begins there, too", begin, remedy)
	}
	var turns []float64
	for _, p := range demos {
		x := franka.Rotate(p.Q, [3]float64{1}) // along it whoever points down at yaw 0 has the tool's own
		turns = append(turns, math.Remainder(math.Atan2(x[1], x[0])-at.Yaw, 2*math.Pi))
	}
	slices.Sort(turns)
	if off := turns[len(turns)/2]; math.Abs(off) > askew {
		if far != "" {
			far += "; "
		}
		yaw := math.Round(1000*math.Remainder(at.Yaw+off, 2*math.Pi)) / 1000
		far += fmt.Sprintf("robot.ros.start.yaw is %g rad, but the demonstrations of %s begin at %g: --set robot.ros.start.yaw=%[3]g turns the hand as it was there", at.Yaw, from, yaw)
	}
	return far, nil
}

// triple is a place as a configuration has it.
func triple(p [3]float64) string { return fmt.Sprintf("%g, %g, %g", p[0], p[1], p[2]) }

// beginnings are where the hand was at the first tick of a session's demonstrations, by their
// files, whoever has the session open. Those that cannot be read tell nothing.
func beginnings(dir string) (at []robot.Pose, err error) {
	files, err := os.ReadDir(filepath.Join(dir, "episodes"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wire: session.from: %w", err)
	}
	for _, f := range files {
		if len(at) == tellers {
			break
		}
		if filepath.Ext(f.Name()) != ".mcap" || strings.HasPrefix(f.Name(), "online-") {
			continue
		}
		rec, err := record.ReadNumbers(filepath.Join(dir, "episodes", f.Name()))
		if err != nil || policy.Origin(rec.Info.Origin) != policy.Demo || len(rec.Ticks) == 0 {
			continue
		}
		at = append(at, rec.Ticks[0].State.EE)
	}
	return at, nil
}
