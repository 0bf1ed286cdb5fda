package wire

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
)

// While the server is away each entry is tried for itself, so that an acknowledgement may come
// before its fault.
func TestAnAcknowledgedFaultIsNotAdopted(t *testing.T) {
	fault := bus.Entry{Kind: faultKind, ID: "fault-1-2", Data: []byte(`{"id":1}`)}
	ack := bus.Entry{Kind: actKind, ID: "acknowledge-fault-1-2", Data: []byte(`{"act":"acknowledge","key":"fault-1-2"}`)}
	for _, es := range [][]bus.Entry{{fault, ack}, {ack, fault}} {
		j := journalled{open: map[string]bus.Fault{}, acked: map[string]bool{}}
		for _, e := range es {
			j.take(e)
		}
		if len(j.open) > 0 {
			t.Errorf("after %s: open is %v", es[1].ID, j.open)
		}
	}
}

// What the desk has to tell while the server is away is in the journal once it is back.
func TestTheJournalIsToldAfterAnOutage(t *testing.T) {
	dir, quiet := t.TempDir(), slog.New(slog.NewTextHandler(io.Discard, nil))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	start := func() *bus.Server {
		t.Helper()
		srv, err := bus.Start(t.Context(), bus.Options{StoreDir: dir, Listen: at, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return srv
	}
	srv := start()
	conn, err := bus.Dial(t.Context(), srv.URL(), bus.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d := &desk{conn: conn, session: "s", log: quiet, after: time.After}
	d.ctx, d.cancel = context.WithCancel(t.Context())
	defer d.wg.Wait()
	defer d.cancel()
	d.journal(faultKind, "fault-1", bus.Fault{ID: 1})
	kept := func() (ids []string) {
		if err := conn.Replay(t.Context(), "s", 1, false, func(e bus.Entry) error { ids = append(ids, e.ID); return nil }); err != nil {
			return nil
		}
		return ids
	}
	eventually(t, "the first fault is in the journal", func() bool { return len(kept()) == 1 })
	srv.Close()
	d.journal(faultKind, "fault-2", bus.Fault{ID: 2})
	time.Sleep(2 * journalLimit) // the first try is over
	srv = start()
	defer srv.Close()
	eventually(t, "the fault that came meanwhile is, too", func() bool { ids := kept(); return len(ids) == 2 && ids[1] == "fault-2" })
}
