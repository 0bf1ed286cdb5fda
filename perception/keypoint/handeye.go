package keypoint

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// ErrAlike says that the hand was turned too little between views.
var ErrAlike = errors.New("keypoint: the poses of the hand are too much alike")

// turned is how far the hand must turn about a second axis, rad (root mean square).
const turned = 0.1

// LeastViews is how many views of a board FromBoard wants at least: more where the
// intrinsics are not known and are found besides.
func LeastViews(known *Camera) int {
	if known == nil {
		return 8
	}
	return 4
}

// FromBoard calibrates a camera from views of a ChArUco board and the poses of the tool at
// them: of a camera on the hand by a board that lies still, or of a camera that stands
// still by a board that the hand holds. Intrinsics are those of known, or found besides.
//
// The camera's pose is Park and Martin's (1994), and is then refined together with the
// board's to the least squares of all corners' pixels.
func FromBoard(views []View, board vision.Board, onHand bool, known *Camera) (Calibration, error) {
	var seen [][]vision.Match
	var tools []robot.Pose
	for _, v := range views {
		if f, first := v.Frame, views[0].Frame; f.W != first.W || f.H != first.H || f.Camera != first.Camera {
			return Calibration{}, fmt.Errorf("keypoint: calibrate: images of %dx%d of camera %q and of %dx%d of %q; want one camera's, of one size", first.W, first.H, first.Camera, f.W, f.H, f.Camera)
		}
		ms, err := board.Find(v.Frame)
		if err != nil {
			return Calibration{}, err
		}
		if len(ms) >= 6 {
			seen, tools = append(seen, ms), append(tools, v.Tool)
		}
	}
	if least := LeastViews(known); len(seen) < least {
		return Calibration{}, fmt.Errorf("keypoint: calibrate: the board is seen in %d of %d images, want %d at least: light it evenly, show six of its inner corners or more, or check its columns, rows and dictionary", len(seen), len(views), least)
	}
	if s := spread(tools); s < turned {
		return Calibration{}, fmt.Errorf("%w: they turn by %.2f rad about a second axis, want %.2f; tilt the hand to all sides by 20 degrees or more", ErrAlike, s, turned)
	}
	first := views[0].Frame
	in, err := intrinsicsOf(seen, first, known, vision.Radial)
	if err != nil {
		return Calibration{}, err
	}
	s := solver{cam: cameraOf(first, in), seen: seen}
	var hand, target []vision.Rigid
	var sights []robot.Pose
	for i, ms := range seen {
		sight, err := vision.PoseOf(ms, in)
		if err != nil {
			return Calibration{}, fmt.Errorf("keypoint: calibrate: view %d: %w", i, err)
		}
		// The camera moves with link, relative to the frame in which the board stands.
		link := tools[i]
		if !onHand {
			link = invert(link)
		}
		s.link = append(s.link, link)
		sights = append(sights, poseOf(sight))
		hand, target = append(hand, rigid(link)), append(target, rigid(poseOf(sight)))
	}
	x, err := vision.HandEye(hand, target)
	if err != nil {
		return Calibration{}, fmt.Errorf("keypoint: calibrate: %w", err)
	}
	s.x = unrigid(x)
	var boards []robot.Pose
	for i, sight := range sights {
		boards = append(boards, then(then(s.link[i], s.x), sight))
	}
	s.b = meanPose(boards)
	for range 2 {
		if err := s.refine(); err != nil {
			return Calibration{}, err
		}
		if err := s.prune(); err != nil {
			return Calibration{}, err
		}
	}
	c := Calibration{Camera: s.cam, Views: len(seen)}
	var sum sums
	for i, ms := range s.seen {
		cam := s.cam
		cam.Pose = then(s.link[i], s.x)
		for _, m := range ms {
			sum.add(&cam, then(s.b, robot.Pose{P: m.Place, Q: [4]float64{1}}).P, m.Pixel)
			c.Points++
		}
	}
	c.Pixels, c.Metres = sum.rms()
	c.Camera.Pose, c.Camera.OnHand = s.x, onHand
	return c, c.Camera.Validate()
}

// spread is how far poses turn about the second of their axes, rad.
func spread(ps []robot.Pose) float64 {
	cov := mat.NewSymDense(3, nil)
	for _, p := range ps {
		q := franka.Mul(franka.Conj(ps[0].Q), p.Q)
		if q[0] < 0 {
			q = [4]float64{-q[0], -q[1], -q[2], -q[3]}
		}
		v := franka.Log(q)
		cov.SymRankOne(cov, 1/float64(len(ps)), mat.NewVecDense(3, v[:]))
	}
	var e mat.EigenSym
	if !e.Factorize(cov, false) {
		return 0
	}
	return math.Sqrt(max(0, e.Values(nil)[1])) // ascending
}

// meanPose is the mean of poses that are near each other.
func meanPose(ps []robot.Pose) robot.Pose {
	var m robot.Pose
	for _, p := range ps {
		sign := 1.0
		if p.Q[0]*ps[0].Q[0]+p.Q[1]*ps[0].Q[1]+p.Q[2]*ps[0].Q[2]+p.Q[3]*ps[0].Q[3] < 0 {
			sign = -1
		}
		for i := range m.P {
			m.P[i] += p.P[i] / float64(len(ps))
		}
		for i := range m.Q {
			m.Q[i] += sign * p.Q[i]
		}
	}
	m.Q = franka.Unit(m.Q)
	return m
}

// solver holds what refine moves: the camera x on its link, and the board b.
type solver struct {
	cam  Camera // intrinsics
	link []robot.Pose
	seen [][]vision.Match
	x, b robot.Pose
}

// residuals are the errors of all corners' pixels, x and y.
func (s *solver) residuals(dst []float64, x, b robot.Pose) ([]float64, error) {
	dst = dst[:0]
	cam := s.cam
	for i, ms := range s.seen {
		cam.Pose = then(s.link[i], x)
		for _, m := range ms {
			px, ok := cam.Project(then(b, robot.Pose{P: m.Place, Q: [4]float64{1}}).P)
			if !ok {
				return nil, fmt.Errorf("keypoint: calibrate: the board of view %d is behind the camera; are the poses of the hand those of the images?", i)
			}
			dst = append(dst, px[0]-m.Pixel[0], px[1]-m.Pixel[1])
		}
	}
	return dst, nil
}

// refine takes Gauss-Newton steps with numeric derivatives, halved where they go too far.
func (s *solver) refine() error {
	r, err := s.residuals(nil, s.x, s.b)
	if err != nil {
		return err
	}
	const h = 1e-6
	cost := square(r)
	for range 30 {
		j := mat.NewDense(len(r), 12, nil)
		var e []float64
		for k := range 12 {
			x, b := s.x, s.b
			var d [6]float64
			d[k%6] = h
			if k < 6 {
				x = franka.Move(x, &d)
			} else {
				b = franka.Move(b, &d)
			}
			if e, err = s.residuals(e, x, b); err != nil {
				return err
			}
			for i := range r {
				j.Set(i, k, (e[i]-r[i])/h)
			}
		}
		var step mat.VecDense
		if err := step.SolveVec(j, mat.NewVecDense(len(r), r)); err != nil {
			return fmt.Errorf("%w: %w", ErrAlike, err)
		}
		better := false
		for scale := 1.0; scale > 1e-3 && !better; scale /= 2 {
			var dx, db [6]float64
			for k := range 6 {
				dx[k], db[k] = -scale*step.AtVec(k), -scale*step.AtVec(6+k)
			}
			x, b := franka.Move(s.x, &dx), franka.Move(s.b, &db)
			if e, err = s.residuals(e, x, b); err != nil {
				continue
			}
			if c := square(e); c < cost {
				better = cost-c > 1e-12*cost
				s.x, s.b, cost = x, b, c
				r = append(r[:0], e...)
				break
			}
		}
		if !better {
			return nil
		}
	}
	return nil
}

// prune leaves out corners that were found wrongly: those more than four times the median
// and a pixel off, if they are few. If they are many, something else is wrong.
func (s *solver) prune() error {
	r, err := s.residuals(nil, s.x, s.b)
	if err != nil {
		return err
	}
	off := make([]float64, len(r)/2)
	for i := range off {
		off[i] = math.Hypot(r[2*i], r[2*i+1])
	}
	sorted := slices.Sorted(slices.Values(off))
	limit := max(1, 4*sorted[len(sorted)/2])
	if sorted[len(sorted)*4/5] > limit {
		return nil
	}
	at := 0
	for i, ms := range s.seen {
		var keep []vision.Match
		for _, m := range ms {
			if off[at] <= limit {
				keep = append(keep, m)
			}
			at++
		}
		s.seen[i] = keep
	}
	return nil
}

func square(r []float64) float64 {
	s := 0.0
	for _, v := range r {
		s += v * v
	}
	return s
}
