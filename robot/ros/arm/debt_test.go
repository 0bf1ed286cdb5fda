package arm

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/serl"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// stub is a backend whose driver tells and takes what a test says.
type stub struct {
	t      *testing.T
	uri    string // of the master
	b      *Backend
	driver *ros.Node
	states *ros.Publisher[frankamsg.FrankaState]
	heard  chan float64 // x of the targets
}

func (s *stub) own(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stub) node(name string) *ros.Node {
	s.t.Helper()
	n, err := ros.Open(s.t.Context(), ros.Config{Master: s.uri, Name: name, Host: "127.0.0.1"})
	s.own(err)
	s.t.Cleanup(func() { _ = n.Close() })
	return n
}

// newStub is a backend that its driver, which told one state of before, was introduced to.
func newStub(t *testing.T) *stub {
	t.Helper()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	s := &stub{t: t, uri: m.URI(), heard: make(chan float64, 10)}
	s.driver = s.node("driver")
	ours := s.node("rapport")
	s.states, err = ros.Advertise[frankamsg.FrankaState](s.driver, StateTopic, false)
	s.own(err)
	_, err = ros.Subscribe(s.driver, PoseTopic, func(m *std.PoseStamped) { s.heard <- m.Pose.Position.X })
	s.own(err)
	b := &Backend{n: ours, cfg: Default(), log: slog.New(slog.DiscardHandler)}
	b.state, err = ros.Watch[frankamsg.FrankaState](ours, StateTopic)
	s.own(err)
	b.jac, err = ros.Watch[serl.ZeroJacobian](ours, JacobianTopic)
	s.own(err)
	b.pose, err = ros.Advertise[std.PoseStamped](ours, PoseTopic, false)
	s.own(err)
	b.topics = append(b.topics, b.state, b.jac, b.pose)
	s.own(b.pose.WaitSubscriber(t.Context()))
	s.own(s.states.WaitSubscriber(t.Context()))
	s.b = b
	s.at(0.30, time.Minute)
	_, _, _, b.whose = b.state.From()
	return s
}

// state is one of an arm at x, with a stamp that is old by so much.
func (s *stub) state(x float64, old time.Duration) *frankamsg.FrankaState {
	m := &frankamsg.FrankaState{RobotMode: frankamsg.Move}
	for i := range 4 {
		m.OTEE[5*i], m.EETK[5*i] = 1, 1
	}
	m.OTEE[12] = x
	m.Header.Stamp = s.driver.Now().Add(-old)
	return m
}

// at has the driver tell a state.
func (s *stub) at(x float64, old time.Duration) {
	s.t.Helper()
	_, seq, _ := s.b.state.Get()
	s.states.Publish(s.state(x, old))
	_, _, _, err := s.b.state.Wait(s.t.Context(), seq)
	s.own(err)
}

// next is where the arm is told to go within a while, or 0.
func (s *stub) next() (x float64) {
	select {
	case x = <-s.heard:
	case <-time.After(400 * time.Millisecond):
	}
	return x
}

// lost has the arm commanded to 0.35, and its state be old.
func (s *stub) lost() {
	s.t.Helper()
	s.at(0.30, time.Minute)
	s.own(s.b.steer(s.t.Context(), to(0.35)))
	if x := s.next(); x != 0.35 {
		s.t.Fatalf("told to go to %g, want 0.35", x)
	}
	if err := s.b.fail(robot.ErrStale); !errors.Is(err, robot.ErrStale) {
		s.t.Fatal(err)
	}
}

func to(x float64) robot.Pose { return robot.Pose{P: [3]float64{x}, Q: [4]float64{1}} }

// The way to the arm is broken for a while, and what was on it arrives then: the arm is held once
// its state is, unless somebody commands it before, and not by states that waited as well.
func TestAHoldIsMadeUpForOnceTheStateIsBack(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	b, at, next, lost, own := s.b, s.at, s.next, s.lost, s.own
	lost()
	at(0.31, time.Minute)
	if x := next(); x != 0 {
		t.Errorf("held at %g by a state of before", x)
	}
	at(0.32, 0)
	if x := next(); x != 0.32 {
		t.Errorf("the target is %g after the state is back, want 0.32, where the arm is", x)
	}
	at(0.33, 0)
	if x := next(); x != 0 {
		t.Errorf("held twice: at %g", x)
	}
	time.Sleep(b.cfg.Stale)
	lost()
	own(b.steer(t.Context(), to(0.36)))
	if x := next(); x != 0.36 {
		t.Errorf("told to go to %g, want 0.36", x)
	}
	at(0.34, 0)
	if x := next(); x != 0 {
		t.Errorf("held at %g, though somebody commanded the arm since", x)
	}
	time.Sleep(b.cfg.Stale)
	lost()
	own(b.Close()) // while one is owed
}

// The state's connection ends while the arm cannot be reached, and the same driver is found again: the
// targets that waited on the other one are carried out, and the hold follows them. One that was started
// again got none.
func TestAHoldIsMadeUpForByAnotherConnectionToTheDriver(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	again := func(driver *ros.Node) {
		t.Helper()
		met := s.b.state.Met()
		s.own(s.states.Close())
		var err error
		s.states, err = ros.Advertise[frankamsg.FrankaState](driver, StateTopic, false)
		s.own(err)
		for end := time.Now().Add(10 * time.Second); s.b.state.Met() == met || s.b.state.Publishers() == 0; {
			if time.Now().After(end) {
				t.Fatal("the driver is not met again")
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	s.lost()
	again(s.driver)
	s.at(0.32, 0)
	if x := s.next(); x != 0.32 {
		t.Errorf("the target is %g after the state is back, want 0.32, where the arm is", x)
	}
	time.Sleep(s.b.cfg.Stale)
	s.lost()
	again(s.node("driver"))
	s.at(0.33, 0)
	if x := s.next(); x != 0 {
		t.Errorf("a driver that was started again is told to hold at %g", x)
	}
	s.own(s.b.Close())
}

// The arm's driver falls silent with its connection open, and a bag is played or a simulated arm is
// started: the arm is never held where that one is, and no session goes on with it.
func TestASilentDriversArmIsNotHeldWhereAnotherIs(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.lost() // one is owed
	other := s.node("sim")
	p, err := ros.Advertise[frankamsg.FrankaState](other, StateTopic, false)
	s.own(err)
	s.own(p.WaitSubscriber(t.Context()))
	tell := func() { // for longer than beside
		t.Helper()
		for end := time.Now().Add(beside + 200*time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			p.Publish(s.state(0.90, 0))
		}
		_, _, _, from := s.b.state.From()
		if from == s.b.whose {
			t.Fatal("the newest state is the driver's")
		}
	}
	tell()
	s.own(s.b.Hold(t.Context()))
	if x := s.next(); x != 0 {
		t.Errorf("held at %g, where another arm is", x)
	}
	if !s.b.renewed() {
		t.Error("another arm's state is taken for the driver's")
	}
	if err := s.b.introduce(t.Context()); !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), s.b.whose) {
		t.Errorf("error %v of going on with another arm, want the driver that is silent", err)
	}
	s.at(0.32, 0)
	if x := s.next(); x != 0.32 {
		t.Errorf("the target is %g after the driver is back, want 0.32, where its arm is", x)
	}
	time.Sleep(s.b.cfg.Stale)
	tell()
	s.own(s.b.Close())
	if x := s.next(); x != 0 {
		t.Errorf("left at %g, where another arm is", x)
	}
}

// The master lists a driver that does not answer: who else publishes the state is not taken for the
// arm's driver, unless it is the one that was met.
func TestWhoPublishesBesideASilentDriverIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	if _, err := xmlrpc.Call(t.Context(), s.uri, "registerPublisher", "/hung", StateTopic, "franka_msgs/FrankaState", "http://"+porttest.Silent(t)+"/"); err != nil {
		t.Fatal(err)
	}
	many, err := doubled(t.Context(), s.b.n, &s.b.cfg, "http://127.0.0.1:1/")
	if e := many[s.b.n.Resolve(StateTopic)]; err != nil || e == nil || !strings.Contains(e.Error(), "/hung at ") || !strings.Contains(e.Error(), s.driver.Name()+" at ") {
		t.Errorf("got %v, %v; want both names", many, err)
	}
	if many, err := doubled(t.Context(), s.b.n, &s.b.cfg, s.b.whose); err != nil || len(many) > 0 {
		t.Errorf("got %v, %v; want none beside the driver that was met", many, err)
	}
	s.own(s.b.Close())
}
