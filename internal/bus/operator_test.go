package bus_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/rapport-rl/rapport/internal/bus"
)

// desk is an operator's desk without an arm.
type desk struct {
	mu     sync.Mutex
	faults []bus.Fault
	busy   chan struct{} // if set, acknowledging waits for it
}

func (d *desk) Stop(_ context.Context, s bus.Stop) (bus.Stopped, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := bus.Fault{ID: int64(len(d.faults) + 1), Cause: "stopped", Detail: s.Why + " (" + s.Who + ")", Open: true}
	already := slices.ContainsFunc(d.faults, func(f bus.Fault) bool { return f.Open })
	d.faults = append([]bus.Fault{f}, d.faults...)
	return bus.Stopped{Fault: f, Already: already, Held: true, Hold: time.Millisecond}, nil
}

func (d *desk) Acknowledge(ctx context.Context, a bus.Acknowledge) (bus.Acknowledged, error) {
	if d.busy != nil {
		select {
		case <-d.busy:
		case <-ctx.Done():
			return bus.Acknowledged{}, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.faults {
		if f := &d.faults[i]; f.ID == a.Fault && f.Open {
			f.Open, f.By = false, a.Who
			return bus.Acknowledged{Fault: *f}, nil
		}
	}
	return bus.Acknowledged{}, bus.ErrNone
}

func (d *desk) Faults(context.Context) ([]bus.Fault, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults, nil
}

func serveDesk(t *testing.T, c *bus.Conn, session string, d bus.Operator) {
	t.Helper()
	stop, err := bus.ServeOperator(t.Context(), c, session, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

func TestOperatorStopsAndAcknowledges(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0", Name: "driver"})
	c := dial(t, srv.URL(), bus.Options{})
	if _, err := c.Stop(within(t), "s", bus.Stop{Who: "anna"}); !errors.Is(err, bus.ErrNoService) {
		t.Errorf("stop without a driver: %v, want ErrNoService", err)
	}
	if _, err := c.StopAll(within(t), bus.Stop{Who: "anna"}); !errors.Is(err, bus.ErrNoService) {
		t.Errorf("stop of all without a driver: %v, want ErrNoService", err)
	}
	serveDesk(t, srv.Conn(), "s", &desk{})
	got, err := c.Stop(within(t), "s", bus.Stop{Who: "anna", Why: "smoke"})
	want := bus.Stopped{Session: "s", Peer: "driver", Held: true, Hold: time.Millisecond, Fault: bus.Fault{ID: 1, Cause: "stopped", Detail: "smoke (anna)", Open: true}}
	if got.Took <= 0 {
		t.Errorf("took %v", got.Took)
	}
	got.Took = 0
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Fatalf("stop: %v (-want +got):\n%s", err, d)
	}
	if got, err := c.Stop(within(t), "s", bus.Stop{Who: "ben", Why: "fire"}); err != nil || !got.Already || got.Fault.ID != 2 || got.Fault.Detail != "fire (ben)" {
		t.Errorf("second stop: %+v, %v; want a fault of its own", got, err)
	}
	if _, err := c.Acknowledge(within(t), "s", bus.Acknowledge{Fault: 3, Who: "anna"}); !errors.Is(err, bus.ErrNone) {
		t.Errorf("acknowledging a fault that is not there: %v, want ErrNone", err)
	}
	if _, err := c.Acknowledge(within(t), "s", bus.Acknowledge{Fault: 1}); !errors.Is(err, bus.ErrReject) {
		t.Errorf("acknowledging without a name: %v, want ErrReject", err)
	}
	ack, err := c.Acknowledge(within(t), "s", bus.Acknowledge{Fault: 1, Who: "anna"})
	if err != nil || ack.Fault.By != "anna" || ack.Fault.Open {
		t.Errorf("acknowledge: %+v, %v", ack, err)
	}
	fs, err := c.Faults(within(t), "s")
	if err != nil || len(fs) != 2 || !fs[0].Open || fs[1].By != "anna" {
		t.Errorf("faults: %+v, %v; want ben's open and anna's acknowledged", fs, err)
	}
}

func TestStopIsNotHeldUpByAnotherAct(t *testing.T) {
	srv := start(t, bus.Options{})
	d := &desk{busy: make(chan struct{})}
	serveDesk(t, srv.Conn(), "s", d)
	acked := make(chan error, 1)
	go func() {
		_, err := srv.Conn().Acknowledge(within(t), "s", bus.Acknowledge{Fault: 1, Who: "anna"})
		acked <- err
	}()
	if _, err := srv.Conn().Stop(within(t), "s", bus.Stop{Who: "ben"}); err != nil {
		t.Fatal(err)
	}
	close(d.busy)
	<-acked
}

func TestStopAllReachesEverySession(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	a, b := &desk{}, &desk{}
	serveDesk(t, srv.Conn(), "a", a)
	serveDesk(t, dial(t, srv.URL(), bus.Options{Name: "other"}), "b", b)
	got, err := srv.Conn().StopAll(within(t), bus.Stop{Who: "anna", Why: "fire"})
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v; want two sessions", got, err)
	}
	for _, d := range []*desk{a, b} {
		if fs, _ := d.Faults(t.Context()); len(fs) != 1 {
			t.Errorf("faults: %+v, want one", fs)
		}
	}
}

func TestStopThatCannotBeReadStops(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	for i, b := range [][]byte{nil, []byte("{"), []byte("\xff\xfe"), []byte(`{"who":7}`), []byte(strings.Repeat("é", 10_000))} {
		d := &desk{}
		session := "s" + string(rune('a'+i))
		serveDesk(t, srv.Conn(), session, d)
		nc, err := nats.Connect(srv.URL())
		if err != nil {
			t.Fatal(err)
		}
		_, err = nc.RequestWithContext(within(t), "rapport.v1."+session+".call.stop", b)
		nc.Close()
		if fs, _ := d.Faults(t.Context()); err != nil || len(fs) != 1 || len(fs[0].Detail) > 1100 {
			t.Errorf("payload %.20q: %v, faults %+v", b, err, fs)
		}
	}
}

func TestTeleopAndStatusArrive(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	far, near := dial(t, srv.URL(), bus.Options{}), srv.Conn()
	passes(t, far, near, bus.TeleopTopic(), bus.Teleop{Who: "anna", Device: "gamepad", Seq: 3, Boot: 9, Stamp: time.Unix(5, 6).UTC(), Deadman: true, Axes: []float64{-1, 0.25}, Buttons: []bool{true, false}})
	passes(t, far, near, bus.StatusTopic(), bus.Status{Role: "run", Stage: `fine,"arrays":[`, Done: 3, Total: 9, Episode: "online-00003", Step: 7, By: "human",
		Fault: &bus.Fault{ID: 2, Cause: "stopped", Open: true, Stamp: time.Unix(1, 0).UTC(), At: time.Unix(2, 0).UTC()}, Guard: bus.GuardCounts{Steps: 8}})
}

func TestTeleopRefusesWhatNoHandDoes(t *testing.T) {
	good := bus.Teleop{Stamp: time.Unix(5, 6).UTC(), Axes: []float64{0, 0}, Buttons: []bool{}}
	for name, spoil := range map[string]func(*bus.Teleop){
		"NaN":          func(t *bus.Teleop) { t.Axes[0] = math.NaN() },
		"beyond 1":     func(t *bus.Teleop) { t.Axes[1] = 1.01 },
		"many axes":    func(t *bus.Teleop) { t.Axes = make([]float64, 17) },
		"many buttons": func(t *bus.Teleop) { t.Buttons = make([]bool, 33) },
		"long name":    func(t *bus.Teleop) { t.Who = strings.Repeat("a", 501) },
	} {
		v := good
		v.Axes = append([]float64(nil), good.Axes...)
		spoil(&v)
		if _, err := bus.EncodeTeleop(v); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	b := mustEncode(bus.EncodeTeleop(good))
	for i := range 8 { // the first axis becomes NaN behind the encoder's back
		b[len(b)-16+i] = 0xff
	}
	if _, err := bus.DecodeTeleop(b); !errors.Is(err, bus.ErrWire) {
		t.Errorf("NaN on the wire: %v, want ErrWire", err)
	}
}

func FuzzTeleop(f *testing.F) {
	fuzz(f, [][]byte{
		mustEncode(bus.EncodeTeleop(bus.Teleop{Who: "a", Device: "b", Seq: 1, Axes: []float64{1, -1}, Buttons: []bool{true}})),
		mustEncode(bus.EncodeTeleop(bus.Teleop{Deadman: true})),
	}, bus.EncodeTeleop, bus.DecodeTeleop)
}

func FuzzStatus(f *testing.F) {
	t := bus.StatusTopic()
	fuzz(f, [][]byte{mustEncode(t.Encode(bus.Status{Role: "run", Fault: &bus.Fault{ID: 1}}))}, t.Encode, t.Decode)
}

func TestAddressIsForItsOwner(t *testing.T) {
	dir := t.TempDir()
	if _, err := bus.ReadAddress(dir); !errors.Is(err, bus.ErrNone) {
		t.Errorf("no address: %v, want ErrNone", err)
	}
	// A file that others may read must not lend its mode.
	if err := os.WriteFile(filepath.Join(dir, "bus.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	want := bus.Address{Session: "s", URL: "nats://127.0.0.1:1", Token: "secret", PID: os.Getpid()}
	remove, err := bus.WriteAddress(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "bus.json"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	got, err := bus.ReadAddress(dir)
	if err != nil || got != want || !got.Alive() {
		t.Errorf("got %+v alive %v, %v", got, got.Alive(), err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := bus.ReadAddress(dir); !errors.Is(err, bus.ErrNone) {
		t.Errorf("after removal: %v, want ErrNone", err)
	}
	later := want
	later.PID = 1
	if _, err := bus.WriteAddress(dir, later); err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := bus.ReadAddress(dir); err != nil {
		t.Errorf("the address of a later driver was removed: %v", err)
	}
}
