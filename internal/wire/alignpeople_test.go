package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/label"
)

// Two people who prefer the opposite are each served a policy of their own.
func testAlignPeople(t *testing.T, dir string) {
	a, err := OpenAlign(dir, nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	var compared [][2]int
	order := []int{0, 1, 3, 4, 5, 6}
	for i, better := range order {
		for _, worse := range order[i+1:] {
			compared = append(compared, [2]int{better, worse})
		}
	}
	for i, pair := range compared {
		for k, who := range []string{"ann", "ben"} {
			choice := []label.Choice{label.Left, label.Right}[k]
			q := label.Query{ID: fmt.Sprint("pair", i), Kind: label.Pair, Clips: []label.Clip{{Episode: rolloutID(pair[0])}, {Episode: rolloutID(pair[1])}}}
			if _, err := a.s.store.Append(t.Context(), label.Label{ID: who + q.ID, Query: q, Choice: choice, Annotator: who}); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := a.s.store.Labels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	every := fmt.Sprintf("align.labels=%d", len(Ranked(all, a.s.cfg.Align)))
	cs, err := a.clients(t.Context())
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	if len(cs) != 3 || cs[0].name != "ann" || cs[1].name != "ben" || cs[2].name != nobody {
		t.Fatalf("served are %+v, want ann, ben and the simulated person", cs)
	}
	for k, v := range cs[0].taste {
		if math.Abs(v+cs[1].taste[k]) > 1e-9 {
			t.Fatalf("the tastes %v and %v of who prefers the opposite are none", cs[0].taste, cs[1].taste)
		}
	}
	// What VPL infers of the same answers tells them apart, too, and serves them.
	latent := []string{"align.taste=vpl", "align.aligner=ppd", "align.by=labels", "align.labels=14", "align.rank=2", "align.rate=0.01", "align.lambda=1", "align.rounds=3", "align.person=ann"}
	if a, err = OpenAlign(dir, nil, latent, quiet(nil)); err != nil {
		t.Fatal(err)
	}
	cs, err = a.clients(t.Context())
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	if ann, ben := cs[0].taste, cs[1].taste; len(ann) != 2 || floats.Dot(ann, ben) > -0.3 || floats.Norm(ann, 2) > 1+1e-9 {
		t.Errorf("VPL's tastes of who prefers the opposite are %v and %v", ann, ben)
	}
	// So does PAL, which ranks all rollouts for either.
	for who, better := range map[string]int{"ann": 0, "ben": 1} {
		sets := []string{every, "align.by=pal", "align.aligner=rwr", "align.person=" + who}
		notes, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder, AlignSynthetic)
		if err != nil || !strings.HasPrefix(notes[0], "pal for "+who+" of ") {
			t.Fatalf("%s: %q, %v", sets, notes, err)
		}
		if a, err = OpenAlign(dir, nil, sets, quiet(nil)); err != nil {
			t.Fatal(err)
		}
		var r rankings
		if err := errors.Join(a.read(rankingFile, &r), a.Close()); err != nil {
			t.Fatal(err)
		}
		at := func(n int) int { return slices.IndexFunc(r.Order, func(x ranked) bool { return x.Rollout == n }) }
		right := 0
		for _, pair := range compared {
			if at(pair[better]) < at(pair[1-better]) {
				right++
			}
		}
		t.Logf("%s: %d of %d as they said", notes[0], right, len(compared))
		if right < 12 { // 7.5 by chance
			t.Errorf("PAL ranks %d of %d comparisons as %s said", right, len(compared), who)
		}
	}
	_, err = steps(t.Context(), t, dir, []string{"align.labels=14", "align.by=pal", "align.person=cid"}, nil, AlignEncoder)
	wantErr(t, err, `align.person is "cid"`, "who decided no comparison")
	policies := map[string][]byte{}
	notes, err := steps(t.Context(), t, dir, latent, nil, AlignEncoder, AlignSynthetic, AlignTune)
	if err != nil || !strings.HasPrefix(notes[2], "ppd for ann, round ") {
		t.Fatalf("%s: %q, %v", latent, notes, err)
	}
	if policies["latent"], err = os.ReadFile(filepath.Join(dir, alignFolder, policyFile)); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"ann", "ben"} {
		sets := []string{"align.labels=14", "align.by=labels", "align.aligner=ppd", "align.rank=2", "align.rate=0.01", "align.lambda=1", "align.rounds=3", "align.person=" + who}
		notes, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder, AlignSynthetic, AlignTune)
		if err != nil || !strings.HasPrefix(notes[2], "ppd for "+who+", round ") {
			t.Fatalf("%s: %q, %v", sets, notes, err)
		}
		t.Log(notes[2])
		if policies[who], err = os.ReadFile(filepath.Join(dir, alignFolder, policyFile)); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(policies["ann"], policies["ben"]) || bytes.Equal(policies["ann"], policies["latent"]) {
		t.Error("both are served the same policy, or ann whatever her taste is told by")
	}
	_, err = steps(t.Context(), t, dir, []string{"align.labels=14", "align.by=labels", "align.aligner=ppd", "align.rank=2", "align.person=cid"}, nil, AlignEncoder, AlignSynthetic, AlignTune)
	wantErr(t, err, `align.person is "cid"`, "ann, ben")
	testAlignPareto(t, dir, compared)
}

// testAlignPareto: one policy for everybody, by a critic of each person's and one of all to
// search by. Of more people than rewards can be kept apart there is none.
func testAlignPareto(t *testing.T, dir string, compared [][2]int) {
	t.Helper()
	sets := []string{"align.labels=14", "align.by=labels", "align.aligner=pareto", "align.rate=0.01", "align.lambda=1", "align.rounds=3"}
	notes, err := steps(t.Context(), t, dir, sets, nil, AlignEncoder, AlignSynthetic, AlignTune)
	if err != nil || !strings.HasPrefix(notes[2], "pareto, round ") {
		t.Fatalf("%s: %q, %v", sets, notes, err)
	}
	t.Log(notes[2])
	a, err := OpenAlign(dir, nil, sets, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.begun(t.Context()); err != nil {
		t.Fatal(err)
	}
	tuned, l, served, _, err := a.learning(t.Context(), rankings{})
	if err != nil || served != nil || len(l.critics) != 3 {
		t.Fatalf("%d critics, serving %v (%v), want one of each of three people, and nobody in particular", len(l.critics), served, err)
	}
	for i, k := range append(l.critics, l.critic) {
		if slices.Contains(l.critics[:min(i, 3)], k) {
			t.Errorf("critic %d is another's", i)
		}
	}
	want := 0.0
	for _, k := range l.critics {
		want += k.Mean(l.held) / 3
	}
	if got := l.value(l.held); math.Abs(got-want) > 1e-12 {
		t.Errorf("a policy is worth %v, want the mean of what it is to each, %v", got, want)
	}
	for _, who := range []string{"cid", "dee"} {
		q := label.Query{ID: "pair0", Kind: label.Pair, Clips: []label.Clip{{Episode: rolloutID(compared[0][0])}, {Episode: rolloutID(compared[0][1])}}}
		if _, err := a.s.store.Append(t.Context(), label.Label{ID: who + q.ID, Query: q, Choice: label.Left, Annotator: who}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, _, _, err = a.learning(t.Context(), rankings{})
	wantErr(t, err, "the answers of 5 people", "ppd for one")
	_, err = a.theirs(t.Context(), tuned, []client{{name: "eve", said: [][2]int{{0, 2}, {1, 7}}}}, everybody)
	wantErr(t, err, "none of what 1 people compared", "every fifth is held out", "give more: rapport align "+dir)
	ls, err := a.answers(t.Context())
	if err := errors.Join(err, a.Close()); err != nil {
		t.Error(err)
	}
	// ppd serves more people than there are held-out histories.
	if len(l.held) > 4 {
		t.Fatalf("%d histories are held out, want fewer than people", len(l.held))
	}
	sets = []string{fmt.Sprintf("align.labels=%d", len(ls)), "align.by=labels", "align.aligner=ppd", "align.rank=2", "align.rate=0.01", "align.lambda=1", "align.rounds=1", "align.person=dee"}
	notes, err = steps(t.Context(), t, dir, sets, nil, AlignEncoder, AlignSynthetic, AlignTune)
	if err != nil || !strings.HasPrefix(notes[2], "ppd for dee, round ") {
		t.Errorf("%s: %q, %v", sets, notes, err)
	}
}
