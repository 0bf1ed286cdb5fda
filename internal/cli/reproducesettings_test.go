package cli

import (
	"strings"
	"testing"
)

// What a study settles itself comes from nowhere else: a seed in the environment would have its
// policies evaluated on the starts of another.
func TestWhatAStudySettlesIsRefused(t *testing.T) {
	for _, tt := range []struct {
		env, set, want string // "" for what is taken
	}{
		{"RAPPORT_SEED=7", "", "RAPPORT_SEED=7 in the environment: the seeds are those of --seeds; unset it"},
		{"RAPPORT_ROBOT_DISTURB_LIGHT=0.3", "", "RAPPORT_ROBOT_DISTURB_LIGHT=0.3 in the environment: the levels"},
		{"", "seed=7", "--set seed=7: the seeds are those of --seeds; leave it out"},
		{"RAPPORT_OUT=runs", "", ""},
		{"RAPPORT_SESSION_EPISODES=7", "session.evaluate=5", ""},
	} {
		a := &app{environ: []string{tt.env}}
		if tt.set != "" {
			a.sets = []string{tt.set}
		}
		err := a.settled(walked(map[string]string{"robot.disturb.": "the levels are the rows of the table"}))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s %s: %v, want %q", tt.env, tt.set, err, tt.want)
		}
	}
}
