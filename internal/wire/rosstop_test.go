package wire

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// sayStop publishes on StopTopic as rostopic pub does, until the session's desk has stored n faults.
func sayStop(t *testing.T, s *Session, master, why string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node, err := ros.Open(ctx, ros.Config{Master: master, Name: "stopper", Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	p, err := ros.Advertise[std.String](node, StopTopic, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitSubscriber(ctx); err != nil {
		t.Fatalf("nobody hears %s: %v", StopTopic, err)
	}
	p.Publish(&std.String{Data: why})
	for {
		fs, err := s.desk.Faults(ctx)
		if err != nil {
			t.Fatalf("a stop by %s is lost: %v", StopTopic, err)
		}
		if len(fs) == n {
			if f := fs[0]; !f.Open || f.Detail != "by "+StopTopic+": "+why {
				t.Errorf("the fault is %+v", f)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Whoever sees a hand on the table stops the arm over ROS in any stage of the session, as in the
// warm-up, in which no arm is open yet: the next one is held from its first command.
func TestAStopOverROSIsHeardWhileNoArmIsOpen(t *testing.T) {
	uri, _ := rig(t)
	c := soakConfig(uri)
	c.Out = t.TempDir()
	s := begun(t, c)
	s.tell("warm-up", 3, 1500, "")
	sayStop(t, s, uri, "a hand", 1)
	a, done, err := s.ownArm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.guard.Reset(t.Context()); !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), "a hand") {
		t.Errorf("the first reset: %v, want it held by the stop", err)
	}
	if err := done(); err != nil {
		t.Error(err)
	}
	sayStop(t, s, uri, "it is still there", 2) // between two arms
}

// A session that needs no master yet begins without one, hears stops once there is one, and ends
// without.
func TestStopsOverROSAreHeardFromWhenTheMasterIsThere(t *testing.T) {
	addr := "127.0.0.1:" + porttest.Free(t)
	c := tiny(t)
	c.Robot.Kind, c.Robot.ROS.Master = "ros", "http://"+addr
	short, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	if err := short.Close(); err != nil {
		t.Error(err)
	}
	s := begun(t, c)
	if err := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		return s.desk.hears(ctx)
	}(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a master: %v, want that nobody hears", err)
	}
	m, err := master.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sayStop(t, s, m.URI(), "a hand", 1)
	if err := s.desk.hears(t.Context()); err != nil {
		t.Error(err)
	}
}

// hearers are the nodes that a master lists as hearing StopTopic.
func hearers(t *testing.T, master string) (names []string) {
	t.Helper()
	v, err := xmlrpc.Call(t.Context(), master, "getSystemState", "/test")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range v.([]any)[2].([]any)[1].([]any) { // publishers, subscribers by topic, services
		if p := one.([]any); p[0] == StopTopic {
			for _, name := range p[1].([]any) {
				names = append(names, name.(string))
			}
		}
	}
	return names
}

// Who kills the node that hears stops does not make the rest of the session deaf, and no arm moves
// before the next one hears.
func TestAStopNodeThatIsKilledIsBegunAgain(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := tiny(t)
	c.Robot.Kind, c.Robot.ROS.Master = "ros", m.URI()
	s := begun(t, c)
	hears := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return s.desk.hears(ctx)
	}
	apiOf := func(name string) string {
		v, err := xmlrpc.Call(t.Context(), m.URI(), "lookupNode", "/test", name)
		if err != nil {
			t.Fatal(err)
		}
		return v.([]any)[2].(string)
	}
	shut := func(api string) {
		if _, err := xmlrpc.Call(t.Context(), api, "shutdown", "/test", "for a test"); err != nil {
			t.Fatal(err)
		}
	}
	sayStop(t, s, m.URI(), "a hand", 1)
	was := hearers(t, m.URI())[0]
	shut(apiOf(was))
	var now []string
	eventually(t, "another node hears it alone", func() bool {
		now = hearers(t, m.URI())
		return len(now) == 1 && now[0] != was
	})
	sayStop(t, s, m.URI(), "it is still there", 2)
	if err := hears(time.Minute); err != nil {
		t.Error(err)
	}
	api := apiOf(now[0])
	if err := m.Close(); err != nil { // which the next one waits for
		t.Fatal(err)
	}
	shut(api)
	eventually(t, "nobody hears", func() bool { return errors.Is(hears(time.Millisecond), context.DeadlineExceeded) })
}
