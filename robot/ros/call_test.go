package ros_test

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/tcpros"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// provide registers a service whose provider does as answer says with each
// request, and counts them.
func provide(t *testing.T, uri, name string, answer func(c net.Conn)) *atomic.Int32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	kind, err := tcpros.ServiceOf[std.SetBoolReq, std.SetBoolRes]()
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := tcpros.ReadHeader(c); err == nil {
				_ = tcpros.WriteHeader(c, tcpros.Header{"callerid": "/them", "md5sum": kind.MD5, "type": kind.Type})
				if _, err := tcpros.ReadFrame(c); err == nil {
					requests.Add(1)
					answer(c)
				}
			}
			c.Close()
		}
	}()
	if _, err := xmlrpc.Call(t.Context(), uri, "registerService", "/them", name, "rosrpc://"+l.Addr().String(), "http://127.0.0.1:1/"); err != nil {
		t.Fatal(err)
	}
	return &requests
}

// After the request nobody knows whether it was carried out: it is for the
// caller to decide on another.
func TestBrokenCallIsNotRepeated(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n := node(t, uri, "us")
	for name, answer := range map[string]func(net.Conn){
		"/nothing": func(net.Conn) {},
		"/half":    func(c net.Conn) { _, _ = c.Write([]byte{1, 9, 0}) },
		"/lie":     func(c net.Conn) { _, _ = c.Write([]byte{1, 255, 255, 255, 255}) },
		"/short":   func(c net.Conn) { _, _ = c.Write([]byte{1, 1, 0, 0, 0, 1}) },
	} {
		requests := provide(t, uri, name, answer)
		_, err := ros.Call[std.SetBoolReq, std.SetBoolRes](soon(t), n, name, &std.SetBoolReq{})
		var said *ros.ErrRemote
		if err == nil || errors.Is(err, ros.ErrNoService) || errors.As(err, &said) {
			t.Errorf("%s: got %v, want an error that leaves open whether it was done", name, err)
		}
		if got := requests.Load(); got != 1 {
			t.Errorf("%s: %d requests, want one", name, got)
		}
	}
	// Go's usual ROS library refuses without a text, and closes.
	provide(t, uri, "/mute", func(c net.Conn) { _, _ = c.Write([]byte{0}) })
	_, err := ros.Call[std.SetBoolReq, std.SetBoolRes](soon(t), n, "/mute", &std.SetBoolReq{})
	var said *ros.ErrRemote
	if !errors.As(err, &said) || said.Text != "" {
		t.Errorf("got %v, want a refusal without a text", err)
	}
}

func TestDeadProviderIsNoService(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n := node(t, uri, "us")
	if _, err := xmlrpc.Call(t.Context(), uri, "registerService", "/them", "/dead", "rosrpc://"+porttest.Address(t), "http://127.0.0.1:1/"); err != nil {
		t.Fatal(err)
	}
	if _, err := ros.Call[std.SetBoolReq, std.SetBoolRes](soon(t), n, "/dead", &std.SetBoolReq{}); !errors.Is(err, ros.ErrNoService) {
		t.Errorf("got %v, want ErrNoService", err)
	}
}

// A subscriber that hangs does not hold a node that ends.
func TestCloseDoesNotWaitForAHungSubscriber(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n, err := ros.Open(soon(t), ros.Config{Master: uri, Name: "us"})
	if err != nil {
		t.Fatal(err)
	}
	pub := must(ros.Advertise[std.Image](n, "/image", false))(t)
	kind, err := tcpros.KindOf[std.Image]()
	if err != nil {
		t.Fatal(err)
	}
	hang(t, n, "/image", kind)
	for range 5 {
		pub.Publish(&std.Image{Data: make([]byte, 8<<20)})
	}
	start := time.Now()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// Goroslib reads at most 16 MiB; rospy has no bound.
func TestLargeImagesPassToAndFromRospy(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n := node(t, uri, "us")
	hears := peer(t, uri, "subscribe", "/to", "image")
	peer(t, uri, "publish", "/from", "image", "1", "20000000")
	seen := must(ros.Watch[std.Image](n, "/from"))(t)
	pub := must(ros.Advertise[std.Image](n, "/to", true))(t)
	pub.Publish(&std.Image{Header: std.Header{FrameId: "us"}, Data: make([]byte, 30<<20)})
	m, _, _, err := seen.Wait(long(t), 0)
	if err != nil || len(m.Data) != 20000000 {
		t.Errorf("from rospy: %v, %v", m != nil, err)
	}
	if got := hears.expect("got"); !strings.HasPrefix(got, "31457280 0 True us") {
		t.Errorf("rospy got %q", got)
	}
}
