package wire

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/perception/keypoint"
)

func TestSweep(t *testing.T) {
	for _, task := range []string{"group", "reach"} {
		for _, tr := range []Trouble{Plain, Occluder, Everything} {
			for _, c := range []keypoint.Config{{}} {
				dbg = map[string]*dbgT{}
				rs, err := Keypoints(context.Background(), KeypointStudy{Seeds: 1, Tasks: []string{task}, Troubles: []Trouble{tr}, Tracker: c}, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rs {
					fmt.Printf("Patch %+v %s %s: %d p50 %.2f p95 %.2f wrong %.1f lost %.1f again %.1f blind %.1f\n", c, task, r.Trouble, r.Points, Percentile(r.Pixels, .5), Percentile(r.Pixels, .95), 100*float64(r.Wrong)/float64(r.Points), 100*float64(r.Lost)/float64(r.Points), 100*float64(r.Again)/float64(r.Ends), 100*float64(r.Blind)/float64(r.Hidden))
				}
				if testing.Verbose() && tr == Plain {
					for _, n := range slices.Sorted(maps.Keys(dbg)) {
						d := dbg[n]
						fmt.Printf("   %s n %d lost %d wrong %d p50 %.2f p95 %.2f\n", n, d.n, d.lost, d.wrong, Percentile(d.err, .5), Percentile(d.err, .95))
					}
				}
			}
		}
	}
}
