package wire

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
)

func TestReportTellsStylesOfStyledTasks(t *testing.T) {
	ctx := context.Background()
	for task, want := range map[string][]report.Fact{
		"group": nil,
		"cup": {
			{Name: "preferred before", Value: report.Share{Hits: 1, Of: 3}.String()},
			{Name: "undesired before", Value: report.Share{Hits: 2, Of: 3}.String()},
			{Name: "preferred after", Value: report.Share{Hits: 1, Of: 1}.String()},
			{Name: "undesired after", Value: report.Share{Hits: 0, Of: 1}.String()},
		},
	} {
		st, err := store.Create(filepath.Join(t.TempDir(), "s"), []byte("name: s\n"))
		if err != nil {
			t.Fatal(err)
		}
		c := config.Default()
		c.Robot.Task = task
		s := &Session{cfg: c, store: st}
		for when, ends := range map[string][]outcome{
			"before": {{success: true, preferred: true}, {success: true, undesired: true}, {undesired: true}},
			"after":  {{success: true, preferred: true}},
		} {
			if err := s.keepStyles(ctx, when, ends); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.styles(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", task, diff)
		}
		if err := st.Mark(ctx, "styles after", "{"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.styles(ctx); err == nil {
			t.Errorf("%s: a damaged mark is read", task)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestClonesPredictWhatIsAsked(t *testing.T) {
	seen := map[uint8]bool{}
	for _, predict := range []string{"noise", "action", "velocity"} {
		c := config.Default()
		c.Policy.Diffusion.Predict = predict
		seen[uint8(diffusionConfig(c, viewConfig(c, 8)).Arch.Process.Predict)] = true
	}
	if len(seen) != 3 {
		t.Errorf("three words give %d predictions", len(seen))
	}
}
