package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seesPixels configures a policy that sees frames.
var seesPixels = []string{"--set", "policy.sees=pixels", "--set", "policy.trunk.strides=[2,2]", "--set", "policy.trunk.channels=4", "--set", "policy.clone.steps=5"}

// Every learner fine-tunes the policy, and a session that was stopped goes on to
// the same bits as one that was not. Learners that differ in fine-tuning alone begin
// from what one session has prepared.
func TestKindsOfLearners(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		sets []string
		stop bool // and go on; what learners share is tried by the others
		sees []string
		own  bool // clones a policy of its own kind
	}{
		{"iql", []string{"learner.kind=iql"}, true, nil, false},
		{"calql", []string{"learner.kind=calql", "learner.residual=0.5"}, false, nil, false},
		{"ppo", []string{"learner.kind=ppo", "learner.ppo.episodes=2", "learner.ppo.epochs=2"}, true, nil, false},
		{"diffusion", []string{"learner.kind=diffusion", "policy.diffusion.channels=[8,16]", "policy.diffusion.draws=2"}, true, nil, true},
		{"flow", []string{"learner.kind=diffusion", "policy.diffusion.shape=mlp", "policy.diffusion.process=flow", "policy.diffusion.draws=2"}, false, nil, true},
		{"drm", []string{"learner.drm=5", "learner.noise=0.3"}, true, nil, false},
		{"a residual, by priority", []string{"learner.residual=0.5", "learner.replay.priority=0.6"}, true, nil, false},
		{"bc", []string{"learner.kind=bc"}, false, nil, false},
		{"replay in the session's folder", []string{"learner.replay.dir=session", "learner.replay.priority=0.6"}, true, nil, false},
		{"few kept in the session's folder", []string{"learner.kind=iql", "learner.replay.dir=session", "learner.replay.capacity=40"}, true, nil, false},
		{"pixels", []string{"learner.replay.jpeg=90"}, true, seesPixels, false},
		{"iql from pixels", []string{"learner.kind=iql", "learner.replay.jpeg=90"}, false, seesPixels, false},
		{"ppo from pixels", []string{"learner.kind=ppo", "learner.ppo.episodes=2", "learner.ppo.epochs=2"}, true, seesPixels, false},
		{"bc from pixels", []string{"learner.kind=bc"}, false, seesPixels, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lab := func() (lab, []string) {
				l, args := newLab(t), append([]string{"run"}, tt.sees...)
				for _, s := range tt.sets {
					args = append(args, "--set", s)
				}
				if !tt.own {
					args = append(args, "--set", "session.from="+l.earlierIn(begin(t, "", tt.sees...)))
				}
				return l, args
			}
			l, args := lab()
			l.must(args...)
			if tt.stop {
				want := l.outcome()
				l, args = lab()
				l.interrupted("fine-tune        3/6", args...)
				l.must("run", "--resume")
				if diff := cmp.Diff(want, l.outcome()); diff != "" {
					t.Errorf("the session that was stopped ends otherwise:\n%s", diff)
				}
			}
			if out := l.must("eval", "--seeds", "2"); !strings.Contains(out, "fine-tuned for 6 episodes") {
				t.Errorf("the policy is not evaluated:\n%s", out)
			}
		})
	}
}

func TestPixelsAreRefusedWhereTheyDoNotReach(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"run", "--set", "policy.sees=pixels", "--set", "session.record=false"}, exitUsage, "session.record"},
		{[]string{"run", "--set", "policy.sees=pixels", "--set", "policy.trunk.strides=[2,2,2,2,2,2]"}, exitFailed, "policy.trunk does not fit robot.cameras"},
		{[]string{"learner", "--nats", "nats://127.0.0.1:1", "--set", "policy.sees=pixels"}, exitFailed, "rapport run"},
		{[]string{"run", "--set", "learner.replay.jpeg=90"}, exitUsage, "no frames to keep"},
		{[]string{"run", "--set", "learner.kind=ppo", "--set", "learner.replay.priority=0.5"}, exitUsage, "learner.replay is set"},
		{[]string{"run", "--set", "learner.replay.dir=/tmp/replay"}, exitUsage, "learner.replay.dir"},
		{[]string{"run", "--set", "learner.kind=bc", "--set", "learner.replay.dir=session"}, exitUsage, "learner.replay is set"},
		{[]string{"run", "--set", "learner.kind=iql", "--set", "learner.residual=1"}, exitUsage, "learner.residual"},
		{[]string{"run", "--set", "policy.sees=pixels", "--set", "learner.residual=1"}, exitUsage, "learner.residual"},
		{[]string{"run", "--set", "learner.noise=0.3"}, exitUsage, "learner.drm is 0"},
		{[]string{"run", "--set", "learner.kind=sac"}, exitUsage, "rlpd, calql, iql, ppo, bc, diffusion"},
	} {
		if code, out := l.run(t.Context(), &console{}, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%v: exit code %d, want %d and %q:\n%s", tt.args, code, tt.code, tt.want, out)
		}
	}
}
