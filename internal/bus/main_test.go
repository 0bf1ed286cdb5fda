package bus_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/internal/bus"
)

// childEnv makes this binary play a process that a test kills.
const childEnv = "RAPPORT_BUS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(os.Getenv(childEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// nats.go v1.55 starts this goroutine for each object that is put, and if the
	// object is stored before the goroutine first runs, it waits on a nil channel
	// for ever (jetstream/publish.go, resetPendingAcksOnReconnect). It holds 4 kB
	// per version of parameters, under load; nothing of ours can end it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// patience bounds every wait of a test; none is expected to use it up.
const patience = 15 * time.Second

func start(t testing.TB, o bus.Options) *bus.Server {
	t.Helper()
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s, err := bus.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func dial(t testing.TB, url string, o bus.Options) *bus.Conn {
	t.Helper()
	c, err := bus.Dial(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventually polls until ok; the polling is what waits for another process.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("after %v: still not: %s", patience, what)
		case <-tick.C:
		}
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
