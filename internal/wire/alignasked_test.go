package wire

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// rolledAlign is the folder of an alignment that has its rollouts.
func rolledAlign(t *testing.T) string {
	t.Helper()
	dir := begunAlign(t)
	if _, err := steps(t.Context(), t, dir, nil, nil, AlignPrepare, AlignRollouts); err != nil {
		t.Fatal(err)
	}
	return dir
}

// aPair is an answer that clip x is better than y.
func aPair(id, who string, x, y label.Clip) label.Label {
	q := label.Query{ID: id, Kind: label.Pair, Clips: []label.Clip{x, y}}
	return label.Label{ID: who + id, Query: q, Choice: label.Left, Annotator: who}
}

func clipOf(n int) label.Clip { return label.Clip{Episode: rolloutID(n)} }

// answer appends answers to those of the alignment in dir.
func answer(t *testing.T, dir string, ls ...label.Label) {
	t.Helper()
	a, err := OpenAlign(dir, nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		_, e := a.s.store.Append(t.Context(), l)
		err = errors.Join(err, e)
	}
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
}

// answered is how many answers the alignment in dir has.
func answered(t *testing.T, dir string, sets ...string) int {
	t.Helper()
	a, err := OpenAlign(dir, nil, sets, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := a.Answered(t.Context())
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}

// An alignment learns from chains, which its own rollouts alone have.
func TestAnswersAreAboutRollouts(t *testing.T) {
	marks := func(c label.Clip) label.Label {
		return label.Label{ID: "m", Query: label.Query{ID: "q", Kind: label.Segments, Clips: []label.Clip{c}}, Annotator: "ann", Marks: []label.Mark{{To: 2, Good: true}}}
	}
	unsure := aPair("q", "ann", clipOf(0), clipOf(1))
	unsure.Choice = label.Unsure
	for name, tt := range map[string]struct {
		l                label.Label
		ranked, segments bool // whether it counts, by align.ask
	}{
		"two rollouts":             {aPair("q", "ann", clipOf(0), clipOf(7)), true, false},
		"who cannot tell":          {unsure, false, false},
		"beyond align.rollouts":    {aPair("q", "ann", clipOf(0), clipOf(8)), false, false},
		"a demonstration":          {aPair("q", "ann", clipOf(0), label.Clip{Episode: "demo-00001"}), false, false},
		"of an earlier session":    {aPair("q", "ann", clipOf(0), label.Clip{Episode: "rollout-00001 of r1"}), false, false},
		"no number":                {aPair("q", "ann", clipOf(0), label.Clip{Episode: "rollout-1"}), false, false},
		"below 0":                  {aPair("q", "ann", clipOf(0), label.Clip{Episode: "rollout--0001"}), false, false},
		"a stretch":                {aPair("q", "ann", clipOf(0), label.Clip{Episode: rolloutID(1), From: 2, To: 9}), false, false},
		"marks":                    {marks(clipOf(3)), false, true},
		"marks of a stretch":       {marks(label.Clip{Episode: rolloutID(3), To: 9}), false, true},
		"marks of a demonstration": {marks(label.Clip{Episode: "demo-00001"}), false, false},
	} {
		for ask, want := range map[string]bool{"pair": tt.ranked, "segments": tt.segments} {
			if got := len(Ranked([]label.Label{tt.l}, config.Align{Ask: ask, Rollouts: 8})) == 1; got != want {
				t.Errorf("%s, align.ask %s: counts %t, want %t", name, ask, got, want)
			}
		}
	}
	taken := []label.Label{aPair("q", "ann", clipOf(0), clipOf(1)), {ID: "undo", Retracts: "annq", Annotator: "ann"}}
	if got := Ranked(taken, config.Align{Ask: "pair", Rollouts: 8}); len(got) != 0 {
		t.Errorf("what was taken back counts: %+v", got)
	}
}

// What was said in the session that an alignment begins from is about other rollouts of the same names.
func TestAlignmentsAskAnewAfterAnother(t *testing.T) {
	first := rolledAlign(t)
	if _, err := steps(t.Context(), t, first, nil, nil, AlignRank); err != nil {
		t.Fatal(err)
	}
	testAlignSaysWhatWasAskedOtherwise(t, first)
	answer(t, first, aPair("q1", "ann", clipOf(0), clipOf(1)), aPair("q2", "ann", clipOf(0), label.Clip{Episode: "demo-00000"}))
	c := tinyAlign(t)
	c.Out, c.Name, c.Session.From = t.TempDir(), "b", first
	dir, err := BeginAlign(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps(t.Context(), t, dir, nil, nil, AlignPrepare, AlignRollouts); err != nil {
		t.Fatal(err)
	}
	if n := answered(t, dir); n != 0 {
		t.Fatalf("%d answers of %s count here", n, first)
	}
	notes, err := steps(t.Context(), t, dir, []string{"align.by=labels"}, nil, AlignRank, AlignEncoder, AlignSynthetic)
	if err != nil || !strings.HasPrefix(notes[0], "6 answers by a simulated person") || !strings.HasPrefix(notes[2], "8 rollouts ranked by labels") {
		t.Errorf("%q, %v", notes, err)
	}
	// Of fewer rollouts fewer answers are left.
	answer(t, dir, aPair("q3", "ann", clipOf(6), clipOf(7)))
	all, fewer := answered(t, dir), answered(t, dir, "align.rollouts=7")
	if fewer >= all {
		t.Errorf("%d answers of 8 rollouts, %d of 7", all, fewer)
	}
}

// What follows from the answers is learned from by all aligners but those for several people, in
// whatever order these are tried.
func TestAlignersRankByWhatTheyAskFor(t *testing.T) {
	dir := rolledAlign(t)
	var ls []label.Label
	for i := range 5 { // each next one is worse
		ls = append(ls, aPair(fmt.Sprint("q", i), "ann", clipOf(i), clipOf(i+1)))
	}
	answer(t, dir, append(ls, aPair("q6", "ben", clipOf(6), clipOf(7)))...)
	var last string
	for _, tt := range []struct {
		aligner, want string
		before        bool
	}{{"pareto", ", 6 comparisons;", false}, {"dppo", ", 16 comparisons;", false}, {"d3po", ", 16 comparisons;", true}, {"pareto", ", 6 comparisons;", false}} {
		sets := []string{"align.by=labels", "align.aligner=" + tt.aligner}
		if last != "" && strings.HasPrefix(last, "pareto") != strings.HasPrefix(tt.aligner, "pareto") {
			_, err := steps(t.Context(), t, dir, sets, nil, AlignSynthetic)
			wantErr(t, err, "of other answers or settings", "rapport align encoder "+dir)
		}
		last = tt.aligner
		notes, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder, AlignSynthetic)
		if err != nil || !strings.Contains(notes[1], tt.want) || strings.HasSuffix(notes[1], "made before") != tt.before {
			t.Errorf("%s: %q, %v, want %s", tt.aligner, notes, err, tt.want)
		}
	}
	testAlignNamesWhoAnswered(t, dir)
}

// testAlignNamesWhoAnswered: where what is missing is to say who answered, no other remedy is named.
func testAlignNamesWhoAnswered(t *testing.T, dir string) {
	t.Helper()
	sets := []string{"align.by=labels", "align.labels=4"}
	if _, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAlign(dir, nil, sets, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Do(t.Context(), AlignSynthetic)
	wantErr(t, err, "say here, too: --person simulated")
	a.s.cfg.Align.Labels = 5
	_, err = a.Do(t.Context(), AlignSynthetic)
	wantErr(t, err, "do it again with these: rapport align encoder "+dir+" --set align.labels=5 --set align.by=labels")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// What was found alike is learned from where reward.ties asks for it, and not where it does not.
func TestAlignmentsLearnFromTies(t *testing.T) {
	dir := rolledAlign(t)
	alike := aPair("q3", "ann", clipOf(4), clipOf(5))
	alike.Choice = label.Tie
	answer(t, dir, aPair("q1", "ann", clipOf(0), clipOf(1)), aPair("q2", "ann", clipOf(2), clipOf(3)), alike,
		aPair("q4", "ann", clipOf(0), clipOf(3)), aPair("q5", "ann", clipOf(6), clipOf(7)), aPair("q6", "ann", clipOf(2), clipOf(1)))
	for by, runs := range map[string][]string{"rapl": {"false", "true"}, "rlhf": {"false", "true", "false"}} { // rapl's take seconds each
		var learned [][]byte
		for _, ties := range runs {
			a, err := OpenAlign(dir, nil, []string{"align.by=" + by, "reward.ties=" + ties}, quiet(nil))
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Do(t.Context(), AlignEncoder)
			_, b, e := a.s.latest(t.Context(), kindReward)
			if err := errors.Join(err, e, a.Close()); err != nil {
				t.Fatal(err)
			}
			learned = append(learned, b)
		}
		if bytes.Equal(learned[0], learned[1]) || len(runs) > 2 && !bytes.Equal(learned[0], learned[2]) {
			t.Errorf("%s: a tie changes nothing, or the reward without reward.ties: %d runs", by, len(runs))
		}
	}
}

// Of an expert nothing is said by what it is alike to, or better than, beside itself.
func TestOrdersAreTriplets(t *testing.T) {
	video := func(c label.Clip) (rapl.Video, error) { return rapl.Video{Name: c.Episode}, nil }
	order := func(better, worse string, tie bool) label.Order {
		return label.Order{Better: label.Clip{Episode: better}, Worse: label.Clip{Episode: worse}, Tie: tie, Annotator: "ann"}
	}
	orders := []label.Order{order("e", "x", false), order("x", "f", true), order("x", "y", true)}
	for by, want := range map[string]string{"rapl": "f:e>x e:x=f e:x=y f:x=y", "rlhf": "e:e>x e:x=f e:x=y"} {
		ts, err := likened(by, orders, []rapl.Video{{Name: "e"}, {Name: "f"}}, video)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range ts {
			got = append(got, x.Anchor.Name+":"+x.Better.Name+map[bool]string{true: "=", false: ">"}[x.Tie]+x.Worse.Name)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: triplets %q, want %q", by, s, want)
		}
	}
}

// A remedy keeps what was given, in place of which it gives its own.
func TestAlignRemediesKeepWhatWasGiven(t *testing.T) {
	dir := begunAlign(t)
	for _, tt := range []struct {
		simulated bool
		sets      []string
		of        func(a *Alignment) string
		want      string
	}{
		{false, nil, func(a *Alignment) string { return a.Again("") }, "rapport align DIR"},
		{true, []string{"align.person=ann's"}, func(a *Alignment) string { return a.Again(AlignTune) }, `rapport align tune DIR --person simulated --set 'align.person="ann'\''s"'`},
		{false, []string{"align.labels=5", "align.query=root"}, func(a *Alignment) string { return a.More(5) }, "rapport align DIR --set align.query=root --set align.labels=10"},
		{false, []string{"align.ask=segments", "align.by=labels"}, func(a *Alignment) string { return a.More(5) }, "rapport align DIR --set align.ask=segments --set align.by=labels --set align.labels=8"},
		{false, []string{"align.ask=segments", "align.by=labels"}, func(a *Alignment) string { return a.More(8) }, "rapport align DIR --set align.ask=segments --set align.by=labels --set align.labels=16 --set align.rollouts=16"},
	} {
		a, err := OpenAlign(dir, nil, tt.sets, quiet(nil))
		if err != nil {
			t.Fatal(err)
		}
		a.simulated = tt.simulated
		got := tt.of(a)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if want := strings.ReplaceAll(tt.want, "DIR", dir); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// testAlignSaysWhatWasAskedOtherwise: a simulated person's answers stay, whatever is to be asked
// now, and that is told.
func testAlignSaysWhatWasAskedOtherwise(t *testing.T, dir string) {
	t.Helper()
	for _, tt := range []struct{ sets, want string }{
		{"", ""}, {"align.query=root", "answers=6 of=6 align.ask=pair align.query=root"}, {"align.ask=ranking", "align.ask=ranking"}, {"align.ask=ranking align.query=root", "answers=6 of=6"},
	} {
		var log bytes.Buffer
		o := quiet(nil)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		a, err := OpenAlign(dir, nil, strings.Fields(tt.sets), o)
		if err != nil {
			t.Fatal(err)
		}
		a.Simulate()
		_, err = a.Do(t.Context(), AlignRank)
		if err := errors.Join(err, a.Close()); err != nil {
			t.Fatal(err)
		}
		if got := log.String(); strings.Contains(got, "other questions") != (tt.want != "") || !strings.Contains(got, tt.want) {
			t.Errorf("%q: told %q, want %q", tt.sets, got, tt.want)
		}
	}
}

// Marks of whole rollouts, each good or bad throughout, rank them.
func TestWholeRolloutsAreMarked(t *testing.T) {
	dir := rolledAlign(t)
	mark := func(n int, good bool) label.Label {
		q := label.Query{ID: fmt.Sprint("marked", n), Kind: label.Segments, Clips: []label.Clip{clipOf(n)}}
		return label.Label{ID: q.ID, Query: q, Annotator: "ann", Marks: []label.Mark{{To: 7, Good: good}}}
	}
	sets := []string{"align.ask=segments", "align.by=labels", "align.aligner=fdpo", "align.rounds=1", "align.labels=4"}
	for n := range 4 {
		answer(t, dir, mark(n, true))
	}
	_, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder)
	wantErr(t, err, "the marks of 4 answers tell no two rollouts apart", "--set align.labels=8")
	for n := range 4 {
		answer(t, dir, mark(n+4, false))
	}
	sets[4] = "align.labels=8"
	notes, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder, AlignSynthetic, AlignTune)
	if err != nil || !strings.HasPrefix(notes[0], "labels of 8 answers, which decide 16 comparisons") || !strings.HasPrefix(notes[2], "fdpo, round") {
		t.Errorf("%q, %v", notes, err)
	}
}

// Where several people are to be told apart, or one of them served, it is not enough how many
// answers there are.
func TestSeveralPeopleAreAwaited(t *testing.T) {
	ann, ben := aPair("q1", "ann", clipOf(0), clipOf(1)), aPair("q2", "ben", clipOf(1), clipOf(2))
	more := aPair("q3", "ann", clipOf(1), clipOf(2))
	alike, sim := ben, ben
	alike.Choice, sim.Annotator = label.Tie, nobody+"-ann"
	for name, tt := range map[string]struct {
		c    config.Align
		ls   []label.Label
		want string
	}{
		"for all alike":                {config.Align{Aligner: "dppo"}, []label.Label{ann, more}, ""},
		"one for pareto":               {config.Align{Aligner: "pareto"}, []label.Label{ann, more}, "two people"},
		"who finds all alike":          {config.Align{Aligner: "pareto"}, []label.Label{ann, alike}, "two people"},
		"two for pareto":               {config.Align{Aligner: "pareto"}, []label.Label{ann, ben}, ""},
		"one for ppd":                  {config.Align{Aligner: "ppd", Person: "ann"}, []label.Label{ann, more}, "two people"},
		"ppd without whom it serves":   {config.Align{Aligner: "ppd", Person: "cid"}, []label.Label{ann, ben}, "answers by cid"},
		"ppd":                          {config.Align{Aligner: "ppd", Person: "ben"}, []label.Label{ann, ben}, ""},
		"ppd for a simulated person":   {config.Align{Aligner: "ppd", Person: "ann"}, []label.Label{sim, ben}, ""},
		"pal without whom it ranks by": {config.Align{Aligner: "rwr", By: "pal", Person: "ben"}, []label.Label{ann, more}, "answers by ben"},
		"pal":                          {config.Align{Aligner: "rwr", By: "pal", Person: "ann"}, []label.Label{ann, more}, ""},
	} {
		tt.c.Rollouts, tt.c.Labels, tt.c.Ask = 8, 2, "pair"
		st := Stands(tt.ls, tt.c)
		if got := st.Awaited; st.Answers != 2 || (tt.want == "") != st.Enough() || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %+v, want %q", name, st, tt.want)
		}
	}
	dir := rolledAlign(t)
	answer(t, dir, ann, more)
	sets := []string{"align.labels=2", "align.by=labels", "align.aligner=pareto"}
	a, err := OpenAlign(dir, nil, sets, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	again := "rapport align rank " + dir + " --set align.labels=2 --set align.by=labels --set align.aligner=pareto"
	_, err = a.Do(t.Context(), AlignRank)
	wantErr(t, err, "2 answers, but answers by two people at least", again)
	_, err = a.clients(t.Context())
	wantErr(t, err, "the answers of 1 people", again)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// A reward that holds one comparison out tells how many it wants, and how to get them.
func TestAlignTellsHowManyComparisonsAreWanted(t *testing.T) {
	dir := rolledAlign(t)
	answer(t, dir, aPair("q1", "ann", clipOf(0), clipOf(1)), aPair("q2", "ann", clipOf(2), clipOf(3)))
	_, err := steps(t.Context(), t, dir, []string{"align.by=rlhf", "align.labels=2"}, nil, AlignEncoder)
	wantErr(t, err, "of which 2 can be learned from", "want 3 at least", "--set align.labels=")
}

// A simulated person rests after people.sitting questions, and says the same where an alignment was
// interrupted.
func TestSimulatedPeopleRest(t *testing.T) {
	truths, _ := watchedBy(8)
	ranked := func(upTo ...string) (ls []label.Label) {
		t.Helper()
		c := tinyAlign(t)
		set(t, &c, "people.fatigue=0.1", "people.noise=0.05", "people.sitting=4")
		dir, err := BeginAlign(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range upTo {
			a, err := OpenAlign(dir, nil, []string{"align.labels=" + n}, quiet(nil))
			if err != nil {
				t.Fatal(err)
			}
			a.Simulate()
			a.seen = truths
			err = a.simulate(t.Context())
			if err == nil {
				ls, err = a.s.store.Labels(t.Context())
			}
			if err := errors.Join(err, a.Close()); err != nil {
				t.Fatal(err)
			}
		}
		return ls
	}
	want := ranked("11")
	if len(want) != 11 {
		t.Fatalf("%d answers, want 11", len(want))
	}
	for i := range want[1:] {
		pause := want[i+1].Took
		if (i+1)%4 == 0 {
			pause += breather
		}
		if got := want[i+1].Stamp.Sub(want[i].Stamp); got != pause {
			t.Errorf("answer %d comes %v after the one before, want %v", i+1, got, pause)
		}
	}
	for _, k := range []string{"3", "4", "5"} {
		if d := cmp.Diff(want, ranked(k, "11")); d != "" {
			t.Errorf("interrupted after %s answers:\n%s", k, d)
		}
	}
}

// How right the rankings are is told by the taste of whoever answered, and of several people by that
// of whom they are for.
func TestRankingsAreRightAsWhoAnsweredSeesThem(t *testing.T) {
	truths, _ := watchedBy(8)
	for i := range truths {
		truths[i][4].Undesired = i >= 4 // the far ones
	}
	ben, ann := "{name: ben, share: 1, distance: 1, undesired: -0.32}", "{name: ann, share: 1, distance: 1}"
	for _, tt := range []struct {
		groups string
		want   float64
	}{
		{"[" + ben + "]", 1},
		{"[]", 1},
		{"[" + ben + "," + ann + "]", -1},
		{"[" + ann + "]", 1},
	} {
		c := tinyAlign(t)
		set(t, &c, "people.groups="+tt.groups, "align.by=labels")
		dir, err := BeginAlign(c)
		if err != nil {
			t.Fatal(err)
		}
		a, err := OpenAlign(dir, nil, nil, quiet(nil))
		if err != nil {
			t.Fatal(err)
		}
		a.Simulate()
		a.seen = truths
		var r rankings
		err = a.simulate(t.Context())
		if err == nil {
			_, err = a.encoder(t.Context())
		}
		if err == nil {
			_, err = a.synthetic(t.Context())
		}
		if err == nil {
			err = a.read(rankingFile, &r)
		}
		for _, who := range []string{"ben", "ann"} { // each sees the order that is theirs
			of := rankings{Right: -1, Better: [][2]int{{6, 1}, {7, 2}}}
			if e := a.check(t.Context(), who, &of); e != nil {
				err = errors.Join(err, e)
			}
			want := map[string]float64{"ben": 1, "ann": 0}[who]
			if !strings.Contains(tt.groups, who) {
				want = -1
			}
			if of.Right != want {
				t.Errorf("%s: for %s %v are right, want %v", tt.groups, who, of.Right, want)
			}
		}
		if err := errors.Join(err, a.Close()); err != nil || r.Right != tt.want {
			t.Errorf("%s: right %v, %v; want %v", tt.groups, r.Right, err, tt.want)
		}
	}
}
