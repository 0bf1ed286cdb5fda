package ros_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/goroslib/v2/pkg/msg"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/actionlib"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/rosgraph_msgs"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// long is a context for what a Python peer takes part in.
func long(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestTopicsFlowToAndFromRospy(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		n := node(t, uri, "us")
		hears := peer(t, uri, "subscribe", "/to", "text")
		says := peer(t, uri, "publish", "/from", "image", "30", "100000")

		pub := must(ros.Advertise[std.String](n, "/to", false))(t)
		if err := pub.WaitSubscriber(long(t)); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			pub.Publish(&std.String{Data: fmt.Sprintf("a&<b é %d", i)})
		}
		for i := range 50 {
			if got, want := hears.expect("got"), fmt.Sprintf("a&<b é %d", i); got != want {
				t.Fatalf("rospy got %q, want %q", got, want)
			}
		}

		says.expect("ready")
		seen := must(ros.Watch[std.Image](n, "/from"))(t)
		m, _, at, err := seen.Wait(long(t), 0)
		if err != nil {
			t.Fatal(err)
		}
		if m.Width != 100000 || m.Encoding != "mono8" || m.Header.FrameId != "a&<b é" || !bytes.Equal(m.Data, bytes.Repeat(m.Data[:1], 100000)) {
			t.Errorf("got an image %dx%d %s %q of %d bytes", m.Width, m.Height, m.Encoding, m.Header.FrameId, len(m.Data))
		}
		if age := at.Sub(m.Header.Stamp); age < 0 || age > 10*time.Second {
			t.Errorf("the image is %v old", age)
		}
	})
}

func TestServicesAnswerRospyAndAreAnswered(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		n := node(t, uri, "us")
		theirs := peer(t, uri, "serve", "/theirs", "0")
		must(ros.Serve(n, "/ours", func(q *std.SetBoolReq) (*std.SetBoolRes, error) {
			if !q.Data {
				return nil, errors.New("not now: <&")
			}
			return &std.SetBoolRes{Success: true, Message: "done"}, nil
		}))(t)
		if got := peer(t, uri, "call", "/ours", "true").expect("answer"); got != "True done" {
			t.Errorf("rospy got %q, want True done", got)
		}
		if got := peer(t, uri, "call", "/ours", "false").expect("refused"); !strings.Contains(got, "not now: <&") {
			t.Errorf("rospy got %q, want our error's text", got)
		}
		theirs.expect("ready")
		res, err := ros.Call[std.SetBoolReq, std.SetBoolRes](long(t), n, "/theirs", &std.SetBoolReq{Data: true})
		if err != nil || !res.Success || res.Message != "on" {
			t.Errorf("got %v, %v; want on", res, err)
		}
		var said *ros.ErrRemote
		_, err = ros.Call[std.SetBoolReq, std.SetBoolRes](long(t), n, "/theirs", &std.SetBoolReq{})
		if !errors.As(err, &said) || !strings.Contains(said.Text, "never off: <&") {
			t.Errorf("got %v, want rospy's text", err)
		}
		if out := output(t, uri, "rosservice", "call", "/ours", "true"); !strings.Contains(out, "done") {
			t.Errorf("rosservice call: %s", out)
		}
	})
}

// A robot that is told twice moves twice. Goroslib's client gives a call up
// and sends it again after ten seconds.
func TestSlowServiceIsCalledOnce(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n := node(t, uri, "us")
	slow := peer(t, uri, "serve", "/slow", "10.5")
	slow.expect("ready")
	start := time.Now()
	res, err := ros.Call[std.SetBoolReq, std.SetBoolRes](long(t), n, "/slow", &std.SetBoolReq{Data: true})
	if err != nil || !res.Success {
		t.Fatalf("got %v, %v", res, err)
	}
	if took := time.Since(start); took < 10*time.Second {
		t.Fatalf("answered after %v, too early to say anything", took)
	}
	if n := strings.Count(slow.log.String(), "called"); n != 1 {
		t.Errorf("the service was called %d times, want once", n)
	}
}

func TestActionsWithActionlib(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		n := node(t, uri, "us")
		theirs := peer(t, uri, "act_serve", "/theirs")
		// actionlib's simple client loses every transition that comes before its own send_goal has
		// returned, the end included, and then waits for ever: the end is held back until it has.
		sent := make(chan struct{}, 1)
		stop := must(ros.ServeAct(n, "/ours", func(ctx context.Context, g *actionlib.TwoIntsActionGoal, tell func(*actionlib.TwoIntsActionFeedback)) (*actionlib.TwoIntsActionResult, error) {
			<-sent
			tell(&actionlib.TwoIntsActionFeedback{})
			res := &actionlib.TwoIntsActionResult{Sum: g.A + g.B}
			if g.A > 100 {
				<-ctx.Done()
				return res, errors.New("told to end")
			}
			if g.A < 0 {
				return res, errors.New("negative")
			}
			return res, nil
		}))(t)
		defer stop.Close()
		for _, tt := range []struct{ a, b, cancel, want string }{
			{"1", "2", "false", "3 - 3"},
			{"-1", "2", "false", "4 negative 1"},
			{"101", "2", "true", "2 told to end 103"},
		} {
			p := peer(t, uri, "act_call", "/ours", tt.a, tt.b, tt.cancel)
			p.expect("sent")
			sent <- struct{}{}
			if got := p.expect("ended"); got != tt.want {
				t.Errorf("actionlib's client got %q, want %q", got, tt.want)
			}
		}

		theirs.expect("ready")
		act := must(ros.Act[actionlib.TwoIntsActionGoal, actionlib.TwoIntsActionFeedback, actionlib.TwoIntsActionResult](n, "/theirs"))(t)
		defer act.Close()
		res, err := act.Do(long(t), &actionlib.TwoIntsActionGoal{A: 1, B: 2}, nil)
		if err != nil || res.Sum != 3 {
			t.Errorf("got %v, %v; want 3", res, err)
		}
		var end *ros.ErrGoal
		if _, err := act.Do(long(t), &actionlib.TwoIntsActionGoal{A: -1}, nil); !errors.As(err, &end) || end.Status != ros.Aborted || end.Text != "negative" {
			t.Errorf("got %v, want aborted: negative", err)
		}
		// rospy counts a subscriber only after it has told it so, and what it publishes between is
		// lost: feedback is asked for here, seconds after the connection, and not of the first goal.
		told := make(chan struct{}, 1)
		g := act.Send(&actionlib.TwoIntsActionGoal{A: 101}, func(*actionlib.TwoIntsActionFeedback) { told <- struct{}{} })
		select {
		case <-told:
		case <-time.After(patience):
			t.Error("no feedback")
		}
		g.Cancel()
		if _, err := act.Wait(long(t), g); !errors.As(err, &end) || end.Status != ros.Preempted {
			t.Errorf("got %v, want preempted", err)
		}
		// Bags and rostopic echo read a topic by its type's name.
		if out := output(t, uri, "rostopic", "type", "/ours/goal"); strings.TrimSpace(out) != "actionlib/TwoIntsActionGoal" {
			t.Errorf("the goal's type is %q", out)
		}
	})
}

func TestParametersWithRospyAndRosparam(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		n := node(t, uri, "us")
		if err := n.SetParam("/p", map[string]any{"list": []float64{0.5, 2}, "text": "a&<b é", "n": 3}); err != nil {
			t.Fatal(err)
		}
		if out := output(t, uri, "rosparam", "get", "/p"); !strings.Contains(out, "[0.5, 2.0]") && !strings.Contains(out, "- 0.5\n- 2.0") || !strings.Contains(out, "a&<b") {
			t.Errorf("rosparam get: %s", out)
		}
		output(t, uri, "rosparam", "set", "/tool", "{joints: [1, 2.5], name: 'x&<y', live: true}")
		var tool struct {
			Joints [2]float64
			Name   string
			Live   bool
		}
		if err := n.Param("/tool", &tool); err != nil || tool.Joints != [2]float64{1, 2.5} || tool.Name != "x&<y" || !tool.Live {
			t.Errorf("got %+v, %v", tool, err)
		}
		p := peer(t, uri, "params")
		if got := p.expect("params"); !strings.Contains(got, "a&<b é") || !strings.Contains(got, "[0.5, 2.0]") {
			t.Errorf("rospy got %s", got)
		}
		if got := p.expect("found"); got != "/p False True" {
			t.Errorf("rospy found %q, want /p False True", got)
		}
		var deep map[string]any
		if err := n.Param("/q/deep", &deep); err != nil || deep["text"] != "a&<b é" || deep["on"] != true {
			t.Errorf("got %v, %v", deep, err)
		}
		if got := p.expect("cached"); got != "3" {
			t.Errorf("rospy caches %q, want 3", got)
		}
		if err := n.SetParam("/p/n", 4); err != nil {
			t.Fatal(err)
		}
		if got := p.expect("cached"); got != "4" {
			t.Errorf("rospy's cache became %q, want 4", got)
		}
		if err := n.DeleteParam("/p"); err != nil {
			t.Fatal(err)
		}
		var gone any
		if err := n.Param("/p/list", &gone); !errors.Is(err, ros.ErrNoParam) {
			t.Errorf("got %v, %v; want ErrNoParam", gone, err)
		}
	})
}

func TestToolsSeeTheNode(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		n := node(t, uri, "us")
		pub := must(ros.Advertise[std.PoseStamped](n, "/pose", true))(t)
		pub.Publish(&std.PoseStamped{Pose: std.Pose{Position: std.Point{X: 0.5}}})
		must(ros.Watch[std.String](n, "/ear"))(t)

		bag := filepath.Join(t.TempDir(), "ours.bag")
		record := run(t, uri, "/usr/bin/rosbag", "record", "-O", bag, "--limit=1", "/pose")
		if out := output(t, uri, "rostopic", "list"); !strings.Contains(out, "/pose") || !strings.Contains(out, "/ear") {
			t.Errorf("rostopic list: %s", out)
		}
		if out := output(t, uri, "rostopic", "echo", "-n1", "/pose"); !strings.Contains(out, "x: 0.5") {
			t.Errorf("rostopic echo: %s", out)
		}
		if out := output(t, uri, "rosnode", "info", n.Name()); !strings.Contains(out, "geometry_msgs/PoseStamped") {
			t.Errorf("rosnode info: %s", out)
		}
		if out := output(t, uri, "rosnode", "ping", "-c1", n.Name()); !strings.Contains(out, "xmlrpc reply from") {
			t.Errorf("rosnode ping: %s", out)
		}
		select {
		case <-record.gone:
		case <-time.After(patience):
			t.Fatal("rosbag record did not end")
		}
		if info, err := os.Stat(bag); err != nil || info.Size() < 1000 {
			t.Errorf("rosbag record: %v, %v", info, err)
		}
		if out := output(t, uri, "rosbag", "info", bag); !strings.Contains(out, "1 msg") || !strings.Contains(out, "geometry_msgs/PoseStamped [d3812c3cbc69362b77dc0b19b345f8f5]") {
			t.Errorf("rosbag info: %s", out)
		}
		// And back: rosbag plays what it has recorded to whoever watches.
		again := must(ros.Watch[std.PoseStamped](n, "/again"))(t)
		output(t, uri, "rosbag", "play", "-q", "-d", "1", bag, "/pose:=/again")
		if m, _, _, err := again.Wait(long(t), 0); err != nil || m.Pose.Position.X != 0.5 {
			t.Errorf("rosbag play: got %+v, %v", m, err)
		}
		output(t, uri, "rosnode", "kill", n.Name())
		select {
		case <-n.Done():
		case <-time.After(patience):
			t.Fatal("the node does not know that it was killed")
		}
		if out := output(t, uri, "rosnode", "list"); strings.Contains(out, n.Name()) {
			t.Errorf("the killed node is listed still: %s", out)
		}
	})
}

// Open connections outlive roscore; whoever comes after its restart must find
// the node all the same.
func TestNodeOutlivesRoscore(t *testing.T) {
	t.Parallel()
	port := porttest.Free(t)
	uri := "http://127.0.0.1:" + port + "/"
	core := run(t, uri, "/usr/bin/roscore", "-p", port)
	awaitMaster(t, uri)
	n, err := ros.Open(long(t), ros.Config{Master: uri, Name: "us"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	pub := must(ros.Advertise[std.String](n, "/to", true))(t)
	pub.Publish(&std.String{Data: "still here"})
	seen := must(ros.Watch[std.String](n, "/from"))(t)
	must(ros.Serve(n, "/ours", func(*std.SetBoolReq) (*std.SetBoolRes, error) { return nil, nil }))(t)

	before := peer(t, uri, "publish", "/from", "text", "50", "before")
	_, seq, _, err := seen.Wait(long(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	core.kill()
	if _, seq, _, err = seen.Wait(long(t), seq+20); err != nil {
		t.Fatalf("without a master: %v", err)
	}
	before.kill()

	debian(t, port)
	if got := peer(t, uri, "subscribe", "/to", "text").expect("got"); got != "still here" {
		t.Errorf("who came later got %q", got)
	}
	peer(t, uri, "publish", "/from", "text", "50", "after")
	for {
		m, next, _, err := seen.Wait(long(t), seq)
		if err != nil {
			t.Fatalf("the new publisher is not heard: %v", err)
		}
		if seq = next; strings.HasPrefix(m.Data, "after") {
			break
		}
	}
	if got := peer(t, uri, "call", "/ours", "true").expect("answer"); strings.TrimSpace(got) != "False" {
		t.Errorf("the service answers %q", got)
	}
}

func TestPublisherKilledAndBack(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		n := node(t, uri, "us")
		seen := must(ros.Watch[std.String](n, "/from"))(t)
		first := peer(t, uri, "publish", "/from", "text", "50", "first")
		_, seq, _, err := seen.Wait(long(t), 5)
		if err != nil {
			t.Fatal(err)
		}
		first.kill()
		second := peer(t, uri, "publish", "/from", "text", "50", "second")
		second.expect("ready")
		back := time.Now()
		for {
			m, next, _, err := seen.Wait(long(t), seq)
			if err != nil {
				t.Fatal(err)
			}
			if seq = next; strings.HasPrefix(m.Data, "second") {
				t.Logf("heard %v after it was ready", time.Since(back).Round(time.Millisecond))
				return
			}
		}
	})
}

func TestOtherTypeIsToldLoudly(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		var log tail
		n, err := ros.Open(long(t), ros.Config{Master: uri, Name: "us", Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		peer(t, uri, "publish", "/from", "text", "50", "x").expect("ready")
		seen := must(ros.Watch[std.Bool](n, "/from"))(t)
		if _, _, _, err := seen.Wait(long(t), 0); !errors.Is(err, ros.ErrKind) || !strings.Contains(err.Error(), "std_msgs/String") {
			t.Errorf("got %v, want ErrKind that names std_msgs/String", err)
		}
		if !errors.Is(seen.Err(), ros.ErrKind) {
			t.Errorf("Err: got %v, want ErrKind", seen.Err())
		}
		must(ros.Advertise[std.Bool](n, "/to", true))(t)
		peer(t, uri, "subscribe", "/to", "text").expect("ready")
		for start := time.Now(); !strings.Contains(log.String(), "refused a connection"); time.Sleep(20 * time.Millisecond) {
			if time.Since(start) > patience {
				t.Fatalf("a subscriber of another type was refused silently:\n%s", log.String())
			}
		}
		if !strings.Contains(log.String(), "cannot subscribe") {
			t.Errorf("the log does not tell of the publisher's type:\n%s", log.String())
		}
	})
}

func TestCloseDoesNotWaitForAFrozenMaster(t *testing.T) {
	t.Parallel()
	uri, master := debian(t, porttest.Free(t))
	n, err := ros.Open(long(t), ros.Config{Master: uri, Name: "us"})
	if err != nil {
		t.Fatal(err)
	}
	must(ros.Advertise[std.String](n, "/to", false))(t)
	must(ros.Watch[std.String](n, "/from"))(t)
	if err := master.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// hil-serl starts its controllers by roslaunch, which must find our master as
// good as its own.
func TestRoslaunchRunsUnderOurMaster(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	n := node(t, uri, "us")
	file := filepath.Join(t.TempDir(), "x.launch")
	err := os.WriteFile(file, []byte(`<launch>
  <param name="who" value="a&amp;&lt;b"/>
  <rosparam param="/target_joint_positions">[0, -0.5, 0.0, 1.5, 0, 2, 0.001]</rosparam>
  <node pkg="rosout" type="rosout" name="log" ns="deep"><rosparam>{stiffness: {x: 500}}</rosparam></node>
</launch>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	launch := run(t, uri, "/usr/bin/roslaunch", "--skip-log-check", file)
	gone := must(ros.Watch[std.String](n, "/ear"))(t)
	defer gone.Close()
	for ctx := long(t); !strings.Contains(fmt.Sprint(busy(t, uri)), "/deep/log"); time.Sleep(50 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("the node was not started:\n%s", launch.log)
		}
	}
	var q [7]float64
	if err := n.Param("/target_joint_positions", &q); err != nil || q != [7]float64{0, -0.5, 0, 1.5, 0, 2, 0.001} {
		t.Errorf("got %v, %v", q, err)
	}
	var who string
	if err := n.Param("/who", &who); err != nil || who != "a&<b" {
		t.Errorf("got %q, %v", who, err)
	}
	var x float64
	if err := n.Param("/deep/log/stiffness/x", &x); err != nil || x != 500 {
		t.Errorf("got %v, %v", x, err)
	}
}

// logger and the two below are roscpp's; no Go package has them.
type logger struct {
	msg.Package `ros:"roscpp"`
	msg.Name    `ros:"Logger"`
	Which       string `rosname:"name"`
	Level       string
}

type getLoggersReq struct {
	msg.Package `ros:"roscpp"`
	msg.Name    `ros:"GetLoggersReq"`
}

type getLoggersRes struct {
	msg.Package `ros:"roscpp"`
	Loggers     []logger
}

// rosout, a C++ node, repeats what is logged; franka_ros's nodes are C++ too.
func TestRoscppHearsAnswersAndIsHeard(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		n := node(t, uri, "us")
		run(t, uri, "/usr/lib/rosout/rosout")
		again := must(ros.Watch[rosgraph_msgs.Log](n, "/rosout_agg"))(t)
		pub := must(ros.Advertise[rosgraph_msgs.Log](n, "/rosout", false))(t)
		if err := pub.WaitSubscriber(long(t)); err != nil {
			t.Fatal(err)
		}
		for again.Publishers() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		pub.Publish(&rosgraph_msgs.Log{Level: rosgraph_msgs.Log_WARN, Name: "us", Msg: "a&<b é", Line: 7, Topics: []string{"/x", "/y"}})
		for seq, ctx := uint64(0), long(t); ; {
			m, next, _, err := again.Wait(ctx, seq)
			if err != nil {
				t.Fatal(err)
			}
			if seq = next; m.Name == "us" && m.Msg == "a&<b é" && m.Line == 7 && len(m.Topics) == 2 {
				break
			}
		}
		if err := n.WaitService(long(t), "/rosout/get_loggers"); err != nil {
			t.Fatal(err)
		}
		res, err := ros.Call[getLoggersReq, getLoggersRes](long(t), n, "/rosout/get_loggers", &getLoggersReq{})
		if err != nil || len(res.Loggers) == 0 || res.Loggers[0].Which == "" {
			t.Errorf("got %+v, %v", res, err)
		}
	})
}

// What a node warns of reaches /rosout as rospy's nodes have it there: latched, with
// the name of the node, its place in the program and its topics.
func TestWarningsReachRosout(t *testing.T) {
	underBoth(t, func(t *testing.T, uri string) {
		var log tail
		n, err := ros.Open(long(t), ros.Config{Master: uri, Name: "us", Rosout: true, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		must(ros.Watch[std.String](n, "/ear"))(t)
		n.Log().Info("nobody is told")
		n.Log().Warn("before anybody listens")
		hears := peer(t, uri, "hear_log", "/us_")
		if got := hears.expect("log"); got != "4 True True /ear before anybody listens" {
			t.Errorf("rospy got %q", got)
		}
		n.Log().WithGroup("arm").With("joint", 3).Error("a&<b é", "why", errors.New("two words"))
		if got := hears.expect("log"); got != `8 True True /ear a&<b é arm.joint=3 arm.why="two words"` {
			t.Errorf("rospy got %q", got)
		}
		// What the node itself has to say of its peers goes the same way.
		peer(t, uri, "publish", "/ear", "image", "30", "10")
		if got := hears.expect("log"); !strings.HasPrefix(got, "8 ") || !strings.Contains(got, "ros: cannot subscribe topic=/ear") {
			t.Errorf("rospy got %q, want that the types differ", got)
		}
		if s := log.String(); strings.Contains(s, "before anybody") || !strings.Contains(s, "a&<b") {
			t.Errorf("the log has\n%s, want the errors alone", s)
		}
	})
}

// busy is what the master knows of its nodes.
func busy(t *testing.T, uri string) any {
	t.Helper()
	v, err := xmlrpc.Call(t.Context(), uri, "getSystemState", "/test")
	if err != nil {
		t.Fatal(err)
	}
	return v
}
