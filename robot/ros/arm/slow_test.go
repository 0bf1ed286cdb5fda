//go:build peers

package arm_test

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

const inNamespace = "RAPPORT_TEST_NAMESPACE"

// network runs the test in a network namespace of its own, in which it may slow
// the loopback down, and reports whether it is the one in there.
func network(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a namespace: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// A network that carries a tenth of what the camera sends: the arm acts on nothing
// that is older than the limit, holds where that is all there is, and goes on once
// the network does.
func TestPeerSlowNetwork(t *testing.T) {
	if !network(t) {
		return
	}
	run(t, "ip", "link", "set", "lo", "up")
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	stop := l.newCamera("/side/image_raw", func(m *std.Image) {
		m.Height, m.Width, m.Encoding, m.Step = 240, 320, "rgb8", 3*320
		first := m.Data[0]
		m.Data = make([]byte, 3*320*240)
		m.Data[0] = first
	})
	defer stop()
	const stale = 500 * time.Millisecond
	b := l.open(func(c *arm.Config) {
		c.Stale = stale
		c.Cameras = []arm.Camera{{Name: "side", Topic: "/side/image_raw"}}
	})
	clock := l.node("clock")
	l.reset(b)
	l.back(func() error { _, err := b.Step(t.Context(), robot.Command{}); return err })

	// 55 Mbit/s of pictures and 2 of states over 6: a picture takes 0.3 s.
	run(t, "tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "6mbit", "burst", "64kb", "latency", "100ms")
	var ages []time.Duration
	held := 0
	for began := time.Now(); time.Since(began) < 6*time.Second; {
		o, err := b.Step(t.Context(), robot.Command{Delta: [6]float64{1: 0.001}})
		switch {
		case errors.Is(err, robot.ErrStale):
			held++
		case err != nil:
			t.Fatal(err)
		default:
			ages = append(ages, clock.Now().Sub(o.Frames[0].Stamp))
		}
	}
	if held == 0 {
		t.Error("no step was refused, with a tenth of the network")
	}
	t.Logf("of %d steps %d were refused; pictures of the others were at most %v old", len(ages)+held, held, slices.Max(append(ages, 0)))
	// Half a period of the loop and what a busy machine adds.
	if oldest := slices.Max(append(ages, 0)); oldest > stale+300*time.Millisecond {
		t.Errorf("acted on a picture %v old, limit %v", oldest, stale)
	}
	_, before, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}

	run(t, "tc", "qdisc", "del", "dev", "lo", "root")
	began := time.Now()
	l.back(func() error { _, err := b.Step(t.Context(), robot.Command{}); return err })
	t.Logf("back %v after the network", time.Since(began))
	_, after, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}
	if d := franka.Diff(after, before); math.Hypot(math.Hypot(d[0], d[1]), d[2]) > 0.02 {
		t.Errorf("the arm went %v m by itself when the network came back", d[:3])
	}
}
