package wire

import (
	"bytes"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// searchedOnAnArm draws the first chunk of episodes on an arm, each by parameters that were
// loaded anew, as sessions load them: all but the first of all are searched. A look at the
// clock takes each.
func searchedOnAnArm(t *testing.T, c config.Config, critic []byte, net *diffusion.Net, d diffusion.Draw) {
	t.Helper()
	c.Robot.Kind, c.Robot.ROS.Rate = "ros", 10
	now := time.Time{}
	open, err := drawerOf(searchedBy(t.Context(), critic, "x", func() time.Time {
		now = now.Add(100 * time.Microsecond)
		return now
	}), c)
	if err != nil {
		t.Fatal(err)
	}
	chunk, seen := make([]float32, net.Arch.Horizon*net.Arch.View.Action.Dim()), make([]float32, net.Arch.History*net.Arch.View.Dim())
	for episode, plain := range []float64{1, 0, 0} {
		by, err := open(net, d)
		if err != nil {
			t.Fatal(err)
		}
		s := by.(*searcher)
		s.Begin()
		s.Sample(chunk, seen, nil, rand.New(rand.NewPCG(1, 1)))
		got := metricsOf(s.Metrics())
		delete(got, "sample_seconds")
		if want := (map[string]float64{"sample_draws": 1, "sample_plain": plain, "sample_fewer": 0, "sample_cut": 0, "sample_late": 0}); !maps.Equal(got, want) {
			t.Errorf("episode %d on an arm: %v, want %v", episode, got, want)
		}
	}
}

// metricsOf are metrics by their names.
func metricsOf(ms []policy.Metric) map[string]float64 {
	m := map[string]float64{}
	for _, v := range ms {
		m[v.Name] = v.Value
	}
	return m
}

// hunter is a player that tells of searches.
type hunter struct {
	player
	ms []policy.Metric
}

func (h hunter) Metrics() []policy.Metric { return h.ms }

func TestAShortTickIsWarnedOfOnce(t *testing.T) {
	type episode struct{ draws, plain, late float64 }
	for _, tt := range []struct {
		name string
		of   []episode
		want int // warnings
	}{
		{"nothing is measured before the first chunk", []episode{{1, 1, 0}, {1, 0, 0}, {1, 0, 0}}, 0},
		{"plain", []episode{{1, 1, 0}, {1, 1, 0}, {1, 1, 0}}, 1},
		{"late", []episode{{1, 0, 0}, {1, 0, 1}, {1, 1, 1}}, 1},
		{"late at once", []episode{{1, 1, 1}}, 1},
	} {
		var out bytes.Buffer
		var w searches
		for _, e := range tt.of {
			ms := []policy.Metric{{Name: "sample_draws", Value: e.draws}, {Name: "sample_plain", Value: e.plain}, {Name: "sample_late", Value: e.late}}
			if got := w.metrics(hunter{ms: ms}, slog.New(slog.NewTextHandler(&out, nil))); !cmp.Equal(got, ms) {
				t.Errorf("%s: %v, want %v", tt.name, got, ms)
			}
		}
		if n := strings.Count(out.String(), "policy.diffusion.sampler.draws"); n != tt.want {
			t.Errorf("%s: %d warnings, want %d: %s", tt.name, n, tt.want, &out)
		}
	}
	if ms := (&searches{}).metrics(nil, nil); ms != nil {
		t.Errorf("a player that does not search tells %v", ms)
	}
}

func TestAReportTellsOfSearches(t *testing.T) {
	st, err := store.Create(filepath.Join(t.TempDir(), "x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := &Session{store: st}
	for i, late := range []float64{0, 1, 1} {
		got, err := s.searchFacts(t.Context())
		if err != nil || i == 0 && got != nil {
			t.Fatalf("before anything is searched: %v, %v", got, err)
		}
		if err := st.AddMetrics(t.Context(), "episode", uint64(i), []policy.Metric{{Name: "sample_draws", Value: 1}, {Name: "sample_plain", Value: 1 - late}, {Name: "sample_late", Value: late}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.searchFacts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]report.Fact{{Name: "chunks searched", Value: "3: 0 with fewer particles, 1 drawn plainly, 0 cut short, 2 late"}}, got); d != "" {
		t.Error(d)
	}
}

// searchesOf reads how many chunks of the i-th online episode were searched, as the folder keeps it.
func searchesOf(t *testing.T, dir string, i uint64) float64 {
	t.Helper()
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ps, err := st.Metric(t.Context(), "episode", "sample_draws")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if p.Step == i {
			return p.Value
		}
	}
	return 0
}
