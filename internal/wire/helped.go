package wire

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/rapport-rl/rapport/internal/report"
)

// helped says what people did in the session's online episodes, and what held its arm:
// nothing where nobody did and nothing was.
func (s *Session) helped(ctx context.Context) (out []report.Fact, err error) {
	steps, n, err := s.drove(ctx, math.MaxInt)
	if err != nil {
		return nil, err
	}
	if steps > 0 {
		out = append(out, report.Fact{Name: "a person drove", Value: fmt.Sprintf("%d steps of %d online episodes", steps, n)})
	}
	resets, err := s.store.Metric(ctx, "episode", "resets")
	if err != nil {
		return nil, err
	}
	if n := len(resets); n > 0 {
		out = append(out, report.Fact{Name: "a person put the scene back", Value: fmt.Sprintf("%.0f times, in both ways", resets[n-1].Value)})
	}
	faults, err := s.store.Faults(ctx)
	if err != nil || len(faults) == 0 {
		return out, err
	}
	var causes []string
	counts := map[string]int{}
	for _, f := range faults {
		if counts[f.Cause]++; counts[f.Cause] == 1 {
			causes = append(causes, f.Cause)
		}
	}
	for i, c := range causes {
		causes[i] = fmt.Sprintf("%s %d", c, counts[c])
	}
	return append(out, report.Fact{Name: "held by faults", Value: fmt.Sprintf("%d times: %s; see rapport fault --session %s", len(faults), strings.Join(causes, ", "), Quoted(s.Dir()))}), nil
}
