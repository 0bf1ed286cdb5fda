package wire

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
)

// What a session is gone on with once, as who watches its reward, holds from then on.
func TestWhatASessionIsGoneOnWithIsKept(t *testing.T) {
	c := tiny(t)
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Dir()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	now, err := agree(t.Context(), st, func(dir string) (config.Config, error) {
		return configOf(dir, nil, []string{"reward.success=truth", "practice.hours=3", "practice.reminder=4", "robot.pace=real", "guard.gate=warn"})
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	if once, err := fleeting(dir, now); err != nil || !slices.Equal(once, []string{"robot.pace=real", "guard.gate=warn"}) {
		t.Errorf("for this start alone: %v, %v; want the pace and the gate", once, err)
	}
	kept, err := configOf(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if kept.Reward.Success != "truth" || kept.Practice.Hours != 3 || kept.Practice.Reminder != 4 || kept.Robot.Pace != c.Robot.Pace {
		t.Errorf("success %s, %g hours, reminder %d, pace %s", kept.Reward.Success, kept.Practice.Hours, kept.Practice.Reminder, kept.Robot.Pace)
	}
}

func TestRemediesAreQuotedForAShell(t *testing.T) {
	dir := filepath.Join("my runs", "ann's")
	for got, want := range map[string]string{
		GoOn(dir):                            `rapport run --resume --set 'name=ann'\''s' --set 'out=my runs'`,
		GoOn(filepath.Join("runs", "a-001")): "rapport run --resume --set name=a-001",
		acknowledging(3, dir):                `rapport fault ack 3 --by NAME --session 'my runs/ann'\''s'`,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestSessionsAreNumberedByTask(t *testing.T) {
	out := t.TempDir()
	for _, name := range []string{"reach-007", "group-001", "group-002-back", "group-iql", "my-group-009"} {
		if err := os.Mkdir(filepath.Join(out, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for task, want := range map[string]string{"reach": "reach-008", "group": "group-003", "stack": "stack-001"} {
		if got, err := freeName(out, task); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

// The newest session is the one that was begun last, whatever was changed since, and no actor's folder.
func TestTheNewestSessionIsTheOneBegunLast(t *testing.T) {
	c := tiny(t)
	c.Bus.URL = "nats://127.0.0.1:1"
	begun := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, folder := range []string{"older", "later", "later-actor"} {
		c.Name = strings.TrimSuffix(folder, ofActor)
		st, err := founded(filepath.Join(c.Out, folder), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"config.yaml", "lock"} {
			at := begun.AddDate(0, 0, i)
			if err := os.Chtimes(filepath.Join(st.Dir(), file), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(name, when string) {
		t.Helper()
		if got, err := newest(c.Out); err != nil || got != name {
			t.Errorf("%s: %s is the newest, %v; want %s", when, got, err, name)
		}
	}
	want("later", "all three")
	st, err := store.Open(filepath.Join(c.Out, "older"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = agree(t.Context(), st, func(dir string) (config.Config, error) {
		return configOf(dir, nil, []string{"session.episodes=9"})
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	want("later", "the older goes on for longer")
	if err := os.Remove(filepath.Join(c.Out, "later", "lock")); err != nil { // as in a copy
		t.Fatal(err)
	}
	want("later", "without its lock")
	_, err = Resume(t.Context(), c.Out, "later-actor", nil, nil, quietly())
	wantErr(t, err, "later-actor is what the actor of session later keeps", "--set name=later")
	// A session may be called so.
	c.Name = "mine-actor"
	if st, err = founded(filepath.Join(c.Out, c.Name), c); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	want("mine-actor", "a session of that name")
}

func TestTheDeskOfAPracticeIsTheFirstSessions(t *testing.T) {
	out := t.TempDir()
	for name, tt := range map[string]struct{ way, mate, want string }{
		"both":      {"forward", "both-back", "both"},
		"both-back": {"backward", "both", "both"},
		"alone":     {"backward", "", "alone"},
	} {
		c := config.Default()
		c.Name, c.Robot.Task, c.Robot.Way, c.Practice.Mate = name, "stack", tt.way, tt.mate
		dir := filepath.Join(out, name)
		st, err := founded(dir, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if got := Leading(dir); got != filepath.Join(out, tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// A session over recordings that was stopped before all were stored reads those that it began with,
// from whatever folder.
func TestRecordingsAreFoundFromAnyFolder(t *testing.T) {
	bench, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{bench, other} {
		if err := os.Mkdir(filepath.Join(dir, "week"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"mon.bag", "tue.bag"} {
		bagOf(t, filepath.Join(bench, "week", name), nil, frontLens)
	}
	if err := os.WriteFile(filepath.Join(other, "week", "mon.bag"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := tiny(t)
	set(t, &c, "name=bags", "robot.kind=bag", "robot.bag.files=[week/*.bag]", "robot.bag.preferred=[week/mon.bag]", "robot.horizon=100", "reward.triplets=0", "session.episodes=1", "session.record=false")
	t.Chdir(bench)
	s, err := Create(t.Context(), c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if c.Robot.Bag.Preferred[0] != "week/mon.bag" {
		t.Errorf("the caller's names are %v now", c.Robot.Bag)
	}
	t.Chdir(other)
	if s, err = Resume(t.Context(), c.Out, c.Name, nil, nil, quietly()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(t.Context())
	if err := errors.Join(err, s.Close()); err != nil {
		t.Errorf("from another folder: %v", err)
	}
}

// Where a session began from is found from whatever folder, and is no other for being named from there.
func TestWhereASessionBeganFromIsFoundFromAnyFolder(t *testing.T) {
	c := tiny(t)
	c.Name, c.Session.From, c.Demos.Filter = "next", "runs/a", "review.csv"
	bench := t.TempDir()
	t.Chdir(bench)
	dir := filepath.Join(c.Out, c.Name)
	st, err := founded(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { st.Close() }()
	goesOn := func(load func(string) (config.Config, error), from string) {
		t.Helper()
		now, err := agree(t.Context(), st, load)
		if err != nil || now.Session.From != filepath.Join(from, "runs", "a") || now.Demos.Filter != filepath.Join(from, "review.csv") {
			t.Errorf("it goes on from %s without %s, %v; want those of %s", now.Session.From, now.Demos.Filter, err, from)
		}
	}
	asKept := func(dir string) (config.Config, error) { return configOf(dir, nil, []string{"session.episodes=9"}) }
	again := c
	again.Session.Episodes = 9
	asSaid := func(string) (config.Config, error) { return again, nil } // as a study does
	other := t.TempDir()
	t.Chdir(other)
	goesOn(asKept, bench)
	goesOn(asSaid, bench)
	if ch, err := Otherwise(c); err != nil || len(ch) > 0 {
		t.Errorf("from another folder it began otherwise: %v, %v", ch, err)
	}
	// So does a process of several.
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	var now config.Config
	if st, now, err = openFolder(t.Context(), dir, c, true); err != nil || now.Session.From != filepath.Join(bench, "runs", "a") {
		t.Fatalf("a process of several goes on from %s, %v", now.Session.From, err)
	}
	again.Session.From = "runs/b"
	_, err = agree(t.Context(), st, asSaid)
	wantErr(t, err, "session.from")
	if ch, err := Otherwise(again); err != nil || len(ch) != 1 || ch[0].Key != "session.from" {
		t.Errorf("began from another: %v, %v", ch, err)
	}
	// Where it was moved, with the folder that it was in or alone, who says so is believed.
	again.Session.From = "runs/a"
	if err := errors.Join(os.MkdirAll(filepath.Join(other, "runs", "a"), 0o755), os.WriteFile(filepath.Join(other, "review.csv"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if ch, err := Otherwise(again); err != nil || len(ch) > 0 {
		t.Errorf("moved it began otherwise: %v, %v", ch, err)
	}
	goesOn(asSaid, other)
	goesOn(asKept, other)
	again.Session.From = filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(again.Session.From, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = agree(t.Context(), st, asSaid) // which is there, too
	wantErr(t, err, "session.from")
	if err := os.RemoveAll(filepath.Join(other, "runs")); err != nil {
		t.Fatal(err)
	}
	if now, err := agree(t.Context(), st, asSaid); err != nil || now.Session.From != again.Session.From {
		t.Errorf("it goes on from %s, %v", now.Session.From, err)
	}
	// One of before goes by the folder that one stands in, and keeps its names.
	b, err := c.YAML()
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "config.yaml"), b, 0o600)); err != nil {
		t.Fatal(err)
	}
	again.Session.From = c.Session.From
	goesOn(asKept, other)
	goesOn(asSaid, other)
	if was, err := asBegun(dir); err != nil || was.Session.From != c.Session.From || was.Demos.Filter != c.Demos.Filter {
		t.Errorf("what it keeps is %s and %s, %v", was.Session.From, was.Demos.Filter, err)
	}
}
