package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
)

// A report says what the learner was paid for, and what of success it was told.
func TestReportSaysWhatTheLearnerWasTold(t *testing.T) {
	for _, tt := range []struct{ sets, paid, heard string }{
		{"robot.task=reach", "the visual reward alone", "read by this report only"},
		{"robot.task=reach session.end=success", "the visual reward alone", "episodes end on success by the simulator's word"},
		{"robot.task=reach reward.kind=kagi session.end=horizon", "waypoints and success by the simulator's word", "is a part. The success that is shown"},
		{"robot.task=reach reward.kind=kagi", "waypoints and success by the simulator's word", "ends an episode"},
		{"robot.task=reach reward.kind=kagi reward.kagi.sparse=none session.end=horizon", "waypoints alone", "read by this report only"},
		{"robot.task=reach reward.kind=kagi reward.kagi.sparse=classifier", "a classifier's word", "a classifier's word"},
		{"robot.task=reach reward.kind=kagi reward.kagi.sparse=judge session.end=horizon session.from=a", "a judge's word", "a judge's word"},
		{"robot.task=reach learner.kind=bc", "by imitation; rewards are recorded only", "is told no return. Where success is shown"},
		{"robot.task=reach reward.kind=kagi session.end=success learner.kind=diffusion", "by imitation", "is told no return. Episodes end on success"},
		{"robot.task=reach reward.kind=truth", "true reward", "is a part. The success that is shown"},
		{"robot.kind=ros session.from=a reward.kind=kagi reward.kagi.cameras=c.json reward.kagi.sparse=none session.end=horizon", "waypoints alone", ""},
	} {
		c, err := config.Load("", nil, strings.Fields(tt.sets))
		if err != nil {
			t.Fatalf("%s: %v", tt.sets, err)
		}
		if got := paid(c); !strings.Contains(got, tt.paid) {
			t.Errorf("%s: paid for %q, want %q", tt.sets, got, tt.paid)
		}
		if got := heard(c); !strings.Contains(got, tt.heard) || (got == "") != (tt.heard == "") {
			t.Errorf("%s: %q, want %q", tt.sets, got, tt.heard)
		}
	}
}

// Files that cannot be read are told before a folder is made that would be in the way.
func TestUnreadableFilesLeaveNoFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name   string
		change func(c *config.Config)
		want   []string
	}{
		{"no file", func(c *config.Config) { c.Reward.KAGI.Plan = filepath.Join(dir, "none.json") }, []string{"reward.kagi.plan", "none.json"}},
		{"no plan", func(c *config.Config) { c.Reward.KAGI.Plan = write("bad.json", "{") }, []string{"reward.kagi.plan", "bad.json"}},
		{"no such camera", func(c *config.Config) { c.Robot.Cameras = []config.Camera{{Name: "wrist", Width: 32, Height: 32}} }, []string{`camera "front"`, "robot.cameras"}},
		{"a task without", func(c *config.Config) { c.Robot.Task = "fork" }, []string{"no plan comes with task fork"}},
		{"no markers", func(c *config.Config) { c.Robot.Markers = []string{filepath.Join(dir, "none.yaml")} }, []string{"robot.markers", "none.yaml"}},
	} {
		c := waypointed(t, "reach")
		c.Name = "one"
		tt.change(&c)
		_, err := Create(t.Context(), c, quietly())
		wantErr(t, err, tt.want...)
		if _, err := os.Stat(filepath.Join(c.Out, "one")); err == nil {
			t.Errorf("%s: a folder is left", tt.name)
		}
	}
}

// A report counts the demonstrations that are there, whatever demos.good and .bad say of a
// session that begins from another.
func TestReportCountsTheDemonstrationsThatAreThere(t *testing.T) {
	for sets, want := range map[string]string{
		"demos.good=8 demos.bad=4": "cloned from 8 good and 4 bad demonstrations",
		"session.from=runs/a":      "from the encoder, reward and cloned policy of runs/a, with its 12 demonstrations",
		"session.from=runs/a session.policy=tuned learner.kind=diffusion": "from the encoder, reward and fine-tuned policy of runs/a, with its 12 demonstrations",
		"session.from=runs/a demos.filter=list.csv":                       "from the encoder and reward of runs/a, cloned anew from 9 of its 12 demonstrations",
	} {
		c, err := config.Load("", nil, strings.Fields(sets))
		if err != nil {
			t.Fatalf("%s: %v", sets, err)
		}
		if got := clonedFrom(c, 12, 3); got != want {
			t.Errorf("%s: %q, want %q", sets, got, want)
		}
	}
}
