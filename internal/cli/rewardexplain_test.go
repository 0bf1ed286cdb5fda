package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func testExplain(t *testing.T, l lab) {
	out := filepath.Join(t.TempDir(), "worst.png")
	l.wants(exitDone, []string{"return -", "30 steps", "nearest to demo-"}, "reward", "explain", l.session(), "worst", "-o", out)
	if w, h := sized(t, out); w < 600 || h < 500 {
		t.Errorf("a picture of %d by %d", w, h)
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(out), "worst.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Episode, Encoder, Reward string
		Match                    []int
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	if e.Episode == "" || len(e.Encoder) != 64 || len(e.Reward) != 64 || len(e.Match) != 30 {
		t.Errorf("got %+v", e)
	}
	l.wants(exitUsage, []string{"want a session and an episode"}, "reward", "explain", l.session())
	l.wants(exitUsage, []string{"PNG"}, "reward", "explain", l.session(), "best", "-o", "best.pdf")
	l.wants(exitFailed, []string{"online-00077", "best, worst or last"}, "reward", "explain", l.session(), "online-00077", "-o", filepath.Join(t.TempDir(), "x.png"))
	l.wants(exitFailed, []string{"no session"}, "reward", "explain", t.TempDir(), "best", "-o", filepath.Join(t.TempDir(), "x.png"))
}

func testAlign(t *testing.T, l lab) {
	l.wants(exitDone, []string{"reward 2 from", "held out: accuracy", "calibration error"}, "reward", "align", l.session())
	l.wants(exitDone, []string{"reward 3 from"}, "reward", "align", l.session(), "--set", "reward.gradient=unrolled")
	l.wants(exitFailed, []string{"reward.dim"}, "reward", "align", l.session(), "--set", "reward.dim=7")
}
