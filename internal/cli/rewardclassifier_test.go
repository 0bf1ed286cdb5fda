package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
)

func testClassifier(t *testing.T, l lab) {
	l.wants(exitUsage, []string{"nothing to mark"}, "reward", "classifier", "collect", l.session())
	for _, bad := range []string{"online-00000", "online-00000:x", "online-00000:5-3", ":1-2", "online-00000:-1"} {
		l.wants(exitUsage, []string{"EPISODE:FROM-TO"}, "reward", "classifier", "collect", l.session(), "--success", bad)
	}
	l.wants(exitUsage, []string{"--outcome is -1"}, "reward", "classifier", "collect", l.session(), "--outcome", "-1")
	l.wants(exitFailed, []string{"no episode"}, "reward", "classifier", "collect", l.session(), "--success", "online-00077:1")
	l.wants(exitDone, []string{"4 marks"}, "reward", "classifier", "collect", l.session(),
		"--success", "demo-00000:20-29", "--success", "demo-00001:20-29", "--failure", "demo-00000:0-9", "--failure", "demo-00001:0-9")
	for _, bad := range [][2]string{{"--precision", "1.5"}, {"--precision", "0"}, {"--folds", "1"}, {"--sees", "foo"}, {"--hidden", "-2"}, {"--jitter", "-1"}, {"--augment", "-1"}} {
		l.wants(exitUsage, []string{bad[0] + " is "}, "reward", "classifier", "train", l.session(), bad[0], bad[1])
	}
	l.wants(exitFailed, []string{"--out: ", "is there already"}, "reward", "classifier", "train", l.session(), "--precision", "0.3", "--out", l.file)
	l.wants(exitFailed, []string{"--out: ", "a folder that is there"}, "reward", "classifier", "train", l.session(), "--precision", "0.3", "--out", filepath.Join(t.TempDir(), "nowhere", "c.json"))
	l.wants(exitDone, []string{"40 frames of 2 episodes", "precision", "recall", "F1", "threshold", "all of these are demonstrations"}, "reward", "classifier", "train", l.session(), "--precision", "0.3")
}

// It needs the marks of testClassifier: the later frames of two demonstrations are
// successes. Such is a model that counts what it is asked.
func testJudge(t *testing.T, l lab) {
	n, refuses := 0, false
	s := vlmtest.Start(func(int, vlmtest.Request) vlmtest.Reply {
		if refuses {
			return vlmtest.Reply{Status: http.StatusUnauthorized}
		}
		n++
		// Frames in order, three times each: ten failures, ten successes, and again.
		if (n-1)/3%20 >= 10 {
			return vlmtest.Reply{Text: `{"seen":"x","done":"yes"}`}
		}
		return vlmtest.Reply{Text: `{"seen":"x","done":"no"}`}
	})
	defer s.Close()
	l.wants(exitUsage, []string{"--task is missing"}, "reward", "judge", l.session())
	l.wants(exitUsage, []string{"--times is 0"}, "reward", "judge", l.session(), "--task", "it is done", "--times", "0")
	l.wants(exitUsage, []string{"--precision is 3"}, "reward", "judge", l.session(), "--task", "it is done", "--precision", "3")
	l.wants(exitFailed, []string{"RAPPORT_VLM_URL"}, "reward", "judge", l.session(), "--task", "it is done")
	l.env = append(append([]string{}, l.env...), "RAPPORT_VLM_URL="+s.URL, "RAPPORT_VLM_MODEL=stub")
	l.wants(exitDone, []string{"precision 1.000", "recall 1.000", "40 frames", "120 calls of stub at 127.0.0.1"}, "reward", "judge", l.session(), "--task", "it is done")
	l.wants(exitDone, []string{"precision 1.000", "0 calls"}, "reward", "judge", l.session(), "--task", "it is done")
	refuses = true // and takes nothing back
	l.wants(exitFailed, []string{"RAPPORT_VLM_KEY", "measure again once the endpoint answers"}, "reward", "judge", l.session(), "--task", "it was")
	if _, err := os.Stat(filepath.Join(l.session(), "judge.json")); err != nil {
		l.t.Error(err)
	}
	refuses = false
	n = 30 // now it is wrong throughout
	l.wants(exitFailed, []string{"precision 0.000", "too low", "word the task"}, "reward", "judge", l.session(), "--task", "it is not")
}
