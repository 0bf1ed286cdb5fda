package wire

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	simarm "github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// soakFor is how long the soak takes; make soak gives it ten minutes.
var soakFor = flag.Duration("soak", 3*time.Second, "length of TestSoak")

const soakFPS = 30

// soakSize is the cameras' images' size: small in the short form, which the race
// detector has to keep up with.
func soakSize() (w, h int) {
	if *soakFor < 10*time.Second {
		return 160, 120
	}
	return 640, 480
}

// rig is a simulated arm and two cameras whose images are noise,
// on a master of their own.
func rig(t *testing.T) (uri string, arm *simarm.Sim) {
	t.Helper()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	open := func(name string) *ros.Node {
		n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: name, Host: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	sc := simarm.Default()
	sc.World = tabletop.Config{Task: tabletop.Reach, Render: tabletop.None}
	sc.States, sc.Jacobian = 100, 100
	s, err := simarm.Start(t.Context(), open("franka"), sc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	n := open("cameras")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var ps []*ros.Publisher[std.Image]
	for _, c := range []string{"front", "wrist"} {
		p, err := ros.Advertise[std.Image](n, simarm.ImageTopic(c), false)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	soakW, soakH := soakSize()
	rng := rand.New(rand.NewPCG(1, 1))
	pix := make([]byte, 3*soakW*soakH+4096)
	for i := range pix {
		pix[i] = byte(rng.Uint32())
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / soakFPS)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for k, p := range ps {
				at := (7*i + 1000*k) % 4096 // other noise each time
				im := &std.Image{Width: uint32(soakW), Height: uint32(soakH), Step: uint32(3 * soakW), Encoding: "rgb8", Data: pix[at : at+3*soakW*soakH]}
				im.Header.Stamp = n.Now()
				p.Publish(im)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return m.URI(), s
}

// soakConfig is a session's configuration on the rig.
func soakConfig(uri string) config.Config {
	c := config.Default()
	c.Robot.Kind, c.Robot.Task, c.Robot.ROS.Master = "ros", "reach", uri
	c.Robot.ROS.Start.At, c.Robot.ROS.Start.Lift = tabletop.Reach.Start().P, 0
	c.Robot.ROS.Stale, c.Robot.ROS.Skew, c.Robot.ROS.Gripper.Open = 2, 0.2, false
	for i := range c.Robot.ROS.Cameras {
		c.Robot.ROS.Cameras[i].Info = ""
	}
	return c
}

// untrained is an encoder and a policy of the default sizes; what they compute does
// not matter, how long it takes does.
func untrained(t *testing.T, c config.Config) (*encoder.Conv, *bc.Policy) {
	t.Helper()
	rng := rand.New(rand.NewPCG(2, 2))
	var clip encoder.Clip
	for i := range 8 {
		var fs []robot.Frame
		for _, cam := range c.Robot.Cameras {
			f := robot.Frame{Camera: cam.Name, W: cam.Width, H: cam.Height, Pix: make([]byte, 3*cam.Width*cam.Height)}
			for k := range f.Pix {
				f.Pix[k] = byte(rng.Uint32())
			}
			fs = append(fs, f)
		}
		st := robot.State{Q: [7]float64{float64(i) / 10}, EE: robot.Pose{P: [3]float64{rng.Float64(), rng.Float64(), rng.Float64()}, Q: [4]float64{1, 0, 0, 0}}}
		clip.Frames, clip.States = append(clip.Frames, fs), append(clip.States, st)
		if i > 0 {
			clip.Applied = append(clip.Applied, robot.Command{Delta: [6]float64{rng.Float64()}})
		}
	}
	ec := encoder.Default("front", "wrist")
	ec.Steps, ec.Batch = 1, 2
	x, _, err := encoder.Train(t.Context(), encoder.Data{Clips: []encoder.Clip{clip}}, ec, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := viewConfig(c, x.Dim())
	net, err := bc.NewNet(bc.Arch{View: v, Hidden: c.Policy.Hidden, Trunk: trunkConfig(c.Policy)}, rng)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := net.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: v, Mode: bc.Mean, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := pi.Load(ps); err != nil {
		t.Fatal(err)
	}
	return x, pi
}

// soak drives the arm for d as a session does: images, encoder, policy, guard,
// command, 20 times a second.
func soak(t *testing.T, uri string, d time.Duration) rosarm.Stats {
	t.Helper()
	c := soakConfig(uri)
	x, pi := untrained(t, c)
	a, err := openArm(t.Context(), c, online, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	obs, err := a.guard.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < int(d.Seconds()*c.Robot.ROS.Rate); n++ {
		f, err := x.Extract(t.Context(), obs.Frames)
		if err != nil {
			t.Fatal(err)
		}
		cmd, err := pi.Act(t.Context(), policy.Input{Step: n % c.Robot.Horizon, Features: f, State: obs.State})
		if err != nil {
			t.Fatal(err)
		}
		// There and back, whatever the policy says.
		cmd.Delta = [6]float64{1: 0.002}
		if n/20%2 == 1 {
			cmd.Delta[1] = -0.002
		}
		if obs, err = a.guard.Step(t.Context(), cmd); err != nil && !errors.Is(err, robot.ErrStale) {
			t.Fatal(err)
		}
	}
	return a.ros.Stats()
}

func TestSoak(t *testing.T) {
	uri, _ := rig(t)
	st := soak(t, uri, *soakFor)
	soakW, soakH := soakSize()
	fmt.Printf("soak: rapport for %v, two cameras of %dx%d at %d Hz: camera to command p50 %v, p99 %v, max %v; %d of %d ticks missed\n",
		*soakFor, soakW, soakH, soakFPS, st.Latency.P50, st.Latency.P99, st.Latency.Max, st.Missed, st.Ticks)
	fmt.Printf("soak: of this before the observation was there p50 %v, p99 %v, max %v\n", st.Age.P50, st.Age.P99, st.Age.Max)
	// A period of the camera and what is computed take some 40 ms; images that wait
	// in line take seconds, and a busy machine something in between.
	if st.Latency.P50 <= 0 || st.Latency.P50 > time.Second || st.Ticks < 30 {
		t.Errorf("%+v", st)
	}
}

// The guard's watchdog runs beside a session's arm: where nothing comes any more, the
// arm is told to stay where it is.
func TestASessionsArmIsHeldWhenNothingComes(t *testing.T) {
	uri, s := rig(t)
	a, err := openArm(t.Context(), soakConfig(uri), online, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if _, err := a.guard.Step(t.Context(), robot.Command{Delta: [6]float64{1: 0.005}}); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		target, at, err := s.Target()
		if err != nil {
			t.Fatal(err)
		}
		// 60 mm were commanded; a hold is behind them, where the arm was.
		if target.P[1] < 0.059 && target.P[1]-at.P[1] < 0.003 {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("the target is still at %v, the arm at %v", target.P, at.P)
		}
	}
	if n := a.guard.Counts().Lapsed; n == 0 {
		t.Error("no lapsed lease was counted")
	}
	if a.next != 1 {
		t.Errorf("the next episode is %d, want 1", a.next)
	}
}
