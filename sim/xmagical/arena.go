package xmagical

import (
	"math"
	"sync"

	"github.com/jakecoffman/cp/v2"
)

// making is held while bodies and spaces are made: Chipmunk's port counts bodies
// in a global variable.
var making sync.Mutex

// place is where something lies: x, y in m, angle in rad.
type place struct{ X, Y, A float64 }

// arena is the physics of one episode. It is built anew for each, since joints
// and contacts remember impulses: only a fresh one begins the same every time.
type arena struct {
	space   *cp.Space
	body    *cp.Body // the robot's
	lead    *cp.Body // the kinematic body that pulls it
	shape   *cp.Shape
	pupils  [2]*cp.Body
	fingers [2]finger // of the gripper
	squares []square

	speed, turn, target float64 // of the action; target is the fingers' angle, rad
}

type square struct {
	body  *cp.Body
	shape *cp.Shape
}

// finger is one of the gripper's, left then right.
type finger struct {
	body  *cp.Body
	motor *cp.SimpleMotor
	parts [2][]cp.Vector // corners of upper and fore arm in the body's frame
}

// robotGroup is the group of the robot's shapes, which do not touch each other.
const robotGroup = 1

// newArena builds the arena in the order of the original, on which the order of
// the solver depends: walls, goal, squares, robot.
func newArena(e Embodiment, d Dynamics, bottom float64, robot place, squares []place) *arena {
	making.Lock()
	defer making.Unlock()
	a := &arena{space: cp.NewSpace()}
	a.space.SetCollisionSlop(0.01)
	a.space.Iterations = 10
	a.walls()
	a.goal(bottom)
	for _, p := range squares {
		a.square(p, d)
	}
	a.robot(e, robot, d)
	return a
}

func (a *arena) walls() {
	const thick = 1.0
	b := cp.NewStaticBody()
	l, r := -Size-thick, Size+thick
	at := []cp.Vector{{X: l, Y: r}, {X: r, Y: r}, {X: r, Y: l}, {X: l, Y: l}}
	for i := range at {
		s := cp.NewSegment(b, at[i], at[(i+1)%4], thick)
		s.SetFriction(0.8)
		a.space.AddShape(s)
	}
}

// goal adds the sensor that the original asks which squares it holds. It moves
// nothing, but it has a place in the tree that orders contacts.
func (a *arena) goal(bottom float64) {
	b := cp.NewStaticBody()
	s := cp.NewBox(b, wide, topEdge-bottom, 0)
	s.SetSensor(true)
	b.SetPosition(cp.Vector{Y: (topEdge + bottom) / 2})
	a.space.AddBody(b)
	a.space.AddShape(s)
}

func (a *arena) square(p place, d Dynamics) {
	b := cp.NewBody(0, 0)
	b.SetPosition(cp.Vector{X: p.X, Y: p.Y})
	b.SetAngle(p.A)
	a.space.AddBody(b)
	s := cp.NewBox(b, Side, Side, 0.01*Side)
	s.SetMass(0.01)
	s.SetFriction(0.5)
	a.space.AddShape(s)
	// The ground's friction: joints that hold the velocity at zero, weakly.
	slide := cp.NewPivotJoint2(a.space.StaticBody, b, cp.Vector{}, cp.Vector{})
	slide.SetMaxBias(0)
	slide.SetMaxForce(d.Slide)
	a.space.AddConstraint(slide)
	spin := cp.NewGearJoint(a.space.StaticBody, b, 0, 1)
	spin.SetMaxBias(0)
	spin.SetMaxForce(d.Spin)
	a.space.AddConstraint(spin)
	a.squares = append(a.squares, square{b, s})
}

func (a *arena) robot(e Embodiment, p place, d Dynamics) {
	w, h := e.width(), radius/2
	if e == Gripper {
		a.body = cp.NewBody(mass, cp.MomentForCircle(mass, 0, radius, cp.Vector{}))
	} else {
		a.body = cp.NewBody(mass, cp.MomentForBox(mass, w, h))
	}
	at := cp.Vector{X: p.X, Y: p.Y}
	a.body.SetPosition(at)
	a.body.SetAngle(p.A)
	a.space.AddBody(a.body)

	// The pupils of its eyes are bodies whose springs push back.
	for i := range a.pupils {
		b := cp.NewBody(mass/10, cp.MomentForCircle(mass/10, 0, radius, cp.Vector{}))
		b.SetAngle(p.A)
		spring := cp.NewDampedRotarySpring(a.body, b, 0, 0.1, 3e-3)
		spring.SetMaxBias(3)
		spring.SetMaxForce(0.001)
		a.space.AddConstraint(spring)
		a.pupils[i] = b
	}
	if e == Gripper {
		for i, side := range sides {
			a.finger(i, side, p, d)
		}
	}
	for _, b := range a.pupils {
		a.space.AddBody(b)
	}

	a.lead = cp.NewKinematicBody()
	a.lead.SetPosition(at)
	a.lead.SetAngle(p.A)
	a.space.AddBody(a.lead)
	pull := cp.NewPivotJoint2(a.lead, a.body, cp.Vector{}, cp.Vector{})
	pull.SetMaxBias(0)
	pull.SetMaxForce(d.Drive)
	a.space.AddConstraint(pull)
	steer := cp.NewGearJoint(a.lead, a.body, 0, 1)
	steer.SetErrorBias(0)
	steer.SetMaxBias(2.5)
	steer.SetMaxForce(d.Steer)
	a.space.AddConstraint(steer)

	filter := cp.NewShapeFilter(robotGroup, cp.ALL_CATEGORIES, cp.ALL_CATEGORIES)
	if e != Gripper {
		corners := []cp.Vector{{X: -w / 2, Y: h / 2}, {X: w / 2, Y: h / 2}, {X: w / 2, Y: -h / 2}, {X: -w / 2, Y: -h / 2}}
		a.shape = cp.NewPolyShape(a.body, len(corners), corners, cp.NewTransformIdentity(), 0)
	} else {
		a.shape = cp.NewCircle(a.body, radius, cp.Vector{})
	}
	a.shape.SetFilter(filter)
	a.shape.SetFriction(0.5)
	a.space.AddShape(a.shape) // before the fingers': the order matters
	if e == Gripper {
		for _, f := range a.fingers {
			for _, corners := range f.parts {
				s := cp.NewPolyShape(f.body, len(corners), corners, cp.NewTransformIdentity(), 0)
				s.SetFilter(filter)
				s.SetFriction(5)
				a.space.AddShape(s)
			}
		}
	}
}

// sides are the fingers': left, right.
var sides = [2]float64{-1, 1}

// reach is how far a finger turns outwards, rad.
const reach = math.Pi / 8

func (a *arena) finger(i int, side float64, p place, d Dynamics) {
	f := &a.fingers[i]
	f.parts = fingerParts(side)
	all := append(append([]cp.Vector{}, f.parts[0]...), f.parts[1]...)
	f.body = cp.NewBody(mass/8, cp.MomentForPoly(mass/8, len(all), all, cp.Vector{}, 0))
	f.body.SetAngle(p.A - side*reach) // open
	root := cp.Vector{X: side * radius * 0.45, Y: radius * 0.1}.Rotate(cp.ForAngle(p.A))
	f.body.SetPosition(cp.Vector{X: p.X, Y: p.Y}.Add(root))
	a.space.AddBody(f.body)

	pivot := cp.NewPivotJoint(a.body, f.body, f.body.Position())
	pivot.SetErrorBias(0)
	a.space.AddConstraint(pivot)
	lo, hi := 0.0, reach
	if side > 0 {
		lo, hi = -reach, 0
	}
	limit := cp.NewRotaryLimitJoint(a.body, f.body, lo, hi)
	limit.SetErrorBias(0)
	a.space.AddConstraint(limit)
	motor := cp.NewSimpleMotor(a.body, f.body, 0)
	motor.SetMaxBias(0)
	motor.SetMaxForce(d.Finger)
	a.space.AddConstraint(motor)
	f.motor = motor.Class.(*cp.SimpleMotor)
}

// fingerParts are the corners of a finger's upper arm, which points ahead from its
// root, and fore arm, which bends inwards from the outer corner of its end.
func fingerParts(side float64) [2][]cp.Vector {
	const thick, upper, fore = 0.25 * radius, 1.1 * radius, 0.7 * radius
	box := func(w, h float64) []cp.Vector {
		return []cp.Vector{{X: w / 2, Y: h / 2}, {X: -w / 2, Y: h / 2}, {X: -w / 2, Y: -h / 2}, {X: w / 2, Y: -h / 2}}
	}
	bend := cp.ForAngle(side * reach)
	shift := cp.Vector{X: side * thick / 2, Y: upper / 2}.
		Add(cp.Vector{X: -side * thick / 2, Y: fore / 2}.Rotate(bend)).
		Add(cp.Vector{Y: upper / 2})
	parts := [2][]cp.Vector{box(thick, upper), box(thick, fore)}
	for i := range parts[0] {
		parts[0][i].Y += upper / 2
		parts[1][i] = parts[1][i].Rotate(bend).Add(shift)
	}
	return parts
}

// act sets the action of the coming period: speed ahead in m/s, turn from the
// present heading in rad, and the fingers' outward angle in rad.
func (a *arena) act(speed, turn, fingers float64) {
	a.speed = min(max(speed, -Speed), Speed)
	a.turn = min(max(turn, -Turn), Turn)
	a.target = min(max(fingers, 0), reach)
}

// step goes through one period.
func (a *arena) step() {
	dt := Period.Seconds() / substeps
	for range substeps {
		heading := a.body.Angle()
		a.lead.SetAngle(heading + a.turn)
		sin, cos := math.Sincos(heading)
		a.lead.SetVelocity(-a.speed*sin, a.speed*cos)
		for i, f := range a.fingers {
			if f.body == nil {
				continue
			}
			rate := 10 * (f.body.Angle() - heading + sides[i]*a.target)
			rate = min(max(rate, -1), 1)
			if math.Abs(rate) < 1e-4 {
				rate = 0
			}
			f.motor.Rate = rate
		}
		a.space.Step(dt)
	}
}

// fingerWidth is how far the fingers are open, 0 to 1; 0 for a stick.
func (a *arena) fingerWidth() float64 {
	if a.fingers[0].body == nil {
		return 0
	}
	return min(max((a.fingers[0].body.Angle()-a.fingers[1].body.Angle())/(2*reach), 0), 1)
}

func placeOf(b *cp.Body) place {
	p := b.Position()
	return place{p.X, p.Y, b.Angle()}
}
