package classifier

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/rapport-rl/rapport/perception"
)

// Sees says what of a tick's features a classifier reads. The zero value reads the
// embedding.
type Sees struct {
	Points []string `json:"points,omitempty"` // tracked points, by name
	Alone  bool     `json:"alone,omitempty"`  // these without the embedding
}

// String names what is seen.
func (s Sees) String() string {
	points := "the points " + strings.Join(s.Points, ", ")
	switch {
	case len(s.Points) == 0:
		return "the embedding"
	case s.Alone:
		return points
	}
	return "the embedding and " + points
}

// Validate reports names that are empty or there twice, and a classifier that sees nothing.
func (s Sees) Validate() error {
	if s.Alone && len(s.Points) == 0 {
		return errors.New("classifier: it sees points alone, and there is none")
	}
	have := map[string]bool{}
	for _, n := range s.Points {
		if n == "" || have[n] {
			return fmt.Errorf("classifier: point %q is named twice, or not at all", n)
		}
		have[n] = true
	}
	return nil
}

// Input is f as a vector (D+4P+P(P−1),): the embedding (D,), unless points are seen
// alone; where each of the P points is or was last (base frame, m), and how surely; and
// how far each two of them are from each other, in the room and seen from above (m),
// since most of what a task is done by is that things are near each other, which is not
// linear in their places. A point that f does not have is an error.
func (s Sees) Input(f perception.Features) ([]float32, error) {
	if len(s.Points) == 0 {
		return f.Embed, nil
	}
	P := len(s.Points)
	at := make([][3]float64, P)
	x := make([]float32, 0, len(f.Embed)+4*P+P*(P-1))
	if !s.Alone {
		x = append(x, f.Embed...)
	}
	for i, name := range s.Points {
		p, score, ok := perception.Place(f.Keys, name)
		if !ok {
			return nil, fmt.Errorf("classifier: it tells success by the point %q, which is not tracked here: was it trained with another plan?", name)
		}
		at[i] = p
		x = append(x, float32(p[0]), float32(p[1]), float32(p[2]), float32(score))
	}
	for i, p := range at {
		for _, q := range at[:i] {
			flat := math.Hypot(p[0]-q[0], p[1]-q[1])
			x = append(x, float32(math.Hypot(flat, p[2]-q[2])), float32(flat))
		}
	}
	return x, nil
}
