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

// drop is a classic BPF program for tc that drops one packet in ten: it loads the
// kernel's random number (SKF_AD_RANDOM of linux/filter.h) and answers TC_ACT_SHOT from
// 0.9 of 2^32 on, else TC_ACT_UNSPEC.
const drop = "4,32 0 0 4294963256,53 0 1 3865470566,6 0 0 2,6 0 0 4294967295"

// A network that carries a tenth of what the camera sends, and one that loses a tenth of
// all packets: the arm acts on nothing that is older than the limit, holds where that is
// all there is, and goes on once the network does.
func TestPeerSlowNetwork(t *testing.T) {
	if !network(t) {
		return
	}
	run(t, "ip", "link", "set", "lo", "up")
	for _, tt := range []struct {
		name    string
		on, off [][]string // what tc is told
		holds   bool       // some steps at least
	}{
		// 55 Mbit/s of pictures and 2 of states over 6: a picture takes 0.3 s.
		{"narrow", [][]string{strings.Fields("qdisc add dev lo root tbf rate 6mbit burst 64kb latency 100ms")}, [][]string{strings.Fields("qdisc del dev lo root")}, true},
		// Where they arrive, since TCP knows of what its own machine does not send.
		{"lossy", [][]string{strings.Fields("qdisc add dev lo clsact"), append(strings.Fields("filter add dev lo ingress bpf direct-action bytecode"), drop)}, [][]string{strings.Fields("qdisc del dev lo clsact")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) { onSlowNetwork(t, tt.on, tt.off, tt.holds) })
	}
}

// onSlowNetwork drives an arm whose network tc makes worse and then good again. holds says
// that it cannot be enough.
func onSlowNetwork(t *testing.T, on, off [][]string, holds bool) {
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

	for _, how := range on {
		run(t, "tc", how...)
	}
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
	if holds && held == 0 {
		t.Error("no step was refused, with a tenth of the network")
	}
	if !holds && len(ages) == 0 {
		t.Error("no step was made, with nine tenths of the network")
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

	for _, how := range off {
		run(t, "tc", how...)
	}
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
