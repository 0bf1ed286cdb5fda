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
	act, err := ros.Act[std.GripperCommandGoal, std.GripperCommandFeedback, std.GripperCommandResult](b, "/grip")
	if err != nil {
		t.Fatal(err)
	}
	defer act.Close()
	if err := act.WaitServer(soon(t)); err != nil {
		t.Fatal(err)
	}
	goal := func(x float64) *std.GripperCommandGoal {
		return &std.GripperCommandGoal{Command: std.GripperCommand{Position: x}}
	}
	ctx := soon(t)
	begins := func() {
		t.Helper()
		select {
		case <-began:
		case <-ctx.Done():
			t.Fatal("the goal does not begin")
		}
	}
	long := act.Send(goal(2), nil)
	begins()
	quick := act.Send(goal(1), nil)
	var end *ros.ErrGoal
	if _, err := act.Wait(ctx, long); !errors.As(err, &end) || end.Status != ros.Preempted {
		t.Errorf("got %v, want preempted", err)
	}
	if _, err := act.Wait(ctx, quick); err != nil {
		t.Error(err)
	}
	begins()
	// All goals end right after one has: goroslib's server dies of it. Goals and
	// cancellations take different ways, so this may reach the next goal as well.
	act.CancelAll()
	long = act.Send(goal(2), nil)
	ended := make(chan error, 1)
	go func() {
		_, err := act.Wait(ctx, long)
		ended <- err
	}()
	select {
	case <-began:
		act.CancelAll()
		err = <-ended
	case err = <-ended:
	}
	if !errors.As(err, &end) || end.Status != ros.Preempted && end.Status != ros.Recalled {
		t.Errorf("got %v, want preempted or recalled", err)
	}
	select { // the goal may have begun and ended at once
	case <-began:
	case <-time.After(100 * time.Millisecond):
	}
	// A caller who gives up takes the goal with it.
	given, giveUp := context.WithCancel(ctx)
	defer giveUp()
	go func() {
		select {
		case <-began:
			giveUp()
		case <-ctx.Done():
		}
	}()
	if _, err := act.Do(given, goal(2), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was given up", err)
	}
	if err := stop.Close(); err != nil { // waits for the goal to end
		t.Fatal(err)
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
