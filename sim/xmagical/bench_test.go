package xmagical_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/sim/xmagical"
)

// BenchmarkStep is a control period with its state, an episode's reset included;
// with a size, the image of that size besides.
func BenchmarkStep(b *testing.B) {
	for _, e := range xmagical.Embodiments() {
		for _, size := range []int{0, 64, 384} {
			b.Run(fmt.Sprintf("%s/%d", e, size), func(b *testing.B) {
				w := open(b, xmagical.Config{Embodiment: e, Cameras: []xmagical.Camera{{Name: "top", W: max(8, size), H: max(8, size)}}})
				pix := make([]byte, 3*size*size)
				a := make([]float64, e.Actions())
				var s []float64
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%w.Horizon() == 0 {
						w.Start(uint64(i))
					}
					a[0], a[1] = 1, float64(i%3)-1
					w.Act(a)
					s = w.AppendState(s[:0])
					if size > 0 {
						w.Paint(0, pix)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
			})
		}
	}
}
