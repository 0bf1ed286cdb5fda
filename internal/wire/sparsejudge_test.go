package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
)

// What an endpoint does.
var (
	yes     = vlmtest.Reply{Text: `{"seen":"a ball","done":"yes"}`}
	no      = vlmtest.Reply{Text: `{"seen":"a ball","done":"no"}`}
	unsure  = vlmtest.Reply{Text: `{"seen":"a ball","done":"unknown"}`}
	words   = vlmtest.Reply{Text: "I think that it is done."}
	another = vlmtest.Reply{Text: `{"thoughts":["another shape"]}`}
	busy    = vlmtest.Reply{Status: http.StatusTooManyRequests, RetryAfter: "1"}
	half    = vlmtest.Reply{Text: yes.Text, Half: true}
	hangs   = vlmtest.Reply{Hang: true}
	down    = vlmtest.Reply{Status: http.StatusServiceUnavailable}
	refuses = vlmtest.Reply{Status: http.StatusUnauthorized}
)

// endpoint is a model behind HTTP. Each picture has replies of its own, in the order in
// which pictures are first seen: one after the other, and the last from then on.
type endpoint struct {
	replies [][]vlmtest.Reply
	order   map[string]int
	asked   map[int]int // by picture
}

func (e *endpoint) answer(_ int, q vlmtest.Request) vlmtest.Reply {
	picture := string(q.Images[0])
	i, ok := e.order[picture]
	if !ok {
		i = len(e.order)
		e.order[picture] = i
	}
	rs := e.replies[min(i, len(e.replies)-1)]
	e.asked[i]++
	return rs[min(e.asked[i], len(rs))-1]
}

// serve makes a judge's model of what answers over HTTP.
func (e *endpoint) serve(t *testing.T) judge.Model {
	t.Helper()
	e.order, e.asked = map[string]int{}, map[int]int{}
	s := vlmtest.Start(e.answer)
	t.Cleanup(s.Close)
	c, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 3, Deadline: 200 * time.Millisecond, Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return judge.Over(c)
}

// A judge behind HTTP that was measured on marked frames pays the ends of the
// demonstrations and of the episodes that it says yes to, and is asked of nothing else.
// Whatever goes wrong on the way, only a clear yes is paid; before anything moves, an
// endpoint that does not answer stops the session, which then goes on where it was.
func TestAJudgePaysKAGIsSuccess(t *testing.T) {
	ctx := t.Context()
	c := waypointed(t, "reach")
	c.Name, c.Reward.KAGI.Sparse, c.Session.Episodes, c.Session.Evaluate, c.Session.Record = "none", "none", 1, 1, true
	s, err := Create(ctx, c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.Out, c.Name)

	pays := &endpoint{replies: [][]vlmtest.Reply{
		{yes}, {no}, {refuses, words, yes}, {another}, {busy, half, yes}, {unsure}, // demonstrations
		{hangs}, {yes}, {refuses}, // episodes
	}}
	model, name := pays.serve(t), "another"
	var log bytes.Buffer
	o := quietly()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	o.Judge, o.Endpoint = func() (judge.Model, string, error) { return model, name, nil }, "stub at 127.0.0.1"
	c.Session.From, c.Reward.KAGI.Sparse, c.Session.Episodes = dir, "judge", 3
	refused := func(session, want string) {
		t.Helper()
		c.Name = session
		s, err := Create(ctx, c, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(ctx); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	refused("unmeasured", "rapport reward judge")

	var marks []Marked
	measured := &endpoint{}
	for i := range 6 {
		id := fmt.Sprintf("demo-%05d", i)
		marks = append(marks, Marked{Episode: id}, Marked{Episode: id, From: 20, To: 20, Success: true})
		measured.replies = append(measured.replies, []vlmtest.Reply{no}, []vlmtest.Reply{yes})
	}
	if _, err := MarkSuccess(ctx, dir, Marking{Frames: marks}, nil, nil, quietly()); err != nil {
		t.Fatal(err)
	}
	j := judge.Judge{Model: measured.serve(t), Task: "the hand is at the ball", Times: 1}
	var told []string
	telling := quietly()
	telling.Tell = func(stage string, done, total int, note string) {
		told = append(told, fmt.Sprintf("%s %d/%d %s", stage, done, total, note))
	}
	rep, calls, err := MeasureJudge(ctx, dir, j, "stub", 0.9, nil, nil, telling)
	if err != nil || calls != 12 {
		t.Fatalf("%v, %d calls, error %v, want 12", rep, calls, err)
	}
	if n := len(told) - 12; n < 1 || told[n-1] != "marked frames 6/6 12 frames: 12 calls at most" || told[n] != "judge 1/12 moments: 1 calls" || told[n+11] != "judge 12/12 moments: 12 calls" {
		t.Errorf("told %q, want the calls beforehand, then each moment", told)
	}
	// Silence measures nothing, and takes nothing back.
	dead := &endpoint{replies: [][]vlmtest.Reply{{down}}}
	j = judge.Judge{Model: dead.serve(t), Task: "another", Times: 3}
	if _, calls, err := MeasureJudge(ctx, dir, j, "stub", 0.9, nil, nil, quietly()); !errors.Is(err, vlm.ErrBusy) || !strings.Contains(err.Error(), "measure again") || calls != 1 {
		t.Errorf("an endpoint that is down: error %v after %d calls, want what to do after one", err, calls)
	}
	refused("mistaken", "measured with model stub")

	name = "stub"
	refused("told", "go on with rapport run --resume --set name=told --set out=")
	if len(pays.order) != 3 {
		t.Errorf("%d pictures were asked of until the endpoint refused, want 3", len(pays.order))
	}
	if s, err = Reopen(ctx, c, o); err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(pays.order) != 9 || pays.asked[0] != 1 || pays.asked[1] != 1 {
		t.Errorf("asked %v times of each picture, want once of the first two, and of 9", pays.asked)
	}
	before := maps.Clone(pays.asked)
	asked, done, err := s.refereed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.prepared(asked)
	if err != nil {
		t.Fatal(err)
	}
	if err := done(); err != nil {
		t.Fatal(err)
	}
	pays.asked[3] = before[3] // was never answered
	if !maps.Equal(pays.asked, before) {
		t.Errorf("what was answered was asked again: %v, then %v", before, pays.asked)
	}
	online, err := s.stored(ctx, policy.Online)
	if err != nil || len(p.demos) != 6 || len(online) != 3 {
		t.Fatalf("%d demonstrations and %d episodes, error %v, want 6 and 3", len(p.demos), len(online), err)
	}
	paid, silent := []int{0, 2, 4, 7}, []int{6, 8}
	for i, e := range slices.Concat(p.demos, online) {
		for k, r := range e.Rewards {
			if want := k == e.Len()-1 && slices.Contains(paid, i); (r == 0) != want {
				t.Errorf("%s: step %d is paid %v, want success paid: %v", e.ID, k, r, want)
			}
		}
		for k, in := range e.Inputs {
			told := slices.ContainsFunc(in.Features.Keys, func(k perception.Keypoint) bool { return k.Name == kagi.Success })
			if want := k == e.Len() && !slices.Contains(silent, i); told != want {
				t.Errorf("%s: frame %d of %d: success is told: %v", e.ID, k, e.Len(), told)
			}
		}
	}
	b, err := os.ReadFile(res.Report)
	for _, want := range []string{"success, by the judge", rep.String(), "at the end of 1 of 1 episodes; no answer at the end of 2 more", "no clear answer, which counts as no, at the end of 2 demonstrations", "the judge (stub at 127.0.0.1), measured"} {
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("the report does not say %q (error %v)", want, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	paidAlike(t, s.Dir(), p.demos)
	for want, n := range map[string]int{"the judge did not answer": 2, `level=WARN msg="the judge cannot tell`: 2} {
		if got := strings.Count(log.String(), want); got < n {
			t.Errorf("the log says %q %d times, want %d:\n%s", want, got, n, &log)
		}
	}
}
