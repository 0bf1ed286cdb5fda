package ask

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot/record"
)

// Reels are the episodes that can be shown.
type Reels interface {
	// Episodes lists them, the oldest first. The list may grow.
	Episodes(ctx context.Context) ([]string, error)
	// Frames returns the frames of each observation (T+1,) of an episode, by camera,
	// compressed as they were recorded. One call at a time; it outlives who asked.
	Frames(ctx context.Context, id string) ([][]record.Encoded, error)
}

// Choose picks one of the candidates (N,), N > 0, given the labels of people who saw
// what they judged, and says why and what it expects to learn, in bits.
type Choose func(ctx context.Context, candidates []label.Query, ls []label.Label) (i int, why string, gain float64, err error)

// Root is what the next pair or ranking of a person shows, given the episodes that there are and
// the labels of people who saw what they judged: with, beside some of rest, or two clips to be
// asked about once more, in that order; ok is false for any clips.
type Root func(who string, episodes []string, ls []label.Label) (with []label.Clip, rest []string, ok bool)

// Way is how questions are found, by a Choose or a Root.
type Way struct {
	Choose Choose
	Root   Root
}

func (w Way) blind() bool { return w.Choose == nil && w.Root == nil }

// Options say what is asked of whom.
type Options struct {
	Book  label.Book
	Reels Reels
	// Session names what is labelled.
	Session string
	// Kinds are offered, in this order; none means Kinds().
	Kinds []label.Kind
	// Kind is asked for unless the page asks for another; "" means the first of Kinds.
	Kind label.Kind
	// Annotator is who answers unless the page says so; "" has the page ask.
	Annotator string
	// Ask is how many answers of a kind are asked for of each person; 0 means 150,
	// with which RAPL's paper does its alignment.
	Ask int
	// Clips of a ranking; 0 means 4.
	Clips int
	// Steps of a clip, which is a stretch of an episode; 0 shows whole episodes.
	Steps int
	// Shared: each so-manieth question is put to everybody, so that there is
	// agreement to measure; the others to one person. 0 means 4, 1 shares all.
	Shared int
	// Cameras to show, in this order; none means all.
	Cameras []string
	// Tags are offered as reasons; nil means Tags().
	Tags []string
	// Source draws the questions.
	Source rand.Source
	// Ways to find questions, beside Random; Candidates are drawn for a Choose.
	Ways map[string]Way
	// Way is the one to begin with; "" means Random. People may prefer another.
	Way string
	// Candidates drawn to choose among; 0 means 64.
	Candidates int
	// Now is the clock of the labels; nil means time.Now.
	Now func() time.Time
	// Heard are those of the labels in the book that matter here; nil means all.
	Heard func([]label.Label) []label.Label
	// Count tells how far all people are together, by the labels that matter, where
	// somebody waits for that; nil counts what each person answers.
	Count func([]label.Label) Count
	// Idle is told of whoever comes for a question of Kind whether there is none; nil: nobody is.
	Idle func(who string, none bool)
}

// Count is how far all people are together.
type Count struct {
	Answers int  `json:"answers"` // that count, of whatever kind
	Asked   int  `json:"asked"`   // for
	Done    bool `json:"done"`    // nothing more is asked
	// Note is what to tell people besides.
	Note string `json:"note,omitempty"`
}

// Random is the way of taking whichever question was drawn.
const Random = "random"

// Tags are the reasons that are offered before anybody adds one.
func Tags() []string {
	return []string{"reaches the goal", "smooth", "direct", "hits something", "too fast", "hesitates", "drops it"}
}

// Kinds are those that can be asked, in the order in which they are offered.
func Kinds() []label.Kind {
	return []label.Kind{label.Pair, label.Triplet, label.Ranking, label.Segments}
}
