package wire

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// A device on ROS takes the arm as one on the bus does, and silence holds it.
func TestDevicesOnROSTakeTheArm(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	wish := robot.Command{Delta: [6]float64{0.001}, Grip: 1}
	for input, tt := range map[string]struct {
		topic      string
		axes       []float32
		held, rest []int32 // buttons
		idle       []float32
		up         float64
	}{
		"joy": {"/joy", []float32{0, 0, 0, 0, 1, 0}, []int32{0, 0, 0, 0, 1}, []int32{0, 0, 0, 0, 0}, []float32{0, 0, 0, 0, 1, 0},
			1},
		"spacenav": {"/spacenav/joy", []float32{0, 0, -1, 0, 0, 0}, []int32{1, 0}, []int32{0, 0}, make([]float32, 6),
			-1}, // the fingers are not the policy's
	} {
		t.Run(input, func(t *testing.T) {
			c := tiny(t)
			set(t, &c, "robot.pace=real", "teleop.input="+input, "policy.axes=[x, y, z]", "robot.ros.master="+m.URI())
			s := begun(t, c)
			var said strings.Builder
			s.log = slog.New(slog.NewTextHandler(&said, nil))
			n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: "device"})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			pub, err := ros.Advertise[std.Joy](n, tt.topic, false)
			if err != nil {
				t.Fatal(err)
			}
			decide, end, err := s.newOverride(t.Context(), &arm{})
			if err != nil {
				t.Fatal(err)
			}
			end = sync.OnceFunc(end)
			defer end()
			if err := pub.WaitSubscriber(t.Context()); err != nil {
				t.Fatal(err)
			}
			until := func(want robot.Command, who robot.Source, send *std.Joy) {
				t.Helper()
				var got robot.Command
				var by robot.Source
				for stop := time.Now().Add(10 * time.Second); time.Now().Before(stop); time.Sleep(20 * time.Millisecond) {
					if send != nil {
						send.Header.Stamp = time.Now()
						pub.Publish(send)
					}
					obs := robot.Observation{State: robot.State{Stamp: time.Now()}, Applied: robot.Command{Grip: 1}}
					if got, by = decide(1, obs, wish); got == want && by == who {
						return
					}
				}
				t.Fatalf("got %+v by the %v, want %+v by the %v", got, by, want, who)
			}
			up := robot.Command{Delta: [6]float64{2: tt.up * c.Teleop.Speed * period(c).Seconds()}, Grip: 1}
			until(wish, robot.ByPolicy, nil)
			until(up, robot.ByHuman, &std.Joy{Axes: tt.axes, Buttons: tt.held})
			until(wish, robot.ByPolicy, &std.Joy{Axes: tt.idle, Buttons: tt.rest})
			until(up, robot.ByHuman, &std.Joy{Axes: tt.axes, Buttons: tt.held})
			until(robot.Command{Grip: 1}, robot.ByGuard, nil) // the cable is pulled, or the stick is still and nothing repeats it
			until(wish, robot.ByPolicy, nil)
			end()
			if text := said.String(); strings.Count(text, "readings stopped while a person held the switch") != 1 || strings.Contains(text, "autorepeat_rate") != (input == "joy") {
				t.Errorf("told of readings that stopped: %s", text)
			}
		})
	}
}

// Two pads on one topic are two people: while one holds the switch the other is not heard, and who
// looks on is told of both.
func TestOnePadOnATopicIsHeardAtATime(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := tiny(t)
	set(t, &c, "robot.pace=real", "teleop.input=joy", "policy.axes=[x, y, z]", "robot.ros.master="+m.URI())
	s := begun(t, c)
	var said strings.Builder
	s.log = slog.New(slog.NewTextHandler(&said, nil))
	var pubs []*ros.Publisher[std.Joy]
	for _, name := range []string{"pad", "beside"} {
		n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: name})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		pub, err := ros.Advertise[std.Joy](n, "/joy", false)
		if err != nil {
			t.Fatal(err)
		}
		pubs = append(pubs, pub)
	}
	decide, end, err := s.newOverride(t.Context(), &arm{})
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(end)
	defer end()
	for _, pub := range pubs {
		if err := pub.WaitSubscriber(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	people := 0
	for k := range 60 {
		for i, pub := range pubs { // one holds the switch and pushes up, the other lies there
			if i == 1 && k < 5 {
				continue
			}
			joy := &std.Joy{Axes: []float32{0, 0, 0, 0, 1, 0}, Buttons: []int32{0, 0, 0, 0, int32(1 - i)}}
			joy.Header.Stamp = time.Now()
			pub.Publish(joy)
			time.Sleep(10 * time.Millisecond)
			_, by := decide(1, robot.Observation{State: robot.State{Stamp: time.Now()}}, robot.Command{})
			if by == robot.ByHuman {
				people++
			} else if people > 0 {
				t.Fatalf("after %d ticks by a person who holds on the %v decides", people, by)
			}
		}
	}
	end()
	if text := said.String(); people < 20 || strings.Count(text, "another node") != 1 || !strings.Contains(text, "/beside") {
		t.Errorf("%d ticks by the person; told: %s", people, text)
	}
}

// A device on ROS is looked for before there is a folder, or before it is gone on with, and not once
// fine-tuning begins.
func TestADeviceWithoutAMasterIsToldAtOnce(t *testing.T) {
	c := tiny(t)
	c.Name = "one"
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sets := []string{"robot.pace=real", "teleop.input=joy", "robot.ros.master=http://127.0.0.1:1", "robot.ros.wait=0.1"}
	_, err = Resume(t.Context(), c.Out, c.Name, nil, sets, byTheClock())
	wantErr(t, err, "teleop.input is joy", "start roscore", "robot.ros.master=")
	set(t, &c, append(sets, "name=two", "teleop.input=spacenav")...)
	_, err = Create(t.Context(), c, byTheClock())
	wantErr(t, err, "teleop.input is spacenav", "start roscore")
	if _, err := os.Stat(filepath.Join(c.Out, c.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder is left (%v)", err)
	}
}

// An arm that a person is to take by a device that nobody publishes does not move.
func TestAnArmWaitsForItsDevice(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := tiny(t)
	set(t, &c, "robot.pace=real", "teleop.input=joy", "robot.ros.master="+m.URI(), "robot.ros.wait=0.3", "session.episodes=1", "session.evaluate=1")
	s := begun(t, c)
	_, err = s.Run(t.Context())
	wantErr(t, err, "teleop.input is joy", "nobody publishes /joy (sensor_msgs/Joy)", "_autorepeat_rate:=20", "--set teleop.topic=")
	if es, err := s.store.Episodes(t.Context(), policy.Online); err != nil || len(es) > 0 {
		t.Errorf("%d episodes, %v: the arm moved", len(es), err)
	}
	_, err = tryJoy(t.Context(), c, byTheClock())
	wantErr(t, err, "nobody publishes /joy")

	n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: "device"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := ros.Advertise[std.String](n, "/spacenav/joy", false); err != nil {
		t.Fatal(err)
	}
	c.Teleop.Input = "spacenav"
	_, err = tryJoy(t.Context(), c, byTheClock())
	wantErr(t, err, "teleop.input is spacenav", "std_msgs/String")
	pub, err := ros.Advertise[std.Joy](n, "/pad", false)
	if err != nil {
		t.Fatal(err)
	}
	c.Teleop.Input, c.Teleop.Topic = "joy", "/pad"
	detail, err := tryJoy(t.Context(), c, byTheClock())
	wantErr(t, err, "/pad comes 0 times a second", "autorepeat_rate")
	if !strings.Contains(detail, "sensor_msgs/Joy of /device") {
		t.Errorf("told %q", detail)
	}
	over, stop := context.WithCancel(t.Context())
	var repeats sync.WaitGroup
	repeats.Go(func() {
		for over.Err() == nil {
			pub.Publish(&std.Joy{})
			time.Sleep(20 * time.Millisecond)
		}
	})
	defer repeats.Wait()
	defer stop()
	if detail, err := tryJoy(t.Context(), c, byTheClock()); err != nil {
		t.Errorf("a device that repeats: %q, %v", detail, err)
	}
}
