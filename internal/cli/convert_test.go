package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/robot/record"
)

// The session is written for LeRobot and for Foxglove, and learned from again.
func testExport(t *testing.T, l lab) {
	in := func(t *testing.T) lab { return lab{t, l.dir, l.file, l.env} }

	t.Run("a session for LeRobot, and back", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "out")
		l.wants(exitDone, []string{"8 episodes, 240 steps as LeRobot v3.0"}, "data", "export", "--lerobot", l.session(), out, "--task", "reach the ball")
		l.wants(exitDone, []string{"LeRobot v3.0", "8 of 240 steps"}, "data", "info", out)
		r, err := dataset.Open(t.Context(), out, dataset.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n := 0
		err = r.Each(t.Context(), func(e policy.Episode) error {
			n++
			if n != 1 {
				return nil
			}
			rec, err := record.Read(filepath.Join(l.session(), "episodes", "demo-00000.mcap"))
			if err != nil {
				return err
			}
			// The last action is left out: what came of it is not in the dataset.
			if e.Len() != len(rec.Rewards)-1 {
				t.Errorf("%d steps, want %d", e.Len(), len(rec.Rewards)-1)
			}
			for i := range e.Applied {
				if e.Applied[i] != rec.Ticks[i+1].Applied || e.Rewards[i] != rec.Rewards[i] || e.Inputs[i].State.Q != rec.Ticks[i].State.Q || e.Inputs[i].State.EE.P != rec.Ticks[i].State.EE.P {
					t.Fatalf("step %d is not what the session recorded", i)
				}
			}
			return nil
		})
		if err != nil || n != 8 {
			t.Errorf("%d episodes, %v", n, err)
		}
		l.wants(exitDone, []string{"8 episodes"}, "train", "policy", "--offline", out, "--set", "learner.kind=bc", "--set", "policy.sees=pixels", "--set", "policy.axes=[x, y, z, grip]", "--steps", "2", "-o", filepath.Join(t.TempDir(), "p.safetensors"))
	})

	t.Run("a killed export keeps the episodes before", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "out")
		cmd := exec.Command(os.Args[0], "data", "export", "--lerobot", l.session(), out)
		cmd.Env = append(append(os.Environ(), l.env...), beProgram+"=yes")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		third := filepath.Join(out, "data", "chunk-000", "file-002.parquet")
		for {
			if _, err := os.Stat(third); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		r, err := dataset.Open(t.Context(), out, dataset.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n := 0
		if err := r.Each(t.Context(), func(policy.Episode) error { n++; return nil }); err != nil || n < 2 {
			t.Errorf("%d episodes are left, %v", n, err)
		}
	})

	t.Run("everything into one dataset", func(t *testing.T) {
		l, dir := in(t), t.TempDir()
		one, all := filepath.Join(dir, "one"), filepath.Join(dir, "all")
		episode := filepath.Join(l.session(), "episodes", "online-00001.mcap")
		l.wants(exitDone, []string{"1 episodes, 30 steps"}, "data", "convert", episode, one, "--images")
		l.wants(exitDone, []string{"observation.images.front image 64x64"}, "data", "info", one)
		// The dataset has lost the last of its 30 steps.
		l.wants(exitDone, []string{"10 episodes, 299 steps"}, "data", "convert", l.session(), episode, one, all)
		l.wants(exitFailed, []string{"is named twice"}, "data", "convert", episode, episode, filepath.Join(dir, "twice"))
		l.wants(exitFailed, []string{"not empty"}, "data", "convert", episode, one)
	})

	t.Run("a damaged episode is told and the rest goes on", func(t *testing.T) {
		l, harmed, dir := in(t), l.copied(), t.TempDir()
		path := filepath.Join(harmed, "episodes", "demo-00002.mcap")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b[:len(b)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		l.wants(exitFailed, []string{"7 episodes, 210 steps", "demo-00002.mcap"}, "data", "export", "--lerobot", harmed, filepath.Join(dir, "lerobot"))
		l.wants(exitFailed, []string{"7 episodes for Foxglove", "demo-00002.mcap"}, "data", "export", "--mcap", harmed, filepath.Join(dir, "mcap"))
	})

	t.Run("a session for Foxglove", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "out")
		l.wants(exitDone, []string{"8 episodes for Foxglove"}, "data", "export", "--mcap", l.session(), out)
		b, err := os.ReadFile(filepath.Join(out, "online-00000.mcap"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"foxglove.CompressedImage", "foxglove.ImageAnnotations", "foxglove.JointStates", "foxglove.PoseInFrame", "rapport.Reward", "/camera/front/annotations"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("the file does not name %s", want)
			}
		}
		l.wants(exitFailed, []string{"not empty"}, "data", "export", "--mcap", l.session(), out)
	})

	t.Run("refuses", func(t *testing.T) {
		l, dir := in(t), t.TempDir()
		l.wants(exitUsage, []string{"--lerobot or --mcap"}, "data", "export", l.session(), dir)
		l.wants(exitUsage, []string{"1 arguments"}, "data", "export", "--mcap", l.session())
		l.wants(exitUsage, []string{"1 arguments"}, "data", "convert", dir)
		l.wants(exitUsage, []string{"--fps"}, "data", "convert", dir, dir, "--fps", "-1")
		l.wants(exitFailed, []string{"no session's folder"}, "data", "export", "--mcap", dir, dir)
		l.wants(exitFailed, []string{"is no dataset"}, "data", "convert", dir, filepath.Join(dir, "out"))
	})
}
