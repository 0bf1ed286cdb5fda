package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// What people said of an earlier session's online episodes is never taken for what the new
// session did under the same name; of its demonstrations, which are copied, it counts.
func TestWhatWasSaidOfAnEarlierSessionsEpisodesStaysTheirs(t *testing.T) {
	ctx := t.Context()
	begun := func(name string, ids ...string) *Session {
		c := tiny(t)
		c.Name = name
		s, err := Create(ctx, c, quietly())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		for _, id := range ids {
			ep := policy.Episode{ID: id, Applied: make([]robot.Command, 2), By: make([]robot.Source, 2), Version: make([]uint64, 2), Inputs: make([]policy.Input, 3)}
			if id == "demo-00000" {
				ep.Origin = policy.Demo
			}
			if _, err := s.store.AddEpisode(ctx, ep); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	one, two := begun("one", "demo-00000", "online-00000", "online-00001"), begun("two", "demo-00000", "online-00000")
	pair := label.Query{ID: "q", Kind: label.Pair, Clips: []label.Clip{{Episode: "demo-00000"}, {Episode: "online-00000"}}}
	for _, l := range []label.Label{
		{ID: "a", Annotator: "ann", Choice: label.Left, Query: pair},
		{ID: "b", Annotator: "ben", Choice: label.Left, Query: pair},
		{ID: "undo-b", Annotator: "ben", Retracts: "b", Query: pair},
	} {
		if _, err := one.store.Append(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	for _, mark := range []string{markAnswers, markRealigned} {
		if err := one.store.Mark(ctx, mark, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // once more, where the first preparation died
		if err := errors.Join(two.inheritLabels(ctx, one.store), two.inheritMarks(ctx, one.store)); err != nil {
			t.Fatal(err)
		}
	}
	// What the earlier reward was aligned by is nothing new to this one.
	if n, err := two.aligned(ctx); err != nil || n != 1 {
		t.Errorf("aligned by %d answers, %v; want 1", n, err)
	}
	if done, err := two.store.Marked(ctx, markRealigned); err != nil || done == "" {
		t.Errorf("the demonstrations keep the rewards of before the alignment: %v", err)
	}
	// And one that begins from that one has what was said of the first.
	three := begun("three", "demo-00000")
	if err := three.inheritLabels(ctx, two.store); err != nil {
		t.Fatal(err)
	}
	a, err := two.opinions(ctx, taste{})
	if err != nil || len(a.order) != 1 || a.order[0].Better.Episode != "demo-00000" || a.order[0].Worse.Episode != "online-00000 of one" {
		t.Fatalf("opinions %+v, error %v", a, err)
	}
	if ls, err := one.store.Labels(ctx); err != nil || ls[0].Query.Clips[1].Episode != "online-00000" {
		t.Errorf("the earlier session's labels are %+v, error %v", ls, err)
	}
	find := func(episode string, in *store.Session) error {
		lib := library{in, &sight{}, map[string]rapl.Video{}, map[string][]perception.Features{}}
		_, err := lib.video(label.Clip{Episode: episode, From: 5, To: 6}) // which no episode has
		return err
	}
	for _, tt := range []struct {
		episode string
		in      *Session
		missing bool
	}{
		{"online-00000 of one", two, false},
		{"online-00000 of one", three, false},
		{"online-00001 of one", two, true}, // of which nothing was said
		{"online-00000", two, false},
		{"online-00000", three, true},
		{"demo-00000", two, false},
		{"../two", two, true},
	} {
		if err := find(tt.episode, tt.in.store); err == nil || errors.Is(err, store.ErrNone) != tt.missing {
			t.Errorf("%s in %s: %v; want it missing: %v", tt.episode, tt.in.name, err, tt.missing)
		}
	}
	for _, s := range []*Session{two, three} {
		if es, err := s.store.Episodes(ctx, policy.Online); err != nil || len(es) > 1 {
			t.Errorf("%s counts %d episodes, %v; want none of another session", s.name, len(es), err)
		}
	}
}

// What is asked of a session's own episodes is new, though an earlier one asked the same of episodes of
// the same names: the answer counts, is taken back by itself, and the next question is another. A
// preparation of before stays as it is, and is never added to.
func TestAnswersAboutAnEarlierSessionsEpisodesKeepNoneHere(t *testing.T) {
	ctx := t.Context()
	var line []*Session
	for _, name := range []string{"one", "two", "three"} {
		c := tiny(t)
		c.Name = name
		line = append(line, begun(t, c))
	}
	one, two, three := line[0], line[1], line[2]
	for i := range 3 {
		ep := motionless(rolloutID(i))
		ep.Seq, ep.Origin = uint64(i), policy.Online
		if _, err := one.store.AddEpisode(ctx, ep); err != nil {
			t.Fatal(err)
		}
	}
	desk := func(s *Session) *ask.Desk {
		d, err := ask.New(ask.Options{Book: s.store, Reels: threeRollouts{}, Source: rand.NewPCG(1, 0), Heard: func(ls []label.Label) []label.Label { return Asked(ls, config.Align{Rollouts: 3}) }})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	state := func(v ask.State, err error) ask.State {
		t.Helper()
		if err != nil || v.Question == nil {
			t.Fatalf("%+v, %v", v, err)
		}
		return v
	}
	answer := func(d *ask.Desk) (asked string, added bool) {
		t.Helper()
		v := state(d.State(ctx, "ann", label.Pair))
		l := label.Label{ID: v.Label, Query: v.Question.Query, Choice: label.Left, Annotator: "ann"}
		next := state(d.Answer(ctx, l))
		if next.Question.ID == l.Query.ID {
			t.Errorf("%s is asked again", l.Query.ID)
		}
		return l.ID, next.Added
	}
	d := desk(one)
	first, _ := answer(d)
	state(d.Undo(ctx, "ann", first))
	answer(d)
	before, err := one.store.Labels(ctx)
	if err != nil || len(before) != 3 {
		t.Fatalf("%d labels, %v", len(before), err)
	}
	if err := two.inheritLabels(ctx, one.store); err != nil {
		t.Fatal(err)
	}
	d = desk(two)
	again, added := answer(d)
	if again != first || !added {
		t.Errorf("the first answer is %s, added %t; want %s, added", again, added, first)
	}
	if v := state(d.Undo(ctx, "ann", again)); v.Answered != 0 {
		t.Errorf("%d answers once it was taken back", v.Answered)
	}
	if said, err := two.store.Labels(ctx); err != nil || len(said) != 5 || len(label.Standing(said)) != 1 {
		t.Errorf("%d labels, of which %d stand, %v; want 5 and the one of before", len(said), len(label.Standing(said)), err)
	}

	for _, l := range before { // as it was inherited once
		l.Query.Clips = slices.Clone(l.Query.Clips)
		for i := range l.Query.Clips {
			l.Query.Clips[i].Episode += " of one"
		}
		if _, err := three.store.Append(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := three.inheritLabels(ctx, one.store); err != nil {
		t.Fatal(err)
	}
	if said, err := three.store.Labels(ctx); err != nil || len(said) != 3 {
		t.Errorf("prepared again: %d labels, %v; want 3", len(said), err)
	}
}

// threeRollouts are reels of three rollouts.
type threeRollouts struct{}

func (threeRollouts) Episodes(context.Context) ([]string, error) {
	return []string{rolloutID(0), rolloutID(1), rolloutID(2)}, nil
}

func (threeRollouts) Frames(context.Context, string) ([][]record.Encoded, error) {
	return [][]record.Encoded{{{Camera: "front", Format: "jpeg"}}, {{Camera: "front", Format: "jpeg"}}}, nil
}

// Folders of one name, in which sessions begin from each other, are told apart: what was said of the
// first one's episode is never learned from that of another.
func TestEarlierSessionsOfOneNameAreToldApart(t *testing.T) {
	ctx := t.Context()
	const episode = "online-00003"
	var line []*Session
	for i := range 4 {
		c := tiny(t)
		set(t, &c, "name=cup")
		s := begun(t, c)
		if line = append(line, s); i > 0 {
			if err := s.inheritLabels(ctx, line[i-1].store); err != nil {
				t.Fatal(err)
			}
		}
		ep := policy.Episode{ID: episode, Applied: make([]robot.Command, 2), By: make([]robot.Source, 2), Version: make([]uint64, 2)}
		for range 3 {
			ep.Inputs = append(ep.Inputs, policy.Input{Features: perception.Features{Embed: []float32{float32(i)}}})
		}
		if _, err := s.store.AddEpisode(ctx, ep); err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.Append(ctx, prefer(i, episode, "demo-00000")); err != nil {
			t.Fatal(err)
		}
	}
	for g, s := range line {
		said, err := s.store.Labels(ctx)
		if err != nil || len(said) != g+1 {
			t.Fatalf("session %d: %d labels, error %v; want %d", g, len(said), err, g+1)
		}
		for _, l := range said[:g] {
			name := l.Query.Clips[0].Episode
			e, err := s.store.Kept(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint("late-", e.Inputs[0].Features.Embed[0]); !strings.HasPrefix(l.ID, got+" of cup") {
				t.Errorf("session %d: answer %s is about %s, which is that of %s", g, l.ID, name, got)
			}
		}
		if last := said[g].Query.Clips[0].Episode; last != episode {
			t.Errorf("session %d: its own episode is called %s", g, last)
		}
	}
}

// Recordings of an earlier session that people compared may be gone or damaged: what was said of
// them is left out, which is told once.
func TestASessionBeginsFromOneWhoseRecordingsAreGone(t *testing.T) {
	ctx := t.Context()
	made := func(name string) *Session {
		c := tiny(t)
		c.Name = name
		s := begun(t, c)
		ep := motionless("demo-00000")
		if _, err := s.store.AddEpisode(ctx, ep); err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := made("one"), made("two")
	for i := range 3 {
		ep := motionless(episodeID(i))
		ep.Seq, ep.Origin = uint64(i), policy.Online
		if _, err := one.store.AddEpisode(ctx, ep); err != nil {
			t.Fatal(err)
		}
		for k := range 2 {
			if _, err := one.store.Append(ctx, prefer(2*i+k, ep.ID, "demo-00000")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(os.Remove(one.episodeFile(episodeID(0))), os.Truncate(one.episodeFile(episodeID(1)), 9)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	two.log = slog.New(slog.NewTextHandler(&log, nil))
	if err := two.inheritLabels(ctx, one.store); err != nil {
		t.Fatal(err)
	}
	for i, missing := range []bool{true, true, false} {
		if _, err := two.store.Kept(episodeID(i) + " of one"); errors.Is(err, store.ErrNone) != missing || !missing && err != nil {
			t.Errorf("%s: %v; want it missing: %v", episodeID(i), err, missing)
		}
	}
	if said, err := two.store.Labels(ctx); err != nil || len(said) != 6 {
		t.Errorf("%d labels, %v; want 6", len(said), err)
	}
	if told := log.String(); strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, "episodes=2") || !strings.Contains(told, episodeID(0)+".mcap") {
		t.Errorf("it tells %s", told)
	}
}

// What people said of an earlier session's episodes aligns the reward anew, too; without these
// episodes it stays as it is, and the session goes on.
func TestRewardsLearnFromWhatWasSaidOfAnEarlierSession(t *testing.T) {
	ctx := t.Context()
	made := func(name string, ids ...string) *Session {
		c := tiny(t)
		set(t, &c, "reward.kind=rlhf", "session.realign=4", "name="+name)
		s := begun(t, c)
		for i, id := range ids {
			ep := policy.Episode{ID: id, Seq: uint64(i), Origin: policy.Online, Applied: make([]robot.Command, 4), By: make([]robot.Source, 4), Version: make([]uint64, 4)}
			if i == 0 {
				ep.Origin = policy.Demo
			}
			for k := range 5 {
				ep.Inputs = append(ep.Inputs, policy.Input{Features: perception.Features{Embed: []float32{float32(i%2)*2 - 1, float32(k) / 5}}})
			}
			if _, err := s.store.AddEpisode(ctx, ep); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.store.SaveCheckpoint(ctx, kindReward, 1, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := made("one", "demo-00000", "online-00000", "online-00001", "online-00002", "online-00003", "online-00004"), made("two", "demo-00000")
	for i := range 4 {
		if _, err := one.store.Append(ctx, prefer(i, episodeID(2*(i%2)), episodeID(2*(i/2)+1))); err != nil {
			t.Fatal(err)
		}
	}
	ranked := prefer(5, episodeID(4), episodeID(1)) // which only this tells of
	ranked.Query.Kind, ranked.Choice, ranked.Places = label.Ranking, "", []int{1, 2}
	if _, err := one.store.Append(ctx, ranked); err != nil {
		t.Fatal(err)
	}
	long := prefer(4, episodeID(0), episodeID(1)) // which no session ends by
	long.Query.Clips[0].From, long.Query.Clips[0].To = 5, 9
	if _, err := one.store.Append(ctx, long); err != nil {
		t.Fatal(err)
	}
	if err := two.inheritLabels(ctx, one.store); err != nil {
		t.Fatal(err)
	}
	v, err := two.video(nil, "demo-00000")
	if err != nil {
		t.Fatal(err)
	}
	te := taste{Version: tasteVersion, Kind: "rlhf", Experts: []rapl.Video{v}}
	kept := filepath.Join(two.Dir(), "earlier")
	if err := os.Rename(kept, kept+"-away"); err != nil {
		t.Fatal(err)
	}
	if anew, err := two.freshen(ctx, &parts{taste: te}, nil, 0); anew || err != nil {
		t.Errorf("with nothing to learn from: aligned %t, %v", anew, err)
	}
	if err := os.Rename(kept+"-away", kept); err != nil {
		t.Fatal(err)
	}
	if _, re, err := two.realign(ctx, te); err != nil || re.Answers != 5 {
		t.Errorf("learned from %d answers, %v; want 5", re.Answers, err)
	}
	if n, err := two.aligned(ctx); err != nil || n != 6 {
		t.Errorf("aligned by %d, %v; want 6, of which one cannot be learned from", n, err)
	}
	// What is compared knows them, too.
	if known, videos, err := two.known(ctx); err != nil || len(known) != 5 || len(videos) != 5 {
		t.Errorf("%d answers about %d episodes are known, %v; want 5 about 5", len(known), len(videos), err)
	}
	if pairs, _, err := two.comparisons(ctx, te.Experts); err != nil || len(pairs) != 5 {
		t.Errorf("%d comparisons, %v; want 5", len(pairs), err)
	}
}
