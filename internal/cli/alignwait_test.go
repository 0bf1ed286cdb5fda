package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/label"
)

// scripted are the labels of a session at a second of a test.
type scripted func(second int) ([]label.Label, error)

// told is a book of what is scripted.
type told struct {
	began time.Time
	by    scripted
}

func (b told) Append(context.Context, label.Label) (bool, error) { return false, nil }
func (b told) Labels(context.Context) ([]label.Label, error) {
	return b.by(int(time.Since(b.began) / time.Second))
}

func judged(n int, who string, c label.Choice) label.Label {
	id := fmt.Sprint(who, n)
	return label.Label{ID: id, Annotator: who, Choice: c, Query: label.Query{ID: id, Kind: label.Pair, Clips: []label.Clip{{Episode: "rollout-00000"}, {Episode: fmt.Sprintf("rollout-%05d", n)}}}}
}

// The page stays until there are the answers that an alignment needs, and a little longer.
func TestAlignWaitsForAnswers(t *testing.T) {
	a, b := judged(1, "ann", label.Left), judged(2, "ann", label.Left)
	unsure, ben, alike := judged(3, "ann", label.Unsure), judged(1, "ben", label.Right), judged(3, "ann", label.Tie)
	for name, tt := range map[string]struct {
		aligner string
		by      scripted
		none    []string // who is left no question
		ends    int      // second
		want    []string // in the error
	}{
		"enough": {"dppo", func(s int) ([]label.Label, error) { return []label.Label{a, b}[:min(s, 2)], nil }, nil, 7, nil},
		"while another command looks at the session": {"dppo", func(s int) ([]label.Label, error) {
			if s < 4 {
				return nil, fmt.Errorf("runs/a: %w", store.ErrInUse)
			}
			return []label.Label{a, b}, nil
		}, nil, 9, nil},
		"the last answer is taken back": {"dppo", func(s int) ([]label.Label, error) {
			if s == 4 || s == 5 {
				return []label.Label{a, unsure}, nil
			}
			return []label.Label{a, b}, nil
		}, nil, 11, nil},
		"who cannot tell has not answered": {"dppo", func(s int) ([]label.Label, error) {
			return []label.Label{a, unsure, b}[:2+min(1, s/20)], nil
		}, nil, 25, nil},
		"no question is left": {"dppo", func(int) ([]label.Label, error) { return []label.Label{a, unsure}, nil }, []string{"ann"}, 6,
			[]string{"nobody at the page is left a question about the 4 rollouts, and 1 of the 2 answers", "rapport align runs/a --set align.rollouts=8"}},
		"others may come": {"pareto", func(s int) ([]label.Label, error) {
			return []label.Label{a, b, ben}[:2+min(1, s/20)], nil
		}, []string{"ann"}, 25, nil},
		"whom it is to serve is left none": {"ppd", func(int) ([]label.Label, error) { return []label.Label{alike, ben}, nil }, []string{"ann"}, 6,
			[]string{"answers by ann that find something better are wanted", "align.rollouts=8", "align.person"}},
		"whom it is to serve may come": {"ppd", func(s int) ([]label.Label, error) {
			return []label.Label{alike, ben, a}[:2+min(1, s/20)], nil
		}, []string{"ben"}, 25, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, served, said := time.Now(), make(chan error, 1), []string{}
			w := &waiting{
				count: func(ls []label.Label) wire.Stand {
					return wire.Stands(ls, config.Align{Ask: "pair", Rollouts: 4, Labels: 2, Aligner: tt.aligner, Person: "ann"})
				},
				tell: func(_ string, n, of int, note string) { said = append(said, fmt.Sprintf("%d/%d %s", n, of, note)) },
				again: func(_ string, sets ...string) string {
					return "rapport align runs/a --set " + strings.Join(sets, " --set ")
				},
			}
			for _, who := range tt.none {
				w.idle(who, true)
			}
			err := w.wait(t.Context(), told{began, tt.by}, served, func() { served <- nil })
			if got := int(time.Since(began) / time.Second); got != tt.ends {
				t.Errorf("%s: the page ends after %d s, want %d; told %q", name, got, tt.ends, said)
			}
			if (err == nil) != (tt.want == nil) {
				t.Errorf("%s: error %v", name, err)
			}
			for _, words := range tt.want {
				if err != nil && !strings.Contains(err.Error(), words) {
					t.Errorf("%s: error %v, want %q", name, err, words)
				}
			}
			if name == "enough" && !slices.Equal(said, []string{"1/2 ", "2/2 "}) {
				t.Errorf("told %q", said)
			}
		})
	}
	// Whoever left the page long ago is not waited for.
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{}
		w.idle("ann", true)
		w.idle("ben", false)
		if w.stuck(wire.Stand{}) {
			t.Error("ben has a question")
		}
		time.Sleep(gone)
		w.idle("ann", true)
		time.Sleep(time.Second)
		if !w.stuck(wire.Stand{}) {
			t.Error("ben is waited for")
		}
	})
}
