package ros_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// The master may go and come back within a look of the keeper, and our own has
// the same process number then.
func TestNodeOutlivesOurMaster(t *testing.T) {
	t.Parallel()
	addr := porttest.Address(t)
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
	port := porttest.Free(t)
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
	t.Setenv("ROS_HOSTNAME", "localhost") // goes before ROS_IP, as in ROS
	b := node(t, uri, "b")
	must(ros.Watch[std.String](b, "chatter"))(t)
	v, err = xmlrpc.Call(soon(t), uri, "lookupNode", "/test", b.Name())
	if err != nil || !strings.HasPrefix(v.([]any)[2].(string), "http://localhost:") {
		t.Errorf("the node's address is %v, %v; want one at ROS_HOSTNAME", v, err)
	}
}

func TestBadMasterAddressIsExplained(t *testing.T) {
	for _, uri := range []string{"127.0.0.1:11311", "https://x:1", "http://", "http://%zz"} {
		if _, err := ros.Open(soon(t), ros.Config{Master: uri}); err == nil || !strings.Contains(err.Error(), "ROS_MASTER_URI") {
			t.Errorf("%s: got %v, want advice on ROS_MASTER_URI", uri, err)
		}
	}
}

func TestBadNameIsExplained(t *testing.T) {
	for _, name := range []string{"my arm", "7up", "_x", "é", "/"} {
		if n, err := ros.Open(soon(t), ros.Config{Master: "http://127.0.0.1:1", Name: name}); err == nil || !strings.Contains(err.Error(), "no name") {
			t.Errorf("%q: got %v, %v; want that it is no name", name, n, err)
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
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.AwaitClock(brief); !errors.Is(err, ros.ErrNoClock) {
		t.Errorf("got %v of a wait for it, want that nobody publishes it", err)
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
			if err := n.AwaitClock(soon(t)); err != nil {
				t.Error(err)
			}
		}
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

// One that the master lists for ever, since its machine went with it, or that hangs, costs
// no more than a moment, and is told from one that ended.
func TestPublishersThatAreSilentAreTold(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n := node(t, uri, "us")
	b := node(t, uri, "b")
	must(ros.Advertise[std.String](n, "/chatter", false))(t)
	must(ros.Advertise[std.String](b, "/chatter", false))(t)
	for name, api := range map[string]string{
		"/hung": porttest.Silent(t), "/ended": porttest.Address(t), "/unnamed": "no-such-host.invalid:1", "/apart": "224.0.0.1:1", // no way leads there
	} {
		if _, err := xmlrpc.Call(soon(t), uri, "registerPublisher", name, "/chatter", "std_msgs/String", "http://"+api+"/"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // less than a call may take
	defer cancel()
	alive, silent, err := n.Publishers(ctx, "/chatter")
	if err != nil || len(alive) != 1 || !strings.HasPrefix(alive[0], b.Name()+" at http://") {
		t.Errorf("alive are %q, %v; want %s", alive, err, b.Name())
	}
	slices.Sort(silent)
	want := []string{"/apart at http://224.0.0.1:1/ (dial tcp", "/hung at http://", "/unnamed at http://no-such-host.invalid:1/"}
	if !slices.EqualFunc(silent, want, strings.HasPrefix) {
		t.Errorf("silent are %q, want %q", silent, want)
	}
}

// Only who says itself that it publishes a topic counts beside another: no node that ended, or left
// its address to another; one that hangs is told apart.
func TestTwoWhoPublishATopicAreNamed(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n, a, b := node(t, uri, "us"), node(t, uri, "a"), node(t, uri, "b")
	for _, p := range []*ros.Node{n, a} {
		must(ros.Advertise[std.String](p, "/chatter", false))(t)
	}
	must(ros.Advertise[std.String](b, "/else", false))(t)
	api := func(n *ros.Node) string {
		v, err := xmlrpc.Call(soon(t), uri, "lookupNode", "/test", n.Name())
		if err != nil {
			t.Fatal(err)
		}
		return v.([]any)[2].(string)
	}
	for name, at := range map[string]string{
		"/hung": "http://" + porttest.Silent(t) + "/", "/ended": "http://" + porttest.Address(t) + "/", "/before": api(a), "/left": api(b),
	} {
		if _, err := xmlrpc.Call(soon(t), uri, "registerPublisher", name, "/chatter", "std_msgs/String", at); err != nil {
			t.Fatal(err)
		}
	}
	got, silent, err := n.Doubled(soon(t), "/chatter", "/else", "/nobody")
	if names := got["/chatter"]; err != nil || len(got) != 1 || len(names) != 1 || !strings.Contains(names[0], api(a)) {
		t.Errorf("got %q, %v; want the one that is alive", got, err)
	}
	if names := silent["/chatter"]; len(silent) != 1 || len(names) != 1 || !strings.HasPrefix(names[0], "/hung at ") {
		t.Errorf("%q are silent, want the one that hangs", silent)
	}
	must(ros.Advertise[std.String](b, "/chatter", false))(t)
	got, _, err = n.Doubled(soon(t), "chatter", "/else")
	if names := got["/chatter"]; err != nil || len(got) != 1 || len(names) != 2 || !strings.Contains(names[0]+names[1], api(b)) {
		t.Errorf("got %q, %v; want both who publish /chatter", got, err)
	}
}

func TestAttachStartsAMasterWhereNoneIs(t *testing.T) {
	t.Parallel()
	uri := "http://" + porttest.Address(t) + "/"
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
