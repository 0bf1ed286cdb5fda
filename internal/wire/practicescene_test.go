package wire

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// The way back that has nothing to do, since the way there moved nothing, does not keep a
// person from being asked.
func TestWhatIsDoneAlreadyIsNoSuccess(t *testing.T) {
	var truth, classifier, horizon config.Config
	truth.Session.End, classifier.Session.End, horizon.Session.End = "success", "success", "horizon"
	classifier.Reward.Kind, classifier.Reward.KAGI.Sparse, classifier.Reward.KAGI.Confirm = "kagi", "classifier", 3
	for name, tt := range map[string]struct {
		c     config.Config
		ticks int
		undid bool // the other way's last episode succeeded
		want  int  // failures in a row, of two before
	}{
		"at once, by the simulator":                  {truth, 1, true, 2},
		"later, by the simulator":                    {truth, 2, false, 0},
		"at once, by a classifier":                   {classifier, 2, true, 2},
		"a tick later, by a classifier":              {classifier, 3, false, 0},
		"at the horizon, after the other way failed": {horizon, 60, false, 2},
		"at the horizon, of what the other way did":  {horizon, 60, true, 0},
	} {
		b := &turns{arm: &arm{onward: &onward{failed: 2, ready: [2]bool{tt.undid}}}}
		b.judged(tt.c, policy.Episode{Applied: make([]robot.Command, tt.ticks)}, true)
		if got := b.arm.onward.failed; got != tt.want {
			t.Errorf("success %s: %d failures in a row, want %d", name, got, tt.want)
		}
		if b.judged(tt.c, policy.Episode{Applied: make([]robot.Command, tt.ticks)}, false); b.arm.onward.failed != tt.want+1 {
			t.Errorf("a failure after success %s: %d in a row, want %d", name, b.arm.onward.failed, tt.want+1)
		}
	}

	// Nothing ever moves: each way back is done when it begins, and ends at the horizon.
	o := &onward{reminder: 3}
	there, back := &turns{arm: &arm{onward: o}}, &turns{arm: &arm{onward: o}, way: tabletop.Backward}
	ep := policy.Episode{Applied: make([]robot.Command, 60)}
	o.putBack()
	for i, want := range []int{1, 1, 2, 2, 3} {
		if i%2 == 0 {
			there.judged(horizon, ep, false)
		} else {
			back.judged(horizon, ep, true)
		}
		if o.failed != want {
			t.Errorf("%d episodes of which nothing moves: %d failures in a row, want %d", i+1, o.failed, want)
		}
	}
	o.way, o.failed = tabletop.Backward, 2 // whose scene is put back
	if o.putBack(); !o.ready[o.way] {
		t.Error("a scene that was put back is not as its episodes begin")
	}
	if back.judged(horizon, ep, true); o.failed != 0 {
		t.Errorf("success from a scene that was put back: %d failures in a row, want none", o.failed)
	}
}

// A person is asked for again until the scene was put back, and nobody for a turn.
func TestASceneIsPlacedOnceItIs(t *testing.T) {
	ctx := t.Context()
	broken := errors.New("the box fell off the table")
	var did []string
	var fails error
	act := func(what string) func(context.Context) (robot.Observation, error) {
		return func(context.Context) (robot.Observation, error) {
			did = append(did, what)
			return robot.Observation{}, fails
		}
	}
	s := onward{reminder: 2}
	begin := func(err error, may bool) error {
		fails = err
		_, err = s.begin(ctx, act("turn"), act("person"), may)
		return err
	}
	for _, tt := range []struct {
		err    error
		may    bool
		failed int // episodes before
		want   []string
		resets int
	}{
		{broken, false, 0, []string{"person"}, 0},
		{nil, false, 0, []string{"person"}, 1},
		{nil, false, 1, []string{"turn"}, 1},
		{broken, false, 1, []string{"turn"}, 1}, // on an arm that is for people to look at
		{broken, false, 2, []string{"person"}, 1},
		{nil, false, 2, []string{"person"}, 2},
		{broken, true, 0, []string{"turn", "person"}, 2},
	} {
		did, s.failed = nil, tt.failed
		if err := begin(tt.err, tt.may); !errors.Is(err, tt.err) || !slices.Equal(did, tt.want) || s.resets != tt.resets {
			t.Errorf("after %d failures: %v, error %v, %d resets; want %v and %d", tt.failed, did, err, s.resets, tt.want, tt.resets)
		}
	}
}

// Where a turn leaves a thing so that no camera sees what the waypoints hang on, the scene is
// put back, where nobody but a person does that after one was asked for; it ended the practice.
func TestAThingOutOfSightIsPutBack(t *testing.T) {
	ctx := t.Context()
	c := waypointed(t, "spatula")
	c.Practice.Mate, c.Practice.Reminder = "both-back", 5
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	b := &turns{Guard: a.guard, p: &practice{}, arm: a, desk: &desk{log: slog.New(slog.DiscardHandler)}}
	hides := false
	sees := a.hidden
	a.hidden = func(ctx context.Context, obs robot.Observation) error {
		if hides {
			hides = false
			for _, f := range obs.Frames {
				clear(f.Pix)
			}
		}
		return sees(ctx, obs)
	}
	for i, tt := range []struct {
		hides  bool
		resets int
	}{{false, 1}, {false, 1}, {true, 2}, {false, 2}, {true, 3}} {
		hides = tt.hides
		obs, err := b.begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if a.onward.resets != tt.resets || a.onward.failed != 0 || a.next != b.next+1 {
			t.Errorf("episode %d: a person put the scene back %d times, want %d; %d failures, %d next", i, a.onward.resets, tt.resets, a.onward.failed, a.next)
		}
		if err := sees(ctx, obs); err != nil {
			t.Errorf("episode %d: %v", i, err)
		}
		if got := b.desk.status.Way; got != "forward" {
			t.Errorf("episode %d: the page is told of the way %q", i, got)
		}
	}
	// Who is to be asked for at the desk still is, with why, where the arm did not get there.
	a.onward.ask, hides = true, true
	stopped, stop := context.WithCancel(ctx)
	a.hidden = func(ctx context.Context, obs robot.Observation) error {
		defer stop()
		for _, f := range obs.Frames {
			clear(f.Pix)
		}
		return sees(ctx, obs)
	}
	_, err = b.begin(stopped)
	if a.onward.lost == nil || !strings.Contains(a.onward.lost.Error(), "not seen at the reset") || !a.onward.spent() || err == nil {
		t.Errorf("asked for since %v, %d failures, error %v", a.onward.lost, a.onward.failed, err)
	}
}

// On an arm a camera of which nobody knows where it stands is a person's to mend, as a point that is
// not seen: the arm is held, and the session does not end.
func TestWhoMayMendACameraIsAsked(t *testing.T) {
	c := rehearsal(t)
	s := begun(t, c)
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	detach, err := s.desk.attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	track := a.asking(func(context.Context, int, robot.Observation) ([]perception.Keypoint, error) {
		return nil, &strayed{"camera front sees 2 of its markers"}
	})
	if _, err := track(t.Context(), 0, robot.Observation{}); !errors.Is(err, robot.ErrStopped) {
		t.Errorf("error %v, want ErrStopped", err)
	}
	fs, err := s.store.OpenFaults(t.Context())
	if err != nil || len(fs) != 1 || !strings.Contains(fs[0].Detail, "camera front sees 2 of its markers; then acknowledge") {
		t.Errorf("asked by %+v, %v", fs, err)
	}
}
