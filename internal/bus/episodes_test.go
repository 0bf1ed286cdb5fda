package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/policy"
)

func publisher(t *testing.T, c *bus.Conn, dir string) *bus.Publisher {
	t.Helper()
	p, err := bus.NewPublisher(c, "s", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func publish(t *testing.T, p *bus.Publisher, es ...policy.Episode) {
	t.Helper()
	for _, e := range es {
		if err := p.Publish(within(t), e); err != nil {
			t.Fatal(err)
		}
	}
}

func flush(t *testing.T, p *bus.Publisher) {
	t.Helper()
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
}

// seen collects what a consumer handled.
type seen struct {
	mu   sync.Mutex
	list []policy.Episode
}

func (s *seen) add(_ context.Context, e policy.Episode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, e)
	return nil
}

func (s *seen) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, e := range s.list {
		ids = append(ids, e.ID)
	}
	return ids
}

// consume runs q with fn until the test ends or stop is called.
func consume(t *testing.T, q *bus.Consumer, fn func(context.Context, policy.Episode) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := q.Run(ctx, fn); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func episodes(seed uint64, n int) (es []policy.Episode, ids []string) {
	rng := seeded(seed)
	for i := range n {
		es = append(es, someEpisode(rng, fmt.Sprint("e", i), 5+i%3, 8, i%2))
		ids = append(ids, es[i].ID)
	}
	return es, ids
}

func TestEpisodesArriveOnceInOrderAndUnchanged(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	p := publisher(t, dial(t, srv.URL(), bus.Options{}), t.TempDir())
	want, ids := episodes(1, 12)
	publish(t, p, want...)
	publish(t, p, want[3], want[5]) // again
	flush(t, p)
	if sent, repeated, refused := p.Counts(); sent != 14 || repeated != 2 || refused != 0 {
		t.Errorf("got %d sent, %d repeated, %d refused; want 14, 2, 0", sent, repeated, refused)
	}
	var got seen
	q := &bus.Consumer{Conn: srv.Conn(), Session: "s"}
	stop := consume(t, q, got.add)
	eventually(t, "all handled", func() bool { return len(got.ids()) >= len(ids) })
	stop()
	if d := cmp.Diff(want, got.list); d != "" {
		t.Errorf("episodes changed on the way (-want +got):\n%s", d)
	}
	if c := q.Counts(); c != (bus.Counts{Handled: 12}) {
		t.Errorf("got %+v", c)
	}
}

func TestFailedEpisodeComesAgain(t *testing.T) {
	srv := start(t, bus.Options{})
	p := publisher(t, srv.Conn(), t.TempDir())
	es, _ := episodes(2, 2)
	publish(t, p, es...)
	var got seen
	q := &bus.Consumer{Conn: srv.Conn(), Session: "s", Retry: time.Millisecond}
	n := 0
	consume(t, q, func(ctx context.Context, e policy.Episode) error {
		if n++; n <= 3 {
			return errors.New("disk full")
		}
		return got.add(ctx, e)
	})
	eventually(t, "both handled", func() bool { return len(got.ids()) == 2 })
	eventually(t, "counted", func() bool { return q.Counts() == bus.Counts{Handled: 2, Failed: 3} })
}

func TestPoisonIsKeptAsideAndTheRestGoesOn(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	p := publisher(t, srv.Conn(), t.TempDir())
	es, _ := episodes(3, 3)
	publish(t, p, es[0])
	flush(t, p)
	nc, err := nats.Connect(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(within(t), "rapport.v1.s.episode", []byte("not an episode")); err != nil {
		t.Fatal(err)
	}
	publish(t, p, es[1:]...)
	var got seen
	q := &bus.Consumer{Conn: srv.Conn(), Session: "s"}
	consume(t, q, func(ctx context.Context, e policy.Episode) error {
		if e.ID == "e1" {
			return fmt.Errorf("wrong features: %w", bus.ErrReject)
		}
		return got.add(ctx, e)
	})
	eventually(t, "counted", func() bool { return q.Counts() == bus.Counts{Handled: 2, Dead: 2} })
	if ids := got.ids(); !slices.Equal(ids, []string{"e0", "e2"}) {
		t.Errorf("got %v", ids)
	}
	st, err := js.Stream(within(t), "RAPPORT_s_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetMsg(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != "not an episode" || !strings.Contains(m.Header.Get(bus.ErrorHeader), "malformed") {
		t.Errorf("got %q because %q", m.Data, m.Header.Get(bus.ErrorHeader))
	}
}

func TestWhatWaitedIsToldFromWhatCame(t *testing.T) {
	srv := start(t, bus.Options{})
	p := publisher(t, srv.Conn(), t.TempDir())
	es, _ := episodes(6, 3)
	publish(t, p, es[:2]...)
	flush(t, p)
	q := &bus.Consumer{Conn: srv.Conn(), Session: "s", Sole: true}
	var got seen
	waited := make(chan bool, len(es))
	consume(t, q, func(ctx context.Context, e policy.Episode) error {
		waited <- q.Waited()
		return got.add(ctx, e)
	})
	eventually(t, "both that waited", func() bool { return len(got.ids()) == 2 })
	publish(t, p, es[2])
	eventually(t, "the one that came", func() bool { return len(got.ids()) == 3 })
	if got := []bool{<-waited, <-waited, <-waited}; !slices.Equal(got, []bool{true, true, false}) {
		t.Errorf("got %v; want that two waited", got)
	}
}

func TestSecondQueueNameIsRefused(t *testing.T) {
	srv := start(t, bus.Options{})
	var got seen
	p := publisher(t, srv.Conn(), t.TempDir())
	es, _ := episodes(4, 1)
	consume(t, &bus.Consumer{Conn: srv.Conn(), Session: "s"}, got.add)
	publish(t, p, es...)
	eventually(t, "handled", func() bool { return len(got.ids()) == 1 })
	err := (&bus.Consumer{Conn: srv.Conn(), Session: "s", Durable: "other"}).Run(within(t), got.add)
	if !errors.Is(err, bus.ErrTaken) {
		t.Errorf("got %v, want ErrTaken", err)
	}
}

func TestWhatCannotBeSentIsRefusedBeforeItIsKept(t *testing.T) {
	srv := start(t, bus.Options{MaxPayload: 1 << 20})
	p := publisher(t, srv.Conn(), t.TempDir())
	rng := seeded(5)
	big := someEpisode(rng, "big", 100, 4096, 0)
	empty := policy.Episode{ID: "empty"}
	line := someEpisode(rng, "a\r\nNats-Rollup: all", 2, 2, 0)
	for name, e := range map[string]policy.Episode{"big": big, "empty": empty, "line": line} {
		if err := p.Publish(within(t), e); err == nil || name == "big" && !errors.Is(err, bus.ErrLarge) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := p.Pending(); n != 0 {
		t.Errorf("%d pending, want 0", n)
	}
}

// A server of another's may take messages that no stream stores. An episode of that size is
// refused before it is kept, and one that is kept already is set aside, as the server says.
func TestWhatNoStreamStoresIsRefused(t *testing.T) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	eventually(t, "a server", func() bool { return ns.ReadyForConnections(time.Millisecond) })
	vast := someEpisode(seeded(5), "vast", 1, 4, 0)
	for i := range vast.Inputs {
		vast.Inputs[i].Features.Embed = make([]float32, 4<<20)
	}
	b, err := bus.EncodeEpisode(vast)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "00000000000000000000.episode"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	p := publisher(t, dial(t, ns.ClientURL(), bus.Options{}), dir)
	if err := p.Fits(vast); !errors.Is(err, bus.ErrLarge) || !strings.Contains(err.Error(), "limit 33554432, which no server stores more than") {
		t.Errorf("got %v, want that no server stores it", err)
	}
	es, _ := episodes(4, 1)
	publish(t, p, es...)
	if err := p.Flush(within(t)); err != nil {
		t.Error(err)
	}
	if sent, _, refused := p.Counts(); sent != 1 || refused != 1 {
		t.Errorf("%d sent, %d refused; want 1 of each", sent, refused)
	}
}

func TestSpoolBelongsToOneProcess(t *testing.T) {
	srv := start(t, bus.Options{})
	dir := t.TempDir()
	publisher(t, srv.Conn(), dir)
	if _, err := bus.NewPublisher(srv.Conn(), "s", dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want that it is in use", err)
	}
}

func TestBrokenSpoolFileIsSetAside(t *testing.T) {
	srv := start(t, bus.Options{})
	dir := t.TempDir()
	for name, s := range map[string]string{
		"00000000000000000007.episode": "garbage", "00000000000000000008.episode.part": "half", "notes.txt": "mine",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := publisher(t, srv.Conn(), dir)
	es, _ := episodes(6, 1)
	publish(t, p, es...)
	flush(t, p)
	if sent, _, refused := p.Counts(); sent != 1 || refused != 1 {
		t.Errorf("got %d sent, %d refused; want 1, 1", sent, refused)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "00000000000000000007.refused")); err != nil || string(b) != "garbage" {
		t.Errorf("got %q, %v", b, err)
	}
}
