package ros_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

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

// A server that dies does not leave its client waiting.
func TestGoalOfADeadServerIsLost(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	a, b := node(t, uri, "a"), node(t, uri, "b")
	began := make(chan struct{})
	must(ros.ServeAct(a, "/grip", func(ctx context.Context, _ *std.GripperCommandGoal, _ func(*std.GripperCommandFeedback)) (*std.GripperCommandResult, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}))(t)
	act := must(ros.Act[std.GripperCommandGoal, std.GripperCommandFeedback, std.GripperCommandResult](b, "/grip"))(t)
	defer act.Close()
	if err := act.WaitServer(soon(t)); err != nil {
		t.Fatal(err)
	}
	g := act.Send(&std.GripperCommandGoal{}, nil)
	<-began
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var end *ros.ErrGoal
	if _, err := act.Wait(soon(t), g); !errors.As(err, &end) || end.Status != ros.Lost {
		t.Errorf("got %v, want lost", err)
	}
}
