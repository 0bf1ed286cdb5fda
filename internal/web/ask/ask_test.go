package ask_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
	"github.com/rapport-rl/rapport/robot/record"
)

// memory is a book.
type memory struct {
	mu   sync.Mutex
	ls   []label.Label
	fail error // of the next Append
}

func (m *memory) Append(_ context.Context, l label.Label) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail; err != nil {
		m.fail = nil
		return false, err
	}
	if err := l.Validate(); err != nil {
		return false, err
	}
	if slices.ContainsFunc(m.ls, func(x label.Label) bool { return x.ID == l.ID }) {
		return false, nil
	}
	m.ls = append(m.ls, l)
	return true, nil
}

func (m *memory) Labels(context.Context) ([]label.Label, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ls), nil
}

// reels are n episodes of 10 steps with two cameras, of which "side" sends every
// second time only.
type reels struct {
	n   int
	bad string
}

func (r *reels) Episodes(context.Context) (ids []string, err error) {
	for i := range r.n {
		ids = append(ids, fmt.Sprintf("e-%d", i))
	}
	return ids, nil
}

func (r *reels) Frames(_ context.Context, id string) ([][]record.Encoded, error) {
	if id == r.bad {
		return nil, errors.New("the file is damaged")
	}
	out := make([][]record.Encoded, 11)
	for t := range out {
		at := time.UnixMilli(int64(1000 + 50*t))
		out[t] = append(out[t], record.Encoded{Camera: "front", Stamp: at, Format: "jpeg", Data: fmt.Appendf(nil, "f%s.%d", id, t)})
		if t%2 == 0 {
			out[t] = append(out[t], record.Encoded{Camera: "side", Stamp: at, Format: "jpeg", Data: fmt.Appendf(nil, "s%d", t)})
		}
	}
	return out, nil
}

func desk(t *testing.T, o ask.Options) *ask.Desk {
	t.Helper()
	if o.Reels == nil {
		o.Reels = &reels{n: 6}
	}
	if o.Book == nil {
		o.Book = &memory{}
	}
	o.Source = rand.NewPCG(1, 2)
	o.Now = func() time.Time { return time.Unix(100, 0) }
	d, err := ask.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must(t *testing.T) func(ask.State, error) ask.State {
	return func(v ask.State, err error) ask.State {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func choose(v ask.State, c label.Choice) label.Label {
	return label.Label{ID: v.Label, Annotator: v.Annotator, Query: v.Question.Query, Choice: c}
}

func TestAnswersAreStoredOnceAndUndone(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	d := desk(t, ask.Options{Book: m, Ask: 10})
	v := must(t)(d.State(ctx, " ann ", ""))
	if v.Annotator != "ann" || v.Kind != label.Pair || v.Answered != 0 || v.Asked != 10 || v.Question.Films[0].Steps != 10 || v.Question.Why != "random" {
		t.Fatalf("got %+v", v)
	}
	if again := must(t)(d.State(ctx, "ann", "")); again.Question.ID != v.Question.ID || again.Label != v.Label {
		t.Error("a page that is loaded again shows another question")
	}
	l := choose(v, label.Left)
	l.Tags, l.Took = []string{"smooth"}, 3*time.Hour
	m.fail = errors.New("disk full")
	if _, err := d.Answer(ctx, l); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("an answer that is not stored: %v", err)
	}
	w := must(t)(d.Answer(ctx, l))
	if !w.Added || w.Answered != 1 || w.Question.ID == v.Question.ID || w.Last.Choice != label.Left || w.Last.Took != time.Hour || !w.Last.Stamp.Equal(time.Unix(100, 0)) {
		t.Errorf("got %+v", w)
	}
	// The reply was lost and the page sends again, or the page was open twice.
	l.Choice = label.Right
	if x := must(t)(d.Answer(ctx, l)); x.Added || x.Answered != 1 || x.Last.Choice != label.Left || x.Question.ID != w.Question.ID {
		t.Errorf("a repeated answer: %+v", x)
	}
	u := must(t)(d.Undo(ctx, "ann", w.Last.ID))
	if u.Answered != 0 || u.Question.ID != v.Question.ID || u.Label == v.Label || u.Taken.Choice != label.Left || !u.Added {
		t.Errorf("undone: %+v", u)
	}
	if x := must(t)(d.Undo(ctx, "ann", w.Last.ID)); x.Added || x.Label != u.Label {
		t.Errorf("undone twice: %+v", x)
	}
	// A late repetition of what was taken back does not bring it back.
	if x := must(t)(d.Answer(ctx, l)); x.Added || x.Answered != 0 {
		t.Errorf("a late repetition: %+v", x)
	}
	if x := must(t)(d.Answer(ctx, choose(u, label.Tie))); !x.Added || x.Answered != 1 || x.Last.Choice != label.Tie {
		t.Errorf("answered again: %+v", x)
	}
	if len(m.ls) != 3 || m.ls[1].Retracts != m.ls[0].ID {
		t.Errorf("the book has %+v", m.ls)
	}
}

func TestAnotherProcessGoesOn(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	v := must(t)(desk(t, ask.Options{Book: m}).State(ctx, "ann", label.Triplet))
	// The page still shows what the process before asked; no process knows it.
	d := desk(t, ask.Options{Book: m, Reels: &reels{n: 9}})
	l := choose(v, label.Right)
	l.Query.Why = "because I say so"
	if x := must(t)(d.Answer(ctx, l)); !x.Added || x.Last.Query.Why != "" {
		t.Errorf("got %+v", x)
	}
	// A third asks nobody the same again, and shares it with others.
	d = desk(t, ask.Options{Book: m})
	if x := must(t)(d.State(ctx, "ann", label.Triplet)); x.Question.ID == v.Question.ID || x.Answered != 1 {
		t.Errorf("asked again: %+v", x)
	}
	if x := must(t)(d.State(ctx, "ben", label.Triplet)); x.Question.ID != v.Question.ID {
		t.Errorf("ben is asked %+v, want ann's", x.Question)
	}
}

// What one person looked at says what was seen, and not what may be.
func TestAllCamerasAreOfferedAgain(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	all := func(when string, v ask.State, id string) {
		t.Helper()
		if v.Question.ID != id {
			t.Fatalf("%s: question %s, want %s", when, v.Question.ID, id)
		}
		for _, c := range v.Question.Clips {
			if !slices.Equal(c.Cameras, []string{"front", "side"}) {
				t.Errorf("%s: cameras %v of %s", when, c.Cameras, c.Episode)
			}
		}
	}
	answer := func(d *ask.Desk, v ask.State) ask.State {
		t.Helper()
		l := choose(v, label.Left)
		l.Query.Clips = slices.Clone(l.Query.Clips)
		for i := range l.Query.Clips {
			l.Query.Clips[i].Cameras = []string{"side"}
		}
		return must(t)(d.Answer(ctx, l))
	}
	d := desk(t, ask.Options{Book: m, Shared: 1})
	v := must(t)(d.State(ctx, "ann", ""))
	id := v.Question.ID
	v = answer(d, v)
	if got := m.ls[0].Query.Clips[0].Cameras; !slices.Equal(got, []string{"side"}) {
		t.Errorf("kept is %v", got)
	}
	v = must(t)(d.Undo(ctx, "ann", v.Last.ID))
	all("undone", v, id)
	v = answer(d, v)
	d = desk(t, ask.Options{Book: m, Shared: 1})
	all("shared, by another process", must(t)(d.State(ctx, "ben", "")), id)
	all("undone by another process", must(t)(desk(t, ask.Options{Book: m}).Undo(ctx, "ann", v.Last.ID)), id)
	d = desk(t, ask.Options{Book: m, Cameras: []string{"side"}, Shared: 1})
	if v := must(t)(d.State(ctx, "eve", "")); !slices.Equal(v.Question.Clips[0].Cameras, []string{"side"}) {
		t.Errorf("one camera is shown here, and %v are offered", v.Question.Clips[0].Cameras)
	}
}

func TestPeopleShareSomeQuestions(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	d := desk(t, ask.Options{Book: m, Reels: &reels{n: 12}, Shared: 3})
	said := map[string]map[string]bool{}
	for _, who := range []string{"ann", "ben"} {
		said[who] = map[string]bool{}
		v := must(t)(d.State(ctx, who, ""))
		for i := range 9 {
			c := label.Left
			if who == "ben" && i == 0 {
				c = label.Right
			}
			said[who][v.Question.ID] = true
			v = must(t)(d.Answer(ctx, choose(v, c)))
			if i == 0 && who == "ben" && (len(v.Others) != 1 || v.Others[0].Choice != label.Left || v.Others[0].Annotator != "ann") {
				t.Errorf("others said %+v", v.Others)
			}
		}
		if len(said[who]) != 9 {
			t.Errorf("%s was asked %d questions, 9 times", who, len(said[who]))
		}
	}
	both := 0
	for id := range said["ben"] {
		if said["ann"][id] {
			both++
		}
	}
	if both != 3 {
		t.Errorf("%d of 9 were shared, want 3", both)
	}
	v := must(t)(d.State(ctx, "ben", ""))
	if len(v.Agree) != 1 || v.Agree[0].With != "ann" || v.Agree[0].Both != 3 || math.Abs(v.Agree[0].Share-2./3) > 1e-12 || v.All != 18 {
		t.Errorf("got %+v", v.Agree)
	}
}

func TestEveryPairIsAskedOnce(t *testing.T) {
	ctx := t.Context()
	d := desk(t, ask.Options{Reels: &reels{n: 4, bad: "e-2"}})
	seen := map[string]bool{}
	v := must(t)(d.State(ctx, "ann", ""))
	for range 3 {
		ids := []string{v.Question.Clips[0].Episode, v.Question.Clips[1].Episode}
		slices.Sort(ids)
		seen[strings.Join(ids, " ")] = true
		v = must(t)(d.Answer(ctx, choose(v, label.Unsure)))
	}
	if len(seen) != 3 || seen["e-0 e-2"] || v.Question != nil || !strings.HasPrefix(v.Note, "All questions of kind pair about these ") || len(v.Warn) != 1 || !strings.Contains(v.Warn[0], "damaged") {
		t.Errorf("asked %v, then %+v", seen, v)
	}
	if v := must(t)(desk(t, ask.Options{Reels: &reels{n: 2}}).State(ctx, "ann", label.Triplet)); v.Question != nil || !strings.Contains(v.Note, "there are 2, and a question of kind triplet needs 3") {
		t.Errorf("got %+v", v)
	}
	if v := must(t)(desk(t, ask.Options{}).State(ctx, "", "")); v.Question != nil || !strings.Contains(v.Note, "Give your name") {
		t.Errorf("nobody is asked %+v", v)
	}
}

// slow are reels that are read once gate is closed; the first late times they give up.
type slow struct {
	reels
	gate       chan struct{}
	read, late atomic.Int32
}

func (s *slow) Frames(ctx context.Context, id string) ([][]record.Encoded, error) {
	s.read.Add(1)
	select {
	case <-s.gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.late.Add(-1) >= 0 {
		return nil, fmt.Errorf("fetch: %w", context.DeadlineExceeded)
	}
	return s.reels.Frames(ctx, id)
}

func TestAnEpisodeThatTakesLongIsReadOnceAndShown(t *testing.T) {
	for _, steps := range []int{0, 4} {
		r := &slow{reels: reels{n: 2}, gate: make(chan struct{})}
		d := desk(t, ask.Options{Reels: r, Steps: steps})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			v, err := d.State(ctx, "ann", "")
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is still being read") || len(v.Warn) > 0 {
				t.Fatalf("clips of %d: error %v, warnings %q", steps, err, v.Warn)
			}
		}
		close(r.gate)
		v := must(t)(d.State(t.Context(), "ann", ""))
		if v.Question == nil || len(v.Warn) > 0 || len(v.Question.Clips[0].Cameras) != 2 {
			t.Fatalf("clips of %d: got %+v", steps, v)
		}
		if c := v.Question.Clips[1]; c.To-c.From != steps {
			t.Errorf("clips of %d: %+v", steps, c)
		}
		if n := r.read.Load(); n != 2 {
			t.Errorf("clips of %d: two episodes were read %d times", steps, n)
		}
	}
	// Reels that give up by themselves are asked again, too.
	r := &slow{reels: reels{n: 2}, gate: make(chan struct{})}
	close(r.gate)
	r.late.Store(1)
	d := desk(t, ask.Options{Reels: r})
	if v, err := d.State(t.Context(), "ann", ""); !errors.Is(err, context.DeadlineExceeded) || len(v.Warn) > 0 {
		t.Errorf("error %v, warnings %q", err, v.Warn)
	}
	if v := must(t)(d.State(t.Context(), "ann", "")); v.Question == nil || len(v.Warn) > 0 {
		t.Errorf("got %+v", v)
	}
}

func TestSimulatedAnswersAreNobodys(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	q := label.Query{ID: "ask-1", Kind: label.Pair, Clips: []label.Clip{{Episode: "e-0"}, {Episode: "e-1"}}}
	m.ls = []label.Label{{ID: "1", Annotator: "simulated", Query: q, Choice: label.Left}}
	given := -1
	d := desk(t, ask.Options{Book: m, Way: "first", Ways: map[string]ask.Way{"first": {Choose: func(_ context.Context, _ []label.Query, ls []label.Label) (int, string, float64, error) {
		given = len(ls)
		return 0, "first", 0, nil
	}}}})
	v := must(t)(d.State(ctx, "ann", ""))
	if v.All != 0 || v.Question.ID == "ask-1" || given != 0 {
		t.Errorf("got %+v; %d labels to choose by", v, given)
	}
	// Whoever answers the same is compared with it all the same.
	for v.Question != nil && (v.Question.Clips[0].Episode > "e-1" || v.Question.Clips[1].Episode > "e-1") {
		v = must(t)(d.Answer(ctx, choose(v, label.Tie)))
	}
	if v.Question == nil {
		t.Fatal("e-0 and e-1 were never asked")
	}
	if v = must(t)(d.Answer(ctx, choose(v, label.Tie))); len(v.Agree) != 1 || v.Agree[0].With != "simulated" || v.Agree[0].Share != 0 {
		t.Errorf("got %+v", v.Agree)
	}
}

func TestStretchesAndRankings(t *testing.T) {
	ctx := t.Context()
	d := desk(t, ask.Options{Steps: 4, Cameras: []string{"side"}, Clips: 3, Annotator: "ann"})
	v := must(t)(d.State(ctx, "", label.Ranking))
	if len(v.Question.Clips) != 3 {
		t.Fatalf("got %+v", v.Question)
	}
	for _, c := range v.Question.Clips {
		if c.To-c.From != 4 || c.From < 0 || c.To > 10 || !slices.Equal(c.Cameras, []string{"side"}) {
			t.Errorf("clip %+v", c)
		}
	}
	l := choose(v, "")
	l.Places = []int{2, 1, 2}
	if v = must(t)(d.Answer(ctx, l)); !v.Added {
		t.Error("not stored")
	}
	v = must(t)(d.State(ctx, "", label.Segments))
	c := v.Question.Clips[0]
	l = choose(v, "")
	l.Marks = []label.Mark{{From: c.From, To: c.From + 2, Good: true}}
	must(t)(d.Answer(ctx, l))
	w := must(t)(d.State(ctx, "ben", label.Segments))
	l = choose(w, "")
	l.Marks = []label.Mark{{From: c.From + 1, To: c.From + 2, Good: true}, {From: c.From + 2, To: c.From + 3}}
	if w = must(t)(d.Answer(ctx, l)); len(w.Agree) != 1 || w.Agree[0].Share != 0.5 {
		t.Errorf("marks of 4 steps, of which 2 differ: %+v", w.Agree)
	}
}

func TestChosenQuestions(t *testing.T) {
	n := 0
	d := desk(t, ask.Options{Candidates: 7, Way: "wise", Ways: map[string]ask.Way{"wise": {Choose: func(_ context.Context, qs []label.Query, ls []label.Label) (int, string, float64, error) {
		if n++; n > 1 {
			return 0, "", 0, errors.New("no idea")
		}
		return len(qs) - 1, fmt.Sprintf("last of %d", len(qs)), 0.25, nil
	}}}})
	v := must(t)(d.State(t.Context(), "ann", ""))
	if v.Question.Why != "last of 7" || v.Question.Gain != 0.25 || len(v.Question.Clips[0].Cameras) != 2 {
		t.Errorf("got %+v", v.Question)
	}
	if _, err := d.State(t.Context(), "ben", label.Triplet); err == nil || !strings.Contains(err.Error(), "no idea") {
		t.Errorf("got %v", err)
	}
	if v.Ahead != nil || v.Way != "wise" || !slices.Equal(v.Ways, []string{"random", "wise"}) {
		t.Errorf("got %+v", v)
	}
	// Whoever likes chance better has it.
	if err := d.Prefer("ben", "random"); err != nil {
		t.Fatal(err)
	}
	if v := must(t)(d.State(t.Context(), "ben", label.Triplet)); v.Question.Why != "random" || v.Way != "random" {
		t.Errorf("got %+v", v)
	}
	if err := d.Prefer("ben", "lucky"); !errors.Is(err, ask.ErrNonsense) || !strings.Contains(err.Error(), "random, wise") {
		t.Errorf("got %v", err)
	}
}

// By the root what was found best so far is asked beside something new, in pairs and in
// rankings, and where nothing is new, whatever was not asked.
func TestRootedQuestions(t *testing.T) {
	ctx := t.Context()
	d := desk(t, ask.Options{Clips: 4, Shared: 1, Way: "root", Ways: map[string]ask.Way{"root": {Root: query.Root}}})
	larger := func(v ask.State) label.Label { // episodes of larger numbers are better
		l := choose(v, label.Left)
		if cs := v.Question.Clips; cs[0].Episode < cs[1].Episode {
			l.Choice = label.Right
		}
		return l
	}
	v := must(t)(d.State(ctx, "ann", ""))
	if v.Question.Why != "random" || v.Ahead != nil {
		t.Errorf("first: %+v", v)
	}
	best, asked := "", map[string]bool{}
	shown := map[string][]label.Clip{} // by the question either way round
	rooted, twice := 0, 0
	for n := 0; v.Question != nil; n++ { // pairs of 6 episodes
		cs := v.Question.Clips
		old := 0
		for _, c := range cs {
			if asked[c.Episode] {
				old++
			}
			asked[c.Episode] = true
		}
		key := min(cs[0].Episode, cs[1].Episode) + max(cs[0].Episode, cs[1].Episode)
		switch v.Question.Why {
		case "root":
			rooted++
			if old != 1 || cs[0].Episode != best && cs[1].Episode != best {
				t.Errorf("question %d is %+v, the best being %s", n, v.Question, best)
			}
		case "again":
			twice++
			if was := shown[key]; len(was) == 0 || was[0].Episode != cs[1].Episode || max(cs[0].Episode, cs[1].Episode) != best {
				t.Errorf("question %d is %+v, shown before as %+v, the best being %s", n, v.Question, was, best)
			}
		default:
			if n > 0 && len(asked) < 6 || len(shown[key]) > 0 {
				t.Errorf("question %d is %+v, asked before as %+v", n, v.Question, shown[key])
			}
		}
		shown[key] = cs
		best = max(best, cs[0].Episode, cs[1].Episode)
		v = must(t)(d.Answer(ctx, larger(v)))
	}
	if len(shown) != 15 || rooted != 4 || twice == 0 || !strings.HasPrefix(v.Note, "All questions of kind pair about these ") {
		t.Errorf("of %d pairs %d are about the best so far, and %d were asked again; then %+v", len(shown), rooted, twice, v)
	}
	// What one person is asked again is nothing to others, every question of whom is shared.
	for o := must(t)(d.State(ctx, "ben", "")); o.Question != nil; o = must(t)(d.Answer(ctx, choose(o, label.Tie))) {
		if o.Question.Why == "again" {
			t.Errorf("ben is asked %+v again", o.Question)
		}
	}

	d = desk(t, ask.Options{Clips: 4, Way: "root", Ways: map[string]ask.Way{"root": {Root: query.Root}}})
	v = must(t)(d.State(ctx, "ann", label.Ranking))
	l := choose(v, "")
	l.Places = []int{2, 1, 3, 4}
	first := v.Question.Clips
	v = must(t)(d.Answer(ctx, l))
	if n := len(v.Question.Clips); n != 3 || !slices.ContainsFunc(v.Question.Clips, func(c label.Clip) bool { return c.Episode == first[1].Episode }) {
		t.Errorf("after %+v, of which the second is best, %+v; want it and the two that are left", first, v.Question.Clips)
	}
	// One of these beats it: with nothing left, the two are ranked once more.
	l = choose(v, "")
	l.Places = []int{2, 2, 2}
	for i, c := range v.Question.Clips {
		if !slices.ContainsFunc(first, func(f label.Clip) bool { return f.Episode == c.Episode }) {
			l.Places[i] = 1
			break
		}
	}
	v = must(t)(d.Answer(ctx, l))
	if q := v.Question; len(q.Clips) != 2 || q.Why != "again" {
		t.Errorf("then %+v; want two again", q)
	}
}

func TestWhatIsAheadComesNext(t *testing.T) {
	ctx := t.Context()
	d := desk(t, ask.Options{Reels: &reels{n: 3}})
	v := must(t)(d.State(ctx, "ann", ""))
	for n := range 3 {
		ahead := v.Ahead
		if (n < 2) != (len(ahead) == 2) {
			t.Fatalf("question %d of 3: %+v is ahead", n, ahead)
		}
		if v = must(t)(d.Answer(ctx, choose(v, label.Left))); n < 2 && !slices.EqualFunc(v.Question.Clips, ahead, func(a, b label.Clip) bool { return a.Episode == b.Episode }) {
			t.Errorf("%+v was ahead, and %+v came", ahead, v.Question.Clips)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	d := desk(t, ask.Options{Book: m})
	v := must(t)(d.State(ctx, "ann", ""))
	for name, spoil := range map[string]func(*label.Label){
		"another id":          func(l *label.Label) { l.ID = "x" },
		"the id of another":   func(l *label.Label) { l.Annotator = "ben" },
		"no choice":           func(l *label.Label) { l.Choice = "" },
		"a question of none":  func(l *label.Label) { l.Query.ID = "q-1" },
		"other clips":         func(l *label.Label) { l.Query.Clips = []label.Clip{{Episode: "e-0"}, {Episode: "e-0"}} },
		"clips the other way": func(l *label.Label) { c := l.Query.Clips; l.Query.Clips = []label.Clip{c[1], c[0]} },
		"another kind":        func(l *label.Label) { l.Query.Kind = "vote" },
		"no camera":           func(l *label.Label) { l.Query.Clips = slices.Clone(l.Query.Clips); l.Query.Clips[1].Cameras = nil },
		"a camera of nowhere": func(l *label.Label) {
			l.Query.Clips = slices.Clone(l.Query.Clips)
			l.Query.Clips[1].Cameras = []string{"up"}
		},
		"a camera twice": func(l *label.Label) {
			l.Query.Clips = slices.Clone(l.Query.Clips)
			l.Query.Clips[1].Cameras = []string{"side", "side"}
		},
		"a retraction":       func(l *label.Label) { l.Retracts, l.Choice = "x", "" },
		"nobody":             func(l *label.Label) { l.Annotator = " " },
		"a name too long":    func(l *label.Label) { l.Annotator = strings.Repeat("x", 81) },
		"a name with a line": func(l *label.Label) { l.Annotator = "an\nn" },
		"a reason twice":     func(l *label.Label) { l.Tags = []string{"a", "a"} },
		"an empty reason":    func(l *label.Label) { l.Tags = []string{""} },
		"a reason too long":  func(l *label.Label) { l.Tags = []string{strings.Repeat("x", 41)} },
		"too many reasons": func(l *label.Label) {
			for i := range 13 {
				l.Tags = append(l.Tags, fmt.Sprint(i))
			}
		},
		"a reason not UTF-8": func(l *label.Label) { l.Tags = []string{"\xff"} },
		"a hundred clips":    func(l *label.Label) { l.Query.Clips = slices.Repeat(l.Query.Clips, 50) },
		"an episode elsewhere": func(l *label.Label) {
			l.Query.Clips = []label.Clip{{Episode: "../x"}, {Episode: "e-0"}}
			l.Query.ID = ask.QueryID(l.Query)
		},
		"steps beyond the end": func(l *label.Label) {
			l.Query.Clips = []label.Clip{{Episode: "e-1", To: 11, Cameras: []string{"side"}}, {Episode: "e-0", Cameras: []string{"side"}}}
			l.Query.ID = ask.QueryID(l.Query)
		},
	} {
		l := choose(v, label.Left)
		spoil(&l)
		if _, err := d.Answer(ctx, l); !errors.Is(err, ask.ErrNonsense) && !errors.Is(err, ask.ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.State(ctx, "ann", "vote"); !errors.Is(err, ask.ErrNonsense) {
		t.Errorf("a kind that is none: %v", err)
	}
	w := must(t)(d.State(ctx, "ann", label.Segments))
	l := choose(w, "")
	l.Marks = []label.Mark{{From: 8, To: 11}}
	if _, err := d.Answer(ctx, l); !errors.Is(err, ask.ErrNonsense) {
		t.Errorf("a mark beyond the end: %v", err)
	}
	l = choose(v, label.Left)
	must(t)(d.Answer(ctx, l))
	for name, who := range map[string]string{"somebody else's": "ben", "nobody's": ""} {
		if _, err := d.Undo(ctx, who, l.ID); !errors.Is(err, ask.ErrNone) {
			t.Errorf("undo %s: %v", name, err)
		}
	}
	if len(m.ls) != 1 {
		t.Errorf("the book has %d labels, want 1", len(m.ls))
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	ok := ask.Options{Book: &memory{}, Reels: &reels{}, Source: rand.NewPCG(1, 2)}
	for want, spoil := range map[string]func(*ask.Options){
		"a book":          func(o *ask.Options) { o.Book = nil },
		"kind":            func(o *ask.Options) { o.Kind = "vote" },
		"kind \"vote\"":   func(o *ask.Options) { o.Kinds = []label.Kind{"vote"} },
		"one of [pair]":   func(o *ask.Options) { o.Kinds, o.Kind = []label.Kind{label.Pair}, label.Triplet },
		"-1 answers":      func(o *ask.Options) { o.Ask = -1 },
		"9 clips":         func(o *ask.Options) { o.Clips = 9 },
		"clips of -1":     func(o *ask.Options) { o.Steps = -1 },
		"-1th question":   func(o *ask.Options) { o.Shared = -1 },
		"chosen by":       func(o *ask.Options) { o.Way = "wise" },
		"the name":        func(o *ask.Options) { o.Annotator = strings.Repeat("x", 81) },
		"reason \"a\\n\"": func(o *ask.Options) { o.Tags = []string{"a\n"} },
	} {
		o := ok
		spoil(&o)
		if _, err := ask.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Where answers of some kinds alone count, no others are offered, nor stored; a page that remembers one
// of another session is asked what counts.
func TestKindsThatCountAreOffered(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	triplet := must(t)(desk(t, ask.Options{Book: m}).State(ctx, "ann", label.Triplet))
	d := desk(t, ask.Options{Book: m, Kinds: []label.Kind{label.Ranking, label.Pair}})
	v := must(t)(d.State(ctx, "ann", label.Triplet))
	if !slices.Equal(v.Kinds, []label.Kind{label.Ranking, label.Pair}) || v.Kind != label.Ranking || v.Question.Kind != label.Ranking {
		t.Errorf("offers %v and asks for %s, %s", v.Kinds, v.Kind, v.Question.Kind)
	}
	if v := must(t)(d.State(ctx, "ann", label.Pair)); v.Question.Kind != label.Pair {
		t.Errorf("asks for %s", v.Question.Kind)
	}
	if _, err := d.Answer(ctx, choose(triplet, label.Left)); !errors.Is(err, ask.ErrNonsense) || len(m.ls) > 0 {
		t.Errorf("a triplet is answered: %v, %d labels", err, len(m.ls))
	}
}

func TestFramesOfAStretch(t *testing.T) {
	d := desk(t, ask.Options{})
	type head struct {
		From   int
		Sizes  []int
		Stamps []int64
		Type   string
	}
	for _, tt := range []struct {
		camera   string
		from, to int
		sizes    []int
		stamps   []int64
		rest     string
	}{
		{"front", 8, 0, []int{6, 6, 7}, []int64{0, 50, 100}, "fe-1.8fe-1.9fe-1.10"},
		// Observation 3 saw what came with observation 2.
		{"side", 3, 6, []int{2, 2, 0, 2}, []int64{0, 100, 100, 200}, "s2s4s6"},
	} {
		b, err := d.Frames(t.Context(), "e-1", tt.camera, tt.from, tt.to)
		if err != nil {
			t.Fatal(err)
		}
		n := binary.BigEndian.Uint32(b)
		var h head
		if err := json.Unmarshal(b[4:4+n], &h); err != nil {
			t.Fatal(err)
		}
		if h.From != tt.from || !slices.Equal(h.Sizes, tt.sizes) || !slices.Equal(h.Stamps, tt.stamps) || h.Type != "image/jpeg" || string(b[4+n:]) != tt.rest {
			t.Errorf("%s: got %+v %s", tt.camera, h, b[4+n:])
		}
	}
	for _, tt := range []struct {
		id, camera string
		from, to   int
		want       error
	}{
		{"e-9", "front", 0, 0, ask.ErrNone}, {"../../etc/passwd", "front", 0, 0, ask.ErrNone}, {"e-1", "up", 0, 0, ask.ErrNone},
		{"e-1", "front", -1, 0, ask.ErrNonsense}, {"e-1", "front", 0, 11, ask.ErrNonsense}, {"e-1", "front", 5, 3, ask.ErrNonsense},
		{"e-1", "front", 11, 0, ask.ErrNonsense},
	} {
		if _, err := d.Frames(t.Context(), tt.id, tt.camera, tt.from, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// Two people with two pages each answer all at once.
func TestManyAtOnceLoseNothing(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	d := desk(t, ask.Options{Book: m, Reels: &reels{n: 20}})
	var wg sync.WaitGroup
	for i := range 4 {
		who := []string{"ann", "ben"}[i%2]
		wg.Go(func() {
			v, err := d.State(ctx, who, "")
			for n := 0; n < 20 && err == nil; n++ {
				v, err = d.Answer(ctx, choose(v, label.Left))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	one := map[string]bool{}
	for _, l := range m.ls {
		if k := l.Annotator + l.Query.ID; one[k] {
			t.Errorf("%s answered %s twice", l.Annotator, l.Query.ID)
		} else {
			one[k] = true
		}
	}
	// Each of the two answered at least as often as one page has asked.
	if len(one) < 40 {
		t.Errorf("%d answers", len(one))
	}
}

// Where all people's answers are waited for together, everybody is told how far these are, and
// what does not matter there is as if nobody had said it.
func TestAllAreCountedTogether(t *testing.T) {
	ctx, m := t.Context(), &memory{}
	ours := func(ls []label.Label) []label.Label {
		return slices.DeleteFunc(slices.Clone(ls), func(l label.Label) bool { return l.Retracts == "" && l.Query.Clips[0].Episode == "e-9" })
	}
	count := func(ls []label.Label) (n ask.Count) {
		n.Asked, n.Note = 2, "Two answers are wanted."
		for _, l := range label.Standing(ls) {
			if l.Choice != label.Unsure {
				n.Answers++
			}
		}
		n.Done = n.Answers >= n.Asked
		return n
	}
	idle := map[string]bool{}
	d := desk(t, ask.Options{Book: m, Reels: &reels{n: 3}, Heard: ours, Count: count, Idle: func(who string, none bool) { idle[who] = none }})
	m.ls = append(m.ls, label.Label{ID: "x", Annotator: "ann", Choice: label.Left, Query: label.Query{ID: "x", Kind: label.Pair, Clips: []label.Clip{{Episode: "e-9"}, {Episode: "e-1", Cameras: []string{"front"}}}}})
	says := func(v ask.State, answers int, done bool) {
		t.Helper()
		if c := v.Together; c == nil || c.Answers != answers || c.Asked != 2 || c.Done != done || (v.Question == nil) != done || !strings.Contains(v.Note, "Two answers") {
			t.Fatalf("together %+v, note %q, question %v; want %d answers, done %t", c, v.Note, v.Question, answers, done)
		}
	}
	v := must(t)(d.State(ctx, "ann", ""))
	says(v, 0, false)
	if v.Answered != 0 {
		t.Errorf("what does not matter here counts: %d", v.Answered)
	}
	v = must(t)(d.Answer(ctx, choose(v, label.Unsure)))
	says(v, 0, false)
	ann := must(t)(d.Answer(ctx, choose(v, label.Left)))
	says(ann, 1, false)
	ben := must(t)(d.State(ctx, "ben", ""))
	says(ben, 1, false)
	ben = must(t)(d.Answer(ctx, choose(ben, label.Left)))
	says(ben, 2, true)
	says(must(t)(d.State(ctx, "ann", "")), 2, true)
	// The last can still be taken back.
	ben = must(t)(d.Undo(ctx, "ben", ben.Last.ID))
	says(ben, 1, false)
	if idle["ann"] || idle["ben"] {
		t.Errorf("nothing is left for %v", idle)
	}
	v = must(t)(d.Answer(ctx, choose(ben, label.Unsure)))
	for v.Question != nil {
		v = must(t)(d.Answer(ctx, choose(v, label.Unsure)))
	}
	if !idle["ben"] || idle["ann"] || !strings.HasPrefix(v.Note, "No question is left for you, and 1 of 2 answers count. Two answers") {
		t.Errorf("idle %v, note %q", idle, v.Note)
	}
}
