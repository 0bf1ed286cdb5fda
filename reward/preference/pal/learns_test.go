//go:build !race || long

package pal_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/pal"
)

// Capability 30: 60 people of three tastes, 20 answers each; the ceiling is about 0.9.
func TestModelTellsTastesApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	train, fresh := crowd(rng, 20), crowd(rng, 30)
	one, _, err := preference.FitRLHF(t.Context(), train, preference.Config{Linear: true, Rate: 1e-2, Epochs: 30, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	single, err := preference.Evaluate(one, fresh)
	if err != nil {
		t.Fatal(err)
	}
	if single.Accuracy > 0.72 {
		t.Errorf("one model for all: accuracy %v: people do not differ", single.Accuracy)
	}
	for _, like := range []pal.Likeness{pal.Cosine, pal.Distance} {
		m, rep, err := pal.Fit(t.Context(), train, pal.Config{Prototypes: 3, Likeness: like, Linear: true, Rate: 5e-3, Restarts: 2, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Measure(fresh)
		if err != nil {
			t.Fatal(err)
		}
		if got.Accuracy < 0.85 {
			t.Errorf("likeness %d: accuracy %v, want 0.85", like, got.Accuracy)
		}
		// What all have in common foretells as much as one model for all.
		common, err := preference.Evaluate(m.Common(), fresh)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(common.Accuracy-single.Accuracy) > 0.05 {
			t.Errorf("likeness %d: accuracy %v of what is common, %v of one model for all", like, common.Accuracy, single.Accuracy)
		}
		new := 0.0
		for i := range 15 {
			u, err := m.Meet(answers(rng, 8, i%3, ""))
			if err != nil {
				t.Fatal(err)
			}
			own, err := preference.Evaluate(u, answers(rng, 60, i%3, ""))
			if err != nil {
				t.Fatal(err)
			}
			new += own.Accuracy / 15
		}
		if new < 0.8 {
			t.Errorf("likeness %d: accuracy of new people %v, want 0.8", like, new)
		}
		t.Logf("likeness %d: %.3f, new people %.3f, one model for all %.3f, epoch %d", like, got.Accuracy, new, single.Accuracy, rep.Epoch)
		// People of one taste share a prototype.
		at := func(name string) int {
			u, err := m.User(name)
			if err != nil {
				t.Fatal(err)
			}
			best := 0
			for k, s := range u.Shares {
				if s > u.Shares[best] {
					best = k
				}
			}
			return best
		}
		agree, other := 0, 0
		names := m.People()
		for i := range names {
			for j := range i {
				if at(names[i]) == at(names[j]) {
					if i%3 == j%3 {
						agree++
					} else {
						other++
					}
				}
			}
		}
		if agree < 8*other {
			t.Errorf("likeness %d: %d pairs of people of one taste share a prototype, %d of two", like, agree, other)
		}
	}
}
