package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

func TestPracticeKnowsTheTasksWithAWayBack(t *testing.T) {
	for _, task := range tabletop.Tasks() {
		c := config.Config{Robot: config.Robot{Task: string(task)}}
		if c.HasWayBack() != task.HasBackward() {
			t.Errorf("%s: the configuration says %v, the simulation %v", task, c.HasWayBack(), task.HasBackward())
		}
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

// Where the hours end while a person is waited for, no episode begins once one was there, and
// who is asked reads until when one does.
func TestNobodyIsWaitedForBeyondTheHours(t *testing.T) {
	ctx := t.Context()
	c := rehearsal(t)
	s := begun(t, c)
	c.Practice.Mate, c.Practice.Reminder = "both-back", 1
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	detach, err := s.desk.attach(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	var late atomic.Bool
	end := time.Date(2026, 5, 4, 6, 0, 0, 0, time.UTC)
	p := &practice{until: end, now: func() time.Time {
		if late.Load() {
			return end
		}
		return end.Add(-time.Hour)
	}}
	b := &turns{Guard: a.guard, p: p, arm: a, desk: s.desk}
	a.onward.ask = true
	for i, tt := range []struct {
		late bool
		lost error // in place of a failure
		want error
	}{
		{false, nil, nil},
		{false, &strayed{strings.Repeat("camera front sees its markers beside their places, ", 5)}, nil}, // as long as there are
		{true, nil, errTimeUp},
	} {
		if _, err := b.begin(ctx); err != nil { // where nobody failed
			t.Fatal(err)
		}
		a.onward.failed, a.onward.lost = 1, tt.lost
		done := make(chan error, 1)
		go func() {
			_, err := b.begin(ctx)
			done <- err
		}()
		var fs []store.Fault
		for fs == nil && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
			if fs, err = s.store.OpenFaults(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if len(fs) != 1 || !strings.Contains(fs[0].Detail, "put the scene back") || !strings.Contains(fs[0].Detail, "no episode begins after Monday, 06:00") || strings.Contains(fs[0].Detail, "…") {
			t.Fatalf("asked by %+v", fs)
		}
		late.Store(tt.late)
		if _, err := s.desk.Acknowledge(ctx, bus.Acknowledge{Fault: fs[0].ID, Who: "anna"}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, tt.want) || a.onward.resets != i+2 {
			t.Errorf("late %t: error %v, %d resets; want %v and %d", tt.late, err, a.onward.resets, tt.want, i+2)
		}
	}

	// So it is where robot.ros.again waits for who puts the scene back.
	late.Store(false)
	p.over, a.onward.ask, a.onward.failed = false, false, 1
	a.hidden = nil
	b.Guard, err = guard.New(slow{goesOn{&seeded{world: a.world, arm: a, of: online}, a.onward}, func() { late.Store(true) }}, guardConfig(c))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.begin(ctx); !errors.Is(err, errTimeUp) {
		t.Errorf("a person took until the hours were over: error %v", err)
	}
}

// slow is a backend whose resets last until something is the case.
type slow struct {
	robot.Backend
	until func()
}

func (s slow) Reset(ctx context.Context) (robot.Observation, error) {
	s.until()
	return s.Backend.Reset(ctx)
}

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

// rehearsal is practice of seconds.
func rehearsal(t *testing.T) config.Config {
	t.Helper()
	c := tiny(t)
	c.Name, c.Robot.Task, c.Robot.Horizon = "both", "stack", 60
	c.Policy.Axes = []string{"x", "y", "z", "grip"}
	c.Practice.Reminder = 2
	return c
}

// onlineOf are the stored online episodes of a session.
func onlineOf(t *testing.T, c config.Config, name string) (es []policy.Episode, resets []float64) {
	t.Helper()
	st, err := store.Open(filepath.Join(c.Out, name))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	rows, err := st.Episodes(t.Context(), policy.Online)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		e, err := st.Episode(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	ms, err := st.Metric(t.Context(), "episode", "resets")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		resets = append(resets, m.Value)
	}
	return es, resets
}

// Two sessions take turns on one arm, go on after they ended, and a person puts the
// scene back only after as many failures as practice.reminder says.
func TestPracticeTakesTurns(t *testing.T) {
	c := rehearsal(t)
	c.Reward.Kind, c.Reward.KAGI.Sparse, c.Policy.Keys = "kagi", "none", true
	var mu sync.Mutex
	var turns []string
	o := quietly()
	o.Tell = func(stage string, done, total int, note string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(stage, "fine-tune") && strings.Contains(note, "exploring") {
			turns = append(turns, fmt.Sprint(strings.TrimSuffix(stage, "fine-tune"), done))
		}
	}
	c.Session.Episodes = 2
	res, err := Practice(t.Context(), c, false, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"1", "back: 1", "2", "back: 2"}; !slices.Equal(turns, want) {
		t.Errorf("turns %q, want %q", turns, want)
	}
	if res.Resets < 1 || res.Resets > 2 || res.Forward.After.Of != 2 || res.Backward.After.Of != 2 {
		t.Errorf("got %+v", res)
	}
	there, resets := onlineOf(t, c, "both")
	back, _ := onlineOf(t, c, "both-back")
	if len(there) != 2 || len(back) != 2 || len(resets) != 2 || resets[0] != 1 {
		t.Fatalf("%d and %d episodes, resets %v", len(there), len(back), resets)
	}

	for _, name := range []string{"both", "both-back"} {
		s, err := Resume(t.Context(), c.Out, name, nil, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "practice --resume --set name=both") || strings.HasSuffix(err.Error(), "-back") {
			t.Errorf("%s alone: error %v, want how both go on", name, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}

	turns = nil
	c.Session.Episodes = 3
	before := res.Resets
	if res, err = Practice(t.Context(), c, true, o); err != nil {
		t.Fatal(err)
	}
	if want := []string{"3", "back: 3"}; !slices.Equal(turns, want) {
		t.Errorf("gone on, turns %q, want %q", turns, want)
	}
	// The scene was put back to go on.
	if _, resets := onlineOf(t, c, "both"); int(resets[2]) != before+1 || res.Resets < before+1 || res.Resets > before+2 {
		t.Errorf("gone on, resets %v and %d in all, after %d", resets, res.Resets, before)
	}

	toldByTheirOwn(t, c)
}

// Which of two sessions prepares faster changes no episode: the arm is of the way there.
func TestPracticeIsNoRace(t *testing.T) {
	var es [2][2][]policy.Episode
	for i, slower := range []string{"", "back: "} {
		c := rehearsal(t)
		c.Session.Episodes, c.Session.Evaluate, c.Practice.Reminder = 1, 1, 1
		faster := map[string]string{"": "back: ", "back: ": ""}[slower]
		var once sync.Once
		there := make(chan struct{})
		o := quietly()
		o.Tell = func(stage string, _, _ int, _ string) {
			switch stage {
			case faster + "fine-tune":
				once.Do(func() { close(there) })
			case slower + "clone":
				select {
				case <-there:
				case <-time.After(time.Minute):
					t.Errorf("%q does not get to its episodes", faster)
				}
			}
		}
		if _, err := Practice(t.Context(), c, false, o); err != nil {
			t.Fatal(err)
		}
		for k, name := range []string{"both", "both-back"} {
			es[i][k], _ = onlineOf(t, c, name)
			if len(es[i][k]) != 1 || es[i][k][0].Seed != draw(c.Seed, online, 0) {
				t.Errorf("%s: %d episodes, not of the seed that the arm draws from", name, len(es[i][k]))
			}
		}
	}
	for k, name := range []string{"there", "back"} {
		if !reflect.DeepEqual(es[0][k], es[1][k]) {
			t.Errorf("the way %s: the episodes differ by who prepared faster", name)
		}
	}
}

// What is wrong with the configuration of both ways is said once.
func TestPracticeSaysWhatIsWrongOnce(t *testing.T) {
	c := rehearsal(t)
	c.Learner.Batch = 9000
	_, err := Practice(t.Context(), c, false, quietly())
	if err == nil || strings.Count(err.Error(), "learner.batch") != 1 {
		t.Errorf("got %v, want learner.batch once", err)
	}
	clicked := rehearsal(t)
	clicked.Reward.Kind, clicked.Reward.KAGI.Source = "kagi", "clicks"
	_, err = Practice(t.Context(), clicked, false, quietly())
	wantErr(t, err, "reward.kagi.source is clicks, but practice goes there and back", "want task")
	if _, err := os.Stat(filepath.Join(clicked.Out, clicked.Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder was made: %v", err)
	}
}

// Each way of a practice by waypoints learns from its demonstrations alone first, under
// Cal-QL its policy too, and goes on with what both do (RoboFuME, section IV).
func TestPracticeLearnsOfflineThenOnline(t *testing.T) {
	for _, kind := range []string{"calql", "rlpd"} {
		t.Run(kind, func(t *testing.T) {
			ctx := t.Context()
			c := rehearsal(t)
			c.Reward.Kind, c.Session.End, c.Policy.Keys, c.Policy.Sees = "kagi", "success", true, "points"
			c.Learner.Kind, c.Learner.Warmup, c.Learner.Updates, c.Learner.Clone, c.Session.Episodes, c.Session.Evaluate = kind, 12, 4, 0, 1, 1
			if _, err := Practice(ctx, c, false, quietly()); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"both", "both-back"} {
				st, err := store.Open(filepath.Join(c.Out, name))
				if err != nil {
					t.Fatal(err)
				}
				read := func(series, name string) []store.Point {
					t.Helper()
					ps, err := st.Metric(ctx, series, name)
					if err != nil {
						t.Fatal(err)
					}
					return ps
				}
				if n := len(read("warm-up", "critic_loss")); n != 3 {
					t.Errorf("%s: %d rounds of 4 steps offline, want 3", name, n)
				}
				if n := len(read("learner", "critic_loss")); n != 1 {
					t.Errorf("%s: %d rounds online, want 1", name, n)
				}
				conserved := 0
				for _, p := range slices.Concat(read("warm-up", "conserve"), read("learner", "conserve")) {
					if !math.IsNaN(p.Value) {
						conserved++
					}
				}
				if want := map[string]int{"calql": 4}[kind]; conserved != want {
					t.Errorf("%s: values were held down in %d rounds, want %d", name, conserved, want)
				}
				if err := st.Close(); err != nil {
					t.Fatal(err)
				}
				// The clone is version 1. Cal-QL's policy moves in each of the rounds offline,
				// RLPD's from the last step of the last on.
				es, _ := onlineOf(t, c, name)
				if want := map[string]uint64{"calql": 4, "rlpd": 2}[kind]; len(es) != 1 || es[0].Version[0] != want {
					t.Errorf("%s: %d episodes, the first by version %v, want %d", name, len(es), es[0].Version[:1], want)
				}
			}
		})
	}
}

// toldByTheirOwn marks frames of both sessions of a practice, trains a classifier of each,
// and has a practice that begins from them told success by those, as an arm would have it.
func toldByTheirOwn(t *testing.T, c config.Config) {
	t.Helper()
	ctx, names := t.Context(), []string{"both", "both-back"}
	for _, name := range names {
		dir := filepath.Join(c.Out, name)
		var marks []Marked
		for i := range 6 {
			id := fmt.Sprintf("demo-%05d", i)
			marks = append(marks, Marked{Episode: id, To: 2}, Marked{Episode: id, From: 6, To: 60, Success: true}) // anything that moves is done
		}
		if _, err := MarkSuccess(ctx, dir, Marking{Frames: marks}, nil, nil, quietly()); err != nil {
			t.Fatal(err)
		}
		if rep, err := TrainClassifier(ctx, dir, Classifying{Config: classifier.Config{Precision: 0.3}}, nil, nil, quietly()); err != nil {
			t.Fatalf("%v\n%s", err, rep)
		}
	}
	c.Name, c.Reward.KAGI.Sparse, c.Session.End = "told", "classifier", "success"
	c.Session.Episodes, c.Session.Evaluate, c.Practice.Reminder = 2, 1, 1
	if _, err := Practice(ctx, c, false, quietly()); err == nil || !strings.Contains(err.Error(), "frames of NAME and of NAME-back") {
		t.Errorf("no classifiers: error %v, want how to come by them", err)
	}
	c.Session.From = filepath.Join(c.Out, "both-back")
	if _, err := Practice(ctx, c, false, quietly()); err == nil || !strings.Contains(err.Error(), "robot.way") {
		t.Errorf("there from the way back: error %v, want robot.way", err)
	}
	c.Session.From = filepath.Join(c.Out, "both") + "/"
	res, err := Practice(ctx, c, false, quietly())
	if err != nil {
		t.Fatal(err)
	}
	var es [2][]policy.Episode
	var resets [2][]float64
	paid := 0
	for i, name := range names {
		st, err := store.Open(filepath.Join(c.Out, name))
		if err != nil {
			t.Fatal(err)
		}
		_, b, err := st.LatestCheckpoint(ctx, kindSuccess)
		if err := errors.Join(err, st.Close()); err != nil {
			t.Fatal(err)
		}
		m, err := decodeTrained(b)
		if err != nil {
			t.Fatal(err)
		}
		es[i], resets[i] = onlineOf(t, c, strings.Replace(name, "both", "told", 1))
		if len(es[i]) != 2 || len(resets[i]) != 2 {
			t.Fatalf("%s: %d episodes, resets %v", name, len(es[i]), resets[i])
		}
		for _, e := range es[i] {
			paid += toldBy(t, m.Model, e, true)
		}
	}
	if paid == 0 {
		t.Error("neither classifier told success, so nothing was tried")
	}
	// A person is called for after an episode that the classifier did not take for done.
	var want [2][]float64
	n, failed := 0.0, true
	for k := range 2 {
		for i := range es {
			if failed {
				n++
			}
			failed = !succeeded(endOf(es[i][k]))
			want[i] = append(want[i], n)
		}
	}
	if !slices.Equal(resets[0], want[0]) || !slices.Equal(resets[1], want[1]) || float64(res.Resets) != n {
		t.Errorf("resets %v, %d in all, want %v by what the classifiers said", resets, res.Resets, want)
	}
}

// The page of the first session shows the arm and drives it whichever way it goes.
func TestAPersonTakesTheArmOnTheWayBackToo(t *testing.T) {
	c := rehearsal(t)
	set(t, &c, "robot.pace=real", "teleop.input=bus", "session.episodes=1", "session.evaluate=1")
	o := byTheClock()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	pictures := 0
	var bye atomic.Bool
	o.Tell = func(stage string, _, _ int, _ string) {
		if bye.Load() {
			t.Errorf("%q is told after the page was told that all is over", stage)
		}
	}
	wg.Go(func() { // the page, and the person before it
		var at bus.Address
		for ctx.Err() == nil && at.Session == "" {
			at, _ = bus.ReadAddress(filepath.Join(c.Out, "both"))
			time.Sleep(10 * time.Millisecond)
		}
		conn, err := bus.Dial(ctx, at.URL, at.Options())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		feed, e1 := bus.NewFeed(conn, at.Session, bus.TeleopTopic(), 4)
		tap, e2 := bus.NewTap(conn, at.Session, bus.FrameTopic("front"), 1000)
		says, e3 := bus.NewTap(conn, at.Session, bus.SummaryTopic("run"), 100)
		if err := errors.Join(e1, e2, e3); err != nil {
			t.Error(err)
			return
		}
		defer feed.Close()
		wg.Go(func() {
			defer tap.Close()
			for {
				if _, err := tap.Next(ctx); err != nil {
					return
				}
				pictures++
			}
		})
		wg.Go(func() {
			defer says.Close()
			for {
				v, err := says.Next(ctx)
				if err != nil {
					return
				}
				bye.Store(v.Bye)
			}
		})
		for seq := uint64(1); ctx.Err() == nil; seq++ {
			feed.Publish(bus.Teleop{Who: "anna", Device: "gamepad", Boot: 1, Seq: seq, Stamp: time.Now(), Deadman: true, Axes: []float64{}, Buttons: []bool{}})
			time.Sleep(20 * time.Millisecond)
		}
	})
	_, err := Practice(ctx, c, false, o)
	cancel()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"both", "both-back"} {
		es, _ := onlineOf(t, c, name)
		if len(es) != 1 {
			t.Fatalf("%s: %d episodes, want 1", name, len(es))
		}
		if n := countBy(es[0], robot.ByHuman); n < es[0].Len()/2 {
			t.Errorf("%s: %d of %d steps by the person who held the switch all the time", name, n, es[0].Len())
		}
	}
	if most := 2 * (c.Robot.Horizon + 1); pictures < most*3/4 {
		t.Errorf("the page was shown %d pictures of %d", pictures, most)
	}
}

// After practice.hours no further episode begins, and both are evaluated. What is kept of each is
// what its episodes made of it, whichever of them was learning on while it waited for its turn.
func TestPracticeStopsInTime(t *testing.T) {
	c := rehearsal(t)
	c.Session.Episodes, c.Practice.Hours = 50, 1
	var mu sync.Mutex
	at, told := time.Unix(0, 0), 0
	o := quietly()
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
	o.Tell = func(stage string, _, _ int, note string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(note, "exploring") {
			if told++; told == 2 {
				at = at.Add(2 * time.Hour)
			}
		}
	}
	res, err := Practice(t.Context(), c, false, o)
	if err != nil {
		t.Fatal(err)
	}
	if told != 2 {
		t.Errorf("%d episodes were told, want 2", told)
	}
	for _, file := range []string{res.Forward.Report, res.Backward.Report} {
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "fine-tuned for 1 episodes") {
			t.Errorf("the report %s does not tell of the one episode that was done: %v", file, err)
		}
	}
	ctx := t.Context()
	for name, saved := range map[string]bool{"both": false, "both-back": true} { // at the other's turn, and at its own
		s, err := Resume(ctx, c.Out, name, nil, nil, quietly())
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := s.store.LatestCheckpoint(ctx, kindLearner)
		if saved && (v != 1 || err != nil) || !saved && !errors.Is(err, store.ErrNone) {
			t.Errorf("%s: the learner's last checkpoint is %d (%v), want one of an episode %t", name, v, err, saved)
		}
		p, err := s.prepared(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, tuned, err := s.store.LatestCheckpoint(ctx, kindTuned)
		if err != nil {
			t.Fatal(err)
		}
		for _, again := range []bool{false, true} {
			if again && v > 0 {
				err = s.store.DropCheckpoint(ctx, kindLearner)
			}
			l, n, e := s.learner(ctx, p)
			if err := errors.Join(err, e); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if ps, err := l.Latest(ctx); err != nil || !bytes.Equal(ps.Data, tuned) {
				t.Errorf("%s, learned again %t: it is not what was evaluated (%v)", name, again, err)
			}
			if err := closeKeeper(l); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A learner that fails in the round that the hours end is not kept as if it had not.
func TestALearnerThatFailsAsTheHoursEndIsToldOf(t *testing.T) {
	broke := errors.New("actor_loss is NaN")
	r := &round{Learner: breaks{broke}}
	s := loop.Session{Actor: &loop.Actor{Backend: late{}, Policy: idle{}}, Learner: r, Episodes: 1}
	err := s.Run(t.Context())
	if !errors.Is(err, errTimeUp) || !errors.Is(err, broke) || r.timely(err) {
		t.Errorf("it ends in time %t, error %v", r.timely(err), err)
	}
	if !r.begun || r.params.Version != 7 {
		t.Errorf("of the round is known: begun %t, from version %d", r.begun, r.params.Version)
	}
	r = &round{Learner: breaks{}}
	s.Learner = r
	if err := s.Run(t.Context()); !r.timely(err) {
		t.Errorf("a learner that did not fail: error %v", err)
	}
}

// late is a backend after the hours.
type late struct{ robot.Backend }

func (late) Reset(context.Context) (robot.Observation, error) { return robot.Observation{}, errTimeUp }

// breaks is a learner that diverges.
type breaks struct{ error }

func (breaks) Add(context.Context, policy.Episode) error { return nil }
func (b breaks) Update(context.Context) (policy.Stats, error) {
	return policy.Stats{}, b.error
}
func (breaks) Latest(context.Context) (policy.Params, error) { return policy.Params{Version: 7}, nil }

func TestPracticeRefusesWhatCannotBeUndone(t *testing.T) {
	c := tiny(t)
	if _, err := Practice(t.Context(), c, false, quietly()); err == nil || !strings.Contains(err.Error(), "robot.task stack") {
		t.Errorf("error %v, want the tasks that can be", err)
	}
	c = rehearsal(t)
	c.Reward.Kind = "truth"
	if _, err := Practice(t.Context(), c, false, quietly()); err == nil || !strings.Contains(err.Error(), "reward.kind is truth") {
		t.Errorf("error %v, want reward.kind", err)
	}
}
