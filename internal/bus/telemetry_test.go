package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

func feed[T any](t *testing.T, c *bus.Conn, topic bus.Topic[T], depth int) *bus.Feed[T] {
	t.Helper()
	f, err := bus.NewFeed(c, "s", topic, depth)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func tap[T any](t *testing.T, c *bus.Conn, topic bus.Topic[T], depth int) *bus.Tap[T] {
	t.Helper()
	p, err := bus.NewTap(c, "s", topic, depth)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func passes[T any](t *testing.T, far, near *bus.Conn, topic bus.Topic[T], want T) {
	t.Helper()
	p := tap(t, far, topic, 4)
	f := feed(t, near, topic, 4)
	f.Publish(want)
	got, err := p.Next(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, bits()); d != "" {
		t.Errorf("%s (-want +got):\n%s", topic.Name, d)
	}
}

func TestTelemetryArrives(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	far, near := dial(t, srv.URL(), bus.Options{}), srv.Conn()
	rng := seeded(1)
	passes(t, far, near, bus.FrameTopic("wrist"), someFrames(rng, 1, 96, 96)[0])
	passes(t, far, near, bus.FeatureTopic(), someFeatures(rng, 64, 3))
	passes(t, far, near, bus.StateTopic(), someState(rng))
	passes(t, far, near, bus.CommandTopic(), bus.Order{Seq: 3, Lease: bus.Lease, Command: robot.Command{Grip: 1}})
	passes(t, far, near, bus.RewardTopic(), []float64{-1, -0.5})
	passes(t, far, near, bus.MetricTopic("learner"), policy.Stats{Updates: 4, Metrics: []policy.Metric{{Name: "loss", Value: 2}}})
	if _, err := bus.NewFeed(near, "s", bus.FrameTopic("two words"), 1); err == nil {
		t.Error("a camera named with a space was accepted")
	}
}

func TestFeedDropsItsOldestAndNeverBlocks(t *testing.T) {
	srv := start(t, bus.Options{})
	topic := bus.RewardTopic()
	encode, entered, leave := topic.Encode, make(chan struct{}, 1), make(chan struct{})
	topic.Encode = func(v []float64) ([]byte, error) {
		if v[0] == 0 {
			entered <- struct{}{}
			<-leave
		}
		return encode(v)
	}
	p := tap(t, srv.Conn(), topic, 100)
	f := feed(t, srv.Conn(), topic, 4)
	f.Publish([]float64{0})
	<-entered // the sender is stuck with the first
	for i := range 20 {
		f.Publish([]float64{float64(i + 1)})
	}
	if got := f.Dropped(); got != 16 {
		t.Errorf("%d dropped, want 16", got)
	}
	close(leave)
	for _, want := range []float64{0, 17, 18, 19, 20} {
		if got, err := p.Next(within(t)); err != nil || got[0] != want {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
}

func TestTapDropsItsOldest(t *testing.T) {
	srv := start(t, bus.Options{})
	p := tap(t, srv.Conn(), bus.RewardTopic(), 3)
	f := feed(t, srv.Conn(), bus.RewardTopic(), 100)
	for i := range 10 {
		f.Publish([]float64{float64(i)})
	}
	eventually(t, "seven dropped", func() bool { return p.Dropped() == 7 })
	for _, want := range []float64{7, 8, 9} {
		if got, err := p.Next(within(t)); err != nil || got[0] != want {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
	p.Close()
	if _, err := p.Next(within(t)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

func TestTelemetryWithoutServerIsCounted(t *testing.T) {
	c := dial(t, "nats://"+porttest.Address(t), bus.Options{Await: true})
	f := feed(t, c, bus.RewardTopic(), 100)
	for range 5 {
		f.Publish([]float64{1})
	}
	eventually(t, "five lost", func() bool { return f.Dropped() == 5 })
}

func TestJournalKeepsEverything(t *testing.T) {
	store := t.TempDir()
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	for i, kind := range []string{"label", "operator", "label", "label"} {
		id := fmt.Sprint("id", min(i, 2)) // the last is a repetition
		seq, err := srv.Conn().Append(within(t), "s", kind, id, fmt.Appendf(nil, `{"n":%d}`, min(i, 2)))
		if want := uint64(min(i, 2) + 1); err != nil || seq != want {
			t.Errorf("got place %d, %v; want %d", seq, err, want)
		}
	}
	if _, err := srv.Conn().Append(within(t), "s", "two words", "x", nil); err == nil {
		t.Error("a kind of two words was accepted")
	}
	srv.Close()
	srv = start(t, bus.Options{StoreDir: store, Listen: "127.0.0.1:0"})

	read := func(from uint64) (got []string) {
		err := srv.Conn().Replay(within(t), "s", from, false, func(e bus.Entry) error {
			got = append(got, fmt.Sprintf("%d %s %s %s", e.Seq, e.Kind, e.ID, e.Data))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	want := []string{`1 label id0 {"n":0}`, `2 operator id1 {"n":1}`, `3 label id2 {"n":2}`}
	for from, want := range [][]string{want, want, want[1:], want[2:], nil, nil} {
		if got := read(uint64(from)); !slices.Equal(got, want) {
			t.Errorf("from %d: got %q, want %q", from, got, want)
		}
	}
	stop := errors.New("enough")
	if err := srv.Conn().Replay(within(t), "s", 1, true, func(bus.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the handler's error", err)
	}

	nc, err := nats.Connect(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(within(t), "RAPPORT_s_JOURNAL")
	if err != nil {
		t.Fatal(err)
	}
	if st.Purge(within(t)) == nil || st.DeleteMsg(within(t), 1) == nil {
		t.Error("the journal let itself be emptied")
	}
}

func TestJournalIsFollowed(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	ctx, cancel := context.WithCancel(within(t))
	got, done := make(chan bus.Entry), make(chan error, 1)
	go func() {
		done <- dial(t, srv.URL(), bus.Options{}).Replay(ctx, "s", 0, true, func(e bus.Entry) error { got <- e; return nil })
	}()
	for i := range 3 {
		if _, err := srv.Conn().Append(within(t), "s", "label", fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-got:
			if e.ID != fmt.Sprint(i) || e.Seq != uint64(i+1) || e.Stamp.IsZero() {
				t.Errorf("got %+v", e)
			}
		case err := <-done:
			t.Fatalf("entry %d did not come: %v", i, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowingOutlivesAServersDeath(t *testing.T) {
	addr, store := porttest.Address(t), t.TempDir()
	s := spawn(t, "server", addr, store)
	url := s.line()
	label, reader := dial(t, url, bus.Options{}), dial(t, url, bus.Options{})
	ctx, cancel := context.WithCancel(within(t))
	got, done := make(chan bus.Entry), make(chan error, 1)
	go func() {
		done <- reader.Replay(ctx, "s", 0, true, func(e bus.Entry) error { got <- e; return nil })
	}()
	for i := range 2 {
		if _, err := label.Append(within(t), "s", "label", fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-got:
			if e.Seq != uint64(i+1) {
				t.Errorf("got %+v", e)
			}
		case err := <-done:
			t.Fatalf("entry %d did not come: %v", i, err)
		}
		if i == 0 {
			s.kill()
			s = spawn(t, "server", addr, store)
			s.line()
			eventually(t, "reconnected", label.Connected)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestGoodByeIsHeardAtOnce(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	w, err := srv.Conn().WatchPeers("s", patience, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	c := dial(t, srv.URL(), bus.Options{Name: "lab-2"})
	stop, err := c.Beat(t.Context(), "s", "scorer", beatEvery)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "alive", func() bool { return w.Alive("scorer") })
	stop()
	eventually(t, "gone", func() bool { return !w.Alive("scorer") }) // long before its time
	if l := w.List(); len(l) != 1 || l[0].Name != "lab-2" || l[0].Alive {
		t.Errorf("got %+v", l)
	}
	if strings.Contains(w.List()[0].Role, ".") {
		t.Error("a role has a dot")
	}
}
