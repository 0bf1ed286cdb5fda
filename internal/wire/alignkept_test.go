package wire

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/reward/label"
)

// openedAlign is an alignment of which nothing is done, and its folder.
func openedAlign(t *testing.T) (*Alignment, string) {
	t.Helper()
	dir := begunAlign(t)
	a, err := OpenAlign(dir, nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a, dir
}

// harm damages the newest file of the checkpoints of a kind in dir.
func harm(t *testing.T, a *Alignment, kind string) {
	t.Helper()
	sum, err := a.s.store.CheckpointSum(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(a.s.Dir(), "checkpoints", kind+"-*-"+sum[:8]+".bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v of %s, %v", files, kind, err)
	}
	if err := os.Truncate(files[0], 1); err != nil {
		t.Fatal(err)
	}
}

// From its first moment an alignment is gone on with as one: a session would fine-tune a policy
// beside the aligned one.
func TestAlignmentsAreNotFineTuned(t *testing.T) {
	dir := begunAlign(t)
	_, err := Resume(t.Context(), filepath.Dir(dir), filepath.Base(dir), nil, []string{"session.episodes=11"}, quiet(nil))
	wantErr(t, err, dir+" is an alignment; go on with: rapport align "+dir)
	_, err = openOrCreate(t.Context(), filepath.Base(dir), nil, config.Config{Out: filepath.Dir(dir)}, quiet(nil)) // as a learner of a process of its own
	wantErr(t, err, dir+" is an alignment; go on with: rapport align "+dir)
}

// And a session stays one: its policy is aligned in a folder of its own.
func TestSessionsBecomeNoAlignments(t *testing.T) {
	c := tinyAlign(t)
	dir := filepath.Join(c.Out, c.Name)
	st, err := founded(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = OpenAlign(dir, nil, nil, quiet(nil))
	wantErr(t, err, dir+" is a session, and no alignment", "rapport align --set session.from="+dir)
	if _, err := os.Stat(filepath.Join(dir, alignFolder)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has a folder %s (%v)", alignFolder, err)
	}
}

// What is evaluated, and said to be aligned, is what the alignment left.
func TestAlignmentsKnowTheirPolicy(t *testing.T) {
	a, dir := openedAlign(t)
	ctx := t.Context()
	a.p.clone.Version = 1
	save := func(kind string, version uint64, data string) {
		t.Helper()
		if err := a.s.store.SaveCheckpoint(ctx, kind, version, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	mine := tunedBy{Of: "rankings", By: "d3po", Policy: sum([]byte("mine")), Version: 2, Report: align.Report{Best: 3}}
	if err := a.write(tuneFile, mine); err != nil {
		t.Fatal(err)
	}
	check := func(when, why, what string, version uint64) {
		t.Helper()
		got, err := a.untuned(ctx, mine)
		if err != nil || !strings.Contains(got, why) || why == "" && got != "" {
			t.Errorf("%s: tuned again since %q (%v), want %q", when, got, err, why)
		}
		if v, err := a.version(ctx, mine); err != nil || v != version {
			t.Errorf("%s: version %d, %v, want %d", when, v, err, version)
		}
		_, said, err := a.s.params(ctx, parts{}, Tuned)
		if what == "" {
			if !errors.Is(err, store.ErrNone) {
				t.Errorf("%s: %v, want that there is none", when, err)
			}
		} else if err != nil || said != what {
			t.Errorf("%s: it is %q (%v), want %q", when, said, err, what)
		}
	}
	check("dropped", "critic was gone", "", 2)
	save(kindTuned, 2, "mine")
	check("without a critic", "critic was gone", "aligned by d3po, round 3", 2)
	save(kindCritic, 2, "critic")
	check("whole", "", "aligned by d3po, round 3", 2)

	for _, kind := range []string{kindTuned, kindCritic} {
		harm(t, a, kind)
		_, _, err := a.s.latest(ctx, kind)
		wantErr(t, err, kind+"-", "have it made again: rapport align "+dir)
		if why, err := a.untuned(ctx, mine); err != nil || !strings.Contains(why, kind+" was damaged") {
			t.Errorf("damaged %s: %q, %v", kind, why, err)
		}
		save(kind, 2, map[string]string{kindTuned: "mine", kindCritic: "critic"}[kind])
		check(kind+" made again", "", "aligned by d3po, round 3", 2)
	}

	save(kindTuned, 11, "a session's")
	check("fine-tuned besides", "another's", "fine-tuned for 11 episodes", 12)

	// Of before the policy was noted, the file beside tells.
	mine.Policy, mine.Version = "", 0
	if err := os.WriteFile(a.file(policyFile), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("of an older version", "another's", "fine-tuned for 11 episodes", 12)
	if !mine.tuned(dir, []byte("mine")) || mine.tuned(dir, []byte("a session's")) {
		t.Error("an older alignment does not know its policy by the file")
	}

	// What its steps do not make is not made again.
	save(kindPolicy, 1, "clone")
	harm(t, a, kindPolicy)
	_, _, err := a.s.latest(ctx, kindPolicy)
	wantErr(t, err, "policy-", "bring the file back from a copy")
	if strings.Contains(err.Error(), "--resume") {
		t.Errorf("a remedy that alignments do not have: %v", err)
	}
}

// Round 0 is the policy as it was, which nothing calls aligned.
func TestAlignmentsSayThatNothingWasBetter(t *testing.T) {
	a, dir := openedAlign(t)
	none := tunedBy{By: "d3po", Policy: sum([]byte("mine")), Report: align.Report{Looks: []align.Look{{}, {Round: 1}}}}
	if err := a.write(tuneFile, none); err != nil {
		t.Fatal(err)
	}
	if got, want := alignedBy(dir, []byte("mine")), "as cloned, since no round of d3po was better"; got != want {
		t.Errorf("it is %q, want %q", got, want)
	}
	if got := none.note(); !strings.HasPrefix(got, "d3po, round 0 kept of 1") || !strings.HasSuffix(got, Stays) {
		t.Errorf("note %q", got)
	}
}

// A damaged reward is learned again where the alignment learned it, and left where not.
func TestAlignmentsMendTheirReward(t *testing.T) {
	a, dir := openedAlign(t)
	ctx := t.Context()
	for v, data := range map[uint64]string{1: "prepared", 2: "learned"} {
		if err := a.s.store.SaveCheckpoint(ctx, kindReward, v, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	j := judgement{By: "rapl", Version: 2}
	if err := a.write(judgementFile, j); err != nil {
		t.Fatal(err)
	}
	if why, err := a.unlearned(ctx, j); why != "" || err != nil {
		t.Errorf("whole: %q, %v", why, err)
	}
	harm(t, a, kindReward)
	_, _, err := a.s.latest(ctx, kindReward)
	wantErr(t, err, "have it made again: rapport align "+dir)
	if err := a.mend(ctx); err != nil {
		t.Fatal(err)
	}
	if why, err := a.unlearned(ctx, j); !strings.Contains(why, "learned again") || err != nil {
		t.Errorf("damaged: %q, %v", why, err)
	}
	if why, err := a.unlearned(ctx, judgement{By: "labels"}); why != "" || err != nil {
		t.Errorf("without a reward: %q, %v", why, err)
	}
	harm(t, a, kindReward)
	if err := a.mend(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = a.unlearned(ctx, j)
	wantErr(t, err, "bring the file back from a copy")
}

// A reward is learned again where anything that it depends on changed, and what was kept before
// that was written down is taken for unchanged.
func TestJudgementsAnswerWhatIsAsked(t *testing.T) {
	ls := []label.Label{{ID: "a"}, {ID: "b"}}
	c := tinyAlign(t)
	was := wanted(c, ls)
	older := was
	older.How = ""
	for _, set := range []string{"reward.steps=31", "reward.temperature=2", "reward.gradient=unrolled", "reward.enough=0.5", "reward.ties=true", "align.by=rlhf", "align.by=labels"} {
		d := c
		key, value, _ := strings.Cut(set, "=")
		if err := d.Set(key, value); err != nil {
			t.Fatal(err)
		}
		now := wanted(d, ls)
		if was.answers(now) {
			t.Errorf("%s: made before", set)
		}
		if reward := strings.HasPrefix(set, "reward."); older.answers(now) != reward {
			t.Errorf("%s: of before settings were kept it is made before: %t", set, !reward)
		}
	}
	if !was.answers(wanted(c, ls)) || was.answers(wanted(c, ls[:1])) {
		t.Error("the same is made again, or of other answers is not")
	}
	c.Align.By = "labels"
	was = wanted(c, ls)
	c.Reward.Steps++
	if !was.answers(wanted(c, ls)) {
		t.Error("labels rank again for what they do not depend on")
	}
}
