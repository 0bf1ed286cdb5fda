package cli

import "testing"

func testClassifier(t *testing.T, l lab) {
	l.wants(exitUsage, []string{"nothing to mark"}, "reward", "classifier", "collect", l.session())
	for _, bad := range []string{"online-00000", "online-00000:x", "online-00000:5-3", ":1-2", "online-00000:-1"} {
		l.wants(exitUsage, []string{"EPISODE:FROM-TO"}, "reward", "classifier", "collect", l.session(), "--success", bad)
	}
	l.wants(exitUsage, []string{"--outcome is -1"}, "reward", "classifier", "collect", l.session(), "--outcome", "-1")
	l.wants(exitFailed, []string{"no episode"}, "reward", "classifier", "collect", l.session(), "--success", "online-00077:1")
	l.wants(exitDone, []string{"4 marks"}, "reward", "classifier", "collect", l.session(),
		"--success", "demo-00000:20-29", "--success", "demo-00001:20-29", "--failure", "demo-00000:0-9", "--failure", "demo-00001:0-9")
	l.wants(exitFailed, []string{"precision"}, "reward", "classifier", "train", l.session(), "--precision", "1.5")
	l.wants(exitDone, []string{"40 frames of 2 episodes", "precision", "recall", "F1", "threshold"}, "reward", "classifier", "train", l.session(), "--precision", "0.3")
}
