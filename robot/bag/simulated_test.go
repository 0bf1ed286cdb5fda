package bag_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// Debian's rosbag record, a node in C++, records the simulated arm as it would a real
// one. What python3-rosbag reads of that we read to the byte, and it is played as an arm.
func TestRosbagRecordOfTheSimulatedArm(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: "franka", Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c := rosarm.Default()
	c.World = tabletop.Config{Task: tabletop.Reach, Render: tabletop.Raster, Seed: 3, Timestep: 0.0025, Cameras: []tabletop.Camera{{Name: "front", W: 32, H: 24}, {Name: "wrist", W: 32, H: 24}}}
	s, err := rosarm.Start(t.Context(), n, c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	path := filepath.Join(t.TempDir(), "arm.bag")
	topics := []string{"/franka_state_controller/franka_states", "/franka_state_controller/joint_states", "/franka_gripper/joint_states", rosarm.ImageTopic("front"), rosarm.CompressedTopic("wrist")}
	const each = 15 // messages of a topic, half a second
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	record := exec.CommandContext(ctx, "rosbag", append([]string{"record", "--lz4", fmt.Sprint("--limit=", each), "-O", path}, topics...)...)
	record.Env = append(os.Environ(), "ROS_MASTER_URI="+m.URI(), "ROS_IP=127.0.0.1")
	if out, err := record.CombinedOutput(); err != nil {
		t.Fatalf("rosbag record: %v; ROS is installed by: scripts/setup.sh ros\n%s", err, out)
	}

	b := open(t, path, bag.Options{})
	got := contents(t, b)
	if err := pythonReads(t, path, got); err != nil {
		t.Error(err)
	}
	if d := b.Damage(); len(got) != len(topics) || d.Lost() {
		t.Errorf("%d topics, want %d, damage %+v", len(got), len(topics), d)
	}
	for topic, c := range got {
		if c.Count != each {
			t.Errorf("%s: %d messages, want %d", topic, c.Count, each)
		}
	}
	// The checksum that franka_ros's own definition has.
	if c := got["/franka_state_controller/franka_states franka_msgs/FrankaState"]; c.MD5 != "431567d5df6caf4e4dd7385f25cb71ee" {
		t.Errorf("franka_states are %+v", c)
	}

	arm, err := bag.NewBackend(path, bag.BackendConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer arm.Close()
	o, err := arm.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := math.Abs(o.State.EE.P[0] - tabletop.Reach.Start().P[0]); d > 0.01 || len(o.Frames) != 2 || o.Frames[0].W != 32 {
		t.Errorf("the arm is %g m from its start, with %d frames", d, len(o.Frames))
	}
}
