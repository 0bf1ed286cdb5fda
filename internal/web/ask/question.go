package ask

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rapport-rl/rapport/reward/label"
)

// Bounds of what people and pages may say.
const (
	maxClips   = 8
	maxName    = 80
	maxTag     = 40 // runes
	maxTags    = 12 // of one answer
	maxOffered = 60
	maxMarks   = 200
	maxPeople  = 1000 // whose wishes are remembered
	// tries is how many questions are drawn to find one that is new.
	tries = 200
	// longest answer: whoever left the page open overnight did not think that long.
	longest = time.Hour
	// aheadLimit is how long what is shown waits for what will follow it.
	aheadLimit = 3 * time.Second
)

// QueryID is the ID of a question by what it shows, whatever the cameras: whoever
// asks the same, in whatever process, asks under one ID.
func QueryID(q label.Query) string {
	h := sha256.New()
	fmt.Fprintln(h, q.Kind)
	for _, c := range q.Clips {
		fmt.Fprintf(h, "%q %d %d\n", c.Episode, c.From, c.To)
	}
	return "q-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// labelID is the ID of somebody's nth attempt (from 0) at a question. Each
// attempt but the first follows a retraction.
func labelID(query, who string, n int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", query, who, n))
	return "l-" + hex.EncodeToString(h[:8])
}

// attempts is how many answers of a person to a question were taken back.
func attempts(ls []label.Label, who, query string) int {
	mine := map[string]bool{}
	n := 0
	for _, l := range ls {
		switch {
		case l.Annotator != who:
		case l.Retracts == "" && l.Query.ID == query:
			mine[l.ID] = true
		case mine[l.Retracts]:
			mine[l.Retracts] = false
			n++
		}
	}
	return n
}

// next is the question for a person: the one that is being shown, else the one
// that follows. ahead is that which will follow it, if that can be known.
func (d *Desk) next(ctx context.Context, p place, ls []label.Label, answered map[string]bool) (q label.Query, ahead []label.Clip, err error) {
	ids, err := d.o.Reels.Episodes(ctx)
	if err != nil {
		return q, nil, err
	}
	there := map[string]bool{}
	for _, id := range ids {
		there[id] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fits := func(q label.Query) bool {
		return q.ID != "" && !answered[q.ID] && !slices.ContainsFunc(q.Clips, func(c label.Clip) bool { return !there[c.Episode] || d.bad[c.Episode] != nil })
	}
	d.learn(ls)
	if q = d.known[d.open[p]]; !fits(q) {
		if q, err = d.following(ctx, p, ids, ls, fits); err != nil {
			return q, nil, err
		}
		d.open[p] = q.ID
	}
	if !d.found(p.who).blind() {
		return q, nil, nil // which follows depends on the answer
	}
	early, cancel := context.WithTimeout(ctx, aheadLimit)
	defer cancel()
	soon, err := d.following(early, p, ids, ls, func(x label.Query) bool { return x.ID != q.ID && fits(x) })
	if errors.Is(err, ErrFew) || passing(err) {
		err = nil // it may be the last, or come later
	}
	return q, soon.Clips, err
}

// following is a question that everybody is to answer, else the one that is kept
// for this person, else a new one.
func (d *Desk) following(ctx context.Context, p place, ids []string, ls []label.Label, fits func(label.Query) bool) (label.Query, error) {
	for i, q := range d.asked[p.kind] {
		// Nobody else is asked again what one person was.
		if i%d.o.Shared == 0 && q.Why != label.Again && fits(q) {
			return q, nil
		}
	}
	if q := d.known[d.kept[p]]; fits(q) {
		return q, nil
	}
	for {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return d.bad[id] != nil })
		q := d.late[p]
		delete(d.late, p)
		if _, asked := d.known[q.ID]; asked || !fits(q) {
			var err error
			if q, err = d.draw(ctx, p, ids, ls); err != nil {
				return label.Query{}, err
			}
		}
		ok, err := d.show(ctx, &q)
		if err != nil {
			d.late[p] = q
			return label.Query{}, err
		}
		if !ok {
			continue // there is one episode less to draw
		}
		d.note(q)
		d.kept[p] = q.ID
		return q, nil
	}
}

// learn notes the questions that people saw in other processes or earlier. What
// nobody saw, as a simulated person does not, is no question to share.
func (d *Desk) learn(ls []label.Label) {
	for _, l := range ls {
		if l.Retracts == "" && seen(l) {
			d.note(l.Query)
		}
	}
}

// seen says that pictures were shown: a simulated person sees none.
func seen(l label.Label) bool { return len(l.Query.Clips) > 0 && len(l.Query.Clips[0].Cameras) > 0 }

func (d *Desk) note(q label.Query) {
	if _, ok := d.known[q.ID]; ok {
		return
	}
	d.known[q.ID] = q
	d.asked[q.Kind] = append(d.asked[q.Kind], q)
}

// draw makes a question that was not asked, in whatever order of its clips.
func (d *Desk) draw(ctx context.Context, p place, ids []string, ls []label.Label) (label.Query, error) {
	kind, way := p.kind, d.found(p.who)
	n := map[label.Kind]int{label.Pair: 2, label.Triplet: 3, label.Ranking: min(d.o.Clips, max(len(ids), 2)), label.Segments: 1}[kind]
	if len(ids) < n {
		return label.Query{}, fmt.Errorf("%w: of the episodes that can be shown there are %d, and a question of kind %s needs %d; wait for more, or add recordings with --bag", ErrFew, len(ids), kind, n)
	}
	old := map[string]bool{}
	for _, q := range d.asked[kind] {
		old[sameness(q)] = true
	}
	want := 1
	if way.Choose != nil {
		want = d.o.Candidates
	}
	ls = slices.DeleteFunc(slices.Clone(ls), func(l label.Label) bool { return l.Retracts == "" && !seen(l) })
	rnd := rand.New(d.o.Source)
	if way.Root != nil && (kind == label.Pair || kind == label.Ranking) {
		if with, rest, ok := way.Root(p.who, ids, ls); ok {
			for range tries {
				var fresh []label.Clip
				for _, i := range rnd.Perm(len(rest))[:min(n-len(with), len(rest))] { // of a ranking there may be too few
					c, err := d.clip(ctx, rnd, rest[i])
					if err != nil {
						return label.Query{}, err
					}
					fresh = append(fresh, c)
				}
				q := label.Query{Kind: kind}
				q.Clips, q.Why = label.Beside(rnd, with, fresh)
				if q.ID = QueryID(q); q.Why == label.Again || !old[sameness(q)] {
					return q, nil
				}
			}
		} // else, or where others were asked all that, any clips
	}
	var found []label.Query
	for range tries + want {
		q := label.Query{Kind: kind, Why: "random"}
		for _, i := range rnd.Perm(len(ids))[:n] {
			c, err := d.clip(ctx, rnd, ids[i])
			if err != nil {
				return label.Query{}, err
			}
			q.Clips = append(q.Clips, c)
		}
		q.ID = QueryID(q)
		if s := sameness(q); !old[s] {
			old[s] = true
			if found = append(found, q); len(found) == want {
				break
			}
		}
	}
	if len(found) == 0 {
		return label.Query{}, fmt.Errorf("%w: all questions of kind %s about these %d episodes were asked; wait for more episodes, or add recordings with --bag", ErrFew, kind, len(ids))
	}
	if way.Choose == nil {
		return found[0], nil
	}
	i, why, gain, err := way.Choose(ctx, found, ls)
	if err != nil {
		return label.Query{}, fmt.Errorf("ask: choose the next question: %w", err)
	}
	found[i].Why, found[i].Gain = why, gain
	return found[i], nil
}

// clip is an episode, or a stretch of it. Of one that cannot be read, nothing more
// is known; whoever shows it finds out. Errors are passing ones.
func (d *Desk) clip(ctx context.Context, rnd *rand.Rand, id string) (label.Clip, error) {
	c := label.Clip{Episode: id}
	if d.o.Steps == 0 {
		return c, nil
	}
	f, err := d.Film(ctx, id)
	if passing(err) {
		return c, err
	}
	if err == nil && f.Steps > d.o.Steps {
		c.From = rnd.IntN(f.Steps - d.o.Steps + 1)
		c.To = c.From + d.o.Steps
	}
	return c, nil
}

// passing says that nobody waited long enough, which is no fault of what was read.
func passing(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// show fills in the cameras of a new question. Episodes that cannot be shown are
// set aside; errors are passing ones.
func (d *Desk) show(ctx context.Context, q *label.Query) (ok bool, err error) {
	ok = true
	for i := range q.Clips {
		c := &q.Clips[i]
		f, err := d.Film(ctx, c.Episode)
		if passing(err) {
			return false, err
		}
		if err == nil {
			if c.Cameras = d.cameras(f); len(c.Cameras) == 0 {
				err = fmt.Errorf("%w: episode %s was seen by %s, by none of those to be shown", ErrNone, c.Episode, strings.Join(f.Cameras, ", "))
			}
		}
		if err != nil {
			d.bad[c.Episode] = err
			ok = false
		}
	}
	return ok, nil
}

// cameras are those of a film that are shown.
func (d *Desk) cameras(f Film) []string {
	if len(d.o.Cameras) == 0 {
		return slices.Clone(f.Cameras)
	}
	var out []string
	for _, c := range d.o.Cameras {
		if slices.Contains(f.Cameras, c) {
			out = append(out, c)
		}
	}
	return out
}

// sameness is what two questions have in common that ask the same: the anchor of a
// triplet is not like the others, but left is like right.
func sameness(q label.Query) string {
	var ids []string
	for _, c := range q.Clips {
		ids = append(ids, fmt.Sprintf("%q %d %d", c.Episode, c.From, c.To))
	}
	if q.Kind == label.Triplet {
		slices.Sort(ids[1:])
	} else {
		slices.Sort(ids)
	}
	return strings.Join(ids, "\n")
}

// check says what of an answer no page sends, and puts the question as it is known
// in the place of what the page says of it, but for the cameras.
func (d *Desk) check(ctx context.Context, l *label.Label, ls []label.Label) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrNonsense, fmt.Sprintf(format, args...))
	}
	if len(l.Query.Clips) > maxClips || len(l.Marks) > maxMarks {
		return refuse("%d clips and %d marks, limits %d and %d", len(l.Query.Clips), len(l.Marks), maxClips, maxMarks)
	}
	if err := l.Validate(); err != nil {
		return refuse("%v", err)
	}
	if err := checkTags(l.Tags, maxTags); err != nil {
		return err
	}
	d.mu.Lock()
	d.learn(ls)
	q, ok := d.known[l.Query.ID]
	d.mu.Unlock()
	switch {
	case !ok && l.Query.ID != QueryID(l.Query):
		return refuse("question %.40q was never asked", l.Query.ID)
	case ok && QueryID(q) != QueryID(l.Query):
		return refuse("question %s shows other clips", q.ID)
	case !ok: // asked by an earlier process; nobody knows why
		q = l.Query
		q.Why, q.Gain = "", 0
	}
	shown := l.Query.Clips
	q.Clips = slices.Clone(q.Clips)
	for i := range q.Clips {
		f, err := d.Film(ctx, q.Clips[i].Episode)
		if err != nil {
			return err
		}
		if c := &q.Clips[i]; c.From > f.Steps || c.To > f.Steps {
			return refuse("clip %d is steps %d to %d of %s, which has %d", i, c.From, c.To, c.Episode, f.Steps)
		}
		if len(shown[i].Cameras) == 0 {
			return refuse("clip %d was shown by no camera", i)
		}
		for j, c := range shown[i].Cameras {
			if !slices.Contains(f.Cameras, c) || slices.Contains(shown[i].Cameras[:j], c) {
				return refuse("%s has no camera %.40q, or it was named twice", q.Clips[i].Episode, c)
			}
		}
		q.Clips[i].Cameras = slices.Clone(shown[i].Cameras)
		for _, m := range l.Marks {
			if m.To > f.Steps {
				return refuse("mark of steps %d to %d of %s, which has %d", m.From, m.To, q.Clips[i].Episode, f.Steps)
			}
		}
	}
	l.Query = q
	l.Took = min(max(l.Took, 0), longest)
	for n := attempts(ls, l.Annotator, q.ID); n >= 0; n-- {
		if l.ID == labelID(q.ID, l.Annotator, n) {
			return nil
		}
	}
	return refuse("label %.40q is not the id that an answer to %s has; load the page again", l.ID, q.ID)
}

func checkName(s string) error {
	if n := utf8.RuneCountInString(s); n > maxName || !plain(s) {
		return fmt.Errorf("%w: the name %.40q, want at most %d printable characters", ErrNonsense, s, maxName)
	}
	return nil
}

func checkTags(tags []string, most int) error {
	if len(tags) > most {
		return fmt.Errorf("%w: %d reasons, want at most %d", ErrNonsense, len(tags), most)
	}
	for i, t := range tags {
		if n := utf8.RuneCountInString(t); n == 0 || n > maxTag || !plain(t) || strings.TrimSpace(t) != t || slices.Contains(tags[:i], t) {
			return fmt.Errorf("%w: reason %.60q, want 1 to %d printable characters, each reason once", ErrNonsense, t, maxTag)
		}
	}
	return nil
}

// spaced has plain spaces alone, and none at its ends: names that are pasted bring
// others along.
func spaced(s string) string {
	if !utf8.ValidString(s) {
		return s // to be refused
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, s))
}

// plain says that a text has printable characters alone.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
