package ros_test

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// TestMain runs more tests at a time than there are cores: they wait for each
// other's programs most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// graph is a master of the test's own.
func graph(t *testing.T) string {
	t.Helper()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m.URI()
}

// node is a node of the test's own.
func node(t *testing.T, uri, name string) *ros.Node {
	t.Helper()
	n, err := ros.Open(soon(t), ros.Config{Master: uri, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// soon ends after the longest that a test may wait.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestMessagesReachWhoWatches(t *testing.T) {
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	seen := must(ros.Watch[std.String](b, "/chatter"))(t)
	pub := must(ros.Advertise[std.String](a, "/chatter", false))(t)
	if err := pub.WaitSubscriber(soon(t)); err != nil {
		t.Fatal(err)
	}
	pub.Publish(&std.String{Data: "one"})
	m, seq, _, err := seen.Wait(soon(t), 0)
	if err != nil || m.Data != "one" || seq != 1 {
		t.Fatalf("got %v, %d, %v; want one, 1", m, seq, err)
	}
}

func TestServiceAnswersAndRefuses(t *testing.T) {
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	must(ros.Serve(a, "/flag", func(q *std.SetBoolReq) (*std.SetBoolRes, error) {
		if !q.Data {
			return nil, errors.New("never off")
		}
		return &std.SetBoolRes{Success: true, Message: "on"}, nil
	}))(t)
	res, err := ros.Call[std.SetBoolReq, std.SetBoolRes](soon(t), b, "/flag", &std.SetBoolReq{Data: true})
	if err != nil || !res.Success || res.Message != "on" {
		t.Fatalf("got %v, %v", res, err)
	}
	_, err = ros.Call[std.SetBoolReq, std.SetBoolRes](soon(t), b, "/flag", &std.SetBoolReq{})
	var said *ros.ErrRemote
	if !errors.As(err, &said) || said.Text != "never off" {
		t.Fatalf("got %v, want the provider's text", err)
	}
	if _, err := ros.Call[std.SetBoolReq, std.SetBoolRes](soon(t), b, "/none", &std.SetBoolReq{}); !errors.Is(err, ros.ErrNoService) {
		t.Fatalf("got %v, want ErrNoService", err)
	}
	if _, err := ros.Call[std.TriggerReq, std.TriggerRes](soon(t), b, "/flag", &std.TriggerReq{}); !errors.Is(err, ros.ErrKind) {
		t.Fatalf("got %v, want ErrKind", err)
	}
}

func TestActionRunsToItsEnd(t *testing.T) {
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	stop := must(ros.ServeAct(a, "/grip", func(ctx context.Context, g *std.GripperCommandGoal, tell func(*std.GripperCommandFeedback)) (*std.GripperCommandResult, error) {
		tell(&std.GripperCommandFeedback{Position: g.Command.Position / 2})
		switch {
		case g.Command.Position < 0:
			return nil, errors.New("too narrow")
		case g.Command.Position > 1:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &std.GripperCommandResult{Position: g.Command.Position, ReachedGoal: true}, nil
	}))(t)
	defer stop.Close()
	act := must(ros.Act[std.GripperCommandGoal, std.GripperCommandFeedback, std.GripperCommandResult](b, "/grip"))(t)
	defer act.Close()
	goal := func(x float64) *std.GripperCommandGoal {
		return &std.GripperCommandGoal{Command: std.GripperCommand{Position: x}}
	}
	half := 0.0 // feedback and result take different ways: it may not come, but never after Do
	res, err := act.Do(soon(t), goal(0.08), func(f *std.GripperCommandFeedback) { half = f.Position })
	if err != nil || !res.ReachedGoal || res.Position != 0.08 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if half != 0 && half != 0.04 {
		t.Errorf("the feedback was %v, want 0.04 or none", half)
	}
	var end *ros.ErrGoal
	if _, err := act.Do(soon(t), goal(-1), nil); !errors.As(err, &end) || end.Status != ros.Aborted || end.Text != "too narrow" {
		t.Fatalf("got %v, want aborted: too narrow", err)
	}
	g := act.Send(goal(2), nil)
	g.Cancel()
	if _, err := act.Wait(soon(t), g); !errors.As(err, &end) || end.Status != ros.Preempted && end.Status != ros.Recalled {
		t.Fatalf("got %v, want preempted or recalled", err)
	}
}

func TestParametersOfEveryKind(t *testing.T) {
	n := node(t, graph(t), "a")
	if err := n.SetParam("/p", map[string]any{"list": []float64{1, 2.5}, "text": "a&<b", "on": true, "n": 3}); err != nil {
		t.Fatal(err)
	}
	var list [2]float64
	if err := n.Param("/p/list", &list); err != nil || list != [2]float64{1, 2.5} {
		t.Fatalf("got %v, %v", list, err)
	}
	var all struct {
		Text string
		On   bool
		N    float64
	}
	if err := n.Param("/p", &all); err != nil || all.Text != "a&<b" || !all.On || all.N != 3 {
		t.Fatalf("got %+v, %v", all, err)
	}
	if err := n.Param("/q", &all); !errors.Is(err, ros.ErrNoParam) {
		t.Fatalf("got %v, want ErrNoParam", err)
	}
	if err := n.Param("/p/text", &list); err == nil {
		t.Fatal("text was read as numbers")
	}
}
