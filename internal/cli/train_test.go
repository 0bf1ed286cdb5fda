package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was trained from a session's folder alone is evaluated by its command.
func TestTrainPolicyOffline(t *testing.T) {
	t.Parallel()
	l := ended(t)
	dir := l.session()
	file := func(name string) string { return filepath.Join(l.dir, name+".safetensors") }
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	seen := map[string]string{}
	for name, args := range map[string][]string{
		"rlpd": nil, "iql": {"--set", "learner.kind=iql"}, "calql": {"--set", "learner.kind=calql"},
		"bc": {"--set", "learner.kind=bc"}, "diffusion": {"--set", "learner.kind=diffusion", "--set", "policy.diffusion.shape=transformer"}, "demos": {"--set", "learner.kind=bc", "--demos-only"},
		"pixels": {"--set", "policy.sees=pixels", "--set", "policy.trunk.strides=[2,2]", "--set", "policy.trunk.channels=4"},
	} {
		out := l.must(append([]string{"train", "policy", "--offline", dir, "--steps", "4", "-o", file(name)}, args...)...)
		want := "12 episodes, 240 transitions"
		if name == "demos" {
			want = "6 episodes, 120 transitions"
		}
		if !strings.Contains(out, want) || !strings.Contains(out, "_loss") {
			t.Errorf("%s: want %q and a loss:\n%s", name, want, out)
		}
		if other := seen[string(read(name))]; other != "" {
			t.Errorf("%s gives the same parameters as %s", name, other)
		}
		seen[string(read(name))] = name
		if out := l.must("eval", dir, "--seeds", "2", "--policy", file(name)); !strings.Contains(out, file(name)) {
			t.Errorf("%s is not what was evaluated:\n%s", name, out)
		}
	}

	onnx := filepath.Join(l.dir, "policy.onnx")
	if out := l.must("policy", "export", dir, "--onnx", onnx, "--encoder", onnx+".eyes"); !strings.Contains(out, "fine-tuned for 6 episodes") {
		t.Errorf("the export does not say of what:\n%s", out)
	}
	if b, err := os.ReadFile(onnx); err != nil || !bytes.Contains(b, []byte("rapport.rate_hz")) || !bytes.Contains(b, []byte("place.origin")) {
		t.Errorf("no ONNX with metadata: %v", err)
	}

	if b, err := os.ReadFile(onnx + ".eyes"); err != nil || !bytes.Contains(b, []byte("image.front")) {
		t.Errorf("no ONNX of the encoder: %v", err)
	}
	seeing := filepath.Join(l.dir, "seeing.onnx")
	l.must("policy", "export", dir, "--policy", file("pixels"), "--onnx", seeing)
	if b, err := os.ReadFile(seeing); err != nil || !bytes.Contains(b, []byte("frame.front")) {
		t.Errorf("no ONNX that takes frames: %v", err)
	}
	chunks := filepath.Join(l.dir, "chunks.onnx")
	l.must("policy", "export", dir, "--policy", file("diffusion"), "--onnx", chunks)
	if b, err := os.ReadFile(chunks); err != nil || !bytes.Contains(b, []byte("rapport-chunks-1")) || !bytes.Contains(b, []byte("rapport.exec")) {
		t.Errorf("no ONNX from noise to commands: %v", err)
	}

	// A policy of another session's encoder sees nothing that it knows.
	l.must("run", "--set", "name=other", "--set", "seed=99", "--set", "session.episodes=1")
	other := filepath.Join(filepath.Dir(dir), "other")
	tuned, err := filepath.Glob(filepath.Join(dir, "checkpoints", "tuned-*"))
	if err != nil || len(tuned) == 0 {
		t.Fatalf("no checkpoint of the fine-tuned policy: %v", err)
	}
	for _, of := range []string{file("iql"), file("diffusion"), tuned[0]} {
		l.wants(exitFailed, []string{of + " sees the features of another encoder"}, "eval", other, "--seeds", "2", "--policy", of)
	}
	l.must("eval", other, "--seeds", "2", "--policy", file("pixels"))

	was := read("iql")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing named", []string{"train", "policy"}, exitUsage, "--offline is missing"},
		{"no steps", []string{"train", "policy", "--offline", dir, "--steps", "0"}, exitUsage, "--steps is 0"},
		{"no session", []string{"train", "policy", "--offline", l.dir}, exitFailed, "is no dataset"},
		{"an existing file", []string{"train", "policy", "--offline", dir, "--steps", "1", "-o", file("iql")}, exitFailed, "is there already"},
		{"no such folder", []string{"train", "policy", "--offline", dir, "--set", "learner.kind=ppo", "-o", filepath.Join(l.dir, "no", "where")}, exitFailed, "name a file in a folder that is there"},
		{"what learns from itself", []string{"train", "policy", "--offline", dir, "--set", "learner.kind=ppo"}, exitFailed, "take learner.kind iql"},
		{"a mistyped key", []string{"data", "info", dir, "--set", "bogus=1"}, exitUsage, "bogus"},
		{"no file to export to", []string{"policy", "export", dir}, exitUsage, "--onnx is missing"},
		{"an export of noise on the way", []string{"policy", "export", dir, "--policy", file("diffusion"), "--onnx", onnx + ".eta", "--set", "policy.diffusion.eta=0.5"}, exitFailed, "--set policy.diffusion.eta=0"},
		{"an export of a search", []string{"policy", "export", dir, "--policy", file("diffusion"), "--onnx", onnx + ".fk", "--set", "policy.diffusion.sampler.kind=fk"}, exitFailed, "--set policy.diffusion.sampler.kind=plain"},
		{"an export of a mistyped key", []string{"policy", "export", dir, "--onnx", onnx + ".tsk", "--set", "robot.tsk=1"}, exitFailed, "robot.tsk"},
		{"an encoder over a file", []string{"policy", "export", dir, "--onnx", onnx + ".new", "--encoder", onnx + ".eyes"}, exitFailed, "is there already"},
		{"an export over a file", []string{"policy", "export", dir, "--policy", "cloned", "--onnx", onnx}, exitFailed, "is there already"},
		{"another task", []string{"train", "policy", "--offline", dir, "--set", "robot.task=group"}, exitFailed, "training cannot change it"},
	} {
		if code, out := l.run(t.Context(), &console{}, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", tt.name, code, tt.code, tt.want, out)
		}
	}
	for _, args := range [][]string{{"eval", dir}, {"train", "policy", "--offline", dir}, {"policy", "export", dir, "--onnx", onnx + ".none"}} {
		c := &console{}
		if code := run(t.Context(), append(args, "-c", "nowhere.yaml"), l.env, c, c); code != exitUsage || !strings.Contains(c.String(), "nowhere.yaml") {
			t.Errorf("%s without its file of settings: exit code %d, want %d:\n%s", args, code, exitUsage, c)
		}
	}
	if made, err := filepath.Glob(onnx + ".*"); err != nil || len(made) != 1 {
		t.Errorf("exports that failed left files: %v, %v", made, err)
	}
	if !bytes.Equal(was, read("iql")) {
		t.Error("the existing file changed")
	}
}
