package ros_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/tcpros"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// A policy at 5 Hz sees the present of a camera at 30 Hz: what waits in a
// queue would move the arm by old pixels.
func TestSlowConsumerSeesThePresent(t *testing.T) {
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
	t.Logf("age: median %v, largest %v of %d; frames behind: at most %d", ages[len(ages)/2], ages[len(ages)-1], len(ages), behind[len(behind)-1])
	// In frames, which a busy machine does not stretch as it does the time; a
	// queue of 64 is 40 frames behind by the end.
	if got := behind[len(behind)-1]; got > 3 {
		t.Errorf("%d frames behind, want at most 3", got)
	}
	if got := ages[len(ages)/2]; got > time.Second {
		t.Errorf("the median frame is %v old", got)
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
	m := std.Image{Data: make([]byte, 160*120*3)}
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
	ctx, start := soon(t), time.Now()
	for seen.Publishers() == 0 { // what is published before reaches the hung one alone
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	m := std.Image{Data: make([]byte, 4<<20)}
	for seq := uint64(0); ; {
		took := time.Now()
		pub.Publish(&m)
		if d := time.Since(took); d > 3*time.Second { // who waits for the hung one waits 5 s, until it is cut off
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

// What the other side did not take yet does not come to it after the end of a topic that was cut.
func TestATopicThatWasCutTakesBackWhatWaits(t *testing.T) {
	t.Parallel()
	n := node(t, graph(t), "a")
	kind, err := tcpros.KindOf[std.Image]()
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []bool{false, true} {
		pub := must(ros.Advertise[std.Image](n, "/image", false))(t)
		c := hang(t, n, "/image", kind)
		if err := pub.WaitSubscriber(soon(t)); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			pub.Publish(&std.Image{Data: make([]byte, 1<<20)}) // most wait in the kernel
			time.Sleep(time.Millisecond)
		}
		if cut {
			pub.Cut()
		}
		if err := pub.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := io.Copy(io.Discard, c)
		if errors.Is(err, syscall.ECONNRESET) != cut {
			t.Errorf("cut %v: %d bytes came, then %v", cut, got, err)
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
