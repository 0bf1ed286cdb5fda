package wire

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot"
)

// Every aligner is made of the policies that the configuration says it takes, and of
// no others.
func TestAlignersTakeTheirPolicies(t *testing.T) {
	for process, kind := range map[string]diffusion.Kind{"diffusion": diffusion.Diffusion, "flow": diffusion.Flow} {
		arch := aligntest.Arch()
		arch.Process.Kind = kind
		net, err := diffusion.NewNet(arch, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(config.Aligners(), "sft") {
			tuned, err := align.Tune(net, align.Config{Draw: diffusion.Draw{Steps: 2, Eta: 1}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = aligner(tuned, config.Align{Aligner: name}, aligntest.Climb)
			if takes := slices.Contains(config.AlignersOf(process), name); takes != (err == nil) {
				t.Errorf("%s of a %s: error %v, want one: %t", name, process, err, !takes)
			}
			if name == "sft" {
				wantErr(t, err, `align.aligner is "sft"`, "seppo")
			}
		}
	}
}

func TestBetaSuitsItsAligner(t *testing.T) {
	for _, tt := range []struct {
		aligner string
		process diffusion.Kind
		beta    float64
		want    float64
	}{
		{"diffusion-dpo", diffusion.Diffusion, 0, 0.1},
		{"diffusion-dpo", diffusion.Diffusion, 20, 20},
		{"ppd", diffusion.Diffusion, 0, 0.1},
		{"ppd", diffusion.Flow, 0, 0}, // Flow-DPO's own
		{"seppo", diffusion.Diffusion, 0, 0.1},
		{"seppo", diffusion.Diffusion, 0.3, 0.3},
		{"seppo", diffusion.Flow, 0, 0},
		{"rwr", diffusion.Diffusion, 0, 0.1},
		{"prdp", diffusion.Diffusion, 0, 0.1},
		{"d3po", diffusion.Diffusion, 0, 0},
	} {
		if got := betaOf(config.Align{Aligner: tt.aligner, Beta: tt.beta}, tt.process); got != tt.want {
			t.Errorf("%s of process %v, align.beta %g: %g, want %g", tt.aligner, tt.process, tt.beta, got, tt.want)
		}
	}
}

// Every align.lambda is meant as it is, 0, by which being near alone counts, too.
func TestLambdaIsMeant(t *testing.T) {
	net, err := diffusion.NewNet(aligntest.Arch(), rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := align.Tune(net, align.Config{Draw: diffusion.Draw{Steps: 2, Eta: 1}})
	if err != nil {
		t.Fatal(err)
	}
	by, err := align.NewD3PO(tuned, align.D3POConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, lambda := range []float64{0, 0.5, 0.9, 1} {
		const value = 0.25
		looked, got := errors.New("looked"), 0.0
		rc := choice(config.Align{Budget: 1, Near: 1, Rounds: 1, Lambda: lambda})
		rc.Train, rc.Held = make([]float32, net.Seen()), make([]float32, net.Seen())
		rc.Value = func([]align.Sample) float64 { return value }
		rc.Looked = func(l align.Look) error {
			got = l.Score
			return looked
		}
		run, err := align.NewRun(by, align.Kept, rc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run.Go(t.Context()); err != looked {
			t.Fatal(err)
		}
		if want := align.Harmonic(lambda, value, 1); math.Abs(got-want) > 1e-12 { // the policy as it was is near
			t.Errorf("align.lambda %g: a score of %v, want %v", lambda, got, want)
		}
	}
}

// A critic is trusted about what is like that which it was fitted to, and where another
// one agrees; each user's is their own.
func TestWhatIsFarIsTrustedLess(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	some := func(at float32, user int) (ss []align.Sample) {
		for range 60 {
			x := at + 0.3*float32(rng.NormFloat64())
			s := align.Sample{Seen: []float32{float32(rng.NormFloat64())}, X: []float32{x, -x}, Actions: make([]float32, 2), Weight: 1, User: user}
			if x > at {
				s.Reward = 1
			}
			ss = append(ss, s)
		}
		return ss
	}
	a := &Alignment{s: &Session{}}
	near, far := some(0, 0), some(3, 1)
	mean := func(weigh func([]align.Sample), ss []align.Sample, user int) (sum float64) {
		ss = slices.Clone(ss)
		for i := range ss {
			ss[i].User = user
		}
		weigh(ss)
		for _, s := range ss {
			if !(s.Weight >= 0 && s.Weight <= 1) {
				t.Fatalf("weight %v, want 0 to 1", s.Weight)
			}
			sum += s.Weight / float64(len(ss))
		}
		return sum
	}
	l := lessons{train: slices.Concat(near, far), fitted: [][2]int{{0, 60}, {60, 120}}}
	for _, ss := range [][]align.Sample{near, far, l.train} {
		k, err := a.fit(t.Context(), ss)
		if err != nil {
			t.Fatal(err)
		}
		l.critics = append(l.critics, k)
	}
	l.critics, l.critic = l.critics[:2], l.critics[2]
	for _, kind := range []string{"none", "leverage", "doubt"} {
		a.s.cfg.Align.Weigh = kind
		one := lessons{train: near, critic: l.critics[0]}
		weigh, err := a.weigher(t.Context(), one)
		if kind == "none" {
			if weigh != nil || err != nil {
				t.Errorf("none weighs (%v)", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		here, there := mean(weigh, near, 1), mean(weigh, far, 0)
		t.Logf("%s: %.3f near, %.3f far", kind, here, there)
		if kind == "leverage" && (here < 0.8 || there > here-0.1) {
			t.Errorf("mean weight %.3f near what was fitted to and %.3f far from it", here, there)
		}
		if kind == "doubt" { // both may go on alike far away
			other, err := secondCritic(t.Context(), near, draw(0, networks, 23))
			if err != nil {
				t.Fatal(err)
			}
			lowest := 1.0
			for _, s := range slices.Concat(near, far) {
				want := math.Exp(-4 * math.Abs(one.critic.Of(&s)-other.Of(&s)))
				lowest = min(lowest, want)
				if got := mean(weigh, []align.Sample{s}, 0); math.Abs(got-want) > 1e-12 {
					t.Fatalf("critics that say %v and %v: weight %v, want %v", one.critic.Of(&s), other.Of(&s), got, want)
				}
			}
			if lowest > 0.9 {
				t.Errorf("nothing is doubted: the least weight is %v", lowest)
			}
		}
		a.s.cfg.Align.Aligner = "ppd"
		if weigh, err = a.weigher(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		a.s.cfg.Align.Aligner = ""
		if x, y := mean(weigh, near, 0), mean(weigh, near, 1); math.Abs(x-here) > 1e-9 || kind == "leverage" && y > x-0.1 || x == y {
			t.Errorf("%s: the first user's samples weigh %.3f to him (%.3f alone) and %.3f to the second", kind, x, here, y)
		}
	}
}

// Chunks that are rehearsed as well keep their weights, however those of a batch are weighed.
func TestRehearsalIsNotWeighed(t *testing.T) {
	good := []align.Sample{{Weight: 1}, {Weight: 1}}
	bring := stored(good)
	var b align.Batch
	bring(&b, nil)
	b.Samples[0].Weight = 0.5
	bring(&b, nil)
	if len(b.Samples) != 2 || b.Samples[0].Weight != 0.5 || good[0].Weight != 1 {
		t.Errorf("a batch of weights %+v of stored ones of %+v", b.Samples, good)
	}
}

// Sets are near exemplars by what the two halves of a chunk do.
func TestSetsAreComparedByHalves(t *testing.T) {
	if got := halves([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 2); !slices.Equal(got, []float64{2, 3, 7, 8}) {
		t.Errorf("halves %v, want the means of two actions and of three", got)
	}
	chunk := func(x float32) align.Sample {
		return align.Sample{X: []float32{x, 0, x, 1}, Actions: make([]float32, 4), Weight: 1}
	}
	_, err := nearExemplars([]align.Sample{chunk(1)}, 2)
	wantErr(t, err, "1 exemplars", "raise align.best")
	judge, err := nearExemplars([]align.Sample{chunk(1), chunk(1.2), chunk(0.8)}, 2)
	if err != nil {
		t.Fatal(err)
	}
	var b align.Batch
	for i, x := range []float32{-1, 1, 1.1, -0.9, -1.2, 0.9} {
		s := chunk(x)
		s.Group = i / 2
		b.Samples = append(b.Samples, s)
	}
	if err := judge(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if want := []align.Pair{{Win: 1, Lose: 0}, {Win: 2, Lose: 3}, {Win: 5, Lose: 4}}; !slices.Equal(b.Pairs, want) {
		t.Errorf("pairs %+v, want %+v", b.Pairs, want)
	}
}

// Where nobody's best beats enough of the others, as of people who contradict each other, what
// learns from the best says so, and names what to set.
func TestTheBestMayBeNone(t *testing.T) {
	c := tinyAlign(t)
	c.Out = filepath.Join(c.Out, "my runs")
	dir, err := BeginAlign(c)
	if err != nil {
		t.Fatal(err)
	}
	tied := lessons{train: []align.Sample{{Reward: 0.5}, {Reward: 0.5}}}
	const best, marks = "align.best=0.25", "align.ask=segments align.by=rlhf"
	for _, tt := range []struct {
		aligner string
		sets    string
		l       lessons
		again   []string // with which it is to be done again; nil: it goes on
	}{
		{"rm-filter", best, tied, []string{"align.best=0.62", "align.labels=6"}}, {"seppo", best, tied, []string{"align.best=0.62"}},
		{"partial", best, tied, []string{"align.best=0.62"}}, {"dragon", best, tied, []string{"align.best=0.62"}},
		{"seppo", "align.best=0.62", tied, nil}, {"rm-filter", best, lessons{good: tied.train}, nil}, {"diffusion-dpo", best, tied, nil},
		{"fdpo", marks, tied, []string{"align.labels=6"}}, {"fdpo", marks, lessons{marked: tied.train}, nil},
		{"fdpo", marks + " align.labels=3 align.rollouts=5", tied, []string{"align.labels=5"}}, // each is asked about once
	} {
		sets := append(strings.Fields(tt.sets), "align.aligner="+tt.aligner)
		a, err := OpenAlign(dir, nil, sets, quiet(nil))
		if err != nil {
			t.Fatal(err)
		}
		refused := a.exemplary(tt.l, rankings{Order: make([]ranked, 8)}, 3)
		if tt.again == nil && refused != nil {
			t.Errorf("%s: %v", sets, refused)
		}
		for _, kv := range tt.again {
			wantErr(t, refused, a.Again("", kv), "rapport align '"+dir+"' --set ", "--set align.aligner="+tt.aligner)
		}
		if strings.HasPrefix(tt.sets, best) && tt.again != nil {
			wantErr(t, refused, "align.aligner "+tt.aligner+" learns from the best", "more than 75 % of the others (align.best)")
		}
		if strings.HasPrefix(tt.sets, marks) && tt.again != nil {
			wantErr(t, refused, "nobody marked a part of one of the 6 rollouts")
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The remedy of a damaged file is for the folder that has it, whatever its name is.
func TestDamagedTuningsNameTheirStep(t *testing.T) {
	c := tinyAlign(t)
	c.Out = filepath.Join(c.Out, "my runs")
	dir, err := BeginAlign(c)
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenAlign(dir, nil, []string{"align.beta=2"}, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.write(tuneFile, tunedBy{}); err != nil {
		t.Fatal(err)
	}
	_, err = a.lastTuning()
	wantErr(t, err, "is damaged", "rapport align tune '"+dir+"' --set align.beta=2")
}

// A number that was not measured is not said.
func TestDriftIsSaidWhereItWasMeasured(t *testing.T) {
	for _, drift := range []float64{0, 1.5} {
		was := tunedBy{By: "ppd for ann", Report: align.Report{Best: 1, Looks: []align.Look{{}, {Round: 1, KL: 2, Drift: drift}}}}
		if got := strings.Contains(was.note(), "drift"); got != (drift > 0) {
			t.Errorf("drift %v: %q", drift, was.note())
		}
	}
}

// Marks of steps are marks of the actions that were carried out then: of a chunk those
// after the first, which is of its history, up to the next chunk.
func TestMarksAreOfWhatWasCarriedOut(t *testing.T) {
	a := &Alignment{s: &Session{}}
	a.s.cfg.Policy.Diffusion.Exec = 3
	ss := []align.Sample{{Group: 10}, {Group: 11}, {Group: 12}, {Group: 13}}
	got := a.carried(ss, []label.Mark{{From: 2, To: 5, Good: true}, {From: 5, To: 6}, {From: 10, To: 12}}, diffusion.Arch{History: 2, Horizon: 5})
	const no, good, bad = align.Unmarked, align.Good, align.Bad
	want := []align.Sample{
		{Group: 10, Marks: []align.Mark{no, no, no, good, no}},
		{Group: 11, Marks: []align.Mark{no, good, good, bad, no}},
		{Group: 13, Marks: []align.Mark{no, no, bad, bad, no}}, // of the third nothing was said
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if ss[1].Marks != nil {
		t.Error("the rollout's own chunks are marked")
	}
}

func TestRolloutsAreRankedByTheirMarks(t *testing.T) {
	about := func(episode string, ms ...label.Mark) label.Label {
		return label.Label{Query: label.Query{Kind: label.Segments, Clips: []label.Clip{{Episode: episode}}}, Marks: ms}
	}
	said := byMarks([]label.Label{
		about("half", label.Mark{To: 4, Good: true}, label.Mark{From: 4, To: 8}), about("nothing"), about("bad", label.Mark{From: 3, To: 4}),
		about("same", label.Mark{To: 1, Good: true}), about("same", label.Mark{To: 1}), // by two people
	})
	var got []string
	for _, o := range said {
		got = append(got, o.Better.Episode+">"+o.Worse.Episode)
	}
	if s := strings.Join(got, " "); s != "half>bad same>bad" {
		t.Errorf("said %q", s)
	}
}

// A flow goes the whole way, and its aligners learn from ranked rollouts.
func TestFlowsAreAligned(t *testing.T) {
	c := tinyAlign(t)
	c.Policy.Diffusion.Process, c.Align.Aligner, c.Align.Rounds, c.Align.By = "flow", "flow-dpo", 2, "labels"
	c.People.Ties = 0
	c.People.Groups = []config.Group{{Name: "near", Share: 1, Distance: 1}, {Name: "far", Share: 1, Distance: -1}}
	dir, err := BeginAlign(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps(t.Context(), t, dir, nil, nil, AlignSteps()...); err != nil {
		t.Fatal(err)
	}
	searchedBeside(t, dir)
	for _, name := range []string{"rwr", "seppo", "rm-filter", "alignprop", "partial", "dragon"} {
		notes, err := steps(t.Context(), t, dir, []string{"align.aligner=" + name}, nil, AlignTune)
		if err != nil || len(notes) != 1 || !strings.HasPrefix(notes[0], name+", round") {
			t.Errorf("%s: %q, %v", name, notes, err)
		}
	}
	_, err = steps(t.Context(), t, dir, []string{"align.aligner=prdp"}, nil, AlignTune)
	wantErr(t, err, "align.aligner is prdp", "want one of flow-dpo, rwr, seppo")
	searchedFor(t, dir)
	searchedFarAway(t, c, dir)
	for _, kind := range []string{"best", "nrg"} {
		if _, err := Evaluate(t.Context(), dir, "cloned", 1, nil, []string{"policy.diffusion.sampler.kind=" + kind}, quiet(nil)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// searchedBeside searches by the rankings' critic, which is the one that tuning kept, and
// leaves that. What two people of opposite tastes say is opposite.
func searchedBeside(t *testing.T, dir string) {
	t.Helper()
	a, err := OpenAlign(dir, nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	aligned, err := a.Result()
	if err != nil {
		t.Fatal(err)
	}
	sampler := a.Config().Policy.Diffusion.Sampler
	sampler.Kind = "best"
	searched, err := a.Search(t.Context(), sampler)
	if err != nil {
		t.Fatal(err)
	}
	if searched.Before != aligned.Before || searched.After.Success.Of != aligned.After.Success.Of || searched.Answers != aligned.Answers {
		t.Errorf("searched %+v, aligned %+v; want the same starts, before and answers", searched, aligned)
	}
	for _, r := range []Aligned{aligned, searched} {
		if len(r.People) != 2 || r.People[0].Better != r.People[1].Worse || r.People[0].Worse != r.People[1].Better || r.People[0].Better+r.People[0].Worse == 0 {
			t.Errorf("%s: opposite people say %+v", r.Aligner, r.People)
		}
	}
	var rank rankings
	if err := a.read(rankingFile, &rank); err != nil {
		t.Fatal(err)
	}
	critic, err := a.critic(t.Context(), rank)
	if err != nil {
		t.Fatal(err)
	}
	_, kept, err := a.s.store.LatestCheckpoint(t.Context(), kindCritic)
	if err != nil || !bytes.Equal(critic, kept) {
		t.Errorf("it is searched by another critic than tuning keeps (%v)", err)
	}
	if again, err := a.Result(); err != nil || !reflect.DeepEqual(again, aligned) {
		t.Errorf("the search changed the result: %+v, %v", again, err)
	}
}

// searchedFor tries players of an alignment in dir: of an episode's first chunks they
// take those that the critic likes, and its later ones they draw as ever.
func searchedFor(t *testing.T, dir string) {
	t.Helper()
	s, err := visit(dir, judged, "a search", nil, []string{"policy.diffusion.sampler.kind=best", "policy.diffusion.sampler.draws=8"}, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.store.Close()
	ctx, err := s.searching(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.made(ctx)
	if err != nil {
		t.Fatal(err)
	}
	net, err := diffusion.Decode(p.clone)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := s.store.LatestCheckpoint(ctx, kindCritic)
	if err != nil {
		t.Fatal(err)
	}
	critic, err := align.RestoreCritic(b, net)
	if err != nil {
		t.Fatal(err)
	}
	by := critic.Steer(net)
	look, err := diffusion.NewLooker(net, 1)
	if err != nil {
		t.Fatal(err)
	}
	d := diffusion.Draw{Steps: 3}
	fitted := s.cfg.Align.Chunks
	s.cfg.Align.Chunks++ // the folder's is not asked: the critic knows to how many it was fitted
	open, err := drawerOf(ctx, s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	longer := net.Arch
	longer.Horizon++
	stranger, err := diffusion.NewNet(longer, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(stranger, d)
	wantErr(t, err, filepath.Join(dir, "checkpoints", "critic-*.bin"), "--policy cloned")
	search, err := open(net, d)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := diffusion.NewSampler(net, 1, d)
	if err != nil {
		t.Fatal(err)
	}
	a := net.Arch
	seen, history := make([]float32, a.History*a.View.Dim()), make([]float32, net.Seen())
	look.Look(history, seen, nil)
	by.See(history)
	chunk := func(d diffusion.Drawer, n uint64) ([]float32, float64) {
		c, v := make([]float32, a.Horizon*a.View.Action.Dim()), make([]float64, 1)
		d.Sample(c, seen, nil, rand.New(rand.NewPCG(n, 1)))
		by.Value(v, c, nil)
		return c, v[0]
	}
	better := 0.0
	for n := range uint64(20) {
		search.(*searcher).Begin()
		_, first := chunk(search, n)
		want, as := chunk(plain, n)
		better += first - as
		for range fitted - 1 {
			chunk(search, n)
		}
		if got, _ := chunk(search, n); !slices.Equal(got, want) {
			t.Fatal("chunks that the critic was not fitted to are searched for, too")
		}
	}
	if better <= 0 {
		t.Errorf("the critic likes what was searched for by %v more than plain chunks", better)
	}
	searchedOnAnArm(t, s.cfg, b, net, d)
}

// searchedFarAway runs a session that begins from an alignment in dir: an actor in a process
// of its own searches as a session of one process does, and not plainly.
func searchedFarAway(t *testing.T, c config.Config, dir string) {
	t.Helper()
	c.Session.From, c.Session.Episodes, c.Session.Record = dir, 1, false
	first := map[string][]robot.Command{}
	for name, kind := range map[string]string{"near": "best", "plain": "plain"} {
		c.Name, c.Policy.Diffusion.Sampler.Kind = name, kind
		s, err := Create(t.Context(), c, quietly())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		es, _ := onlineOf(t, c, name)
		first[name] = es[0].Applied
		if n, want := searchesOf(t, filepath.Join(c.Out, name), 0), map[string]float64{"near": float64(c.Align.Chunks)}[name]; n != want {
			t.Errorf("%s: %v chunks of the first episode are kept as searched, want %v", name, n, want)
		}
	}
	c.Name, c.Policy.Diffusion.Sampler.Kind = "far", "best"
	_, es := farAway(t, c)
	if n := searchesOf(t, filepath.Join(c.Out, "far"+ofActor), 0); n != float64(c.Align.Chunks) {
		t.Errorf("the actor keeps %v chunks of the first episode as searched, want %d", n, c.Align.Chunks)
	}
	if got := es[0].Applied; !reflect.DeepEqual(got, first["near"]) || reflect.DeepEqual(got, first["plain"]) {
		t.Errorf("an actor far away does not search as one process does: %v\nnear %v\nplain %v", got, first["near"], first["plain"])
	}
}

// Who evaluates with a search is told of it.
func TestSearchesHaveNames(t *testing.T) {
	dir := begunAlign(t)
	for kind, want := range map[string]string{"plain": "", "best": "best of 8 chunks", "fk": "fk of 8 chunks, scale 2", "guided": "guided, scale 2", "reno": "reno of 8 iterations"} {
		if got, err := Searched(dir, nil, []string{"policy.diffusion.sampler.kind=" + kind, "policy.diffusion.sampler.draws=8"}); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", kind, got, err, want)
		}
	}
}

func TestASearchWantsACritic(t *testing.T) {
	c := tinyAlign(t)
	c.Policy.Diffusion.Sampler.Kind = "best"
	_, err := Create(t.Context(), c, quiet(nil))
	wantErr(t, err, "policy.diffusion.sampler.kind is best", "session.from=runs/NAME")
	_, err = BeginAlign(c)
	wantErr(t, err, "policy.diffusion.sampler.kind is best", "rapport eval RUN")
	learns := c // what the critic goes by
	learns.Policy.Sees, learns.Session.From = "pixels", filepath.Join(c.Out, "aligned")
	_, err = Create(t.Context(), learns, quiet(nil))
	wantErr(t, err, "policy.diffusion.sampler.kind is best and policy.sees pixels", "rapport eval RUN --policy cloned")
	plain := c
	plain.Policy.Diffusion.Sampler.Kind = "plain"
	s, err := Create(t.Context(), plain, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.cfg = c
	_, err = s.searching(t.Context())
	wantErr(t, err, "policy.diffusion.sampler.kind is best", "rapport align")
	_, err = newPlayer(t.Context(), c, view.Config{}, true, false)
	wantErr(t, err, "policy.diffusion.sampler.kind is best", "want plain")
}
