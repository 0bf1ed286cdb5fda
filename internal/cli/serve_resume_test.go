package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A learner that is started again with another configuration is refused, and the
// password of its server is not kept.
func TestLearnerKeepsItsConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := []string{"--set", "bus.user=arm", "--set", "bus.password=open sesame"}
	broker := start(t, dir, "broker", append([]string{"broker", "--listen", "127.0.0.1:0", "--store", "broker"}, secret...)...)
	url := broker.await(`^(nats://\S+)$`)
	learner := func(more ...string) *process {
		return start(t, dir, "learner", append(append([]string{"learner", "--nats", url, "-c", "s.yaml"}, secret...), more...)...)
	}
	first := learner()
	first.await(`^demonstrations +[1-8]/8 `)
	first.kill()
	again := learner("--set", "learner.updates=6")
	if code := again.exit(); code != 1 || !strings.Contains(again.said(), "learner.updates is 6, was 5") {
		t.Errorf("exit code %d:\n%s", code, again.said())
	}
	b, err := os.ReadFile(filepath.Join(dir, "runs", "spread", "config.yaml"))
	if err != nil || strings.Contains(string(b), "sesame") || !strings.Contains(string(b), "user: arm") {
		t.Errorf("config.yaml holds the password, or not the user: %v", err)
	}
	back := learner()
	back.await(`^demonstrations +[1-8]/8 `)
}

// rapport run --resume would drive an arm beside the session's actor, so the learner forgets a
// damaged checkpoint itself, and says so.
func TestLearnerForgetsADamagedCheckpoint(t *testing.T) {
	t.Parallel()
	dir, _, url := brokered(t)
	learner := func(more ...string) *process {
		return start(t, dir, "learner", append([]string{"learner", "--nats", url, "-c", "s.yaml"}, more...)...)
	}
	for args, want := range map[string]string{"policy": "there is no session in", "polcy": "want one of encoder"} {
		if p := learner("--drop-checkpoint", args); p.exit() == 0 || !strings.Contains(p.said(), want) {
			t.Errorf("--drop-checkpoint %s of no session:\n%s", args, p.said())
		}
	}
	first := learner()
	first.await(`^learn +\.\.\.`)
	first.kill()
	files, err := filepath.Glob(filepath.Join(dir, "runs", "spread", "checkpoints", "policy-*.bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("checkpoints %v, %v", files, err)
	}
	was, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], was[:len(was)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	cut := learner()
	if code := cut.exit(); code != 1 || !strings.Contains(cut.said(), "rapport learner as before and --drop-checkpoint policy") || strings.Contains(cut.said(), "--resume --drop") {
		t.Errorf("exit code %d:\n%s", code, cut.said())
	}
	learner("--drop-checkpoint", "policy").await(`^learn +\.\.\.`)
	if is, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(is, was) {
		t.Errorf("made anew, the policy is another: %v", err)
	}
}
