package wire

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
)

// script answers in order; after its end, no.
type script struct {
	says  []string // yes, no, unknown, or refused, which is an error
	calls int
}

func (m *script) Ask(context.Context, judge.Prompt) ([]byte, error) {
	say := "no"
	if m.calls < len(m.says) {
		say = m.says[m.calls]
	}
	m.calls++
	if say == "refused" {
		return nil, vlm.ErrRefused
	}
	return fmt.Appendf(nil, `{"seen":"a ball","done":%q}`, say), nil
}

// A judge that was measured on marked frames pays the ends of the demonstrations and of
// the episodes that it says yes to, is asked of nothing else, and an endpoint that
// refuses is no success.
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

	pays := &script{says: []string{"yes", "no", "unknown", "yes", "yes", "no", "yes", "refused"}}
	name := "another"
	o := quietly()
	o.Judge = func() (judge.Model, string, error) { return pays, name, nil }
	c.Session.From, c.Reward.KAGI.Sparse, c.Session.Episodes = dir, "judge", 2
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
	measured := &script{}
	for i := range 6 {
		id := fmt.Sprintf("demo-%05d", i)
		marks = append(marks, Marked{Episode: id}, Marked{Episode: id, From: 20, To: 20, Success: true})
		measured.says = append(measured.says, "no", "yes")
	}
	if _, err := MarkSuccess(ctx, dir, marks, 0, nil, nil, quietly()); err != nil {
		t.Fatal(err)
	}
	rep, calls, err := MeasureJudge(ctx, dir, judge.Judge{Model: measured, Task: "the hand is at the ball", Times: 1}, "stub", 0.9, nil, nil, quietly())
	if err != nil || calls != 12 {
		t.Fatalf("%v, %d calls, error %v, want 12", rep, calls, err)
	}
	refused("mistaken", "measured with model stub")

	name, c.Name = "stub", "told"
	if s, err = Create(ctx, c, o); err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if pays.calls != 8 {
		t.Errorf("%d calls, want one for each of 6 demonstrations and 2 episodes", pays.calls)
	}
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
	online, err := s.stored(ctx, policy.Online)
	if err != nil || len(p.demos) != 6 || len(online) != 2 {
		t.Fatalf("%d demonstrations and %d episodes, error %v, want 6 and 2", len(p.demos), len(online), err)
	}
	if pays.calls != 8 {
		t.Error("what was answered was asked again")
	}
	for i, e := range slices.Concat(p.demos, online) {
		for k, r := range e.Rewards {
			if want := k == e.Len()-1 && pays.says[i] == "yes"; (r == 0) != want {
				t.Errorf("%s: step %d is paid %v, the judge says %s at the end", e.ID, k, r, pays.says[i])
			}
		}
		for k, in := range e.Inputs {
			told := slices.ContainsFunc(in.Features.Keys, func(k perception.Keypoint) bool { return k.Name == kagi.Success })
			if told != (k == e.Len()) {
				t.Errorf("%s: frame %d of %d: success is told: %v", e.ID, k, e.Len(), told)
			}
		}
	}
	if b, err := os.ReadFile(res.Report); err != nil || !strings.Contains(string(b), "success, by the judge") || !strings.Contains(string(b), rep.String()) {
		t.Errorf("the report does not tell of the judge (error %v)", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
