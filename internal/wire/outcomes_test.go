package wire

import (
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// An actor that was killed leaves a number out. Metrics are counted, so that what is known
// of an episode is found by its place.
func TestMetricsBelongToTheEpisodeOfTheirPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		ids  []int
	}{
		{"without gaps", []int{0, 1, 2}},
		{"an actor was killed", []int{0, 2, 3}},
		{"another folder came in between", []int{0, lifeSpan, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cfg := t.Context(), tiny(t)
			cfg.Name, cfg.Reward.Success = "one", "none"
			s, err := Create(ctx, cfg, quietly())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var ids []string
			for i, n := range c.ids {
				steps := i + 2
				ep := policy.Episode{ID: episodeID(n), Seq: uint64(n), Origin: policy.Online, Rewards: make([]float64, steps), Applied: make([]robot.Command, steps), By: make([]robot.Source, steps), Version: make([]uint64, steps), Inputs: make([]policy.Input, steps+1)}
				for j := range ep.Inputs {
					ep.Inputs[j].Step = j
				}
				ep.Rewards[0] = float64(10 * (i + 1))
				if _, err := s.store.AddEpisode(ctx, ep); err != nil {
					t.Fatal(err)
				}
				if err := s.tally(ctx, i, ep, policy.Stats{}); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, ep.ID)
			}
			// The truth of the next one is stored before it, and says nothing yet.
			for i := range 4 {
				if err := s.store.AddMetrics(ctx, "episode", uint64(i), []policy.Metric{{Name: "success", Value: bit(i == 2)}}); err != nil {
					t.Fatal(err)
				}
				if err := s.store.AddMetrics(ctx, seriesWatch, uint64(i), []policy.Metric{{Name: "alarm", Value: bit(i == 2)}}); err != nil {
					t.Fatal(err)
				}
			}
			rows, err := s.rows(ctx)
			if err != nil || len(rows) != 3 {
				t.Fatalf("%v, %v", rows, err)
			}
			for _, id := range ids {
				if got := rows[id]; got.metric != got.stored {
					t.Errorf("%s: metric %g of an episode of %g", id, got.metric, got.stored)
				}
			}
			var r report.Report
			if err := s.suspicions(ctx, &r); err != nil || len(r.Facts) != 1 || !strings.Contains(r.Facts[0].Value, "first at "+ids[2]) {
				t.Errorf("told %v, %v; want %s", r.Facts, err, ids[2])
			}
			dir := s.Dir()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := Outcomes(ctx, dir)
			if want := []Outcome{{Ticks: 2}, {Ticks: 3}, {Ticks: 4, Success: true}}; err != nil || !slices.Equal(got, want) {
				t.Errorf("outcomes %v, %v; want %v", got, err, want)
			}
			if n, err := MarkSuccess(ctx, dir, Marking{Outcome: 1}, nil, nil, quietly()); err != nil || n != 3 {
				t.Fatalf("%d marks, %v; want 3", n, err)
			}
			marks, err := readMarks(dir)
			for i, m := range marks {
				if m.Episode != ids[i] || m.Success != (i == 2) {
					t.Errorf("mark %d is %+v; want of %s", i, m, ids[i])
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
