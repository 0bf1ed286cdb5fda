package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/robot"
)

var (
	_ reward.Success       = (*Eyes)(nil)
	_ perception.Extractor = (*Eyes)(nil)
	_ Model                = (*Memory)(nil)
)

// viewer is a small model that sees how bright the first pixel is: from 128 on the
// task is done, and what is brighter is better.
type viewer struct {
	rng   *rand.Rand
	wrong float64 // share of its answers
	// first is how often it says the first whatever it sees.
	first float64
	calls int
	// say, if it is not nil, answers instead.
	say func(p Prompt) (string, error)
}

func (v *viewer) Ask(ctx context.Context, p Prompt) ([]byte, error) {
	v.calls++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if v.say != nil {
		s, err := v.say(p)
		return []byte(s), err
	}
	flip := v.rng != nil && v.rng.Float64() < v.wrong
	switch {
	case strings.Contains(string(p.Schema), "difference"):
		return []byte(`{"first":"a pixel","second":"another","difference":"light"}`), nil
	case strings.Contains(string(p.Schema), "done"):
		if (p.Images[0].Pix[0] >= 128) != flip {
			return []byte(`{"seen":"light","done":"yes"}`), nil
		}
		return []byte(`{"seen":"dark","done":"no"}`), nil
	}
	a, b := p.Images[0].Pix[0], p.Images[len(p.Images)/2].Pix[0]
	switch {
	case v.rng != nil && v.rng.Float64() < v.first || a > b != flip && a != b:
		return []byte(`{"better":0}`), nil
	case a == b:
		return []byte(`{"better":-1}`), nil
	}
	return []byte(`{"better":1}`), nil
}

func shot(brightness byte) []robot.Frame {
	return []robot.Frame{{Camera: "front", W: 1, H: 1, Pix: []byte{brightness, 0, 0}}}
}

func marked(n int) (out []Shot) {
	for i := range n {
		out = append(out, Shot{Frames: shot(byte(i * 255 / (n - 1))), Success: i*255/(n-1) >= 128})
	}
	return out
}

func TestMajorityDecides(t *testing.T) {
	for _, c := range []struct {
		said []string
		want float64
		ok   bool
	}{
		{[]string{"yes", "yes", "no"}, 2. / 3, true},
		{[]string{"no", "no", "yes"}, 1. / 3, true},
		{[]string{"yes", "no", "unknown"}, 0, false},
		{[]string{"yes", "unknown", "unknown"}, 0, false},
		{[]string{"yes", "yes", "unknown"}, 2. / 3, true},
		{[]string{"yes", "yes", "no", "no"}, 0, false},
		{[]string{"yes", "garbage", "error"}, 0, false},
		{[]string{"error", "error", "error"}, 0, false},
		{[]string{"half", "prose", "YES"}, 0, false},
	} {
		m := &viewer{say: func(p Prompt) (string, error) {
			switch a := c.said[p.Turn]; a {
			case "garbage":
				return `{"done":`, nil
			case "half":
				return `{"seen":"yes"}`, nil
			case "prose":
				return "Yes, the task is done.", nil
			case "error":
				return "", errors.New("busy")
			default:
				return fmt.Sprintf(`{"seen":"x","done":%q}`, a), nil
			}
		}}
		j := Judge{Model: m, Task: "it is light", Times: len(c.said)}
		p, err := j.Look(t.Context(), shot(1))
		if c.ok && (err != nil || p != c.want) || !c.ok && !errors.Is(err, reward.ErrUnknown) {
			t.Errorf("%v: %v, error %v, want %v (known: %v)", c.said, p, err, c.want, c.ok)
		}
	}
}

func TestJudgeIsMeasuredBeforeUse(t *testing.T) {
	told := 0
	good := Judge{Model: &viewer{rng: rand.New(rand.NewPCG(1, 2)), wrong: 0.1}, Task: "it is light", Tell: func(done, total int) {
		if told++; done != told || total != 100 {
			t.Errorf("told %d of %d, want %d of 100", done, total, told)
		}
	}}
	r, err := good.Measure(t.Context(), marked(100), 0)
	if told != 100 || good.Calls(100) != 300 {
		t.Errorf("told %d times of 100 moments and %d calls, want each and 300", told, good.Calls(100))
	}
	if err != nil || r.Measured.Recall() < 0.9 || r.Unknown != 0 || !strings.Contains(r.String(), "precision 0.9") {
		t.Errorf("%s, error %v", r, err)
	}
	bad := Judge{Model: &viewer{rng: rand.New(rand.NewPCG(1, 2)), wrong: 0.4}, Task: "it is light"}
	if r, err = bad.Measure(t.Context(), marked(100), 0); !errors.Is(err, ErrPrecision) || r.Measured.FP == 0 {
		t.Errorf("%s, error %v, want ErrPrecision", r, err)
	}
	shy := Judge{Model: &viewer{say: func(Prompt) (string, error) { return `{"seen":"fog","done":"unknown"}`, nil }}, Task: "it is light"}
	if r, err = shy.Measure(t.Context(), marked(10), 0.1); !errors.Is(err, ErrPrecision) || r.Unknown != 10 {
		t.Errorf("%s, error %v: a judge that never says yes is used", r, err)
	}
}

// Order-swapped asking takes a model's preference for a place out: what is answered is
// right, the rest is nothing.
func TestPlacePreferenceIsNoAnswer(t *testing.T) {
	m := &viewer{rng: rand.New(rand.NewPCG(3, 4)), wrong: 0.1, first: 0.5}
	p := Pairs{Model: m, Goal: "light"}
	rng := rand.New(rand.NewPCG(5, 6))
	right, answers, once := 0, 0, 0
	for range 400 {
		a, b := byte(rng.IntN(256)), byte(rng.IntN(256))
		if a == b {
			continue
		}
		want := preference.First
		if b > a {
			want = preference.Second
		}
		v, err := p.Compare(t.Context(), shot(a), shot(b))
		if err != nil {
			t.Fatal(err)
		}
		if v != preference.Unknown {
			answers++
			if v == want {
				right++
			}
		}
		if v, err = p.ask(t.Context(), shot(a), shot(b)); err != nil {
			t.Fatal(err)
		} else if v == want {
			once++
		}
	}
	t.Logf("asked once %d of %d right; in both orders %d of %d answers, %d told by place", once, p.Asked, right, answers, p.Swapped)
	if answers < 100 || float64(right) < 0.95*float64(answers) || p.Swapped < 100 || float64(once) > 0.8*float64(p.Asked) {
		t.Errorf("asked once %d of %d right; in both orders %d of %d, %d told by place", once, p.Asked, right, answers, p.Swapped)
	}
	for what, say := range map[string]string{"alike": `{"better":-1}`, "prose": "the first", "none": `{}`, "other": `{"better":7}`} {
		p := Pairs{Model: &viewer{say: func(Prompt) (string, error) { return say, nil }}, Goal: "light"}
		if v, err := p.Compare(t.Context(), shot(1), shot(2)); err != nil || v != preference.Unknown || p.None != 1 {
			t.Errorf("%s: %v, error %v, %d without an answer", what, v, err, p.None)
		}
	}
	p = Pairs{Model: &viewer{say: func(Prompt) (string, error) { return "", errors.New("busy") }}, Goal: "light"}
	if v, err := p.Compare(t.Context(), shot(1), shot(2)); err != nil || v != preference.Unknown {
		t.Errorf("busy: %v, error %v", v, err)
	}
}

func TestWhatWasAskedIsNotAskedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "answers.jsonl")
	v := &viewer{rng: rand.New(rand.NewPCG(1, 2)), wrong: 0.3}
	ask := func() string {
		m, err := Remember(v, "viewer", path)
		if err != nil {
			t.Fatal(err)
		}
		j := Judge{Model: m, Task: "it is light"}
		r, err := j.Measure(t.Context(), marked(20), 0.01)
		if err != nil {
			t.Fatal(err)
		}
		p := Pairs{Model: m, Goal: "light"}
		w, err := p.Compare(t.Context(), shot(3), shot(200))
		if err != nil {
			t.Fatal(err)
		}
		calls, hits := m.Count()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r, w, calls+hits)
	}
	first := ask()
	n := v.calls
	if again := ask(); v.calls != n || again != first || n < 60 {
		t.Errorf("%d calls, then %d more; %s, then %s", n, v.calls-n, first, again)
	}
	// A line that was cut off is asked again, and nothing else.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	n = v.calls
	if ask(); v.calls != n+1 {
		t.Errorf("%d more calls after a line was cut off, want 1", v.calls-n)
	}
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Remember(v, "viewer", path); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("error %v", err)
	}
	if _, err := Remember(v, "viewer", t.TempDir()); err == nil {
		t.Error("a folder remembers")
	}
	// Another pixel, camera, turn or word is another question.
	p := Prompt{System: "s", Text: "t", Images: shot(1)}
	keys := map[string]bool{keyOf("m", p): true}
	for _, change := range []func(p *Prompt){
		func(p *Prompt) { p.Images = shot(2) }, func(p *Prompt) { p.Turn = 1 }, func(p *Prompt) { p.Text = "u" },
		func(p *Prompt) { p.System = "" }, func(p *Prompt) { p.Schema = json.RawMessage("{}") },
		func(p *Prompt) { p.Images = append(shot(1), shot(1)...) }, func(p *Prompt) { p.System, p.Text = "st", "" },
	} {
		q := p
		change(&q)
		keys[keyOf("m", q)] = true
	}
	if len(keys) != 8 {
		t.Errorf("%d keys of 8 prompts", len(keys))
	}
}

type brightness struct{}

func (brightness) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	if len(fs) == 0 {
		return perception.Features{}, errors.New("dark")
	}
	return perception.Features{Stamp: fs[0].Stamp, Embed: []float32{float32(fs[0].Pix[0])}}, nil
}

func TestJudgeBehindAnExtractor(t *testing.T) {
	j := &Judge{Model: &viewer{}, Task: "it is light"}
	e := j.Behind(brightness{})
	var fs []perception.Features
	for i := range 100 {
		f := shot(byte(i * 2))
		f[0].Stamp = time.Unix(int64(i), 0)
		x, err := e.Extract(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, x)
	}
	for i, want := range map[int]float64{99: 1, 50: 0, 64: 1} {
		if p, err := e.Succeeded(t.Context(), fs[i]); err != nil || p != want {
			t.Errorf("tick %d: %v, error %v, want %v", i, p, err, want)
		}
	}
	if _, err := e.Succeeded(t.Context(), fs[0]); !errors.Is(err, reward.ErrUnknown) {
		t.Errorf("a tick long ago: error %v", err)
	}
	if _, err := e.Extract(t.Context(), nil); err == nil {
		t.Error("no frame was extracted")
	}
}

func TestErrors(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	j := Judge{Model: &viewer{}, Task: "it is light"}
	for what, err := range map[string]error{
		"no model": func() error { _, err := (&Judge{Task: "x"}).Look(t.Context(), shot(1)); return err }(),
		"no task":  func() error { _, err := (&Judge{Model: &viewer{}, Task: " "}).Look(t.Context(), shot(1)); return err }(),
		"no image": func() error { _, err := j.Look(t.Context(), nil); return err }(),
		"times": func() error {
			_, err := (&Judge{Model: &viewer{}, Task: "x", Times: -1}).Look(t.Context(), shot(1))
			return err
		}(),
		"one side":  func() error { _, err := j.Measure(t.Context(), marked(100)[:3], 0); return err }(),
		"precision": func() error { _, err := j.Measure(t.Context(), marked(10), 3); return err }(),
		"ended":     func() error { _, err := j.Look(ended, shot(1)); return err }(),
		"goal":      func() error { _, err := (&Pairs{Model: &viewer{}}).Compare(t.Context(), shot(1), shot(2)); return err }(),
		"cameras": func() error {
			_, err := (&Pairs{Model: &viewer{}, Goal: "x"}).Compare(t.Context(), shot(1), append(shot(2), shot(3)...))
			return err
		}(),
		"pair ended": func() error {
			_, err := (&Pairs{Model: &viewer{}, Goal: "x"}).Compare(ended, shot(1), shot(2))
			return err
		}(),
	} {
		if err == nil || errors.Is(err, reward.ErrUnknown) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"seen":"x","done":"yes"}`))
	f.Add([]byte(`{"better":0}`))
	f.Add([]byte(`{"better":1e99,"done":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &viewer{say: func(Prompt) (string, error) { return string(b), nil }}
		j := Judge{Model: m, Task: "x", Times: 1}
		if p, err := j.Look(t.Context(), shot(1)); err == nil && p >= 0.5 {
			var said map[string]any
			if json.Unmarshal(b, &said) != nil {
				t.Fatalf("%q is a success", b)
			}
		}
		p := Pairs{Model: m, Goal: "x"}
		// The same answer in both orders is told by place: never an answer.
		if v, err := p.Compare(t.Context(), shot(1), shot(2)); err != nil || v != preference.Unknown {
			t.Fatalf("%q is %v, error %v", b, v, err)
		}
	})
}
