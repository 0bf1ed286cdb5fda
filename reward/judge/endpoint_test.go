package judge

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
)

func client(t *testing.T, url string) *vlm.Client {
	t.Helper()
	c, err := vlm.New(vlm.Config{URL: url, Model: "stub", Tries: 4, Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// red is how red a picture that came through HTTP begins.
func red(t *testing.T, b []byte) uint32 {
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Error(err)
		return 0
	}
	r, _, _, _ := m.At(0, 0).RGBA()
	return r >> 8
}

// A judge over HTTP, with a server that errs, is busy, breaks off and babbles: it is
// precise where it answers, and what it does not answer is not a success.
func TestJudgeOverHTTP(t *testing.T) {
	say := func(q vlmtest.Request, right bool) string {
		switch schema := string(q.Schema); {
		case strings.Contains(schema, "difference"):
			return `{"first":"a","second":"b","difference":"redness"}`
		case strings.Contains(schema, "better"):
			if (red(t, q.Images[0]) > red(t, q.Images[1])) == right {
				return `{"better":0}`
			}
			return `{"better":1}`
		}
		if (red(t, q.Images[0]) >= 128) == right {
			return `{"seen":"red","done":"yes"}`
		}
		return `{"seen":"not red","done":"no"}`
	}
	a := &vlmtest.Annotator{
		Right: func(q vlmtest.Request) string { return say(q, true) }, Wrong: func(q vlmtest.Request) string { return say(q, false) },
		Busy: 0.1, Broken: 0.05, Malformed: 0.1, Other: 0.05, Errors: 0.05, Src: rand.NewPCG(1, 2),
	}
	s := vlmtest.Start(a.Answer)
	defer s.Close()
	c := client(t, s.URL)
	m, err := Remember(Over(c), c.Model(), filepath.Join(t.TempDir(), "answers.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	j := Judge{Model: m, Task: "it is red"}
	var shots []Shot
	for i := range 30 {
		f := shot(0)
		f[0].Pix = []byte{0, 0, byte(i * 8)} // BGR
		shots = append(shots, Shot{Frames: f, Success: i*8 >= 128})
	}
	r, err := j.Measure(t.Context(), shots, 0)
	if err != nil || r.Measured.Recall() < 0.6 {
		t.Errorf("%s, error %v", r, err)
	}
	p := Pairs{Model: m, Goal: "to be red"}
	right, wrong := 0, 0
	for i := range 20 {
		v, err := p.Compare(t.Context(), shots[i].Frames, shots[i+10].Frames)
		if err != nil {
			t.Fatal(err)
		}
		switch v {
		case preference.Second:
			right++
		case preference.First:
			wrong++
		}
	}
	if right < 8 || wrong > 1 {
		t.Errorf("%d right, %d wrong of 20", right, wrong)
	}
}

// An endpoint that refuses stops the asking; one that is silent is no answer.
func TestRefusalStops(t *testing.T) {
	s := vlmtest.Script(vlmtest.Reply{Status: 401, Message: "no"})
	defer s.Close()
	j := Judge{Model: Over(client(t, s.URL)), Task: "it is red"}
	if _, err := j.Look(t.Context(), shot(1)); !errors.Is(err, vlm.ErrRefused) {
		t.Errorf("error %v, want ErrRefused", err)
	}
	if n := len(s.Asked()); n != 1 {
		t.Errorf("asked %d times after a refusal", n)
	}
	p := Pairs{Model: Over(client(t, s.URL)), Goal: "red"}
	if _, err := p.Compare(t.Context(), shot(1), shot(2)); !errors.Is(err, vlm.ErrRefused) {
		t.Errorf("pair: error %v, want ErrRefused", err)
	}
	busy := vlmtest.Script(vlmtest.Reply{Status: 503})
	defer busy.Close()
	j = Judge{Model: Over(client(t, busy.URL)), Task: "it is red"}
	if _, err := j.Look(t.Context(), shot(1)); !errors.Is(err, reward.ErrUnknown) || !errors.Is(err, vlm.ErrBusy) {
		t.Errorf("busy: error %v, want ErrUnknown and ErrBusy", err)
	}
	if n := len(busy.Asked()); n != 4 {
		t.Errorf("asked %d times, want the four tries of one asking", n)
	}
	if _, err := j.Measure(t.Context(), marked(4), 0); !errors.Is(err, vlm.ErrBusy) || errors.Is(err, ErrPrecision) {
		t.Errorf("busy: measured with error %v, want ErrBusy", err)
	}
}

// A pair that the endpoint falls silent at is no pair without an answer.
func TestSilenceIsNoAnswerToAPair(t *testing.T) {
	described, first := vlmtest.Reply{Text: `{"first":"a","second":"b","difference":"c"}`}, vlmtest.Reply{Text: `{"better":0}`}
	for _, before := range [][]vlmtest.Reply{nil, {described}, {described, first}, {described, first, described}} {
		s := vlmtest.Script(append(before, vlmtest.Reply{Status: 503})...)
		p := Pairs{Model: Over(client(t, s.URL)), Goal: "red"}
		if v, err := p.Compare(t.Context(), shot(1), shot(2)); !errors.Is(err, vlm.ErrBusy) || v != preference.Unknown || p.None != 0 {
			t.Errorf("silent after %d answers: verdict %v, %d without an answer, error %v, want ErrBusy", len(before), v, p.None, err)
		}
		if n := len(s.Asked()); n != len(before)+4 {
			t.Errorf("silent after %d answers: asked %d times, want the four tries of one asking more", len(before), n)
		}
		s.Close()
	}
}
