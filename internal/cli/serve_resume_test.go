package cli_test

import (
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
