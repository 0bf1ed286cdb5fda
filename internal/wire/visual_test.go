package wire

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// prompted has c see through a small backbone, and names files with prompts that
// might be embedded by its text side.
func prompted(t *testing.T, c *config.Config) {
	t.Helper()
	c.Encoder.Kind, c.Encoder.ONNX, c.Encoder.Size = "onnx", "../../perception/vision/testdata/tiny.onnx", 16
	eyes, err := openONNX(*c)
	if err != nil {
		t.Fatal(err)
	}
	d := eyes.Dim()
	dir := t.TempDir()
	for i, at := range []*string{&c.Reward.Visual.Goal, &c.Reward.Visual.Baseline} {
		x := make([]float64, d)
		for j := range x {
			x[j] = float64((j*7+i*3)%5) - 1.5
		}
		b, err := json.Marshal([][]float64{x})
		if err != nil {
			t.Fatal(err)
		}
		*at = filepath.Join(dir, []string{"goal.json", "baseline.json"}[i])
		if err := os.WriteFile(*at, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What cannot see is refused before a person demonstrates for it, and leaves no folder.
func TestABackboneThatCannotSeeIsRefusedFirst(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.onnx")
	if err := os.WriteFile(bad, []byte("no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := tiny(t)
	c.Encoder.Kind, c.Encoder.ONNX, c.Encoder.Size, c.Name = "onnx", bad, 16, "blind"
	s, err := Create(t.Context(), c, quietly())
	if err == nil {
		err = s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "encoder.onnx") || !strings.Contains(err.Error(), bad) {
		t.Errorf("got %v, want encoder.onnx and its file", err)
	}
	if _, err := os.Stat(filepath.Join(c.Out, "blind")); !os.IsNotExist(err) {
		t.Errorf("a folder was left: %v", err)
	}
}

// Prompts of a model whose width divides the frames', as of 2 numbers of 4, are no fit, and
// are refused before a person demonstrates for them.
func TestPromptsOfAnotherModelAreRefusedFirst(t *testing.T) {
	c := tiny(t)
	c.Name, c.Reward.Kind = "mute", "vlm-rm"
	prompted(t, &c)
	if err := understood(c); err != nil {
		t.Fatal(err)
	}
	x, err := openONNX(c)
	if err != nil {
		t.Fatal(err)
	}
	d := x.Dim()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	half, err := json.Marshal(make([]float64, d/2))
	if err != nil || d%2 != 0 {
		t.Fatalf("an embedding of %d numbers, error %v", d, err)
	}
	for _, path := range []string{c.Reward.Visual.Goal, c.Reward.Visual.Baseline} {
		if err := os.WriteFile(path, half, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Create(t.Context(), c, quietly())
	if err == nil {
		err = s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "make both with one model") {
		t.Errorf("got %v, want that the prompts are another model's", err)
	}
	if _, err := os.Stat(filepath.Join(c.Out, "mute")); !os.IsNotExist(err) {
		t.Errorf("a folder was left: %v", err)
	}
	// Two cameras share a frame's numbers, and so do none of another number.
	if err := worded(c.Reward, 2, d); err != nil {
		t.Errorf("two cameras of %d numbers each: %v", d/2, err)
	}
	if err := worded(c.Reward, 3, d); err == nil {
		t.Errorf("three cameras of %d numbers each are %d", d/2, d)
	}
}

func TestPromptsThatDoNotFitAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	three, two := write("three.json", "[1,2,3]"), write("two.json", "[1,2]")
	videos := []rapl.Video{{Name: "a", D: 4, Embed: make([]float32, 8)}}
	for _, c := range []struct {
		goal, base, want string
		videos           []rapl.Video
	}{
		{"nowhere.json", two, "reward.visual.goal", videos},
		{two, "nowhere.json", "reward.visual.baseline", videos},
		{three, two, "make both with one model", videos},
		{two, three, "make both with one model", videos},
		{two, two, "the same embedding", videos},
		{two, two, "no video", nil},
	} {
		var v visual
		err := v.learn(config.Reward{Kind: "vlm-rm", Visual: config.Visual{Goal: c.goal, Baseline: c.base, Alpha: 0.5}}, c.videos)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("goal %s, baseline %s: error %v, want %q", c.goal, c.base, err, c.want)
		}
	}
	for _, kind := range []string{"uvd", "perceptual", "vlm-rm"} {
		if _, err := (taste{Version: tasteVersion, Kind: kind}).scorer(); err == nil {
			t.Errorf("nothing made a reward of kind %s", kind)
		}
	}
}
