package ros_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/tcpros"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// A policy at 5 Hz sees the present of a camera at 30 Hz: what waits in a
// queue would move the arm by old pixels.
func TestSlowConsumerSeesThePresent(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	camera, policy := node(t, uri, "camera"), node(t, uri, "policy")
	seen := must(ros.Watch[std.Image](policy, "/image"))(t)
	pub := must(ros.Advertise[std.Image](camera, "/image", false))(t)
	if err := pub.WaitSubscriber(soon(t)); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Uint32
	ctx, stop := context.WithCancel(context.Background())
	var crew sync.WaitGroup
	crew.Go(func() {
		m := std.Image{Height: 480, Width: 640, Encoding: "rgb8", Step: 1920, Data: make([]byte, 640*480*3)}
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			m.Header.Seq, m.Header.Stamp = sent.Add(1), time.Now()
			pub.Publish(&m)
		}
	})
	var ages []time.Duration
	var behind []int
	for range 15 {
		time.Sleep(200 * time.Millisecond)
		now := int(sent.Load())
		m, _, _ := seen.Get()
		if m == nil {
			continue
		}
		ages = append(ages, time.Since(m.Header.Stamp))
		behind = append(behind, now-int(m.Header.Seq))
	}
	stop()
	crew.Wait()
	slices.Sort(ages)
	slices.Sort(behind)
	if len(ages) < 12 {
		t.Fatalf("a frame at %d of 15 looks", len(ages))
	}
	t.Logf("age: median %v, largest %v; frames behind: at most %d", ages[len(ages)/2], ages[len(ages)-1], behind[len(behind)-1])
	// In frames, which a busy machine does not stretch as it does the time; a
	// queue of 64 is 40 frames behind by the end.
	if got := behind[len(behind)-1]; got > 3 {
		t.Errorf("%d frames behind, want at most 3", got)
	}
	if got := ages[len(ages)/2]; got > 50*time.Millisecond {
		t.Errorf("the median frame is %v old, want below 50 ms", got)
	}
}

// A pixel buffer that is used again does not tear frames on their way.
func TestReusedBufferTearsNoFrame(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	var torn, whole atomic.Int32
	must(ros.Subscribe(b, "/image", func(m *std.Image) {
		for _, p := range m.Data {
			if p != m.Data[0] {
				torn.Add(1)
				return
			}
		}
		whole.Add(1)
	}))(t)
	pub := must(ros.Advertise[std.Image](a, "/image", false))(t)
	if err := pub.WaitSubscriber(soon(t)); err != nil {
		t.Fatal(err)
	}
	m := std.Image{Data: make([]byte, 640*480*3)}
	for i := range 300 {
		for j := range m.Data {
			m.Data[j] = byte(i)
		}
		pub.Publish(&m)
	}
	for start := time.Now(); whole.Load()+torn.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal("no frame came")
		}
	}
	if torn.Load() > 0 {
		t.Errorf("%d frames of %d torn", torn.Load(), whole.Load()+torn.Load())
	}
}

func TestMessagesBeyond16MiBPass(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	seen := must(ros.Watch[std.Image](b, "/image"))(t)
	pub := must(ros.Advertise[std.Image](a, "/image", true))(t)
	pub.Publish(&std.Image{Data: slices.Repeat([]byte{7}, 40<<20)})
	m, _, _, err := seen.Wait(soon(t), 0)
	if err != nil || len(m.Data) != 40<<20 || m.Data[40<<20-1] != 7 {
		t.Fatalf("got %v, %v", m != nil, err)
	}
}

// Actions and commands must not lose a message that fits the queue, whatever
// the pace.
func TestSmallMessagesAllArriveInOrder(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	got := make(chan uint32, 1000)
	must(ros.Subscribe(b, "/seq", func(m *std.Header) { got <- m.Seq }))(t)
	pub := must(ros.Advertise[std.Header](a, "/seq", false))(t)
	if err := pub.WaitSubscriber(soon(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		pub.Publish(&std.Header{Seq: uint32(i)})
	}
	if err := pub.Close(); err != nil { // writes what waits
		t.Fatal(err)
	}
	for i := range 1000 {
		select {
		case seq := <-got:
			if seq != uint32(i) {
				t.Fatalf("message %d came as the %dth", seq, i)
			}
		case <-soon(t).Done():
			t.Fatalf("%d of 1000 came", i)
		}
	}
}

// hang subscribes and never reads.
func hang(t *testing.T, n *ros.Node, topic string, kind tcpros.Kind) net.Conn {
	t.Helper()
	v, err := xmlrpc.Call(soon(t), n.Master(), "lookupNode", "/hang", n.Name())
	if err != nil {
		t.Fatal(err)
	}
	v, err = xmlrpc.Call(soon(t), v.([]any)[2].(string), "requestTopic", "/hang", topic, []any{[]any{"TCPROS"}})
	if err != nil {
		t.Fatal(err)
	}
	at := v.([]any)[2].([]any)
	c, err := net.Dial("tcp", fmt.Sprintf("%v:%v", at[1], at[2]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := tcpros.WriteHeader(c, tcpros.Header{"callerid": "/hang", "topic": topic, "type": kind.Type, "md5sum": kind.MD5}); err != nil {
		t.Fatal(err)
	}
	if _, err := tcpros.ReadHeader(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHungSubscriberDisturbsNobodyAndIsCutOff(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	pub := must(ros.Advertise[std.Image](a, "/image", false))(t)
	kind, err := tcpros.KindOf[std.Image]()
	if err != nil {
		t.Fatal(err)
	}
	hang(t, a, "/image", kind)
	seen := must(ros.Watch[std.Image](b, "/image"))(t)
	m := std.Image{Data: make([]byte, 4<<20)}
	ctx, start := soon(t), time.Now()
	for seq := uint64(0); ; {
		took := time.Now()
		pub.Publish(&m)
		if d := time.Since(took); d > time.Second {
			t.Fatalf("Publish took %v", d)
		}
		_, next, _, err := seen.Wait(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		if seq = next; pub.Subscribers() == 1 && seq > 3 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("cut off after %v", time.Since(start).Round(time.Millisecond))
}

func TestSlowServiceDoesNotFreezeTheNode(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	began, finish := make(chan struct{}, 2), make(chan struct{})
	must(ros.Serve(a, "/slow", func(q *std.SetBoolReq) (*std.SetBoolRes, error) {
		began <- struct{}{}
		<-finish
		return &std.SetBoolRes{Success: q.Data}, nil
	}))(t)
	var crew sync.WaitGroup
	for range 2 { // the second does not wait for the first
		crew.Go(func() {
			res, err := ros.Call[std.SetBoolReq, std.SetBoolRes](soon(t), b, "/slow", &std.SetBoolReq{Data: true})
			if err != nil || !res.Success {
				t.Errorf("got %v, %v", res, err)
			}
		})
	}
	<-began
	<-began
	pub := must(ros.Advertise[std.String](a, "/chatter", true))(t)
	pub.Publish(&std.String{Data: "alive"})
	seen := must(ros.Watch[std.String](b, "/chatter"))(t)
	if _, _, _, err := seen.Wait(soon(t), 0); err != nil {
		t.Errorf("the node is frozen: %v", err)
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := ros.Call[std.SetBoolReq, std.SetBoolRes](short, b, "/slow", &std.SetBoolReq{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	close(finish)
	crew.Wait()
}

// The master may go and come back within a look of the keeper, and our own has
// the same process number then.
func TestNodeOutlivesOurMaster(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	first, err := master.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	n := node(t, first.URI(), "a")
	pub := must(ros.Advertise[std.String](n, "/to", true))(t)
	pub.Publish(&std.String{Data: "here"})
	seen := must(ros.Watch[std.String](n, "/from"))(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := master.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	b := node(t, second.URI(), "b")
	heard := must(ros.Watch[std.String](b, "/to"))(t)
	if _, _, _, err := heard.Wait(soon(t), 0); err != nil {
		t.Errorf("a new subscriber hears nothing: %v", err)
	}
	back := must(ros.Advertise[std.String](b, "/from", true))(t)
	back.Publish(&std.String{Data: "there"})
	if _, _, _, err := seen.Wait(soon(t), 0); err != nil {
		t.Errorf("a new publisher is not heard: %v", err)
	}
}

func TestOpenWaitsForTheMaster(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := ros.Open(ctx, ros.Config{Master: "http://127.0.0.1:" + port})
	if err == nil || !strings.Contains(err.Error(), "start roscore") {
		t.Errorf("got %v, want advice to start roscore", err)
	}
	go func() {
		time.Sleep(300 * time.Millisecond)
		m, err := master.Start("127.0.0.1:" + port)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { m.Close() })
	}()
	n, err := ros.Open(soon(t), ros.Config{Master: "http://127.0.0.1:" + port})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentIsHonoured(t *testing.T) {
	uri := graph(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a proxy was asked")
	}))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	t.Setenv("ROS_MASTER_URI", strings.TrimSuffix(uri, "/")+"/")
	t.Setenv("ROS_IP", "127.0.0.2")
	t.Setenv("ROS_NAMESPACE", "/lab/")
	n, err := ros.Open(soon(t), ros.Config{Name: "us"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if !strings.HasPrefix(n.Name(), "/lab/us_") {
		t.Errorf("the name is %s, want /lab/us_...", n.Name())
	}
	for name, want := range map[string]string{"a/b": "/lab/a/b", "/a//b/": "/a/b", "~p": n.Name() + "/p"} {
		if got := n.Resolve(name); got != want {
			t.Errorf("%s is resolved to %s, want %s", name, got, want)
		}
	}
	must(ros.Advertise[std.String](n, "chatter", false))(t)
	topics, err := n.Topics(soon(t))
	if want := []ros.Topic{{Name: "/lab/chatter", Type: "std_msgs/String"}}; err != nil || !slices.Equal(topics, want) {
		t.Errorf("got %v, %v; want %v", topics, err, want)
	}
	v, err := xmlrpc.Call(soon(t), uri, "lookupNode", "/test", n.Name())
	if err != nil || !strings.HasPrefix(v.([]any)[2].(string), "http://127.0.0.2:") {
		t.Errorf("the node's address is %v, %v; want one at ROS_IP", v, err)
	}
}

func TestBadMasterAddressIsExplained(t *testing.T) {
	for _, uri := range []string{"127.0.0.1:11311", "https://x:1", "http://", "http://%zz"} {
		if _, err := ros.Open(soon(t), ros.Config{Master: uri}); err == nil || !strings.Contains(err.Error(), "ROS_MASTER_URI") {
			t.Errorf("%s: got %v, want advice on ROS_MASTER_URI", uri, err)
		}
	}
}

func TestSimulatedTimeIsFollowed(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a := node(t, uri, "a")
	if d := time.Since(a.Now()); d > time.Minute || d < -time.Minute {
		t.Errorf("the wall clock is %v off", d)
	}
	if err := a.SetParam("/use_sim_time", true); err != nil {
		t.Fatal(err)
	}
	b := node(t, uri, "b")
	if !b.Now().IsZero() {
		t.Errorf("got %v before the first /clock, want zero", b.Now())
	}
	pub := must(ros.Advertise[std.Clock](a, "/clock", true))(t)
	for _, at := range []time.Time{time.Unix(100, 5).UTC(), time.Unix(50, 0).UTC()} { // back, as a bag that is played in a loop
		pub.Publish(&std.Clock{Clock: at})
		for _, n := range []*ros.Node{b, a} { // a was open when the parameter was set
			for ctx := soon(t); !n.Now().Equal(at); time.Sleep(5 * time.Millisecond) {
				if ctx.Err() != nil {
					t.Fatalf("got %v, want %v", n.Now(), at)
				}
			}
		}
	}
}

func TestRawMessagesCarryTheirType(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	pub := must(ros.Advertise[std.String](a, "/chatter", true))(t)
	pub.Publish(&std.String{Data: "x"})
	got := make(chan ros.Raw, 1)
	must(ros.SubscribeRaw(b, "/chatter", func(r ros.Raw) { got <- r }))(t)
	select {
	case r := <-got:
		if r.Type != "std_msgs/String" || r.MD5 != "992ce8a1687cec8c8bd883ec73ca41d1" || r.Definition != "string data\n" || !r.Latched || r.Publisher != a.Name() || string(r.Payload) != "\x01\x00\x00\x00x" {
			t.Errorf("got %+v", r)
		}
	case <-soon(t).Done():
		t.Fatal("nothing came")
	}
}

func TestCallbackMayCloseItsSubscription(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	pub := must(ros.Advertise[std.String](a, "/chatter", false))(t)
	self := make(chan io.Closer, 1)
	closed := make(chan error, 1)
	sub := must(ros.Subscribe(b, "/chatter", func(*std.String) { closed <- (<-self).Close() }))(t)
	self <- sub
	if err := pub.WaitSubscriber(soon(t)); err != nil {
		t.Fatal(err)
	}
	pub.Publish(&std.String{})
	pub.Publish(&std.String{})
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-soon(t).Done():
		t.Fatal("Close in a callback does not return")
	}
}

func TestKilledNodeEndsItself(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n := node(t, uri, "a")
	must(ros.Advertise[std.String](n, "/chatter", false))(t)
	v, err := xmlrpc.Call(soon(t), uri, "lookupNode", "/test", n.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := xmlrpc.Call(soon(t), v.([]any)[2].(string), "shutdown", "/test", "for a test"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.Done():
	case <-soon(t).Done():
		t.Fatal("Done is not closed")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ros.Advertise[std.String](n, "/other", false); !errors.Is(err, ros.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if _, err := ros.Watch[std.String](n, "/other"); !errors.Is(err, ros.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestNewerGoalEndsTheRunningOne(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	began := make(chan float64, 4)
	stop := must(ros.ServeAct(a, "/grip", func(ctx context.Context, g *std.GripperCommandGoal, _ func(*std.GripperCommandFeedback)) (*std.GripperCommandResult, error) {
		began <- g.Command.Position
		if g.Command.Position > 1 {
			<-ctx.Done()
			return nil, errors.New("ended")
		}
		return &std.GripperCommandResult{}, nil
	}))(t)
	act := must(ros.Act[std.GripperCommandGoal, std.GripperCommandFeedback, std.GripperCommandResult](b, "/grip"))(t)
	defer act.Close()
	if err := act.WaitServer(soon(t)); err != nil {
		t.Fatal(err)
	}
	goal := func(x float64) *std.GripperCommandGoal {
		return &std.GripperCommandGoal{Command: std.GripperCommand{Position: x}}
	}
	long := act.Send(goal(2), nil)
	<-began
	quick := act.Send(goal(1), nil)
	var end *ros.ErrGoal
	if _, err := act.Wait(soon(t), long); !errors.As(err, &end) || end.Status != ros.Preempted {
		t.Errorf("got %v, want preempted", err)
	}
	if _, err := act.Wait(soon(t), quick); err != nil {
		t.Error(err)
	}
	// All goals end right after one has: goroslib's server dies of it.
	<-began
	act.CancelAll()
	long = act.Send(goal(2), nil)
	<-began
	act.CancelAll()
	if _, err := act.Wait(soon(t), long); !errors.As(err, &end) || end.Status != ros.Preempted {
		t.Errorf("got %v, want preempted", err)
	}
	// A caller who gives up takes the goal with it.
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := act.Do(short, goal(2), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	<-began
	long = act.Send(goal(2), nil)
	<-began
	if err := stop.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := act.Wait(soon(t), long); !errors.As(err, &end) || end.Status != ros.Preempted && end.Status != ros.Lost {
		t.Errorf("got %v, want preempted by the server's end", err)
	}
}

// A goal without an id, as hil-serl's clients publish it, is carried out.
func TestBareGoalIsCarriedOut(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	began := make(chan float64, 1)
	stop := must(ros.ServeAct(a, "/grip", func(_ context.Context, g *std.GripperCommandGoal, _ func(*std.GripperCommandFeedback)) (*std.GripperCommandResult, error) {
		began <- g.Command.Position
		return nil, nil
	}))(t)
	defer stop.Close()
	type bare struct {
		Header std.Header
		GoalId std.GoalID
		Goal   std.GripperCommandGoal
	}
	pub := must(ros.Advertise[bare](b, "/grip/goal", false))(t)
	if err := pub.WaitSubscriber(soon(t)); err != nil {
		t.Fatal(err)
	}
	pub.Publish(&bare{Goal: std.GripperCommandGoal{Command: std.GripperCommand{Position: 0.04}}})
	select {
	case x := <-began:
		if x != 0.04 {
			t.Errorf("got %v, want 0.04", x)
		}
	case <-soon(t).Done():
		t.Fatal("the goal is not carried out")
	}
}

func TestAttachStartsAMasterWhereNoneIs(t *testing.T) {
	t.Parallel()
	uri := "http://127.0.0.1:" + freePort(t) + "/"
	own, err := ros.Attach(soon(t), uri)
	if err != nil {
		t.Fatal(err)
	}
	if !own.Own() || own.URI != uri {
		t.Errorf("got %+v, want a master of our own at %s", own, uri)
	}
	other, err := ros.Attach(soon(t), strings.TrimSuffix(uri, "/"))
	if err != nil {
		t.Fatal(err)
	}
	if other.Own() || other.URI != uri {
		t.Errorf("got %+v, want the one that runs", other)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	node(t, uri, "a") // it runs still
	t.Cleanup(func() { own.Close() })
	if _, err := ros.Attach(soon(t), "http://192.0.2.1:11311"); err == nil {
		t.Error("a master was started at another machine's address")
	}
}

// Who publishes to nobody costs nothing, and to somebody the one message that
// is written.
func TestPublishAllocatesOnlyTheMessage(t *testing.T) {
	uri := graph(t)
	a := node(t, uri, "a")
	m := std.Image{Data: make([]byte, 1000)}
	idle := must(ros.Advertise[std.Image](a, "/idle", false))(t)
	if n := testing.AllocsPerRun(100, func() { idle.Publish(&m) }); n != 0 {
		t.Errorf("%v allocations without a subscriber, want none", n)
	}
	latch := must(ros.Advertise[std.Image](a, "/latch", true))(t)
	if n := testing.AllocsPerRun(100, func() { latch.Publish(&m) }); n > 4 {
		t.Errorf("%v allocations, want at most 4", n)
	}
}

// Garbage on the data port ends that connection alone.
func TestGarbageOnTheDataPortHarmsNobody(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	pub := must(ros.Advertise[std.String](a, "/chatter", true))(t)
	pub.Publish(&std.String{Data: "x"})
	kind, err := tcpros.KindOf[std.String]()
	if err != nil {
		t.Fatal(err)
	}
	at := hang(t, a, "/chatter", kind).RemoteAddr().String()
	for _, junk := range [][]byte{{}, []byte("GET / HTTP/1.1\r\n\r\n"), {255, 255, 255, 255}, binary.LittleEndian.AppendUint32(nil, 8), {4, 0, 0, 0, 9, 0, 0, 0}} {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(junk); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	seen := must(ros.Watch[std.String](b, "/chatter"))(t)
	if _, _, _, err := seen.Wait(soon(t), 0); err != nil {
		t.Error(err)
	}
}

func TestLogIsQuietInGoodTimes(t *testing.T) {
	t.Parallel()
	var log tail
	uri := graph(t)
	n, err := ros.Open(soon(t), ros.Config{Master: uri, Name: "us", Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	seen := must(ros.Watch[std.String](n, "/chatter"))(t)
	pub := must(ros.Advertise[std.String](n, "/chatter", true))(t)
	pub.Publish(&std.String{})
	if _, _, _, err := seen.Wait(soon(t), 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if log.String() != "" {
		t.Errorf("the log says:\n%s", log.String())
	}
}
