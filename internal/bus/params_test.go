package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/policy"
)

func params(version uint64, n int) policy.Params {
	rng := seeded(version)
	p := policy.Params{Version: version, Data: make([]byte, n)}
	for i := range p.Data {
		p.Data[i] = byte(rng.Uint32())
	}
	return p
}

func put(t *testing.T, c *bus.Conn, p policy.Params) {
	t.Helper()
	if err := c.PutParams(within(t), "s", p); err != nil {
		t.Fatal(err)
	}
}

func TestLatestParamsWin(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0", MaxPayload: 1 << 20})
	far := dial(t, srv.URL(), bus.Options{})
	if _, err := far.LatestParams(within(t), "s"); !errors.Is(err, bus.ErrNone) {
		t.Errorf("before the first: got %v, want ErrNone", err)
	}
	for _, p := range []policy.Params{params(1, 10), params(5, 3<<20), params(5, 3<<20)} {
		put(t, srv.Conn(), p)
		got, err := far.LatestParams(within(t), "s")
		if err != nil || got.Version != p.Version || !bytes.Equal(got.Data, p.Data) {
			t.Errorf("got version %d of %d bytes, %v; want version %d of %d", got.Version, len(got.Data), err, p.Version, len(p.Data))
		}
	}
	if err := far.PutParams(within(t), "s", params(4, 10)); !errors.Is(err, bus.ErrOlder) {
		t.Errorf("an older version: got %v, want ErrOlder", err)
	}
	if got, err := far.LatestParams(within(t), "s"); err != nil || got.Version != 5 {
		t.Errorf("got version %d, %v; want 5 still", got.Version, err)
	}
}

// Old versions go. The latest that is published again stays as it lies, since somebody may
// be reading it.
func TestOldParamsArePruned(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	const versions = bus.KeepParams + 4
	for v := range uint64(versions) {
		put(t, srv.Conn(), params(v, 1000))
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
	obs, err := js.ObjectStore(within(t), "RAPPORT_s_PARAMS")
	if err != nil {
		t.Fatal(err)
	}
	all, err := obs.List(within(t))
	if err != nil || len(all) != bus.KeepParams {
		t.Errorf("got %d objects, %v; want %d", len(all), err, bus.KeepParams)
	}
	lies := func() string {
		t.Helper()
		info, err := obs.GetInfo(within(t), fmt.Sprintf("params-%020d", versions-1))
		if err != nil {
			t.Fatal(err)
		}
		return info.NUID
	}
	before := lies()
	put(t, srv.Conn(), params(versions-1, 1000))
	if after := lies(); after != before {
		t.Errorf("the same parameters were written again, as %s after %s", after, before)
	}
}

// watcher collects the versions that WatchParams told.
type watcher struct {
	mu  sync.Mutex
	got []policy.Params
}

func (w *watcher) add(p policy.Params) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, p)
}

func (w *watcher) last() policy.Params {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.got) == 0 {
		return policy.Params{}
	}
	return w.got[len(w.got)-1]
}

func watch(t *testing.T, c *bus.Conn, fn func(policy.Params)) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.WatchParams(ctx, "s", fn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestWatchersSeeNewerParamsOnly(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	put(t, srv.Conn(), params(3, 100))
	var w watcher
	watch(t, dial(t, srv.URL(), bus.Options{}), w.add)
	eventually(t, "the present version", func() bool { return w.last().Version == 3 })
	for v := uint64(4); v < 9; v++ {
		put(t, srv.Conn(), params(v, 200_000))
	}
	eventually(t, "the newest version", func() bool { return w.last().Version == 8 })
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, p := range w.got {
		if i > 0 && p.Version <= w.got[i-1].Version {
			t.Errorf("version %d after %d", p.Version, w.got[i-1].Version)
		}
		if want := params(p.Version, len(p.Data)); !bytes.Equal(p.Data, want.Data) {
			t.Errorf("version %d has other bytes", p.Version)
		}
	}
}

func TestParamsAndWatchersSurviveAServersDeath(t *testing.T) {
	addr, store := porttest.Address(t), t.TempDir()
	s := spawn(t, "server", addr, store)
	url := s.line()
	learner := dial(t, url, bus.Options{})
	var w watcher
	watch(t, dial(t, url, bus.Options{}), w.add)
	put(t, learner, params(1, 1000))
	eventually(t, "the first version", func() bool { return w.last().Version == 1 })
	s.kill()
	s = spawn(t, "server", addr, store)
	s.line()
	eventually(t, "reconnected", learner.Connected)
	if p, err := learner.LatestParams(within(t), "s"); err != nil || p.Version != 1 {
		t.Errorf("got version %d, %v; want 1 from the disk", p.Version, err)
	}
	put(t, learner, params(2, 1000))
	eventually(t, "the second version", func() bool { return w.last().Version == 2 })
}

// A server without its store counts from 1 again; who watches hears of that.
func TestWatchersSeeAnotherStoresParams(t *testing.T) {
	addr := porttest.Address(t)
	srv := start(t, bus.Options{Listen: addr})
	put(t, srv.Conn(), params(3, 100))
	var w watcher
	watch(t, dial(t, srv.URL(), bus.Options{}), w.add)
	eventually(t, "the first store's version", func() bool { return w.last().Version == 3 })
	srv.Close()
	srv = start(t, bus.Options{Listen: addr})
	put(t, srv.Conn(), params(1, 200))
	eventually(t, "the second store's version", func() bool { return w.last().Version == 1 })
}
