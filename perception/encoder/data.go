package encoder

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// Clip is a recorded piece of demonstration or play of T ticks.
type Clip struct {
	Frames  [][]robot.Frame // (T+1) ticks of all cameras
	States  []robot.State   // (T+1)
	Applied []robot.Command // (T) what reached the arm
}

// Data is what an encoder learns from: pixels, joint angles and commands, and
// no labels.
type Data struct {
	Clips []Clip
}

// body is the length of what the arm senses of itself: see senses.
const body = 12

// senses lists what of s the camera can see: joint angles, tool position,
// opening, and one constant.
func senses(s robot.State) (v [body]float32) {
	for i, q := range s.Q {
		v[i] = float32(q)
	}
	for i, p := range s.EE.P {
		v[7+i] = float32(p)
	}
	v[10], v[11] = float32(s.Grip), 1
	return v
}

// command lists a command's seven numbers.
func command(c robot.Command) (v [7]float32) {
	for i, d := range c.Delta {
		v[i] = float32(d)
	}
	v[6] = float32(c.Grip)
	return v
}

// set is Data brought into the shape that training wants.
type set struct {
	ticks  int
	clip   []int       // (N) clip of each tick
	pix    [][][]byte  // (cameras,N) of (S,S,3)
	small  [][]float32 // (cameras) of (N,R,R,3), 0..1
	mean   [][]float32 // (cameras) of (R,R,3)
	spread []float32   // (cameras) mean absolute difference from mean
	body   [][]float32 // (N) of (body), standardised
	act    [][]float32 // (N) of (7), standardised; nil after the last tick
	tool   [][]float32 // (N) of (4): tool position and opening, standardised
}

// prepare scales all images and standardises all numbers. R is the side of the
// small images.
func prepare(d Data, cams []Camera, s Shape, R int) (*set, error) {
	out := &set{
		pix: make([][][]byte, len(cams)), small: make([][]float32, len(cams)),
		mean: make([][]float32, len(cams)), spread: make([]float32, len(cams)),
	}
	var acts [][]float32
	for i, c := range d.Clips {
		T := len(c.Applied)
		if T == 0 || len(c.Frames) != T+1 || len(c.States) != T+1 {
			return nil, fmt.Errorf("encoder: clip %d has %d commands, %d ticks of frames and %d states, want T, T+1 and T+1", i, T, len(c.Frames), len(c.States))
		}
		for t, fs := range c.Frames {
			for j, cam := range cams {
				f, err := cam.pick(fs, s.Side, s.Side)
				if err != nil {
					return nil, fmt.Errorf("encoder: clip %d tick %d: %w", i, t, err)
				}
				tiny, err := vision.Resize(f, R, R)
				if err != nil {
					return nil, fmt.Errorf("encoder: clip %d tick %d: %w", i, t, err)
				}
				out.pix[j] = append(out.pix[j], f.Pix)
				out.small[j] = append(out.small[j], unit(tiny.Pix)...)
			}
			b := senses(c.States[t])
			out.body = append(out.body, b[:])
			out.tool = append(out.tool, append([]float32(nil), b[7:11]...))
			out.clip = append(out.clip, i)
			var a []float32
			if t < T {
				v := command(c.Applied[t])
				a = v[:]
				acts = append(acts, a)
			}
			out.act = append(out.act, a)
		}
	}
	out.ticks = len(out.body)
	if out.ticks == 0 {
		return nil, fmt.Errorf("encoder: no clips to learn from")
	}
	standardise(out.body)
	standardise(out.tool)
	standardise(acts) // shares its rows with out.act
	for j := range cams {
		out.mean[j], out.spread[j] = average(out.small[j], 3*R*R)
	}
	return out, nil
}

// unit turns bytes into floats of 0..1.
func unit(pix []byte) []float32 {
	out := make([]float32, len(pix))
	for i, v := range pix {
		out[i] = float32(v) / 255
	}
	return out
}

// average returns the mean row of xs (N,n) and the mean absolute difference
// from it.
func average(xs []float32, n int) ([]float32, float32) {
	sum := make([]float64, n)
	for i, v := range xs {
		sum[i%n] += float64(v)
	}
	mean := make([]float32, n)
	for i := range mean {
		mean[i] = float32(sum[i] / float64(len(xs)/n))
	}
	var off float64
	for i, v := range xs {
		off += math.Abs(float64(v - mean[i%n]))
	}
	return mean, float32(off / float64(len(xs)))
}

// standardise brings every column of xs to mean 0 and variance 1 in place. One
// that hardly moves is left small rather than blown up.
func standardise(xs [][]float32) {
	if len(xs) == 0 {
		return
	}
	for c := range xs[0] {
		mean, std := moments(xs, c)
		if std < 1e-6 {
			std = 1
		}
		for _, x := range xs {
			x[c] = float32((float64(x[c]) - mean) / std)
		}
	}
}

// moments returns mean and standard deviation of column c.
func moments(xs [][]float32, c int) (mean, std float64) {
	n := float64(len(xs))
	for _, x := range xs {
		mean += float64(x[c]) / n
	}
	for _, x := range xs {
		d := float64(x[c]) - mean
		std += d * d / n
	}
	return mean, math.Sqrt(std)
}

// fill writes tick i of camera j into a network's input x (S,S,3).
func (s *set) fill(x []float32, i, j, side, dx, dy int) {
	nn.Pixels(x, s.pix[j][i], side, side, 3, dx, dy)
}
