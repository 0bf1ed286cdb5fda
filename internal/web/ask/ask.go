// Package ask puts questions about episodes to people: which two clips to compare
// next, what was answered, how far somebody is, and how much people agree.
//
// Why: the page that shows the clips may be reloaded, be open twice, or lose its
// network in the middle of an answer. So a question's ID follows from what it
// shows and a label's from the question, the person and the attempt; whatever is
// sent twice is stored once, and a page that begins anew goes on where it was.
//
//	d, err := ask.New(ask.Options{Book: book, Reels: reels, Source: rand.NewPCG(1, 2)})
//	v, err := d.State(ctx, "ann", label.Pair)               // v.Question is what to show
//	v, err = d.Answer(ctx, label.Label{ID: v.Label, Query: v.Question.Query, Choice: label.Left, Annotator: "ann"})
package ask

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
)

var (
	// ErrNonsense says that a request cannot be what a page sends.
	ErrNonsense = errors.New("ask: refused")
	// ErrFew says that there are too few episodes for a question.
	ErrFew = errors.New("ask: too few episodes")
	// ErrNone says that an episode or a label is not there.
	ErrNone = errors.New("ask: not there")
)

// place is whom a question is shown to.
type place struct {
	who  string
	kind label.Kind
}

// Desk asks. Its methods are safe for several goroutines.
type Desk struct {
	o Options

	mu    sync.Mutex // guards what follows and o.Source
	asked map[label.Kind][]label.Query
	known map[string]label.Query
	open  map[place]string      // IDs of what is being shown
	kept  map[place]string      // IDs of what was drawn to be shown later
	late  map[place]label.Query // drawn, and its episodes are still being read
	ways  map[string]string
	bad   map[string]error // episodes that cannot be shown

	films films
}

// New makes a desk.
func New(o Options) (*Desk, error) {
	if o.Book == nil || o.Reels == nil || o.Source == nil {
		return nil, errors.New("ask: want a book, reels and a source of chance")
	}
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&o.Ask, 150)
	set(&o.Clips, 4)
	set(&o.Shared, 4)
	set(&o.Candidates, 64)
	if o.Way == "" {
		o.Way = Random
	}
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds()
	}
	if o.Kind == "" {
		o.Kind = o.Kinds[0]
	}
	if o.Tags == nil {
		o.Tags = Tags()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Annotator = spaced(o.Annotator)
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("ask: "+format, args...))
		}
	}
	for _, k := range append(slices.Clone(o.Kinds), o.Kind) {
		want(slices.Contains(Kinds(), k), "kind %q, want pair, triplet, ranking or segments", k)
	}
	want(!slices.Contains(Kinds(), o.Kind) || slices.Contains(o.Kinds, o.Kind), "kind %q, want one of %v", o.Kind, o.Kinds)
	want(o.Ask > 0, "%d answers, want 1 or more", o.Ask)
	want(o.Clips >= 2 && o.Clips <= maxClips, "%d clips in a ranking, want 2 to %d", o.Clips, maxClips)
	want(o.Steps >= 0, "clips of %d steps, want 1 or more, or 0 for whole episodes", o.Steps)
	want(o.Shared > 0, "every %dth question is shared, want 1 or more", o.Shared)
	want(o.Way == Random || !o.Ways[o.Way].blind(), "questions chosen by %q, want one of %s", o.Way, strings.Join(o.ways(), ", "))
	if o.Annotator != "" {
		errs = append(errs, checkName(o.Annotator))
	}
	errs = append(errs, checkTags(o.Tags, 100))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Desk{o: o, asked: map[label.Kind][]label.Query{}, known: map[string]label.Query{}, open: map[place]string{}, kept: map[place]string{}, late: map[place]label.Query{}, ways: map[string]string{}, bad: map[string]error{}}, nil
}

// ways are the names of those that there are.
func (o *Options) ways() []string {
	return append([]string{Random}, slices.Sorted(maps.Keys(o.Ways))...)
}

// Prefer has a person's questions be chosen in a way, from the next on.
func (d *Desk) Prefer(who, way string) error {
	who, _, err := d.person(who, "")
	if err != nil {
		return err
	}
	if way != Random && d.o.Ways[way].blind() {
		return fmt.Errorf("%w: questions chosen by %.40q, want one of %s", ErrNonsense, way, strings.Join(d.o.ways(), ", "))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ways) < maxPeople {
		d.ways[who] = way
	}
	return nil
}

// way is how a person's questions are chosen, with d.mu held.
func (d *Desk) way(who string) string {
	if w, ok := d.ways[who]; ok {
		return w
	}
	return d.o.Way
}

// found is the same as functions, none for Random.
func (d *Desk) found(who string) Way { return d.o.Ways[d.way(who)] }

// Question is what the page shows.
type Question struct {
	label.Query
	// Films say what there is of each clip.
	Films []Film `json:"films"`
}

// State is what the page is told.
type State struct {
	Session   string       `json:"session"`
	Kinds     []label.Kind `json:"kinds"`
	Kind      label.Kind   `json:"kind"`
	Annotator string       `json:"annotator"`
	Tags      []string     `json:"tags"`
	Answered  int          `json:"answered"` // by this person, of this kind
	Asked     int          `json:"asked"`    // for
	All       int          `json:"all"`      // standing, of this kind, by all people who saw what they judged
	// Together is how far all people are, where that is what is waited for.
	Together *Count `json:"together,omitempty"`
	// Ways are how questions may be chosen, Way is how this person's are.
	Ways []string `json:"ways"`
	Way  string   `json:"way"`
	// Question is what to show; nil where Note says why there is none.
	Question *Question `json:"question,omitempty"`
	// Ahead is what will be shown next, if that is known: pictures may be fetched.
	Ahead []label.Clip `json:"ahead,omitempty"`
	// Label is the ID that an answer to it has.
	Label string `json:"label,omitempty"`
	Note  string `json:"note,omitempty"`
	// Last is this person's newest answer of this kind, which can be taken back.
	Last *label.Label `json:"last,omitempty"`
	// Others is what others said to Last's question.
	Others []label.Label `json:"others,omitempty"`
	Agree  []Agreement   `json:"agree,omitempty"`
	// Added is false for an answer that was stored before.
	Added bool `json:"added"`
	// Warn says which episodes cannot be shown, and why.
	Warn []string `json:"warn,omitempty"`
	// Taken is the label that was just taken back.
	Taken *label.Label `json:"taken,omitempty"`
}

// State tells somebody how things stand. Without a name there is no question.
func (d *Desk) State(ctx context.Context, who string, kind label.Kind) (State, error) {
	who, kind, err := d.person(who, kind)
	if err != nil {
		return State{}, err
	}
	ls, err := d.labels(ctx)
	if err != nil {
		return State{}, err
	}
	return d.state(ctx, who, kind, ls)
}

// labels are those that matter.
func (d *Desk) labels(ctx context.Context) ([]label.Label, error) {
	ls, err := d.o.Book.Labels(ctx)
	if d.o.Heard != nil {
		ls = d.o.Heard(ls)
	}
	return ls, err
}

func (d *Desk) person(who string, kind label.Kind) (string, label.Kind, error) {
	if who = spaced(who); who == "" {
		who = d.o.Annotator
	}
	if kind == "" {
		kind = d.o.Kind
	}
	if !slices.Contains(Kinds(), kind) {
		return "", "", fmt.Errorf("%w: kind %.40q, want pair, triplet, ranking or segments", ErrNonsense, kind)
	}
	if who == "" {
		return "", kind, nil
	}
	return who, kind, checkName(who)
}

func (d *Desk) state(ctx context.Context, who string, kind label.Kind, ls []label.Label) (State, error) {
	if !slices.Contains(d.o.Kinds, kind) { // as a page remembers it of another session
		kind = d.o.Kind
	}
	v := State{Session: d.o.Session, Kinds: d.o.Kinds, Kind: kind, Annotator: who, Asked: d.o.Ask, Tags: d.tags(ls), Ways: d.o.ways()}
	d.mu.Lock()
	v.Way = d.way(who)
	d.mu.Unlock()
	standing := label.Standing(ls)
	answered := map[string]bool{}
	for _, l := range standing {
		if l.Query.Kind != kind {
			continue
		}
		if seen(l) {
			v.All++
		}
		if l.Annotator == who {
			v.Answered++
			v.Last = &l
			answered[l.Query.ID] = true
		}
	}
	if d.o.Count != nil {
		n := d.o.Count(ls)
		v.Together = &n
	}
	if who == "" {
		v.Note = "Who answers? Give your name; it is kept with each answer."
		return v, nil
	}
	if v.Last != nil {
		for _, l := range standing {
			if l.Query.ID == v.Last.Query.ID && l.Annotator != who {
				v.Others = append(v.Others, l)
			}
		}
	}
	v.Agree = agreement(who, kind, standing)
	if v.Together != nil {
		if v.Note = v.Together.Note; v.Together.Done {
			return v, nil
		}
	}
	q, ahead, err := d.next(ctx, place{who, kind}, ls, answered)
	v.Warn = d.warnings()
	none := errors.Is(err, ErrFew)
	if d.o.Idle != nil && kind == d.o.Kind && (none || err == nil) {
		d.o.Idle(who, none)
	}
	if none && v.Together != nil { // no more episodes come
		v.Note = strings.TrimSpace(fmt.Sprintf("No question is left for you, and %d of %d answers count. %s", v.Together.Answers, v.Together.Asked, v.Note))
		return v, nil
	}
	if none {
		v.Note = sentence(err)
		return v, nil
	}
	if err != nil {
		return v, err
	}
	v.Question, v.Ahead = &Question{Query: q}, ahead
	v.Question.Clips = slices.Clone(q.Clips)
	for i, c := range q.Clips {
		f, err := d.Film(ctx, c.Episode)
		if err != nil {
			return v, err
		}
		v.Question.Films = append(v.Question.Films, f)
		// Of a question that is known by an answer, those that were in sight then are known alone.
		if all := d.cameras(f); len(all) > 0 {
			v.Question.Clips[i].Cameras = all
		}
	}
	v.Label = labelID(q.ID, who, attempts(ls, who, q.ID))
	return v, nil
}

// Answer stores a label and tells what is next. The label's stamp is made here;
// one whose ID is stored already changes nothing.
func (d *Desk) Answer(ctx context.Context, l label.Label) (State, error) {
	if l.Retracts != "" {
		return State{}, fmt.Errorf("%w: an answer takes nothing back; undo does", ErrNonsense)
	}
	who, kind, err := d.person(l.Annotator, l.Query.Kind)
	if err != nil {
		return State{}, err
	}
	if who == "" {
		return State{}, fmt.Errorf("%w: an answer without a name; say who answers", ErrNonsense)
	}
	if !slices.Contains(d.o.Kinds, kind) {
		return State{}, fmt.Errorf("%w: an answer of kind %s, which counts for nothing here; want one of %v", ErrNonsense, kind, d.o.Kinds)
	}
	l.Annotator, l.Tags = who, slices.Clone(l.Tags)
	for i := range l.Tags {
		l.Tags[i] = spaced(l.Tags[i])
	}
	ls, err := d.labels(ctx)
	if err != nil {
		return State{}, err
	}
	if err := d.check(ctx, &l, ls); err != nil {
		return State{}, err
	}
	l.Stamp = d.o.Now().UTC()
	added, err := d.o.Book.Append(ctx, l)
	if err != nil {
		return State{}, err
	}
	d.mu.Lock()
	if p := (place{who, kind}); d.open[p] == l.Query.ID {
		delete(d.open, p)
	}
	d.mu.Unlock()
	if ls, err = d.labels(ctx); err != nil {
		return State{}, err
	}
	v, err := d.state(ctx, who, kind, ls)
	v.Added = added
	return v, err
}

// Undo takes a person's own label back, and shows its question again.
func (d *Desk) Undo(ctx context.Context, who, id string) (State, error) {
	who, _, err := d.person(who, "")
	if err != nil {
		return State{}, err
	}
	ls, err := d.labels(ctx)
	if err != nil {
		return State{}, err
	}
	i := slices.IndexFunc(ls, func(l label.Label) bool { return l.ID == id && l.Retracts == "" && l.Annotator == who })
	if i < 0 || who == "" {
		return State{}, fmt.Errorf("%w: %.40q is no answer of yours", ErrNone, id)
	}
	old := ls[i]
	added, err := d.o.Book.Append(ctx, label.Label{ID: "undo-" + id, Retracts: id, Annotator: who, Query: old.Query, Stamp: d.o.Now().UTC()})
	if err != nil {
		return State{}, err
	}
	d.mu.Lock()
	d.open[place{who, old.Query.Kind}] = old.Query.ID
	d.learn(ls)
	if _, ok := d.known[old.Query.ID]; !ok {
		d.known[old.Query.ID] = old.Query
	}
	d.mu.Unlock()
	if ls, err = d.labels(ctx); err != nil {
		return State{}, err
	}
	v, err := d.state(ctx, who, old.Query.Kind, ls)
	v.Added, v.Taken = added, &old
	return v, err
}

// tags are those offered and those that people added.
func (d *Desk) tags(ls []label.Label) []string {
	out := slices.Clone(d.o.Tags)
	for _, l := range ls {
		for _, t := range l.Tags {
			if len(out) < maxOffered && !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

// sentence is why there is no question, for people.
func sentence(err error) string {
	s := strings.TrimPrefix(err.Error(), ErrFew.Error()+": ")
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func (d *Desk) warnings() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(d.bad)) {
		out = append(out, fmt.Sprintf("%s is not shown: %v", id, d.bad[id]))
	}
	return out
}
