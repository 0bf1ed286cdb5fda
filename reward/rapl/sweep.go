package rapl

import (
	"context"
	"fmt"
	"strings"
)

// Trial is a configuration that a Sweep tried.
type Trial struct {
	Config AlignConfig
	Head   Head
	Report Report
}

// Table is what a sweep found, in the order in which it was tried.
type Table []Trial

// Gammas is cfg with one gamma after the other.
func Gammas(cfg AlignConfig, gammas ...float64) []AlignConfig {
	cs := make([]AlignConfig, len(gammas))
	for i, g := range gammas {
		cs[i] = cfg
		cs[i].Gamma = g
	}
	return cs
}

// Sweep aligns with one configuration after the other, on the same triplets. Where
// seeds and shares are equal the split is too, and held-out losses, as the
// likelihood of the same answers, can be compared.
//
//	table, err := rapl.Sweep(ctx, triplets, rapl.Gammas(cfg, 1, 10, 50))
//	fmt.Print(table)
func Sweep(ctx context.Context, triplets []Triplet, cfgs []AlignConfig) (Table, error) {
	var t Table
	for i, c := range cfgs {
		h, rep, err := Align(ctx, triplets, c)
		if err != nil {
			return t, fmt.Errorf("rapl: sweep: configuration %d: %w", i, err)
		}
		t = append(t, Trial{Config: c.withDefaults(), Head: h, Report: rep})
	}
	return t, nil
}

// Best is the trial of the lowest held-out loss, the first of equals; -1 of none.
func (t Table) Best() int {
	best := -1
	for i := range t {
		if best < 0 || t[i].Report.After.Loss < t[best].Report.After.Loss {
			best = i
		}
	}
	return best
}

// String is a Markdown table of the held-out measures.
func (t Table) String() string {
	var b strings.Builder
	b.WriteString("| cost | gamma | temperature | gradient | held-out loss | accuracy | Brier | ECE | epoch |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range t {
		m := x.Report.After
		fmt.Fprintf(&b, "| %v | %g | %g | %v | %.3f | %.2f | %.3f | %.3f | %d of %d |\n",
			x.Config.Cost, x.Config.Gamma, x.Config.Temperature, x.Config.Gradient, m.Loss, m.Accuracy, m.Brier, m.ECE, x.Report.Best, len(x.Report.Epochs))
	}
	return b.String()
}
