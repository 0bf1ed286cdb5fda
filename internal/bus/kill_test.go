package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/policy"
)

const (
	// killWait is how soon a killed learner's episode is given to the next.
	killWait = time.Second
	// beatEvery is how often the child's heart beats.
	beatEvery = 20 * time.Millisecond
)

func sorted(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}

func TestKilledLearnerLosesNothing(t *testing.T) {
	const n, finished = 9, 4
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	p := publisher(t, srv.Conn(), t.TempDir())
	es, ids := episodes(7, n)
	publish(t, p, es...)

	l := spawn(t, "learner", srv.URL(), fmt.Sprint(finished))
	var before []string
	for range finished + 1 { // the last is seen and never acknowledged
		before = append(before, l.line())
	}
	l.kill()

	var after seen
	q := &bus.Consumer{Conn: srv.Conn(), Session: "s", AckWait: killWait}
	stop := consume(t, q, after.add)
	eventually(t, "the rest handled", func() bool { return len(after.ids()) >= n-finished })
	stop()
	all := sorted(append(slices.Clone(before[:finished]), after.ids()...))
	if want := sorted(ids); !slices.Equal(all, want) {
		t.Errorf("handled %v, want each of %v once", all, want)
	}
	if again := before[finished]; !slices.Contains(after.ids(), again) {
		t.Errorf("%s was seen by the dead learner only", again)
	}
}

// A sole consumer goes on where a dead one stopped: it does not take later
// episodes while the one that the dead held waits to be given up.
func TestSoleConsumerTakesUpWhatADeadOneHeld(t *testing.T) {
	const n, finished = 9, 4
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	p := publisher(t, srv.Conn(), t.TempDir())
	es, ids := episodes(8, n)
	publish(t, p, es...)
	l := spawn(t, "learner", srv.URL(), fmt.Sprint(finished))
	for range finished + 1 { // the last is seen and never acknowledged
		l.line()
	}
	l.kill()

	var after seen
	q := &bus.Consumer{Conn: srv.Conn(), Session: "s", Sole: true, AckWait: time.Hour}
	stop := consume(t, q, after.add)
	eventually(t, "the rest handled", func() bool { return len(after.ids()) >= n-finished })
	stop()
	if got, want := after.ids(), ids[finished:]; !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
}

func TestKilledServerKeepsItsQueue(t *testing.T) {
	const n = 30
	addr, store := porttest.Address(t), t.TempDir()
	s := spawn(t, "server", addr, store)
	url := s.line()
	p := publisher(t, dial(t, url, bus.Options{}), t.TempDir())
	var got seen
	q := &bus.Consumer{Conn: dial(t, url, bus.Options{}), Session: "s", AckWait: killWait, Retry: time.Millisecond}
	consume(t, q, got.add)

	es, ids := episodes(8, n)
	publish(t, p, es[:10]...)
	eventually(t, "some handled", func() bool { return len(got.ids()) >= 5 })
	s.kill()
	publish(t, p, es[10:20]...) // nobody there
	if p.Pending() < 10 {
		t.Errorf("%d pending while the server is dead, want at least 10", p.Pending())
	}
	s = spawn(t, "server", addr, store)
	s.line()
	publish(t, p, es[20:]...)
	flush(t, p)
	eventually(t, "all seen", func() bool {
		list := sorted(got.ids())
		return len(slices.Compact(list)) == n
	})
	// The consumer lived on, so that it knows what it handled while the server
	// could not take its note.
	if extra := len(got.ids()) - n; extra > 0 {
		t.Errorf("%d episodes were handled twice: %v", extra, got.ids())
	}
	if list := sorted(got.ids()); !slices.Equal(slices.Compact(list), sorted(ids)) {
		t.Errorf("got %v", list)
	}
}

func TestServerRestartedByItsOwnerKeepsWhatItHandled(t *testing.T) {
	store := t.TempDir()
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	es, ids := episodes(9, 6)
	p := publisher(t, srv.Conn(), t.TempDir())
	publish(t, p, es...)
	flush(t, p)
	var got seen
	stop := consume(t, &bus.Consumer{Conn: srv.Conn(), Session: "s"}, got.add)
	eventually(t, "all handled", func() bool { return len(got.ids()) == 6 })
	stop()
	p.Close()
	srv.Close()

	// The server forgot the ids of acknowledged episodes; their note did not.
	srv = start(t, bus.Options{StoreDir: store})
	p = publisher(t, srv.Conn(), t.TempDir())
	more, _ := episodes(9, 8)
	publish(t, p, more...)
	var rest seen
	q := &bus.Consumer{Conn: srv.Conn(), Session: "s"}
	consume(t, q, rest.add)
	eventually(t, "eight delivered", func() bool { c := q.Counts(); return c.Handled+c.Repeated == 8 })
	if got := rest.ids(); !slices.Equal(got, []string{"e6", "e7"}) {
		t.Errorf("handled %v after the restart, want only what is new beside %v", got, ids)
	}
}

func TestFollowerReadsTheJournalOfAServerWithoutItsStore(t *testing.T) {
	addr := porttest.Address(t)
	serve := func() (*bus.Server, *bus.Conn) {
		t.Helper()
		srv := start(t, bus.Options{Listen: addr}) // in a new folder
		return srv, srv.Conn()
	}
	say := func(c *bus.Conn, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if _, err := c.Append(within(t), "s", "session", id, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	srv, conn := serve()
	say(conn, "a", "b", "c")
	var got seen
	ctx, end := context.WithCancel(t.Context())
	far := dial(t, srv.URL(), bus.Options{})
	done := make(chan error, 1)
	go func() {
		done <- far.Replay(ctx, "s", 1, true, func(e bus.Entry) error {
			return got.add(ctx, policy.Episode{ID: e.ID})
		})
	}()
	eventually(t, "the first three are read", func() bool { return len(got.ids()) == 3 })
	srv.Close()
	_, conn = serve()
	eventually(t, "connected", far.Connected)
	say(conn, "over")
	eventually(t, "the end is read", func() bool { return slices.Contains(got.ids(), "over") })
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestKilledActorLosesNothingItPublished(t *testing.T) {
	const n = 5
	addr, spool := porttest.Address(t), t.TempDir()
	a := spawn(t, "actor", "nats://"+addr, spool, fmt.Sprint(n)) // no server yet
	for range n {
		a.line()
	}
	a.kill()

	srv := start(t, bus.Options{Listen: addr})
	p := publisher(t, srv.Conn(), spool)
	flush(t, p)
	var got seen
	consume(t, &bus.Consumer{Conn: srv.Conn(), Session: "s"}, got.add)
	eventually(t, "all handled", func() bool { return len(got.ids()) >= n })
	if want := []string{"e0", "e1", "e2", "e3", "e4"}; !slices.Equal(got.ids(), want) {
		t.Errorf("got %v, want %v", got.ids(), want)
	}
}

func TestCallOfAKilledServerEndsLongBeforeItsDeadline(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	l := spawn(t, "served", srv.URL())
	l.line()
	done := make(chan error, 1)
	go func() {
		_, err := bus.Learner(srv.Conn(), "s").Update(context.Background()) // 10 minutes
		done <- err
	}()
	l.line()
	l.kill()
	select {
	case err := <-done:
		if !errors.Is(err, bus.ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
	case <-time.After(patience):
		t.Error("still waiting for a dead server")
	}
}

func TestKilledPeerIsNoticed(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	changes := make(chan bus.Peer, 8)
	w, err := srv.Conn().WatchPeers("s", 10*beatEvery, func(p bus.Peer) { changes <- p })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	l := spawn(t, "beat", srv.URL())
	eventually(t, "alive", func() bool { return w.Alive("learner") })
	l.kill()
	eventually(t, "gone", func() bool { return !w.Alive("learner") })
	if p := <-changes; !p.Alive || p.Name != "child" {
		t.Errorf("first change: %+v", p)
	}
	eventually(t, "told", func() bool {
		for len(changes) > 0 {
			if p := <-changes; !p.Alive {
				return true
			}
		}
		return false
	})
	if w.Alive("scorer") {
		t.Error("a role that nobody plays is alive")
	}
}
