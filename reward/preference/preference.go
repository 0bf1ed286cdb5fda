// Package preference models what people prefer: it is fitted to answers to "which
// of these two clips is better?", ties and all, and then says what a clip is worth
// and how somebody would answer.
//
//	pairs, err := preference.FromLabels(labels, embedded, preference.Options{})
//	net, report, err := preference.FitRLHF(ctx, pairs, preference.Config{Seed: 1})
//	odds, err := net.Odds(a, b)             // of A, B and a tie
//	err = net.Score(ctx, rewards, trajectory) // a reward.Scorer
//
// Net is the plain reward model of learning from human preferences (Christiano et
// al. 2017, arXiv:1706.03741). The folders below hold the others: heron makes
// answers of ranked factors, pal and vpl know whom they model, regret explains
// answers by regret, tree and discriminate choose what to ask.
package preference

import (
	"fmt"

	"github.com/rapport-rl/rapport/perception"
)

// Clip is what was compared: features of T frames, in order of time.
type Clip struct {
	Name  string
	D     int       // width of a frame's features
	Embed []float32 // (T,D), row-major
	// Rest is how many frames of its episode come after it; 0 where it ends that.
	Rest int
}

// Len is the number of frames T.
func (c Clip) Len() int {
	if c.D <= 0 {
		return 0
	}
	return len(c.Embed) / c.D
}

// Frame is the features (D,) of frame t, not copied.
func (c Clip) Frame(t int) []float32 { return c.Embed[t*c.D : (t+1)*c.D] }

// Validate reports an empty clip and features that are not finite.
func (c Clip) Validate() error {
	if c.D <= 0 || len(c.Embed) == 0 || len(c.Embed)%c.D != 0 {
		return fmt.Errorf("preference: clip %q has %d numbers for features of %d, want at least one whole frame", c.Name, len(c.Embed), c.D)
	}
	for i, x := range c.Embed {
		if x-x != 0 {
			return fmt.Errorf("preference: clip %q, frame %d: feature[%d] is %v", c.Name, i/c.D, i%c.D, x)
		}
	}
	return nil
}

// ClipOf copies the embeddings of a clip, all its frames.
func ClipOf(name string, fs []perception.Features) (Clip, error) {
	if len(fs) == 0 {
		return Clip{}, fmt.Errorf("preference: clip %q has no frames", name)
	}
	c := Clip{Name: name, D: len(fs[0].Embed)}
	for i, f := range fs {
		if len(f.Embed) != c.D {
			return Clip{}, fmt.Errorf("preference: clip %q, frame %d: %d features, want %d", name, i, len(f.Embed), c.D)
		}
		c.Embed = append(c.Embed, f.Embed...)
	}
	return c, c.Validate()
}

// Verdict is what was said of two clips. The zero value says nothing.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota
	First           // A is better
	Second          // B is better
	Tie             // they are alike
)

func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case First:
		return "first"
	case Second:
		return "second"
	case Tie:
		return "tie"
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// Flip is the verdict on the same clips the other way round.
func (v Verdict) Flip() Verdict {
	switch v {
	case First:
		return Second
	case Second:
		return First
	}
	return v
}

// Pair is an answered question.
type Pair struct {
	A, B    Clip
	Verdict Verdict
	// Axes are verdicts on single aspects, for FitAxes; nil where nobody asked.
	Axes      []Verdict
	Annotator string // who answered; models of single people go by it
}

// Odds are the chances of each answer. They sum to one.
type Odds struct{ First, Second, Tie float64 }

// Verdict is the likeliest of the answers, the first named of equals.
func (o Odds) Verdict() Verdict {
	switch m := max(o.First, o.Second, o.Tie); m {
	case o.First:
		return First
	case o.Second:
		return Second
	}
	return Tie
}

// Of is the chance of v; 1 for Unknown, which is no answer.
func (o Odds) Of(v Verdict) float64 {
	switch v {
	case First:
		return o.First
	case Second:
		return o.Second
	case Tie:
		return o.Tie
	}
	return 1
}

// Model is what somebody prefers. Implementations are safe for several
// goroutines. Clips of another width than fitted to are errors.
type Model interface {
	// Utility is what a clip is worth: of two, the better has the greater.
	Utility(c Clip) (float64, error)
	// Odds says how two clips would be judged.
	Odds(a, b Clip) (Odds, error)
}

// Validate checks pairs to fit a model to, and returns the width of their features.
func Validate(pairs []Pair) (width int, err error) {
	if len(pairs) == 0 {
		return 0, fmt.Errorf("preference: no answered pairs: label some first")
	}
	width = pairs[0].A.D
	for i, p := range pairs {
		for _, c := range [...]Clip{p.A, p.B} {
			if err := c.Validate(); err != nil {
				return 0, fmt.Errorf("preference: pair %d: %w", i, err)
			}
			if c.D != width {
				return 0, fmt.Errorf("preference: pair %d: clip %q has %d features, want %d: was it embedded by another encoder?", i, c.Name, c.D, width)
			}
		}
		if p.Verdict > Tie {
			return 0, fmt.Errorf("preference: pair %d: no such verdict: %v", i, p.Verdict)
		}
		for _, v := range p.Axes {
			if v > Tie {
				return 0, fmt.Errorf("preference: pair %d: no such verdict: %v", i, v)
			}
		}
	}
	return width, nil
}
