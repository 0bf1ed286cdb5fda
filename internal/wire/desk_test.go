package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// flaky fails at a step with an error of the backend.
type flaky struct {
	robot.Backend
	n, at int
	err   error
}

func (f *flaky) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	if f.n++; f.n == f.at {
		return robot.Observation{}, f.err
	}
	return f.Backend.Step(ctx, c)
}

// Faults of configured causes go without a person, up to the cap of an hour,
// which counts those of earlier lives; then they stay.
func TestRecoveriesAreCapped(t *testing.T) {
	c := tiny(t)
	set(t, &c, "guard.recover.max_per_hour=2", "guard.recover.causes=[failed]")
	s := begun(t, c)
	now := time.Unix(1e9, 0)
	s.desk.now = func() time.Time { return now }
	fall := func(cause guard.Cause) *arm {
		t.Helper()
		at, wish := -1, robot.Command{}
		switch cause {
		case guard.Failed:
			at = 1
		case guard.NonFinite:
			wish.Delta[0] = 1 / (wish.Grip)
		}
		return felled(t, s, c, at, wish)
	}
	waits := func(want bool) {
		t.Helper()
		limit := time.Minute // where the recovery ends it
		if want {
			limit = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if err := s.desk.wait(ctx); (err != nil) != want {
			t.Errorf("wait: %v, want waiting %v", err, want)
		}
	}
	for range 2 {
		a := fall(guard.Failed)
		waits(false)
		if a.guard.Fault() != nil {
			t.Error("the guard is not told of the recovery")
		}
	}
	fall(guard.Failed)
	waits(true)
	now = now.Add(time.Hour)
	waits(false)
	fall(guard.NonFinite) // no cause of the list
	waits(true)
	all, err := s.store.Faults(t.Context())
	if err != nil || len(all) != 4 || all[2].By != automatic || !all[3].Open() || all[3].Cause != guard.NonFinite.String() {
		t.Errorf("faults: %+v, %v", all, err)
	}
	if b, err := s.store.FaultReport(t.Context(), 4); err != nil || !strings.Contains(string(b), `"wish":[null,0,0,0,0,0,0]`) {
		t.Errorf("the report of a wish that is not finite: %.200s, %v", b, err)
	}
	if err := s.store.Acknowledge(t.Context(), 4, now, "anna", ""); err != nil {
		t.Error(err)
	}
}

// letGo is an arm of a session that is held by a fault which guard.recover lets go.
func letGo(t *testing.T) (*Session, *arm) {
	t.Helper()
	c := tiny(t)
	set(t, &c, "guard.recover.max_per_hour=2", "guard.recover.causes=[failed]")
	s := begun(t, c)
	return s, felled(t, s, c, 1, robot.Command{})
}

// felled is an arm under the session's desk that a step with the wish left with a fault; the
// step of number at fails.
func felled(t *testing.T, s *Session, c config.Config, at int, wish robot.Command) *arm {
	t.Helper()
	a := fit(t, s, c, at, s.desk.note)
	if _, err := a.guard.Step(t.Context(), wish); !errors.Is(err, robot.ErrStopped) {
		t.Fatalf("got %v, want a fault", err)
	}
	return a
}

// fit is an arm under the session's desk that takes commands, until the step of number at
// fails; latched hears of its guard's faults.
func fit(t *testing.T, s *Session, c config.Config, at int, latched func(*guard.Fault)) *arm {
	t.Helper()
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.close() })
	gc := guardConfig(c)
	gc.Latched = latched
	if a.guard, err = guard.New(&flaky{Backend: a.world, at: at, err: errors.New("no answer from the controller")}, gc); err != nil {
		t.Fatal(err)
	}
	detach, err := s.desk.attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(detach)
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// A stop beside a fault that goes without a person waits for one.
func TestAStopBesideAFaultWaitsForAPerson(t *testing.T) {
	s, a := letGo(t)
	anna := bus.Stop{Who: "anna\n\x1b[31m", Why: strings.Repeat("a hand is in there ", 1000)}
	r, err := s.desk.Stop(t.Context(), anna)
	if err != nil || !r.Held || !r.Already || r.Fault.Cause != guard.Stopped.String() {
		t.Errorf("got %+v, %v; want a stop of an arm that was held before", r, err)
	}
	if again, err := s.desk.Stop(t.Context(), anna); err != nil || again.Fault.ID != r.Fault.ID {
		t.Errorf("anna's stop once more: %+v, %v; want fault %d", again, err, r.Fault.ID)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.desk.wait(ctx); err == nil {
		t.Error("the session goes on, and nobody has acknowledged the stop")
	}
	open, err := s.store.OpenFaults(t.Context())
	if err != nil || len(open) != 1 || open[0].ID != r.Fault.ID || !strings.Contains(open[0].Detail, "anna") {
		t.Errorf("open: %+v, %v; want anna's stop alone", open, err)
	}
	if said := open[0].Detail; len(said) > 500 || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("it was stopped %q, want what a terminal shows", said)
	}
	if a.guard.Fault() == nil {
		t.Error("the arm is not held")
	}
	if _, err := s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: open[0].ID, Who: "anna"}); err != nil || a.guard.Fault() != nil {
		t.Errorf("after anna's word: %v, fault %v", err, a.guard.Fault())
	}
}

// Who puts the scene back, as a practice asked, knows nothing of another's hand in the gripper:
// each stop is acknowledged by its own number, of those who do not wait for the answer, too.
func TestEachPersonsStopIsAcknowledged(t *testing.T) {
	c := tiny(t)
	s := begun(t, c)
	a := fit(t, s, c, -1, s.desk.note)
	gone, leave := context.WithCancel(t.Context())
	leave()
	var ids []int64
	for i, by := range []struct {
		ctx context.Context
		bus.Stop
	}{
		{t.Context(), bus.Stop{Who: "practice", Why: "put the scene back"}},
		{t.Context(), bus.Stop{Who: "anna", Why: "my hand is in the gripper"}},
		{t.Context(), bus.Stop{Who: "anna", Why: "smoke"}},
		{gone, bus.Stop{Who: "ben", Why: "smoke"}},
	} {
		for range 2 { // the button is pressed once more
			r, err := s.desk.Stop(by.ctx, by.Stop)
			if err != nil || r.Fault.ID != int64(i+1) || r.Fault.Detail != "by "+by.Who+": "+by.Why || r.Already != (len(ids) > 0) {
				t.Errorf("stop by %s: %+v, %v; want fault %d", by.Who, r, err, i+1)
			}
			ids = append(ids, r.Fault.ID)
		}
	}
	ids = slices.Compact(ids)
	for i, id := range ids {
		if a.guard.Fault() == nil {
			t.Errorf("the arm may move, and nobody has acknowledged fault %d", id)
		}
		r, err := s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: id, Who: "carl"})
		if left := len(ids) - i - 1; err != nil || r.Left != left {
			t.Errorf("acknowledging fault %d: %+v, %v; want %d left", id, r, err, left)
		}
	}
	if f := a.guard.Fault(); f != nil {
		t.Errorf("all are acknowledged, and the guard has %v", f)
	}
}

// A stop that comes while somebody acknowledges a fault of before holds the arm all the same.
func TestAStopDuringAnAcknowledgementHolds(t *testing.T) {
	s, a := letGo(t)
	fs, err := s.desk.Faults(t.Context())
	if err != nil || len(fs) != 1 {
		t.Fatal(fs, err)
	}
	s.desk.file.Lock() // as Acknowledge has it while the disk writes
	stopped := make(chan bus.Stopped, 1)
	go func() {
		r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "a hand is in there"})
		if err != nil {
			t.Error(err)
		}
		stopped <- r
	}()
	time.Sleep(100 * time.Millisecond) // it has told the guard, and waits for the file
	if _, err := s.desk.acknowledge(t.Context(), bus.Acknowledge{Fault: fs[0].ID, Who: "ben"}); err != nil {
		t.Fatal(err)
	}
	s.desk.file.Unlock()
	if r := <-stopped; !r.Held || r.Fault.Cause != guard.Stopped.String() {
		t.Errorf("got %+v, want a held arm", r)
	}
	if f := a.guard.Fault(); f == nil || f.Cause != guard.Stopped {
		t.Errorf("the guard has %v, want the stop", f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.desk.wait(ctx); err == nil {
		t.Error("the session goes on with a stop that is open")
	}
}

// A fault that a guard latches while somebody acknowledges or stops is noted at once: the guard
// is locked until then, and each of them asks it.
func TestAFaultIsNotedWhileThePeopleAct(t *testing.T) {
	for name, act := range map[string]func(d *desk) error{
		"acknowledge": func(d *desk) error {
			_, err := d.Acknowledge(t.Context(), bus.Acknowledge{Fault: 99, Who: "ben"})
			if errors.Is(err, bus.ErrNone) {
				return nil
			}
			return fmt.Errorf("got %w, want ErrNone", err)
		},
		"stop": func(d *desk) error {
			_, err := d.Stop(t.Context(), bus.Stop{Who: "anna", Why: "a hand is in there"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			s := begun(t, c)
			acted := make(chan error, 1)
			a := fit(t, s, c, -1, func(f *guard.Fault) {
				if f.Cause == guard.Stopped {
					return
				}
				s.desk.file.Unlock()
				time.Sleep(300 * time.Millisecond) // act has the file, and asks the guard, which is locked
				noted := make(chan struct{})
				go func() { s.desk.note(f); close(noted) }()
				select {
				case <-noted:
				case <-time.After(5 * time.Second):
					t.Error("the desk waits for the guard, and the guard for the desk")
				}
			})
			s.desk.file.Lock() // as who stores a fault has it
			go func() { acted <- act(s.desk) }()
			for name == "stop" && a.guard.Fault() == nil {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(100 * time.Millisecond) // it waits for the file
			if err := a.guard.Acknowledge("ben"); err != nil {
				t.Error(err)
			}
			if _, err := a.guard.Step(t.Context(), robot.Command{Delta: [6]float64{math.NaN()}}); !errors.Is(err, robot.ErrStopped) {
				t.Errorf("got %v, want a fault", err)
			}
			if err := <-acted; err != nil {
				t.Error(err)
			}
			if fs, err := s.desk.Faults(t.Context()); err != nil || !slices.ContainsFunc(fs, func(f bus.Fault) bool { return f.Open && f.Cause == guard.NonFinite.String() }) {
				t.Errorf("faults: %+v, %v; want the one that was latched", fs, err)
			}
		})
	}
}

// Who waited for an acknowledgement goes on with what it was about, and says so.
func TestTheStageOfBeforeIsToldAgainOnceTheArmMayMove(t *testing.T) {
	s := begun(t, tiny(t))
	var mu sync.Mutex
	var told []string
	tell := func(stage string, done, total int, note string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprintf("%s %d/%d %.9s", stage, done, total, note))
	}
	s.desk.tell = tell
	s.tell("fine-tune", 3, 8, "success 1/3")
	for range 2 {
		r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "smoke"})
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error)
		for range 2 { // as the arms of an evaluation
			go func() { waited <- s.desk.wait(t.Context()) }()
		}
		for held := 0; held < 2; time.Sleep(time.Millisecond) {
			mu.Lock()
			held = strings.Count(strings.Join(told, ";"), "held")
			mu.Unlock()
		}
		time.Sleep(20 * time.Millisecond) // their status
		if _, err := s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: r.Fault.ID, Who: "anna"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
		s.desk.mu.Lock()
		if st := s.desk.status; st.Stage != "fine-tune" || st.Done != 3 || st.Total != 8 || st.Note != "success 1/3" {
			t.Errorf("the session says %s %d/%d %s", st.Stage, st.Done, st.Total, st.Note)
		}
		s.desk.mu.Unlock()
		if last := told[len(told)-1]; last != "fine-tune 3/8 success 1" {
			t.Errorf("told %q", told)
		}
		told = nil
	}
}

// A stop after a reset has begun is of the episode that it begins.
func TestAStopOnTheWayToTheStartIsOfTheEpisodeThatBegins(t *testing.T) {
	s := begun(t, tiny(t))
	a, done, err := s.ownArm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	s.desk.tick("online-00003", 0, &robot.Observation{}, 1, a)
	a.next = 4
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "a hand is in there"})
	if err != nil || r.Fault.Episode != "online-00004" {
		t.Errorf("got %+v, %v; want a stop in online-00004", r, err)
	}
}

// What a person did in an episode that begins anew is dropped with it, and who evaluates is not
// told to be driven by the person of before.
func TestStepsOfAPersonAreThoseThatStay(t *testing.T) {
	c := tiny(t)
	s := begun(t, c)
	a, done, err := s.ownArm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.desk.handled(10) // before this process
	drive := func(episode string, steps int, resets bool) {
		if resets {
			s.desk.begin(episode)
		}
		s.desk.tick(episode, 0, &robot.Observation{}, 1, a)
		for k := range steps {
			s.desk.tick(episode, k+1, &robot.Observation{By: robot.ByHuman}, 1, a)
		}
	}
	stands := func(when, episode, by string, human, humans int) {
		t.Helper()
		s.desk.mu.Lock()
		defer s.desk.mu.Unlock()
		if st := s.desk.status; st.Episode != episode || st.By != by || st.Human != human || st.Humans != humans || !st.Moving {
			t.Errorf("%s: %q by %q, %d and %d steps by a person, moving %v; want %q by %q, %d and %d", when, st.Episode, st.By, st.Human, st.Humans, st.Moving, episode, by, human, humans)
		}
	}
	drive("online-00000", 4, true)
	drive("online-00001", 3, true)
	stands("cut off", "online-00001", "human", 3, 17)
	drive("online-00001", 2, true)
	drive("online-00001", 1, false)
	stands("begun anew twice", "online-00001", "human", 1, 15)
	s.desk.turn(tabletop.Backward) // the other one of a practice, which counts alike
	drive("online-00001", 3, true)
	s.desk.turn(tabletop.Backward)
	drive("online-00001", 2, true)
	stands("the way back begun anew", "online-00001", "human", 2, 17)
	s.desk.turn(tabletop.Forward)
	drive("online-00002", 0, true)
	s.desk.turn(tabletop.Backward)
	drive("online-00002", 0, true)
	stands("the next there and back", "online-00002", "", 0, 17)
	beside := func() func() {
		b, err := newArm(c, evaluation)
		if err != nil {
			t.Fatal(err)
		}
		detach, err := s.desk.attach(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			detach()
			if err := b.close(); err != nil {
				t.Error(err)
			}
		}
	}
	leave := beside()
	stands("beside another arm", "online-00002", "", 0, 17)
	leave()
	if err := done(); err != nil {
		t.Fatal(err)
	}
	defer beside()()
	stands("evaluated", "", "", 0, 17)
}

// Every cause that a configuration may name is one of the guard's, and a reproduction, at which
// nobody sits, goes on after what a policy did.
func TestNobodySitsAtAReproduction(t *testing.T) {
	c := tiny(t)
	c.Guard.Recover = config.Unattended()
	s := begun(t, c)
	for i, name := range c.Guard.Recover.Causes {
		cause := recoverable()[name]
		s.desk.note(&guard.Fault{Cause: cause, Detail: name})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.desk.wait(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all, err := s.store.Faults(t.Context())
		if err != nil || len(all) != i+1 || all[i].By != automatic || all[i].Cause != cause.String() || cause != guard.Failed && !drivenTo(&guard.Fault{Cause: cause}) {
			t.Errorf("%s: faults %+v, %v", name, all, err)
		}
	}
}

// A stop holds the arm though the disk takes nothing; the session then ends, for
// nobody could acknowledge what is not stored.
func TestStopHoldsWithoutADisk(t *testing.T) {
	c := tiny(t)
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.liveArm(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	detach, err := s.desk.attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "smoke"})
	if err != nil || !r.Held || !strings.Contains(r.Fault.Detail, "not stored") {
		t.Errorf("got %+v, %v; want a held arm", r, err)
	}
	if err := s.desk.wait(t.Context()); err == nil {
		t.Error("the session goes on with a fault that is not stored")
	}
	if a.guard.Fault() == nil {
		t.Error("the arm is not held")
	}
	detach()
	if _, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna"}); err == nil {
		t.Error("a stop that holds nothing and is not stored was told as done")
	}
	_ = s.Close() // its store is closed already
}
