package align_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// likes is the Judge of users who like the one way or the other.
func likes(signs ...float64) align.Judge {
	return align.Rated(func(s *align.Sample) float64 { return signs[s.User] * aligntest.Liked(s) }, 0.25)
}

// actions are what a taste is told by.
func actions(s *align.Sample) []float64 {
	return []float64{float64(s.Actions[0]), float64(s.Actions[1])}
}

// four is the taste of who likes the one way (1) or the other (-1), by four pairs.
func four(t *testing.T, w *aligntest.Ways, sign float64, seed uint64) []float64 {
	t.Helper()
	b := &align.Batch{Samples: draw(t, w, tune(t, w, align.Config{}), 32, 2, seed)}
	if err := likes(sign)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	decided := b.Pairs[:0]
	for _, p := range b.Pairs {
		if !p.Tie && len(decided) < 4 {
			decided = append(decided, p)
		}
	}
	if b.Pairs = decided; len(decided) < 4 {
		t.Fatal("fewer than four pairs are decided")
	}
	return align.Taste(b, 0, actions)
}

func TestTasteByHand(t *testing.T) {
	b := &align.Batch{
		Samples: []align.Sample{{Actions: []float32{1, 2}}, {Actions: []float32{0, 4}}, {Actions: []float32{3, 0}, User: 1}},
		Pairs:   []align.Pair{{Win: 0, Lose: 1}, {Win: 0, Lose: 2}, {Win: 1, Lose: 0, Tie: true}, {Win: 2, Lose: 0}},
	}
	// (1,-2) and (-2,2) together are (-1,0).
	for user, want := range [][]float64{{-1, 0}, {1 / math.Sqrt2, -1 / math.Sqrt2}, {0, 0}} {
		got := align.Taste(b, user, actions)
		if math.Abs(got[0]-want[0]) > 1e-9 || math.Abs(got[1]-want[1]) > 1e-9 {
			t.Errorf("the taste of user %d is %v, want %v", user, got, want)
		}
	}
}

// TestOnePolicyServesManyTastes: two users who like opposite ways each get theirs, others
// by four pairs of their own, mixtures what is between, and nobody the reference.
func TestOnePolicyServesManyTastes(t *testing.T) {
	for name, w := range map[string]*aligntest.Ways{"diffusion": ways(t), "flow": flows(t)} {
		t.Run(name, func(t *testing.T) {
			p := tune(t, w, align.Config{Rank: 4, Taste: 2, LR: 1e-3})
			dpo, c := align.NewDiffusionDPO, align.DiffusionDPOConfig{Keep: 1}
			if name == "flow" {
				dpo = align.NewFlowDPO
			}
			a, err := dpo(p, c)
			if err != nil {
				t.Fatal(err)
			}
			tastes := [][]float64{four(t, w, 1, 81), four(t, w, -1, 82)}
			r, err := align.NewRun(a, likes(1, -1), align.RunConfig{Rounds: 60, Observations: 64, Every: 5, Near: math.Inf(1), Budget: 6, Tastes: tastes, Train: w.Train, Held: w.Held})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Go(t.Context()); err != nil {
				t.Fatal(err)
			}
			share := func(taste []float64) float64 {
				if err := p.Serve(taste); err != nil {
					t.Fatal(err)
				}
				n, _, _, err := w.Measure(p, 512, 9)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			if !bytes.Equal(bytesOf(t, p), bytesOf(t, tune(t, w, align.Config{}))) {
				t.Error("after a run, and for nobody, the policy is not the reference")
			}
			one, other := share(tastes[0]), share(tastes[1])
			anew, opposite := share(four(t, w, 1, 83)), share(four(t, w, -1, 84))
			t.Logf("the liked way is gone by %.3f, and %.3f for who dislikes it; by four pairs of others, %.3f and %.3f", one, other, anew, opposite)
			if one < 0.8 || other > 0.2 {
				t.Errorf("users get their way in %.3f and %.3f, want 0.8", one, 1-other)
			}
			if anew < 0.75 || opposite > 0.25 {
				t.Errorf("users who were not learned from get their way in %.3f and %.3f, want 0.75", anew, 1-opposite)
			}
			last := other
			for _, x := range []float64{0.25, 0.5, 0.75, 1} {
				mix := share([]float64{x*tastes[0][0] + (1-x)*tastes[1][0], x*tastes[0][1] + (1-x)*tastes[1][1]})
				if mix <= last {
					t.Errorf("a share %.2f of one taste gets the liked way in %.3f, less of it in %.3f", x, mix, last)
				}
				last = mix
			}
		})
	}
}

// TestEveryUserIsLookedAt, also where there are fewer held-out histories than users.
func TestEveryUserIsLookedAt(t *testing.T) {
	w := ways(t)
	p := tune(t, w, align.Config{Rank: 2, Taste: 1})
	a, err := align.NewDPPO(p, align.DPPOConfig{Chains: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ users, histories, samples int }{{2, 3, 3}, {3, 3, 3}, {5, 3, 6}, {13, 12, 24}, {5, 1, 5}} {
		tastes := make([][]float64, tt.users)
		for u := range tastes {
			tastes[u] = []float64{float64(u)}
		}
		looked := errors.New("looked")
		r, err := align.NewRun(a, align.Kept, align.RunConfig{
			Train: w.Train, Held: w.Held[:tt.histories*w.Net.Seen()], Alike: 2, Tastes: tastes, Bring: func(*align.Batch, *rand.Rand) {},
			Looked: func(align.Look) error { return looked },
			Value: func(ss []align.Sample) float64 {
				of, at := map[int]bool{}, map[int]bool{}
				for _, s := range ss {
					of[s.User], at[s.Group] = true, true
				}
				if len(ss) != tt.samples || len(of) != tt.users || len(at) != tt.histories {
					t.Errorf("%+v: looked at %d samples of %d users at %d histories", tt, len(ss), len(of), len(at))
				}
				return 0.5
			},
		})
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if _, err := r.Go(t.Context()); err != looked {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestRunsForTastesGoOn to the same bits.
func TestRunsForTastesGoOn(t *testing.T) {
	w := ways(t)
	tastes := [][]float64{{1}, {-1}, {0.5}}
	begin := func(rounds int) (*align.Tuned, *align.Run) {
		p := tune(t, w, align.Config{Rank: 2, Taste: 1})
		a, err := align.NewDPPO(p, align.DPPOConfig{Chains: 8})
		if err != nil {
			t.Fatal(err)
		}
		r, err := align.NewRun(a, likes(1, -1, 1), align.RunConfig{
			Rounds: rounds, Observations: 8, Each: 2, Train: w.Train, Held: w.Held, Tastes: tastes, Value: func([]align.Sample) float64 { return later(p) }})
		if err != nil {
			t.Fatal(err)
		}
		return p, r
	}
	params := func(rounds int, file *bytes.Buffer) []byte {
		p, r := begin(rounds)
		if file.Len() > 0 {
			if err := r.Restore(file); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Go(t.Context()); err != nil {
			t.Fatal(err)
		}
		if file.Reset(); rounds == 2 {
			if err := r.Save(file); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Serve(tastes[0]); err != nil {
			t.Fatal(err)
		}
		return bytesOf(t, p)
	}
	var file bytes.Buffer
	want := params(4, &file)
	params(2, &file)
	if !bytes.Equal(params(4, &file), want) {
		t.Error("a run that went on ends with another policy")
	}
}
