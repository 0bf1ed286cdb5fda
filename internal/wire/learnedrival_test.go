package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/person"
)

// answerable is a session with n demonstrations, of which the even ones look good and the first likes
// are preferred videos, and what a bench makes rewards from.
func answerable(t *testing.T, n, likes int) *bench {
	t.Helper()
	c := tiny(t)
	set(t, &c, "reward.triplets=0")
	s := begun(t, c)
	te := taste{Version: tasteVersion, Kind: "rapl", Gamma: 1}
	for i := range n {
		ep := policy.Episode{ID: fmt.Sprintf("demo-%05d", i), Seq: uint64(i), Origin: policy.Demo, Applied: make([]robot.Command, 4), By: make([]robot.Source, 4), Version: make([]uint64, 4)}
		for k := range 5 {
			ep.Inputs = append(ep.Inputs, policy.Input{Features: perception.Features{Embed: []float32{1 - 2*float32(i%2), float32(i*k%5) / 5, 0.5}}})
		}
		if _, err := s.store.AddEpisode(t.Context(), ep); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 && len(te.Experts) < likes {
			v, err := s.video(nil, ep.ID)
			if err != nil {
				t.Fatal(err)
			}
			te.Experts = append(te.Experts, v)
		}
	}
	return &bench{s: s, parts: parts{taste: te}}
}

// A session in which people answered pairs alone is one that rewards are made anew from.
func TestRewardsAreMadeAnewFromPairs(t *testing.T) {
	b := answerable(t, 10, 1)
	for i := range 12 {
		l := prefer(i, fmt.Sprintf("demo-%05d", 2+2*(i%4)), fmt.Sprintf("demo-%05d", 1+2*(i/3)))
		if _, err := b.s.store.Append(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	rs, err := b.rivals(t.Context(), []string{"a=rlhf", "b=rapl:labels=9"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"from 12 comparisons", "from 9 comparisons"} {
		if !strings.Contains(rs[i].what, want) {
			t.Errorf("%s is %s, want it to tell %q", rs[i].name, rs[i].what, want)
		}
		var sum [2]float64
		for k := range 10 {
			e, err := b.s.store.Episode(fmt.Sprintf("demo-%05d", k))
			if err != nil {
				t.Fatal(err)
			}
			r := make([]float64, e.Len())
			if err := rs[i].scorer.Score(t.Context(), r, e.Trajectory()); err != nil {
				t.Fatal(err)
			}
			for _, x := range r {
				sum[k%2] += x
			}
		}
		if sum[0] <= sum[1] {
			t.Errorf("%s: good episodes are worth %v, bad ones %v", rs[i].name, sum[0], sum[1])
		}
	}
	// And these are the sides of tcc and gail.
	said, err := b.s.said(t.Context(), b.parts.taste.Experts)
	if err != nil {
		t.Fatal(err)
	}
	if liked, rest, err := b.s.sides(t.Context(), b.parts.taste.Experts, said); err != nil || len(liked) != 5 || len(rest) != 4 {
		t.Errorf("liked are %d and disliked %d, %v; want 5 and 4", len(liked), len(rest), err)
	}
	// Where only other episodes were compared, and a preferred video lost, all others are disliked.
	clip := func(name string) rapl.Video { return rapl.Video{Name: name} }
	said = []rapl.Triplet{{Better: clip("online-00000"), Worse: clip("online-00001")}, {Better: clip("online-00000"), Worse: clip("demo-00000")}}
	if liked, rest, err := b.s.sides(t.Context(), b.parts.taste.Experts, said); err != nil || len(liked) != 1 || len(rest) != 9 {
		t.Errorf("liked are %d and disliked %d, %v; want 1 and 9", len(liked), len(rest), err)
	}
}

// A reward that was fitted to a model's answers is read from its file, and rates to the bit as it did.
func TestARewardOfAModelsAnswersIsReadFromItsFile(t *testing.T) {
	b := answerable(t, 10, 1)
	var pairs []preference.Pair
	for i := range 20 {
		x := []float32{1, float32(i%5) / 5, 0.5}
		y := []float32{-1, float32(i%4) / 4, 0.5}
		pairs = append(pairs, preference.Pair{A: preference.Clip{Name: fmt.Sprint("a", i), D: 3, Embed: x}, B: preference.Clip{Name: fmt.Sprint("b", i), D: 3, Embed: y}, Verdict: preference.First})
	}
	var j Answered
	net, err := OfflineVLM{}.fit(t.Context(), pairs, 1, &j)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "reward.safetensors")
	if err := WriteNew(file, j.Reward); err != nil {
		t.Fatal(err)
	}
	rs, err := b.rivals(t.Context(), []string{"told=vlm:file=" + file})
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.s.store.Episode("demo-00000")
	if err != nil {
		t.Fatal(err)
	}
	got, want := make([]float64, e.Len()), make([]float64, e.Len())
	if err := errors.Join(rs[0].scorer.Score(t.Context(), got, e.Trajectory()), net.Score(t.Context(), want, e.Trajectory())); err != nil || !slices.Equal(got, want) {
		t.Errorf("it rates %v (%v), want %v", got, err, want)
	}
	b.earlier = nil
	for spec, says := range map[string]string{"x=vlm": "want file=NAME", "x=vlm:file=" + b.s.Dir() + "/config.yaml": "--reward wrote", "x=vlm:file=none": "no such file"} {
		_, err := b.rivals(t.Context(), []string{spec})
		wantErr(t, err, says)
	}
}

// Triplets and pairs are told in the order of the answers, the pairs beside preferred videos that
// are none of theirs.
func TestAnswersAreRetoldInTheirOrder(t *testing.T) {
	video := func(name string) rapl.Video { return rapl.Video{Name: name, D: 1, Embed: []float32{1}} }
	var videos []rapl.Video
	for _, name := range []string{"e", "f", "x", "y"} {
		videos = append(videos, video(name))
	}
	known := []label.Label{prefer(0, "x", "e"), prefer(1, "e", "f"), prefer(2, "x", "y"), prefer(3, "x", "y"), prefer(4, "x", "f"), prefer(5, "f", "y"), prefer(6, "y", "f")}
	known[3].Query.Kind, known[3].Query.Clips = label.Triplet, append([]label.Clip{{Episode: "y"}}, known[3].Query.Clips...)
	for kind, want := range map[string]string{"rapl": "f:x>e e:x>y y:x>y e:x>f", "rlhf": ":x>e :e>f :x>y y:x>y :x>f"} {
		var got []string
		for _, x := range retold(kind, known, videos, videos[:2], false) {
			got = append(got, x.Anchor.Name+":"+x.Better.Name+">"+x.Worse.Name)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: triplets %q, want %q", kind, s, want)
		}
	}
}

// Where a session's reward is aligned anew, what is better than the one preferred video, or worse,
// or alike to it, tells nothing beside that video.
func TestNoPairIsBesideItself(t *testing.T) {
	for kind, want := range map[string]int{"rapl": 4, "rlhf": 7} {
		b := answerable(t, 8, 1)
		b.s.cfg.Reward.Ties = true
		te := b.parts.taste
		te.Kind = kind
		for i, p := range [][2]int{{2, 0}, {2, 1}, {0, 3}, {4, 3}, {6, 0}, {4, 5}, {6, 7}} {
			l := prefer(i, fmt.Sprintf("demo-%05d", p[0]), fmt.Sprintf("demo-%05d", p[1]))
			if i == 4 {
				l.Choice = label.Tie
			}
			if _, err := b.s.store.Append(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.s.store.SaveCheckpoint(t.Context(), kindReward, 1, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if _, re, err := b.s.realign(t.Context(), te); err != nil || re.Answers != want {
			t.Errorf("%s: learned from %d answers, %v; want %d", kind, re.Answers, err, want)
		}
		if n, err := b.s.aligned(t.Context()); err != nil || n != 7 {
			t.Errorf("%s: %d answers are known, %v; want all 7", kind, n, err)
		}
	}
}

// Who says of two episodes left and then right has said nothing of them, to any reward; that it was
// answered counts.
func TestContradictionsAlignNothing(t *testing.T) {
	b := answerable(t, 4, 1)
	ls := []label.Label{prefer(0, "demo-00002", "demo-00001"), prefer(1, "demo-00001", "demo-00002"), prefer(2, "demo-00002", "demo-00003"), prefer(3, "demo-00002", "demo-00003")}
	for _, l := range ls {
		if _, err := b.s.store.Append(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	a, err := b.s.opinions(t.Context(), b.parts.taste)
	if err != nil || len(a.order) != 1 || a.order[0].Worse.Episode != "demo-00003" || a.len() != 4 {
		t.Errorf("of 4 answers that are two orders, one contradicted: %+v and %d in all, %v", a.order, a.len(), err)
	}
	if pairs, _, err := b.s.comparisons(t.Context(), b.parts.taste.Experts); err != nil || len(pairs) != 1 {
		t.Errorf("%d comparisons, %v; want 1", len(pairs), err)
	}
}

// A reward is called what it is, and not what a session's configuration says, which rapport align
// does not change.
func TestTheSessionsOwnRewardBearsItsName(t *testing.T) {
	c := tiny(t)
	b := &bench{s: &Session{cfg: c}, parts: parts{taste: taste{Kind: "rlhf", Person: "ann"}, scorer: sevens{}}}
	r, err := ownRival(t.Context(), b, "rlhf", nil)
	if err != nil || !strings.Contains(r.what, "(RLHF), as ann answered") || strings.Contains(r.what, "RAPL") {
		t.Errorf("the session's reward is called %q, %v; want RLHF for ann", r.what, err)
	}
	var ep policy.Episode
	for range 3 {
		ep.Inputs = append(ep.Inputs, policy.Input{Features: perception.Features{Embed: []float32{1}}})
	}
	ep.Applied = make([]robot.Command, 2)
	if x, err := b.s.explain(t.Context(), b.parts, take{episode: ep}); err != nil || !strings.HasPrefix(x.Name, "a reward learned from comparisons (RLHF), as ann answered, the fine-tuned") {
		t.Errorf("a film calls it %q, %v; want RLHF for ann", x.Name, err)
	}
}

// Where too little was said, what is told names how much is wanted, and a key that is there.
func TestTooFewComparisonsAreToldOfByTheirKeys(t *testing.T) {
	ctx := t.Context()
	b := answerable(t, 6, 1)
	for i := range 2 {
		if _, err := b.s.store.Append(ctx, prefer(i, "demo-00002", fmt.Sprintf("demo-%05d", 1+2*i))); err != nil {
			t.Fatal(err)
		}
	}
	te := b.parts.taste
	te.Kind = "rlhf"
	_, _, err := b.s.realign(ctx, te)
	wantErr(t, err, "holds 2 answers", "want at least 3: label some")
	b.s.cfg.Session.Realign = 1
	if anew, err := b.s.freshen(ctx, &parts{taste: te}, nil, 0); anew || err != nil {
		t.Errorf("two answers to a reward of kind rlhf: aligned %t, %v; want it to stay", anew, err)
	}
	_, err = b.rivals(ctx, []string{"a=rlhf"})
	wantErr(t, err, "holds 2; want 3 at least: ask somebody by rapport label")
	_, err = b.rivals(ctx, []string{"a=rlhf:labels=2"})
	wantErr(t, err, "labels is 2", "want 3 at least")
	_, err = b.rivals(ctx, []string{"a=pal"})
	wantErr(t, err, "want 4 at least: label more")

	truths, videos := watchedBy(30)
	for kind, words := range map[string][]string{"rlhf": {"reward.kind rlhf wants 3 at least", "raise reward.triplets"}, "rapl": {"wants 2 at least", "or set it to 0"}} {
		c := tiny(t)
		set(t, &c, "reward.kind="+kind, fmt.Sprint("reward.triplets=", least(kind)-1))
		s := begun(t, c)
		_, err := s.answers(ctx, person.New(rand.NewPCG(1, 1), 0), truths, videos)
		wantErr(t, err, words...)
	}

	// As many as are wanted are enough, of one person too.
	for kind, want := range map[string]int{"rapl": 2, "rlhf": 3, "btt": 3, "pal": 4} {
		for _, who := range []string{"", "ann"} {
			c := tiny(t).Reward
			if c.Kind = kind; kind != "rapl" {
				c.Person = who
			}
			said := []rapl.Triplet{{Anchor: videos[0], Better: videos[2], Worse: videos[29], Annotator: "ben"}}
			if kind != "rlhf" && kind != "btt" || who == "" {
				said = nil
			}
			for i := range want {
				said = append(said, rapl.Triplet{Anchor: videos[i], Better: videos[i+1], Worse: videos[10+i], Annotator: "ann"})
			}
			if _, err := (&taste{Gamma: c.Gamma}).compare(ctx, c, 7, said); err != nil {
				t.Errorf("%s for %q, %d comparisons: %v", kind, who, want, err)
			}
			if _, err := (&taste{Gamma: c.Gamma}).compare(ctx, c, 7, said[:len(said)-1]); err == nil || kind != "rapl" && !errors.Is(err, errTooFew) {
				t.Errorf("%s for %q, %d comparisons: error %v, want too few", kind, who, want-1, err)
			}
		}
	}
}
