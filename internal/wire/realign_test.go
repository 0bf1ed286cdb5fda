package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
)

// prefer says that one episode is better than another.
func prefer(i int, better, worse string) label.Label {
	return label.Label{
		ID: fmt.Sprint("late-", i), Annotator: "ann", Stamp: time.Unix(int64(i), 0).UTC(), Choice: label.Left,
		Query: label.Query{ID: fmt.Sprint("late-q-", i), Kind: label.Pair, Clips: []label.Clip{{Episode: better}, {Episode: worse}}},
	}
}

// talkative runs a session, or goes on with it, in which a person says three things
// once two episodes are done. The process ends when episode dies is done, unless
// that is 0.
func talkative(t *testing.T, c config.Config, dies int) (*Session, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := byTheClock()
	var s *Session
	o.Tell = func(stage string, done, _ int, note string) {
		if stage != "fine-tune" || note == "" {
			return
		}
		if done == 2 {
			for i, l := range []label.Label{prefer(0, "demo-00000", "demo-00004"), prefer(1, "online-00001", "demo-00005"), prefer(2, "demo-00001", "online-00000")} {
				if _, err := s.store.Append(context.Background(), l); err != nil {
					t.Errorf("label %d: %v", i, err)
				}
			}
		}
		if done == dies {
			cancel()
		}
	}
	var err error
	if _, missing := os.Stat(filepath.Join(c.Out, c.Name, database)); missing != nil {
		s, err = Create(ctx, c, o)
	} else {
		s, err = Reopen(ctx, c, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(ctx)
	return s, err
}

func TestLabelsThatArriveAlignTheRewardAnewAndRelabelTheReplay(t *testing.T) {
	c := tiny(t)
	set(t, &c, "name=live", "robot.horizon=30", "session.realign=3", "session.episodes=5", "reward.success=truth")
	s, err := talkative(t, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	v, b, err := s.store.LatestCheckpoint(ctx, kindReward)
	if err != nil || v != 2 {
		t.Fatalf("reward %d, %v; want 2", v, err)
	}
	taste, err := decodeTaste(b)
	if err != nil {
		t.Fatal(err)
	}
	now, err := taste.scorer()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		name string
		want float64
	}{{"version", 2}, {"relabelled", 6 + 2}, {"answers", 8 + 3}} {
		ps, err := s.store.Metric(ctx, "reward", m.name)
		if err != nil || len(ps) != 1 || ps[0].Step != 1 || ps[0].Value != m.want {
			t.Errorf("%s is %v, %v; want %g after episode 1", m.name, ps, err, m.want)
		}
	}
	// Files hold what was said at the time; the watch goes by the reward as it is now.
	for n := range 5 {
		e, err := s.store.Episode(episodeID(n))
		if err != nil {
			t.Fatal(err)
		}
		r := make([]float64, e.Len())
		if err := now.Score(ctx, r, e.Trajectory()); err != nil {
			t.Fatal(err)
		}
		var apart float64
		for i := range r {
			apart = max(apart, math.Abs(r[i]-e.Rewards[i]))
		}
		if newer := n >= 2; newer != (apart < 1e-9) {
			t.Errorf("episode %d differs by %g from the new reward", n, apart)
		}
		heldAgainst(t, s, n, r)
	}
	// One that was interrupted after the alignment, and goes on, learns the same.
	_, want, err := s.store.LatestCheckpoint(ctx, kindTuned)
	if err != nil {
		t.Fatal(err)
	}
	twin := tiny(t)
	set(t, &twin, "name=live", "robot.horizon=30", "session.realign=3", "session.episodes=5", "reward.success=truth")
	cut, err := talkative(t, twin, 4)
	if err == nil {
		t.Fatal("the session was not interrupted")
	}
	if err := cut.Close(); err != nil {
		t.Fatal(err)
	}
	if cut, err = talkative(t, twin, 0); err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	if _, got, err := cut.store.LatestCheckpoint(ctx, kindTuned); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a session that was interrupted after its reward was aligned anew learned something else: %v", err)
	}
	// The report and the explanations are of the reward at the end.
	id, err := s.chosen(ctx, Best)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.Dir(), "explained-"+id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var e Explained
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	if sum, err := s.store.CheckpointSum(ctx, kindReward); err != nil || e.Judge != sum || e.Episode != id || len(e.Plan) != e.T*e.Frames || len(e.Match) != 30 {
		t.Errorf("explained %s by %s, %v; want %s by %s", e.Episode, e.Judge, err, id, sum)
	}
}

// What a head held out stays so when it is aligned anew, kept in between as a session keeps it;
// the rest it has learned from.
func TestWhatAHeadHeldOutStaysHeldOut(t *testing.T) {
	c := tiny(t).Reward
	_, videos := watchedBy(30)
	var said []rapl.Triplet
	for i := range 24 {
		said = append(said, rapl.Triplet{Anchor: videos[29], Better: videos[i], Worse: videos[i+1]})
	}
	te := taste{Gamma: c.Gamma}
	if _, err := te.compare(t.Context(), c, 7, said[:12]); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(te)
	if err != nil {
		t.Fatal(err)
	}
	now, err := decodeTaste(b)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := now.compare(t.Context(), c, 7, said); err != nil || rep.Train != 17 || rep.Held != 7 {
		t.Errorf("%d to train on and %d held out, %v; want 17 and 7", rep.Train, rep.Held, err)
	}
	if len(te.Sides) != 12 || len(now.Sides) != 24 {
		t.Errorf("sides of %d pairs, then of %d; want 12 and 24", len(te.Sides), len(now.Sides))
	}
	for pair, out := range te.Sides {
		if now.Sides[pair] != out {
			t.Errorf("%s was held out: %v, and is: %v", pair, out, now.Sides[pair])
		}
	}
}

// heldAgainst fails unless the watch holds rewards r against what is known of the n-th episode.
func heldAgainst(t *testing.T, s *Session, n int, r []float64) {
	t.Helper()
	ep := policy.Episode{Rewards: r}
	want := ep.Return() / float64(len(r))
	if got, err := s.store.MetricAt(t.Context(), seriesWatch, "reward", uint64(n)); err != nil || math.Abs(got-want) > 1e-9 {
		t.Errorf("episode %d is watched by a reward of %g, %v; want %g", n, got, err, want)
	}
}

// damage flips a bit of the newest checkpoint of a kind.
func damage(t *testing.T, dir, kind string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "checkpoints", kind+"-*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no checkpoint of kind %s: %v", kind, err)
	}
	newest := slices.Max(files)
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// datasetOf are the episodes of the dataset that in becomes, and what is noted of it.
func datasetOf(t *testing.T, in string) (es []policy.Episode, notes string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "lerobot")
	got, err := Convert(t.Context(), ConvertConfig{In: []string{in}, Out: out, Images: true}, quietly())
	if err != nil || len(got.Left) > 0 {
		t.Fatal(got.Left, err)
	}
	r, err := OpenDataset(t.Context(), out, dataset.Options{NoFrames: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Each(t.Context(), func(e policy.Episode) error { es = append(es, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return es, strings.Join(got.Notes, "\n")
}

func TestOfflineAlignmentIsWhatTheSessionGoesOnWith(t *testing.T) {
	c := tiny(t)
	set(t, &c, "name=off", "session.episodes=3", "reward.success=truth")
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Dir()
	if _, err = s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, was, err := s.store.LatestCheckpoint(t.Context(), kindTuned)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range []label.Label{prefer(0, "demo-00000", "online-00000"), prefer(1, "demo-00001", "demo-00005")} {
		if _, err := s.store.Append(t.Context(), l); err != nil {
			t.Fatalf("label %d: %v", i, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	re, err := Align(t.Context(), dir, nil, []string{"reward.gradient=envelope"}, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	if re.Version != 2 || re.Answers != 10 || re.Train+re.Held != 10 {
		t.Errorf("got %+v", re)
	}
	// What is trained offline learns from the rewards that the session goes on with.
	v, err := visit(dir, trains, "training", nil, []string{"learner.kind=iql"}, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	now, err := v.judges(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := v.corpus(t.Context(), false, true)
	if err := errors.Join(err, v.store.Close()); err != nil || len(data.episodes) != 6+3 {
		t.Fatalf("%d episodes to train on, %v; want 9", len(data.episodes), err)
	}
	for _, ep := range data.episodes {
		r := make([]float64, ep.Len())
		if err := now.scorer.Score(t.Context(), r, ep.Trajectory()); err != nil || !slices.Equal(r, ep.Rewards) {
			t.Errorf("offline %s is paid %v, %v; want %v", ep.ID, ep.Rewards, err, r)
		}
	}
	// And so does who learns from the session, or a file of it, as a dataset.
	file := filepath.Join(dir, "episodes", "online-00001.mcap")
	for in, want := range map[string][]policy.Episode{dir: data.episodes, file: {data.episodes[slices.IndexFunc(data.episodes, func(e policy.Episode) bool { return e.ID == "online-00001" })]}} {
		got, notes := datasetOf(t, in)
		if len(got) != len(want) || strings.Contains(notes, "reward") {
			t.Fatalf("%s: %d episodes, want %d; %s", in, len(got), len(want), notes)
		}
		for i, e := range got {
			paid := want[i].Rewards
			if !e.Terminal { // the last step is left out of what was cut off
				paid = paid[:len(paid)-1]
			}
			if !slices.EqualFunc(e.Rewards, paid, func(a, b float64) bool { return float32(a) == float32(b) }) {
				t.Errorf("exported %s is paid %v, want %v", want[i].ID, e.Rewards, paid)
			}
		}
	}
	e, err := Explain(t.Context(), dir, "online-00002", nil, nil, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	var png bytes.Buffer
	if err := e.Draw(&png); err != nil || !bytes.HasPrefix(png.Bytes(), []byte("\x89PNG")) {
		t.Errorf("drew %d bytes, %v", png.Len(), err)
	}
	if len(e.pairs.Pairs) != shots {
		t.Errorf("%d pairs of frames, want %d", len(e.pairs.Pairs), shots)
	}
	for _, bad := range []string{"online-00009", "../config"} {
		if _, err := Explain(t.Context(), dir, bad, nil, nil, byTheClock()); err == nil || !strings.Contains(err.Error(), "best, worst or last") {
			t.Errorf("explained %s: %v", bad, err)
		}
	}
	set(t, &c, "session.episodes=4")
	if s, err = Reopen(t.Context(), c, byTheClock()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := s.judges(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		ep, err := s.store.Episode(episodeID(n))
		if err != nil {
			t.Fatal(err)
		}
		r := make([]float64, ep.Len())
		if err := p.scorer.Score(t.Context(), r, ep.Trajectory()); err != nil {
			t.Fatal(err)
		}
		heldAgainst(t, s, n, r)
		if d := cmp.Diff(r, ep.Rewards); n == 3 && d != "" {
			t.Errorf("the episode was not scored by the new reward: %s", d)
		}
	}
	if _, is, err := s.store.LatestCheckpoint(t.Context(), kindTuned); err != nil || bytes.Equal(is, was) {
		t.Errorf("nothing was learned: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// A reward that is damaged is dropped, and the one before it, not the first, is gone on with.
	if re, err = Align(t.Context(), dir, nil, nil, byTheClock()); err != nil || re.Version != 3 {
		t.Fatalf("aligned once more: version %d, %v", re.Version, err)
	}
	damage(t, dir, kindReward)
	episodes, notes := datasetOf(t, dir)
	for _, e := range episodes {
		if e.Rewards != nil {
			t.Errorf("exported %s has rewards of a reward that cannot be read", e.ID)
		}
	}
	if !strings.Contains(notes, dir+": rewards are left out, since") || strings.Count(notes, "left out") != 1 {
		t.Errorf("exported without a word of why there are no rewards: %s", notes)
	}
	set(t, &c, "session.episodes=5")
	if s, err = Reopen(t.Context(), c, byTheClock()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "version 2 is before it") {
		t.Fatalf("with a damaged reward: %v", err)
	}
	if err := s.DropCheckpoint(t.Context(), kindReward); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	scored := func(when string, by reward.Scorer) {
		t.Helper()
		ep, err := s.store.Episode(episodeID(4))
		if err != nil {
			t.Fatal(err)
		}
		r := make([]float64, ep.Len())
		if err := by.Score(t.Context(), r, ep.Trajectory()); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, ep.Rewards); d != "" {
			t.Errorf("%s: the episode was not scored by the reward before the one that was dropped: %s", when, d)
		}
	}
	scored("the reward dropped", p.scorer)
	// What is prepared once more scores by it, too.
	if err := s.DropCheckpoint(t.Context(), kindPolicy); err != nil {
		t.Fatal(err)
	}
	q, err := s.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	scored("the policy dropped", q.scorer)
	if v, _, err := s.store.LatestCheckpoint(t.Context(), kindReward); err != nil || v != 2 {
		t.Errorf("reward %d is the newest, %v; want 2", v, err)
	}
}

// All of it: the encoder that the session goes on with is another one, and what it
// saw of the demonstrations is seen anew.
func TestTheEncoderLearnsFromPreferences(t *testing.T) {
	c := tiny(t)
	set(t, &c, "name=all", "robot.horizon=30", "session.episodes=1", "reward.train=all", "reward.ties=true", "encoder.steps=30", "reward.temperature=5")
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := withDesk(t.Context(), s.desk)
	p, err := s.prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := s.store.LatestCheckpoint(ctx, kindEncoder)
	if err != nil {
		t.Fatal(err)
	}
	if r, _, err := s.store.LatestCheckpoint(ctx, kindReward); err != nil || r != v || v != tunedVersion {
		t.Fatalf("encoder %d and reward %d, %v; want %d", v, r, err, tunedVersion)
	}
	for _, e := range p.taste.Experts {
		for _, d := range p.demos {
			if d.ID != e.Name {
				continue
			}
			want, err := rapl.VideoOf(e.Name, d.Trajectory()[1:])
			if err != nil || cmp.Diff(want, e) != "" {
				t.Errorf("the preferred video %s is not as the new encoder sees it: %v", e.Name, err)
			}
		}
	}
	// Another life, which died before it was prepared, makes the same.
	sum, err := s.store.CheckpointSum(ctx, kindEncoder)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.Mark(ctx, "prepared", ""); err != nil {
		t.Fatal(err)
	}
	// What the encoder's epoch is chosen by, the head has not learned from.
	if err := s.store.DropCheckpoint(ctx, kindReward); err != nil {
		t.Fatal(err)
	}
	_, b, err := s.store.LatestCheckpoint(ctx, kindReward)
	if err != nil {
		t.Fatal(err)
	}
	if head, err := decodeTaste(b); err != nil || len(head.Sides) == 0 || !maps.Equal(head.Sides, p.taste.Sides) {
		t.Errorf("of these pairs the head held out those told true: %v; the encoder %v; %v", head.Sides, p.taste.Sides, err)
	}
	if _, err := s.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	if again, err := s.store.CheckpointSum(ctx, kindEncoder); err != nil || again != sum {
		t.Errorf("prepared again, the encoder is another: %v", err)
	}
	if es, err := s.store.Episodes(ctx, policy.Demo); err != nil || len(es) != 6 {
		t.Errorf("%d demonstrations, %v", len(es), err)
	}
}

func TestRealignmentNeedsOneProcess(t *testing.T) {
	c := tiny(t)
	set(t, &c, "session.realign=5")
	if _, err := Learn(t.Context(), c, byTheClock()); err == nil || !strings.Contains(err.Error(), "session.realign") {
		t.Errorf("got %v", err)
	}
}

// A triplet asks what is alike: beside a bad anchor, the other bad clip is the truthful
// answer, and must not be learned from as if it were the better one.
func TestAnswersBesideDislikedAnchorsDoNotSayWhatIsBetter(t *testing.T) {
	c := tiny(t)
	set(t, &c, "reward.kind=rlhf")
	s := begun(t, c)
	ctx := t.Context()
	name := func(i int) string { return fmt.Sprintf("demo-%05d", i) }
	const n, good = 8, 4 // the first are good, of which two are preferred videos
	for i := range n {
		ep := policy.Episode{ID: name(i), Seq: uint64(i), Origin: policy.Demo, Applied: make([]robot.Command, 4), By: make([]robot.Source, 4), Version: make([]uint64, 4)}
		for k := range 5 {
			x := []float32{1, float32(i*k%5) / 5}
			if i >= good {
				x[0] = -1
			}
			ep.Inputs = append(ep.Inputs, policy.Input{Features: perception.Features{Embed: x}})
		}
		if _, err := s.store.AddEpisode(ctx, ep); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(id string, clips ...label.Clip) {
		t.Helper()
		if _, err := s.store.Append(ctx, label.Label{ID: "l" + id, Annotator: "ann", Choice: label.Left, Query: label.Query{ID: id, Kind: label.Triplet, Clips: clips}}); err != nil {
			t.Fatal(err)
		}
	}
	te := taste{Version: tasteVersion, Kind: "rlhf"}
	for i := range 2 {
		v, err := s.video(nil, name(i))
		if err != nil {
			t.Fatal(err)
		}
		te.Experts = append(te.Experts, v)
	}
	if err := s.store.SaveCheckpoint(ctx, kindReward, 1, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for a := good; a < n; a++ { // an anchor, another bad clip and a good one
		for b := range good {
			ask(fmt.Sprint("q-", a, b), label.Clip{Episode: name(a)}, label.Clip{Episode: name(good + (a+1)%good)}, label.Clip{Episode: name(b)})
		}
	}
	ask("q-part", label.Clip{Episode: name(0), From: 0, To: 2}, label.Clip{Episode: name(5)}, label.Clip{Episode: name(2)})
	if _, _, err := s.realign(ctx, te); err == nil || !strings.Contains(err.Error(), "holds 0 answers") || !strings.Contains(err.Error(), "17 triplets whose anchors are no preferred videos") {
		t.Errorf("aligned with nothing that says what is better: %v", err)
	}
	if _, _, err := s.comparisons(ctx, te.Experts); err == nil || !strings.Contains(err.Error(), "17 triplets") {
		t.Errorf("compared with nothing that says what is better: %v", err)
	}
	for i := range 6 {
		ask(fmt.Sprint("q-good", i), label.Clip{Episode: name(i % 2)}, label.Clip{Episode: name(2 + i%2)}, label.Clip{Episode: name(good + i%4)})
	}
	ask(askPrefix+"1", label.Clip{Episode: name(3)}, label.Clip{Episode: name(2)}, label.Clip{Episode: name(5)}) // whose anchors are liked
	te, re, err := s.realign(ctx, te)
	if err != nil || re.Answers != 7 {
		t.Fatalf("learned from %d answers, %v; want 7", re.Answers, err)
	}
	sc, err := te.scorer()
	if err != nil {
		t.Fatal(err)
	}
	var sum [2]float64
	for i := range n {
		e, err := s.store.Episode(name(i))
		if err != nil {
			t.Fatal(err)
		}
		r := make([]float64, e.Len())
		if err := sc.Score(ctx, r, e.Trajectory()); err != nil {
			t.Fatal(err)
		}
		for _, x := range r {
			sum[i/good] += x
		}
	}
	if sum[0] <= sum[1] {
		t.Errorf("good episodes are worth %v, bad ones %v", sum[0], sum[1])
	}
	if pairs, _, err := s.comparisons(ctx, te.Experts); err != nil || len(pairs) != 2*7 { // the anchor is better, too
		t.Errorf("%d comparisons, %v; want 14", len(pairs), err)
	}
	for i, id := range []string{name(6), name(7)} { // a stretch tells nothing of its episode
		ask(fmt.Sprint("q-stretch", i), label.Clip{Episode: name(0)}, label.Clip{Episode: id, To: 2}, label.Clip{Episode: name(2), From: 2, To: 4})
	}
	liked, disliked, err := s.opinion(ctx, parts{taste: te})
	if err != nil || !liked[name(2)] || disliked[name(2)] || len(liked) != 4 || len(disliked) != 4 || liked[name(5)] || !disliked[name(5)] {
		t.Errorf("liked %v and disliked %v, %v", liked, disliked, err)
	}
	te.Kind = "rapl" // learns what is alike
	if a, err := s.opinions(ctx, te); err != nil || len(a.like) != 17+7+2 || a.left != 0 {
		t.Errorf("RAPL learns from %d answers without %d, %v; want all 26", len(a.like), a.left, err)
	}
}

// What was said of recordings beside a session is learned by nothing: it does not count among what
// is enough to align by, and the error says where it would count.
func TestAnswersAboutRecordingsBesideASessionAlignNothing(t *testing.T) {
	c := tiny(t)
	set(t, &c, "session.realign=1")
	s := begun(t, c)
	ctx := t.Context()
	recorded(t, s.store, "demo-00000", 0, policy.Demo, 3, false)
	for i, two := range [][2]string{{"monday", "tuesday"}, {"demo-00000", "monday"}} {
		if _, err := s.store.Append(ctx, prefer(i, two[0], two[1])); err != nil {
			t.Fatal(err)
		}
	}
	te := taste{Version: tasteVersion, Kind: "rapl"}
	if a, err := s.opinions(ctx, te); err != nil || a.len() != 0 || a.aside != 2 {
		t.Errorf("%d answers beside %d, %v; want none beside 2", a.len(), a.aside, err)
	}
	if _, _, err := s.realign(ctx, te); err == nil || !strings.Contains(err.Error(), "holds 0 answers") || !strings.Contains(err.Error(), "beside 2 about recordings that are no episodes of it: begin a session over these, by robot.kind=bag") {
		t.Errorf("aligned: %v", err)
	}
	// One that counted them once waits for no more answers because of it.
	if err := s.store.Mark(ctx, markAnswers, "2"); err != nil {
		t.Fatal(err)
	}
	if did, err := s.freshen(ctx, &parts{taste: te}, nil, 0); did || err != nil {
		t.Errorf("freshened %v, %v", did, err)
	}
	if n, err := s.aligned(ctx); n != 0 || err != nil {
		t.Errorf("%d answers are told to be learned from, %v; want 0", n, err)
	}
}

// A scorer that serves, and stayed while the learner's reward was aligned anew, swaps to it.
func TestAlignedAnewIsPublishedAsANewerVersion(t *testing.T) {
	c := tiny(t)
	s := hosted(t, broker(t, &c), c)
	ctx, end := context.WithCancel(t.Context())
	got := make(chan taste, 8)
	done := make(chan error, 1)
	go func() {
		done <- s.conn.WatchParams(ctx, s.name+subReward, func(p policy.Params) {
			is, err := decodeTaste(p.Data)
			if err != nil {
				t.Error(err)
			}
			got <- is
		})
	}()
	for _, gamma := range []float64{0.5, 0.5, 0.75} { // the learner restarted once, and once after an alignment
		if err := s.publish(t.Context(), parts{taste: taste{Version: tasteVersion, Kind: "goal", Gamma: gamma}}); err != nil {
			t.Fatal(err)
		}
		if gamma == 0.5 && len(got) == 0 {
			eventually(t, "the first is taken", func() bool { return len(got) == 1 })
		}
	}
	eventually(t, "the second is taken", func() bool { return len(got) == 2 })
	if first, second := <-got, <-got; first.Gamma != 0.5 || second.Gamma != 0.75 {
		t.Errorf("it took rewards of gamma %g, then %g", first.Gamma, second.Gamma)
	}
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What was queued with the rewards of an older reward is learned with those of the newer one,
// as after a restart.
func TestQueuedEpisodesAreRatedByTheRewardAlignedAnew(t *testing.T) {
	s, l, feed := aside(t)
	n := 0
	es := policytest.Demos(2, 2, [2]float64{})
	for i, e := range es {
		e.ID, e.Origin = episodeID(i), policy.Online
		if i == 1 {
			if err := s.store.Mark(t.Context(), markRealigned, "yes"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.learnFrom(t.Context(), l, &n, e, sevens{}, feed); err != nil {
			t.Fatal(err)
		}
	}
	ps, err := s.store.Metric(t.Context(), "episode", "return")
	if err != nil || len(ps) != 2 || ps[0].Value != es[0].Return() || ps[1].Value != 7*float64(es[1].Len()) {
		t.Errorf("returns %+v, %v; want %g as it was said, then %g of the newer reward", ps, err, es[0].Return(), 7*float64(es[1].Len()))
	}
}

// A replay in a folder that draws by priority goes on by those that it had, although it is told
// the rewards of the reward aligned anew.
func TestPrioritiesOutliveTheRewardAlignedAnew(t *testing.T) {
	c := tiny(t)
	set(t, &c, "learner.replay.dir=session", "learner.replay.priority=0.6", "session.realign=5")
	s := begun(t, c)
	ctx := t.Context()
	if err := s.store.Mark(ctx, markRealigned, "yes"); err != nil {
		t.Fatal(err)
	}
	clone, err := cloneOf(t).Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	p := parts{clone: clone, demos: policytest.Demos(2, 2, [2]float64{}), scorer: sevens{}}
	var saved [2][]byte
	for i := range saved {
		l, _, err := s.learner(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 { // fresh
			if _, err := l.Update(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.saveLearner(ctx, l, 0); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := errors.Join(l.Save(&b), closeKeeper(l)); err != nil {
			t.Fatal(err)
		}
		saved[i] = b.Bytes()
	}
	if !bytes.Equal(saved[0], saved[1]) {
		t.Error("the learner goes on otherwise than it was left")
	}
}

// sevens is a reward of 7 a step.
type sevens struct{}

func (sevens) Score(_ context.Context, dst []float64, _ []perception.Features) error {
	for i := range dst {
		dst[i] = 7
	}
	return nil
}
