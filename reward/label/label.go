// Package label is what people say about episodes: pairs, triplets, rankings,
// ties and marked segments in one append-only format, whoever was asked, by a
// browser or by a simulated person.
//
//	q := label.Query{ID: "q-000001", Kind: label.Pair, Clips: []label.Clip{{Episode: "online-000004"}, {Episode: "online-000011"}}}
//	l, err := someone.Answer(ctx, q)
//	added, err := book.Append(ctx, l)
//
// A line that was written is never changed: a label that is taken back is
// followed by another that Retracts it, and Standing is what then remains.
package label

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Kind is the form of a question.
type Kind string

// The kinds of questions.
const (
	// Pair shows two clips: which is better?
	Pair Kind = "pair"
	// Triplet shows an anchor and then two clips: which is more like the anchor?
	Triplet Kind = "triplet"
	// Ranking shows any number of clips, to be put in order.
	Ranking Kind = "ranking"
	// Segments shows one clip, of which stretches are marked good or bad.
	Segments Kind = "segments"
)

// Choice answers a Pair or a Triplet. Left is the first of the two compared
// clips as shown.
type Choice string

// The choices. Tie says that the two are alike; Unsure that the person cannot
// tell, which teaches nothing.
const (
	Left   Choice = "left"
	Right  Choice = "right"
	Tie    Choice = "tie"
	Unsure Choice = "unsure"
)

// Clip is a stretch of an episode, as it was shown.
type Clip struct {
	Episode string `json:"episode"`
	// From and To are steps, [From,To); To 0 is the episode's end.
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
	// Cameras were shown, in this order; none says that nobody saw pictures, as a
	// simulated person does not.
	Cameras []string `json:"cameras,omitempty"`
}

// Name tells clips apart, whichever cameras showed them.
func (c Clip) Name() string { return fmt.Sprintf("%q[%d:%d]", c.Episode, c.From, c.To) }

// Query is a question, before it is answered.
type Query struct {
	ID    string `json:"id"` // unique in a session
	Kind  Kind   `json:"kind"`
	Clips []Clip `json:"clips"`
	// Why says how it was chosen, as "random" or "information"; "again" asks about two
	// clips once more, whose answer much follows from.
	Why string `json:"why,omitempty"`
	// Gain is what the choice expected to learn, in bits; 0 where nobody computed it.
	Gain float64 `json:"gain,omitempty"`
}

// Mark is a stretch of steps, [From,To), of a Segments clip.
type Mark struct {
	From int  `json:"from"`
	To   int  `json:"to"`
	Good bool `json:"good"`
}

// Label is an answer, with what was shown and who answered.
type Label struct {
	ID    string `json:"id"` // unique in a session; what de-duplication goes by
	Query Query  `json:"query"`
	// Choice answers a Pair or a Triplet.
	Choice Choice `json:"choice,omitempty"`
	// Places (len(Clips),) answer a Ranking: the place of each clip, 1 the best;
	// equal places are ties.
	Places []int `json:"places,omitempty"`
	// Marks answer Segments; steps under no mark were found neither good nor bad.
	Marks []Mark `json:"marks,omitempty"`
	// Retracts is the ID of an earlier label of the same annotator that this one
	// takes back; it then answers nothing itself.
	Retracts  string        `json:"retracts,omitempty"`
	Tags      []string      `json:"tags,omitempty"` // reasons, as "smooth" or "hits the box"
	Annotator string        `json:"annotator"`
	Stamp     time.Time     `json:"stamp"`             // when it was answered
	Took      time.Duration `json:"took_ns,omitempty"` // from being shown
}

// Answerer answers questions: a person at a browser, or a simulated one.
type Answerer interface {
	Answer(ctx context.Context, q Query) (Label, error)
}

// Book keeps labels. Implementations are safe for several goroutines.
type Book interface {
	// Append stores a label. One whose ID is there already changes nothing.
	Append(ctx context.Context, l Label) (added bool, err error)
	// Labels returns all that were appended, in that order, retracted ones too.
	Labels(ctx context.Context) ([]Label, error)
}

// Validate reports what is wrong with a question.
func (q Query) Validate() error {
	want := map[Kind][2]int{Pair: {2, 2}, Triplet: {3, 3}, Ranking: {2, math.MaxInt}, Segments: {1, 1}}
	n, ok := want[q.Kind]
	switch {
	case q.ID == "":
		return errors.New("label: query without an id")
	case !ok:
		return fmt.Errorf("label: query %s: kind %q, want pair, triplet, ranking or segments", q.ID, q.Kind)
	case len(q.Clips) < n[0] || len(q.Clips) > n[1]:
		return fmt.Errorf("label: query %s: %d clips do not make a %s", q.ID, len(q.Clips), q.Kind)
	case math.IsNaN(q.Gain) || math.IsInf(q.Gain, 0):
		return fmt.Errorf("label: query %s: gain %v", q.ID, q.Gain)
	}
	for i, c := range q.Clips {
		if c.Episode == "" || c.From < 0 || c.To != 0 && c.To <= c.From {
			return fmt.Errorf("label: query %s: clip %d is steps %d to %d of episode %q", q.ID, i, c.From, c.To, c.Episode)
		}
	}
	return nil
}

// Validate reports what is wrong with a label.
func (l Label) Validate() error {
	switch {
	case l.ID == "":
		return errors.New("label: without an id")
	case l.Annotator == "":
		return fmt.Errorf("label: %s: without an annotator", l.ID)
	case l.Took < 0:
		return fmt.Errorf("label: %s: took %v", l.ID, l.Took)
	case l.Retracts != "":
		if l.Choice != "" || l.Places != nil || l.Marks != nil {
			return fmt.Errorf("label: %s: takes back %s and answers too", l.ID, l.Retracts)
		}
		return nil
	}
	if err := l.Query.Validate(); err != nil {
		return fmt.Errorf("label: %s: %w", l.ID, err)
	}
	choice, places, marks := l.Choice != "", l.Places != nil, l.Marks != nil
	switch l.Query.Kind {
	case Pair, Triplet:
		if l.Choice != Left && l.Choice != Right && l.Choice != Tie && l.Choice != Unsure || places || marks {
			return fmt.Errorf("label: %s: choice %q of a %s, want left, right, tie or unsure", l.ID, l.Choice, l.Query.Kind)
		}
	case Ranking:
		if len(l.Places) != len(l.Query.Clips) || choice || marks {
			return fmt.Errorf("label: %s: %d places for %d clips", l.ID, len(l.Places), len(l.Query.Clips))
		}
		for _, p := range l.Places {
			if p < 1 || p > len(l.Places) {
				return fmt.Errorf("label: %s: place %d of %d", l.ID, p, len(l.Places))
			}
		}
	case Segments:
		if choice || places {
			return fmt.Errorf("label: %s: segments are answered by marks", l.ID)
		}
		clip, last := l.Query.Clips[0], 0
		for _, m := range l.Marks {
			if m.From < max(last, clip.From) || m.To <= m.From || clip.To > 0 && m.To > clip.To {
				return fmt.Errorf("label: %s: mark of steps %d to %d; want them in order, apart, and within the clip", l.ID, m.From, m.To)
			}
			last = m.To
		}
	}
	return nil
}

// Standing returns the labels that nobody took back, in their order, without the
// retractions themselves. A retraction counts only if it is the annotator's own.
func Standing(ls []Label) []Label {
	type key struct{ who, id string }
	gone := map[key]bool{}
	for _, l := range ls {
		if l.Retracts != "" {
			gone[key{l.Annotator, l.Retracts}] = true
		}
	}
	var out []Label
	for _, l := range ls {
		if l.Retracts == "" && !gone[key{l.Annotator, l.ID}] {
			out = append(out, l)
		}
	}
	return out
}
