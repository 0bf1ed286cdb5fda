package align_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// BenchmarkAligners reports, over policies of five seeds, the share that go the liked
// way before and after, the share that are on a way, the KL of a chain, and the
// denoiser's rows drawn: the table of docs/align.md.
//
//	go test -run '^$' -bench Aligners -benchtime 1x ./policy/align
func BenchmarkAligners(b *testing.B) {
	var ws, flows []*aligntest.Ways
	for seed := range uint64(5) {
		w, err := aligntest.New(seed + 1)
		if err != nil {
			b.Fatal(err)
		}
		f, err := aligntest.NewFlow(seed + 1)
		if err != nil {
			b.Fatal(err)
		}
		ws, flows = append(ws, w), append(flows, f)
	}
	for _, a := range aligners() {
		b.Run(a.name, func(b *testing.B) {
			for b.Loop() {
				var before, after, on, kl, least float64
				least = 1
				shares := ""
				from := ws
				if a.flow {
					from = flows
				}
				for i, w := range from {
					al, err := a.make(tune(b, w, align.Config{Rank: a.rank, LR: a.lr, Seed: uint64(i)}))
					if err != nil {
						b.Fatal(err)
					}
					x, y, o, k, _ := runBy(b, w, al, a.judge(al.Tuned()), a.run)
					before, after, on, kl, least = before+x/5, after+y/5, on+o/5, kl+k/5, min(least, y)
					shares += fmt.Sprintf(" %.2f", y)
				}
				b.Logf("before %.2f, after%s, on a way %.2f, KL %.2f", before, shares, on, kl)
				b.ReportMetric(before, "before")
				b.ReportMetric(after, "after")
				b.ReportMetric(least, "least")
				b.ReportMetric(on, "on")
				b.ReportMetric(kl, "KL")
			}
		})
	}
}
