package cli_test

import (
	"strings"
	"testing"
)

// The actor is stopped over the network and killed. Another one, in a folder of
// its own as on another machine, does not move either until the fault is
// acknowledged; nor does the first folder's.
func TestStopOutlivesTheActor(t *testing.T) {
	t.Parallel()
	dir, _, url := brokered(t)
	role := func(name string, more ...string) *process {
		return start(t, dir, name, append([]string{name, "--nats", url, "-c", "s.yaml"}, more...)...)
	}
	learner, others := role("learner"), []*process{role("perception"), role("scorer")}
	tell := func(code int, want string, args ...string) {
		t.Helper()
		p := start(t, dir, args[0], append(args, "--nats", url, "-c", "s.yaml")...)
		if got := p.exit(); got != code || !strings.Contains(p.said(), want) {
			t.Errorf("rapport %s ended with %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, want, p.said())
		}
	}
	tell(1, "nobody drives an arm", "stop")
	actor := role("actor")
	actor.await(`^act +[3-5]/12 `)
	tell(0, "spread: held\n  fault 1: stopped, by anna: smoke", "stop", "--by", "anna", "--why", "smoke")
	actor.await(`^held `)
	tell(0, "held already\n  fault 1: stopped, by anna: smoke", "stop", "--session", "spread", "--by", "anna", "--why", "smoke")
	actor.kill()

	again := role("actor")
	if code := again.exit(); code != 1 || !strings.Contains(again.said(), "fault 1 is open") || !strings.Contains(again.said(), "fault ack 1 --by NAME") {
		t.Errorf("an actor with an open fault ended with %d:\n%s", code, again.said())
	}
	elsewhere := role("actor", "--set", "out=elsewhere")
	elsewhere.await(`^held `)
	tell(0, "by anna: smoke (latched by an actor of another folder)", "fault")
	tell(1, "open fault 2", "fault", "ack", "2", "--by", "anna")
	tell(0, "may move again", "fault", "ack", "1", "--by", "anna")
	elsewhere.await(`^act `)
	if code := learner.exit(); code != 0 {
		t.Fatalf("the learner ended with %d", code)
	}
	for _, p := range append(others, elsewhere) {
		if code := p.exit(); code != 0 {
			t.Errorf("%s ended with %d", p.name, code)
		}
	}
	checkOnce(t, dir, "runs", "elsewhere")
}
