package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/robot"
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
