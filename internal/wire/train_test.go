package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
)

// What learns nothing from recorded episodes is refused before they are read, or the encoder that
// saw them is.
func TestWhatLearnsFromItselfIsRefusedBeforeEpisodesAreRead(t *testing.T) {
	c := tiny(t)
	dir := filepath.Join(c.Out, "one")
	st, err := founded(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = TrainOffline(t.Context(), dir, false, 1, nil, []string{"learner.kind=ppo"}, quietly())
	wantErr(t, err, "ppo learns from what its own policy does alone", "bc or diffusion")
	c.Learner.Kind, c.Policy.Sees = "ppo", "pixels"
	_, err = TrainImported(t.Context(), "../../policy/dataset/lerobot/testdata/v3", c, []byte("no: map"), 1, quietly())
	wantErr(t, err, "bc or diffusion")
}

// The dataset is opened twice, and to the second reader what the first guessed is given; a wrong
// scale trains a policy that moves wrongly, so it is told.
func TestWhatIsGuessedOfADatasetIsTold(t *testing.T) {
	b, err := os.ReadFile("../../policy/dataset/robomimic/testdata/robosuite.hdf5")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mute.hdf5") // about its controller
	if err := os.WriteFile(path, bytes.Replace(b, []byte("env_args"), []byte("env_argz"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := imported(t.Context(), path, tiny(t), nil, quietly().Tell)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(data.notes, "\n")
	for _, want := range []string{"base", "action.scale"} {
		if strings.Count(notes, want+":") != 1 {
			t.Errorf("%s is not told once:\n%s", want, notes)
		}
	}
}

// A policy that is cloned from moves of another rate moves the arm at another speed: both are told.
func TestTheRateOfADatasetIsTold(t *testing.T) {
	b, err := os.ReadFile("../../policy/dataset/robomimic/testdata/robosuite.hdf5")
	if err != nil {
		t.Fatal(err)
	}
	said := []byte(`"control_freq": 20`)
	if !bytes.Contains(b, said) {
		t.Fatal("the dataset does not say its rate")
	}
	slow := filepath.Join(t.TempDir(), "slow.hdf5")
	if err := os.WriteFile(slow, bytes.ReplaceAll(b, said, []byte(`"control_freq": 10`)), 0o600); err != nil {
		t.Fatal(err)
	}
	arm := tiny(t)
	arm.Robot.Kind, arm.Robot.ROS.Rate = "ros", 10
	for name, tt := range map[string]struct {
		path string
		c    config.Config
		want string // "" for nothing
	}{
		"in simulation, as it is":  {"../../policy/dataset/robomimic/testdata/robosuite.hdf5", tiny(t), ""},
		"in simulation, at half":   {slow, tiny(t), "of 10 ticks a second, and a session here makes 20: the policy moves the arm 2 times as fast"},
		"on an arm, as it is":      {slow, arm, ""},
		"on an arm, at twice that": {"../../policy/dataset/robomimic/testdata/robosuite.hdf5", arm, "of 20 ticks a second, and a session here makes 10 (robot.ros.rate): the policy moves the arm 0.5 times as fast"},
	} {
		data, err := imported(t.Context(), tt.path, tt.c, nil, quietly().Tell)
		if err != nil {
			t.Fatal(name, err)
		}
		notes := strings.Join(data.notes, "\n")
		if tt.want != "" && !strings.Contains(notes, tt.want) || tt.want == "" && strings.Contains(notes, "ticks a second") {
			t.Errorf("%s: it is told\n%s\nwant %q", name, notes, tt.want)
		}
	}
}
