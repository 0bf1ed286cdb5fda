package wire

import (
	"math"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/robot"
)

type dbgT struct{ n, lost, wrong int; err []float64 }

var dbg = map[string]*dbgT{}

func DBG(k perception.Keypoint, p truthPoint) {
	if !p.seen {
		return
	}
	n := k.Name + k.Camera
	if dbg[n] == nil {
		dbg[n] = &dbgT{}
	}
	d := dbg[n]
	d.n++
	if k.Score == 0 {
		d.lost++
		return
	}
	off := math.Hypot(k.X-p.px[0], k.Y-p.px[1])
	d.err = append(d.err, off)
	if off > 10 {
		d.wrong++
	}
}

var HOOK func([]robot.Frame, []perception.Keypoint, [][2]int, [][]truthPoint)
