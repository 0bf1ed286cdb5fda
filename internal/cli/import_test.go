package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A lab's own recordings are looked at and learned from.
func TestForeignDatasets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := l.must("data", "info", "../../policy/dataset/robomimic/testdata/robosuite.hdf5")
	for _, want := range []string{"robomimic", "obs/robot0_eef_pos", "guessed: base", "scale: 0.05"} {
		if !strings.Contains(out, want) {
			t.Errorf("what the file holds does not name %q:\n%s", want, out)
		}
	}
	code, out := l.run(t.Context(), &console{}, "data", "info", "../../policy/dataset/lerobot/testdata/v3")
	if code != exitFailed || !strings.Contains(out, "LeRobot v3.0") || !strings.Contains(out, "action.scale") {
		t.Errorf("a dataset that does not say how far a 1 is: exit code %d:\n%s", code, out)
	}
	columns := filepath.Join(l.dir, "map.yaml")
	if err := os.WriteFile(columns, []byte("action: {scale: 0.05}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := l.must("data", "info", "--map", columns, "../../policy/dataset/lerobot/testdata/v3"); !strings.Contains(out, "observation.state[") {
		t.Errorf("the map is not told:\n%s", out)
	}

	pixels := []string{"--steps", "3", "--set", "policy.sees=pixels", "--set", "policy.trunk.strides=[2,2]", "--set", "policy.trunk.channels=4", "--set", "policy.axes=[x,y,z,grip]"}
	for _, tt := range []struct {
		name, path, kind string
		args             []string
		want             string
	}{
		{"lerobot", "lerobot/testdata/v3", "bc", []string{"--map", columns}, "2 episodes"},
		{"old", "lerobot/testdata/v21", "bc", nil, "2 episodes"},
		{"robomimic", "robomimic/testdata/robosuite.hdf5", "rlpd", nil, "3 episodes"},
	} {
		file := filepath.Join(l.dir, tt.name+".safetensors")
		args := append([]string{"train", "policy", "--offline", "../../policy/dataset/" + tt.path, "-o", file, "--set", "learner.kind=" + tt.kind}, pixels...)
		out := l.must(append(args, tt.args...)...)
		if !strings.Contains(out, tt.want) || !strings.Contains(out, "_loss") {
			t.Errorf("%s: want %q and a loss:\n%s", tt.name, tt.want, out)
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}

	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"features", []string{"train", "policy", "--offline", "../../policy/dataset/robomimic/testdata/robosuite.hdf5"}, exitFailed, "policy.sees=pixels"},
		{"a session's flag", []string{"train", "policy", "--offline", "../../policy/dataset/robomimic/testdata/robosuite.hdf5", "--demos-only"}, exitUsage, "--demos-only is for sessions"},
		{"nothing", []string{"data", "info"}, exitUsage, "accepts 1 arg"},
		{"no dataset", []string{"data", "info", l.dir}, exitFailed, "no dataset"},
		{"no map", []string{"data", "info", l.file, "--map", "nowhere.yaml"}, exitUsage, "nowhere.yaml"},
		{"a wrong key", []string{"data", "info", "../../policy/dataset/lerobot/testdata/v3", "--map", l.file}, exitFailed, "what the columns mean"},
	} {
		if code, out := l.run(t.Context(), &console{}, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", tt.name, code, tt.code, tt.want, out)
		}
	}
}
