package wire

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
)

// watchedBy are n episodes that end at all distances, with videos of which the first
// number of a frame tells the distance.
func watchedBy(n int) ([][]sim.Truth, []rapl.Video) {
	rng := rand.New(rand.NewPCG(9, 9))
	truths, videos := make([][]sim.Truth, n), make([]rapl.Video, n)
	for i := range n {
		v := rapl.Video{Name: fmt.Sprintf("demo-%05d", i), D: 3}
		for t, end := 0, 0.01*float64(i); t < 5; t++ {
			d := end + 0.05*float64(4-t)
			truths[i] = append(truths[i], sim.Truth{Stamp: time.Unix(int64(t), 0), Distance: d})
			v.Embed = append(v.Embed, float32(d), rng.Float32(), rng.Float32())
		}
		videos[i] = v
	}
	return truths, videos
}

func surveyed(t *testing.T, c config.Config, had ...label.Label) (said []label.Label, s *Session) {
	t.Helper()
	s = begun(t, c)
	for _, l := range had {
		if _, err := s.Book().Append(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	truths, videos := watchedBy(30)
	who := person.New(rand.NewPCG(1, 0), 0)
	said, err := s.survey(t.Context(), who, truths, videos)
	if err != nil {
		t.Fatal(err)
	}
	return said, s
}

// What the default session learns from is, bit for bit, what RAPL's simulated human
// says when asked for triplets at one go.
func TestDefaultSurveyIsRAPLsPersons(t *testing.T) {
	c := tiny(t)
	set(t, &c, "reward.triplets=60")
	said, s := surveyed(t, c)
	truths, videos := watchedBy(30)
	var want []string
	for _, x := range person.New(rand.NewPCG(draw(c.Seed, people, -1), 0), 0).Triplets(truths, 60) {
		want = append(want, fmt.Sprint(videos[x.Anchor].Name, videos[x.Better].Name, videos[x.Worse].Name))
	}
	var got []string
	ties := 0
	for _, x := range compared(label.Triplets(said), videos, false) {
		got = append(got, fmt.Sprint(x.Anchor.Name, x.Better.Name, x.Worse.Name))
	}
	for _, l := range said {
		if l.Choice == label.Tie {
			ties++
		}
		if l.Annotator != "simulated" || l.Query.Why != "random" || l.Query.Clips[0].Cameras != nil {
			t.Errorf("label %+v, want what the simulated person was shown", l)
		}
	}
	if !slices.Equal(got, want) || len(got) != 60 || len(said) != 60+ties {
		t.Errorf("%d triplets of %d answers, %d ties:\n%s", len(got), len(said), ties, cmp.Diff(want, got))
	}
	kept, err := s.store.Labels(t.Context())
	if err != nil || !cmp.Equal(kept, said) {
		t.Errorf("kept %d of %d labels, %v", len(kept), len(said), err)
	}
}

func TestSurveyAsksNothingTwice(t *testing.T) {
	for name, sets := range map[string][]string{
		"default":     nil,
		"people":      {"people.noise=0.05", "people.ties=0.02", "people.unsure=0.1", "people.fatigue=0.05", "people.sitting=7", "people.bias=0.1", "people.groups=[{name: near, share: 2, distance: 1}, {name: soon, share: 1, early: 1}]"},
		"information": {"people.noise=0.05", "reward.query=information"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			set(t, &c, append(sets, "reward.triplets=20")...)
			want, _ := surveyed(t, c)
			if name == "people" {
				checkPeople(t, want)
			}
			for _, cut := range []int{0, 1, len(want) / 2, len(want)} {
				c.Out = t.TempDir()
				got, s := surveyed(t, c, want[:cut]...)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("gone on with after %d answers:\n%s", cut, d)
				}
				if kept, err := s.store.Labels(t.Context()); err != nil || len(kept) != len(want) {
					t.Errorf("after %d answers: %d are kept, %v; want %d", cut, len(kept), err, len(want))
				}
			}
			// What the folder has counts, not what would be said today.
			c.Out = t.TempDir()
			other := want[0]
			other.Choice = label.Tie
			if got, _ := surveyed(t, c, other); !cmp.Equal(got[0], other) {
				t.Errorf("got %+v, want the answer that was there", got[0])
			}
		})
	}
}

func checkPeople(t *testing.T, said []label.Label) {
	t.Helper()
	count := map[string]int{}
	for _, l := range said {
		count[l.Annotator]++
		count[string(l.Choice)]++
	}
	for _, what := range []string{"simulated-near", "simulated-soon", "left", "right"} {
		if count[what] < 2 {
			t.Errorf("%s %d times in %v", what, count[what], count)
		}
	}
}

func TestInformationTellsWhatItExpects(t *testing.T) {
	c := tiny(t)
	set(t, &c, "reward.query=information", "reward.triplets=20")
	said, _ := surveyed(t, c)
	first, last := said[0].Query, said[len(said)-1].Query
	if first.Why != "information" || first.Gain <= 0 || last.Gain >= first.Gain {
		t.Errorf("%s, from %v to %v bits; want less and less to learn", first.Why, first.Gain, last.Gain)
	}
}

func TestAnswersToOtherQuestionsAreRefused(t *testing.T) {
	c := tiny(t)
	said, _ := surveyed(t, c)
	c.Out = t.TempDir()
	s := begun(t, c)
	other := said[0]
	other.Query.Clips = slices.Clone(other.Query.Clips)
	other.Query.Clips[1].Episode = "demo-99999"
	if _, err := s.Book().Append(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	truths, videos := watchedBy(30)
	_, err := s.survey(t.Context(), person.New(rand.NewPCG(1, 0), 0), truths, videos)
	if err == nil || !strings.Contains(err.Error(), other.ID) || !strings.Contains(err.Error(), "name=") {
		t.Errorf("got %v, want the label and a remedy", err)
	}
}
