package cli

import (
	"bytes"
	"image/png"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
)

// A model that likes bright pictures is asked over HTTP, and a policy learned.
func testOfflineVLM(t *testing.T, l lab) {
	bright := func(b []byte) (sum uint32) {
		m, err := png.Decode(bytes.NewReader(b))
		if err != nil {
			t.Error(err)
			return 0
		}
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				r, g, b, _ := m.At(x, y).RGBA()
				sum += r>>8 + g>>8 + b>>8
			}
		}
		return sum
	}
	calls := 0
	s := vlmtest.Start(func(_ int, q vlmtest.Request) vlmtest.Reply {
		calls++
		half := len(q.Images) / 2
		if strings.Contains(string(q.Schema), "difference") {
			return vlmtest.Reply{Text: `{"first":"a","second":"b","difference":"light"}`}
		}
		if bright(q.Images[0]) > bright(q.Images[half]) {
			return vlmtest.Reply{Text: `{"better":0}`}
		}
		return vlmtest.Reply{Text: `{"better":1}`}
	})
	defer s.Close()
	l.env = append(append([]string{}, l.env...), "RAPPORT_VLM_URL="+s.URL, "RAPPORT_VLM_MODEL=stub")
	out, kept := filepath.Join(t.TempDir(), "a.safetensors"), filepath.Join(t.TempDir(), "r.safetensors")
	l.wants(exitUsage, []string{"want a session"}, "pipeline", "offline-vlm")
	l.wants(exitUsage, []string{"--goal is missing"}, "pipeline", "offline-vlm", l.session())
	l.wants(exitUsage, []string{"--pairs is 3"}, "pipeline", "offline-vlm", l.session(), "--goal", "light", "--pairs", "3")
	l.wants(exitDone, []string{"the model     stub at 127.0.0.1", "asked         40 pairs", "reward        from", "parameters"}, "pipeline", "offline-vlm", l.session(), "--goal", "light", "--pairs", "40", "--steps", "20", "-o", out, "--reward", kept)
	l.wants(exitFailed, []string{"is there already"}, "pipeline", "offline-vlm", l.session(), "--goal", "light", "-o", out)
	n := calls
	for flag, path := range map[string]string{"--out": filepath.Join(t.TempDir(), "nowhere", "a.safetensors"), "--reward": filepath.Join(out, "r.safetensors")} {
		l.wants(exitFailed, []string{flag + ": ", path + ": ", "a folder that is there"}, "pipeline", "offline-vlm", l.session(), "--goal", "dark", "--pairs", "40", flag, path)
	}
	if calls != n {
		t.Errorf("%d calls for what cannot be written, want none", calls-n)
	}
	l.wants(exitDone, []string{"by 0 calls"}, "pipeline", "offline-vlm", l.session(), "--goal", "light", "--pairs", "40", "--steps", "20", "-o", filepath.Join(t.TempDir(), "b.safetensors"))
	if calls != n {
		t.Errorf("%d calls on the rerun, want none", calls-n)
	}
	l.env = l.env[:len(l.env)-2]
	l.wants(exitFailed, []string{"RAPPORT_VLM_URL"}, "pipeline", "offline-vlm", l.session(), "--goal", "light", "-o", filepath.Join(t.TempDir(), "c.safetensors"))
}
