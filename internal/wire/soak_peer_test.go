//go:build peers

package wire

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The same pipeline in Python on the same cameras: one after the other, so that
// neither is in the other's way.
func TestPeerSoak(t *testing.T) {
	uri, _ := rig(t)
	st := soak(t, uri, *soakFor)
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "testdata/soak.py", fmt.Sprint(soakFor.Seconds()))
	cmd.Env = append(os.Environ(), "ROS_MASTER_URI="+uri, "ROS_IP=127.0.0.1", "ROS_HOME="+t.TempDir(), "ROS_LOG_DIR="+t.TempDir(), "OMP_NUM_THREADS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("soak.py: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var p struct {
		P50, P99, Max float64
		Missed, Ticks int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &p); err != nil {
		t.Fatalf("soak.py: %v\n%s", err, out)
	}
	soakW, soakH := soakSize()
	fmt.Printf("soak: %v at 20 Hz, two cameras of %dx%d at %d Hz, camera to command\n", *soakFor, soakW, soakH, soakFPS)
	fmt.Printf("soak: %-28s p50 %6.1f ms  p99 %6.1f ms  max %6.1f ms  %d of %d ticks missed\n", "rapport",
		1000*st.Latency.P50.Seconds(), 1000*st.Latency.P99.Seconds(), 1000*st.Latency.Max.Seconds(), st.Missed, st.Ticks)
	fmt.Printf("soak: %-28s p50 %6.1f ms  p99 %6.1f ms  max %6.1f ms  %d of %d ticks missed\n", "rospy, cv_bridge, PyTorch", p.P50, p.P99, p.Max, p.Missed, p.Ticks)
	if p.Ticks == 0 || st.Ticks == 0 {
		t.Error("one of them did nothing")
	}
}
