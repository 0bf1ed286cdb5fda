package wire

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// styled says whether c's task has ways that people prefer and ways that they do not.
func styled(c config.Config) bool { return !flat(c) && tabletop.Task(c.Robot.Task).Styled() }

// manner counts how evaluated episodes were done.
type manner struct{ Preferred, Undesired, Of int }

// mannerOf counts how episodes of c's task were done; the zero value where it has no
// styles.
func mannerOf(c config.Config, ends []outcome) (m manner) {
	if !styled(c) {
		return m
	}
	m.Of = len(ends)
	for _, e := range ends {
		if e.preferred {
			m.Preferred++
		}
		if e.undesired {
			m.Undesired++
		}
	}
	return m
}

// keepStyles keeps how the episodes of an evaluation were done, for the report.
func (s *Session) keepStyles(ctx context.Context, when string, ends []outcome) error {
	if !styled(s.cfg) {
		return nil
	}
	b, err := json.Marshal(mannerOf(s.cfg, ends))
	if err != nil {
		return err
	}
	return s.store.Mark(ctx, "styles "+when, string(b))
}

// manner is what keepStyles kept; the zero value for nothing.
func (s *Session) manner(ctx context.Context, when string) (m manner, err error) {
	mark, err := s.store.Marked(ctx, "styles "+when)
	if err != nil || mark == "" {
		return m, err
	}
	if err := json.Unmarshal([]byte(mark), &m); err != nil {
		return m, fmt.Errorf("wire: %s: mark %q: %w", s.Dir(), "styles "+when, err)
	}
	return m, nil
}

// styles are the report's facts on how the task was done before and after.
func (s *Session) styles(ctx context.Context) (facts []report.Fact, err error) {
	for _, when := range []string{"before", "after"} {
		m, err := s.manner(ctx, when)
		if err != nil {
			return nil, err
		}
		if m.Of == 0 {
			continue
		}
		facts = append(facts,
			report.Fact{Name: "preferred " + when, Value: report.Share{Hits: m.Preferred, Of: m.Of}.String()},
			report.Fact{Name: "undesired " + when, Value: report.Share{Hits: m.Undesired, Of: m.Of}.String()})
	}
	return facts, nil
}
