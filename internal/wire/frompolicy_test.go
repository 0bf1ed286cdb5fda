package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy/align"
)

// Of an earlier session's two policies the cloned one is taken, which is told, or the newest, which is
// called what it is; prepared again, the session has none that the earlier one came to since.
func TestSessionsBeginWithTheCloneOrTheNewestPolicy(t *testing.T) {
	ctx := t.Context()
	a, from := openedAlign(t)
	save := func(kind string, version uint64, data string) {
		t.Helper()
		if err := a.s.store.SaveCheckpoint(ctx, kind, version, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	save(kindPolicy, 1, "clone")
	begin := func(name, policy string) (*Session, *bytes.Buffer) {
		t.Helper()
		c := tinyAlign(t)
		c.Name, c.Session.From, c.Session.Policy = name, from, policy
		st, err := founded(filepath.Join(c.Out, name), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		s, log := guestOf(name, nil, st, c, quietly()), &bytes.Buffer{}
		s.log = slog.New(slog.NewTextHandler(log, nil))
		return s, log
	}
	takes := func(s *Session, want, what string) {
		t.Helper()
		if err := s.inheritPolicy(ctx, a.s.store); err != nil {
			t.Fatal(err)
		}
		v, b, err := s.store.LatestCheckpoint(ctx, kindPolicy)
		if err != nil || v != 1 || string(b) != want {
			t.Errorf("%s: policy %d, %q, %v; want 1, %q", s.name, v, b, err, want)
		}
		if _, said, err := s.params(ctx, parts{}, Cloned); err != nil || said != what {
			t.Errorf("%s: it is %q, %v; want %q", s.name, said, err, what)
		}
	}
	s, log := begin("untold", Cloned)
	if takes(s, "clone", "cloned from the demonstrations"); log.Len() > 0 {
		t.Errorf("of a session with one policy: %s", log)
	}
	wantErr(t, tunable(func() *Session { s, _ := begin("early", Tuned); return s }().cfg), from+" holds no fine-tuned policy", "rapport align "+from, "session.policy=cloned")

	save(kindTuned, 2, "mine")
	if err := a.write(tuneFile, tunedBy{Of: "rankings", By: "d3po", Policy: sum([]byte("mine")), Version: 2, Report: align.Report{Best: 3}}); err != nil {
		t.Fatal(err)
	}
	s, log = begin("told", Cloned)
	takes(s, "clone", "cloned from the demonstrations")
	for _, want := range []string{"aligned by d3po, round 3", "session.policy=tuned", from} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the note %q lacks %q", log, want)
		}
	}
	what := "as the session began: aligned by d3po, round 3, in " + from
	s, log = begin("second", Tuned)
	if err := tunable(s.cfg); err != nil {
		t.Error(err)
	}
	for range 2 {
		takes(s, "mine", what)
	}
	if log.Len() > 0 {
		t.Errorf("of the newest: %s", log)
	}
	third, _ := begin("third", Cloned) // from that one
	if err := third.inheritPolicy(ctx, s.store); err != nil {
		t.Fatal(err)
	}
	if _, said, err := third.params(ctx, parts{}, Cloned); err != nil || said != what {
		t.Errorf("begun from that: it is %q, %v; want %q", said, err, what)
	}
	// Prepared again, it stays as it began, whatever the other came to; where its own is lost, too,
	// by what the other still keeps of that time.
	save(kindTuned, 3, "another")
	takes(s, "mine", what)
	if err := s.store.Mark(ctx, markAgain, "yes"); err != nil {
		t.Fatal(err)
	}
	drop := func(st *store.Session, kind string) {
		t.Helper()
		if err := st.DropCheckpoint(ctx, kind); err != nil {
			t.Fatal(err)
		}
	}
	takes(s, "mine", what)
	drop(s.store, kindPolicy)
	takes(s, "mine", what)
	drop(s.store, kindPolicy)
	drop(a.s.store, kindTuned)
	drop(a.s.store, kindTuned)
	save(kindTuned, 3, "another")
	wantErr(t, s.inheritPolicy(ctx, a.s.store), "aligned by d3po, round 3", "neither keeps a copy", "begin another session")
}

// testAlignIsBegunFrom: a session begins with the aligned policy of dir as it is, and learns from there.
func testAlignIsBegunFrom(t *testing.T, dir string) {
	t.Helper()
	c := tinyAlign(t)
	c.Name, c.Session.From, c.Session.Policy = "after", dir, Tuned
	s := begun(t, c)
	p, err := s.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if aligned, err := os.ReadFile(filepath.Join(dir, alignFolder, policyFile)); err != nil || !bytes.Equal(p.clone.Data, aligned) || p.clone.Version != 1 {
		t.Errorf("it begins with version %d of other parameters (%v)", p.clone.Version, err)
	}
	l, err := newKeeper(c, p.clone, true, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := closeKeeper(l); err != nil {
		t.Error(err)
	}
}

// An alignment ranks by rewards of kinds of their own: a session that begins from one goes by the reward of
// its own kind.
func TestSessionsBeginWithTheRewardOfTheirKind(t *testing.T) {
	ctx := t.Context()
	a, from := openedAlign(t)
	for v, kind := range map[uint64]string{1: "", 2: "rapl", 3: "rlhf", 4: "pal"} {
		b, err := json.Marshal(taste{Version: tasteVersion, Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.s.store.SaveCheckpoint(ctx, kindReward, v, b); err != nil {
			t.Fatal(err)
		}
	}
	for kind, want := range map[string]uint64{"rapl": 2, "rlhf": 3, "btt": 0} {
		c := tinyAlign(t)
		c.Session.From, c.Reward.Kind = from, kind
		st, err := founded(filepath.Join(c.Out, kind), c)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		s, log := guestOf(kind, nil, st, c, quietly()), &bytes.Buffer{}
		s.log = slog.New(slog.NewTextHandler(log, nil))
		err = s.inheritReward(ctx, a.s.store)
		if want == 0 {
			wantErr(t, err, from+": no reward of kind btt")
			continue
		}
		v, _, e := st.LatestCheckpoint(ctx, kindReward)
		if err := errors.Join(err, e); err != nil || v != want || !strings.Contains(log.String(), "align.by=pal") {
			t.Errorf("reward.kind %s: reward %d, %v; want %d, and a note: %s", kind, v, err, want, log)
		}
	}
}
