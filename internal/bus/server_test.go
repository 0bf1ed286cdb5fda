package bus_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/policy"
)

func TestStartSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	busy := start(t, bus.Options{StoreDir: filepath.Join(t.TempDir(), "nats")})
	used := t.TempDir()
	start(t, bus.Options{StoreDir: used})
	if busy.URL() != "" {
		t.Errorf("a server without a listener is at %s", busy.URL())
	}
	for name, c := range map[string]struct {
		o    bus.Options
		want string
	}{
		"no folder":     {bus.Options{}, "StoreDir"},
		"port in use":   {bus.Options{StoreDir: t.TempDir(), Listen: l.Addr().String()}, "address already in use; stop what uses the port"},
		"no port":       {bus.Options{StoreDir: t.TempDir(), Listen: "localhost"}, "want host:port"},
		"open to all":   {bus.Options{StoreDir: t.TempDir(), Listen: "0.0.0.0:0"}, "set a password"},
		"folder in use": {bus.Options{StoreDir: used}, "in use by another process"},
		"no payload":    {bus.Options{StoreDir: t.TempDir(), MaxPayload: -1}, "is -1 bytes; want 1048576 (1 MiB)"},
		"MiB":           {bus.Options{StoreDir: t.TempDir(), MaxPayload: 16}, "is 16 bytes; want 1048576 (1 MiB)"},
		"not storable":  {bus.Options{StoreDir: t.TempDir(), MaxPayload: 64 << 20}, "33554432 (32 MiB"},
		"no such host":  {bus.Options{StoreDir: t.TempDir(), Listen: "192.0.2.1:0", Token: "x"}, "192.0.2.1"},
	} {
		s, err := bus.Start(t.Context(), c.o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
}

func TestCredentialsAreAsked(t *testing.T) {
	for name, c := range map[string]struct{ server, right, wrong bus.Options }{
		"password": {bus.Options{User: "lab", Password: "p"}, bus.Options{User: "lab", Password: "p"}, bus.Options{User: "lab", Password: "q"}},
		"token":    {bus.Options{Token: "t"}, bus.Options{Token: "t"}, bus.Options{}},
	} {
		c.server.Listen = "127.0.0.1:0"
		srv := start(t, c.server)
		dial(t, srv.URL(), c.right)
		if conn, err := bus.Dial(t.Context(), srv.URL(), c.wrong); err == nil || !strings.Contains(err.Error(), "password") {
			if err == nil {
				conn.Close()
			}
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

func TestAbsentServerIsAnErrorOrAwaited(t *testing.T) {
	addr := porttest.Address(t)
	if c, err := bus.Dial(t.Context(), "nats://"+addr, bus.Options{}); err == nil || !strings.Contains(err.Error(), "is a server running there") {
		if err == nil {
			c.Close()
		}
		t.Errorf("got %v, want that nobody is there", err)
	}
	c := dial(t, "nats://"+addr, bus.Options{Await: true})
	if c.Connected() {
		t.Error("connected to nobody")
	}
	if _, err := bus.Policy(c, "s").Act(within(t), policy.Input{}); err == nil {
		t.Error("acted without a server")
	}
	start(t, bus.Options{Listen: addr})
	eventually(t, "connected", c.Connected)
}

func TestErrorsOfDialHoldNoPassword(t *testing.T) {
	addr := porttest.Address(t)
	for _, url := range []string{"nats://arm:sesame77@" + addr, "nats://sesame77@" + addr, "arm:sesame77@" + addr, "nats://arm:sesame77%zz@" + addr, "nats://h:1,nats://arm:ses/ame77@" + addr} {
		c, err := bus.Dial(t.Context(), url, bus.Options{})
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "ame77") || strings.Contains(err.Error(), "ses") {
			t.Errorf("got %v, want %s without the password", err, addr)
		}
	}
}

func TestClosingTwiceIsHarmless(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	c := dial(t, srv.URL(), bus.Options{})
	stop, err := bus.ServePolicy(t.Context(), c, "s", &linear{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close() // before what uses it
	stop()
	c.Close()
	srv.Close()
	srv.Close()
}
