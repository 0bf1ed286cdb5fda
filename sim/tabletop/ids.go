package tabletop

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/sim/mujoco"
)

// ids says where things are in the model.
type ids struct {
	q, v, motor [7]int // of the arm's joints: in QPos, QVel and Ctrl
	finger      [2]int // in QPos
	grip        int    // in Ctrl
	pad         [2]int // geoms
	palm        int    // geom of the hand above the fingers
	hand        []bool // per geom: on the hand or a finger
	objects     []place
	beads       []int // bodies
}

// place is where an object is.
type place struct {
	body  int
	q     int // in QPos, of a free body
	mocap int // in MocapPos/3, or -1
}

// lookup finds all names of the scene, or tells every one that is missing.
func lookup(m *mujoco.Model, l *layout) (ids, error) {
	var d ids
	var errs []error
	get := func(f func(string) (int, error), name string) int {
		i, err := f(name)
		if err != nil {
			errs = append(errs, err)
			return 0
		}
		return i
	}
	for i := range 7 {
		j := get(m.Joint, jointName(i))
		d.q[i], d.v[i], d.motor[i] = m.JointQPos(j), m.JointDof(j), get(m.Actuator, jointName(i))
	}
	on := map[int]bool{get(m.Body, "hand"): true}
	for i, n := range []string{"finger_left", "finger_right"} {
		d.finger[i] = m.JointQPos(get(m.Joint, n))
		on[get(m.Body, n)] = true
		d.pad[i] = get(m.Geom, []string{"pad_left", "pad_right"}[i])
	}
	d.grip, d.palm = get(m.Actuator, "grip"), get(m.Geom, "palm")
	d.hand = make([]bool, m.Sizes().Geom)
	for g := range d.hand {
		d.hand[g] = on[m.GeomBody(g)]
	}
	mocaps := 0
	for _, o := range l.objects {
		p := place{body: get(m.Body, cmp.Or(o.Root, o.Name)), mocap: -1}
		if o.Ball || o.Still { // mocap bodies are counted in the order of the model
			p.mocap = mocaps
			mocaps++
		} else {
			p.q = m.JointQPos(get(m.Joint, o.Name))
		}
		d.objects = append(d.objects, p)
	}
	for _, n := range l.beads {
		d.beads = append(d.beads, get(m.Body, n))
	}
	if err := errors.Join(errs...); err != nil {
		return d, fmt.Errorf("tabletop: look up: %w", err)
	}
	return d, nil
}
