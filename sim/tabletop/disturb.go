package tabletop

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/robot"
)

// Disturb changes what a camera sees and leaves the task as it is, to try how far
// what was learned depends on it. Its zero value changes nothing.
type Disturb struct {
	// Camera is how far the fixed cameras are shifted, m, in a direction that the
	// world's seed draws; they look where they looked. Turn is by how much they look
	// beside that, rad. Nobody calibrates them anew: see World.Lens.
	Camera, Turn float64
	// Light is the share by which lamps are brighter, or dimmer below 0: -0.5 to 1.
	Light float64
	// Distractors are so many small boxes at the sides of the table, 0 to 6.
	Distractors int
}

func (d Disturb) validate(bad func(format string, args ...any)) {
	if !(d.Camera >= 0 && d.Camera <= 0.3) {
		bad("disturb: the camera is shifted by %g m, want 0 to 0.3", d.Camera)
	}
	if !(d.Turn >= 0 && d.Turn <= 0.3) {
		bad("disturb: the camera is turned by %g rad, want 0 to 0.3", d.Turn)
	}
	if !(d.Light >= -0.5 && d.Light <= 1) {
		bad("disturb: light is changed by a share of %g, want -0.5 to 1", d.Light)
	}
	if d.Distractors < 0 || d.Distractors > 6 {
		bad("disturb: %d distractors, want 0 to 6", d.Distractors)
	}
}

// knocks says whether a camera is not where calibration has it.
func (d Disturb) knocks(v view) bool { return (d.Camera > 0 || d.Turn > 0) && !v.attached }

// knock moves a fixed camera.
func (d Disturb) knock(v *view, seed uint64) {
	if !d.knocks(*v) {
		return
	}
	r := rand.New(rand.NewPCG(seed, 0x646973747572+uint64(len(v.name)))) // "distur"
	u := unit([3]float64{r.NormFloat64(), r.NormFloat64(), r.NormFloat64()})
	for i := range u {
		v.pos[i] += d.Camera * u[i]
	}
	right, up, _ := frame(v.pos, v.at)
	beside := dist(v.pos, v.at) * math.Tan(d.Turn)
	sin, cos := math.Sincos(2 * math.Pi * r.Float64())
	for i := range v.at {
		v.at[i] += beside * (cos*right[i] + sin*up[i])
	}
}

// light is a lamp's diffuse colour.
func (d Disturb) light(rgb [3]float64) string {
	k := 1 + d.Light
	return fmt.Sprintf("%.4g %.4g %.4g", k*rgb[0], k*rgb[1], k*rgb[2])
}

// strew adds the distractors to a layout. They are drawn after the task's things,
// which are the same with and without them.
func (d Disturb) strew(l *layout) {
	if d.Distractors == 0 {
		return
	}
	task, place := len(l.objects), l.place
	colours := []string{yellow, "0.10 0.55 0.25 1", "0.55 0.15 0.60 1"}
	for i := range d.Distractors {
		name := fmt.Sprintf("distractor%d", i+1)
		l.objects = append(l.objects, object{Name: name, Still: true, Geoms: fmt.Sprintf(
			`      <geom name="%s" type="box" size="0.018 0.018 0.018" contype="1" conaffinity="3" rgba="%s"/>`, name, colours[i%3])})
	}
	l.place = func(r *rand.Rand, p []robot.Pose) {
		place(r, p[:task])
		for i := range p[task:] {
			side := float64(1 - 2*(i%2))
			p[task+i].P = [3]float64{0.42 + 0.10*float64(i/2) + uniform(r, 0.02), side * (0.20 + uniform(r, 0.015)), 0.018}
		}
	}
}
