package wire

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// tracking is loop.Actor's Track.
type tracking func(ctx context.Context, step int, obs robot.Observation) ([]perception.Keypoint, error)

// errFlat says that there is nothing that a camera's pixel could be lifted into.
var errFlat = errors.New("wire: reward.kind is kagi, or reward.sees names points: their cameras see in three dimensions; want another reward.kind and reward.sees features, or a task of the table")

// trackSim follows the points of a simulated world's plan; nil under other rewards.
func trackSim(c config.Config, w world) (*pointer, error) {
	if !keyed(c) {
		return nil, nil
	}
	tw, ok := w.(*tabletop.World)
	if !ok {
		return nil, errFlat
	}
	// Where the cameras are is known from the first reset on.
	cams := func() ([]keypoint.Camera, error) { return SimCameras(tw) }
	var success func() bool
	if byWaypoints(c) && c.Reward.KAGI.Sparse == "truth" {
		success = func() bool { return w.Truth().Success }
	}
	return newPointer(c, cams, func(camera string) (robot.Frame, error) { return photo(tw, camera) }, success)
}

// follow has a simulated arm's track: that of the way that its episodes go, of both where
// two sessions practise on it.
func (a *arm) follow(c config.Config, of stream) error {
	return a.trackBy(c, of, func(c config.Config) (*pointer, error) { return trackSim(c, a.world) })
}

// trackBy is follow with what makes a way's pointer.
func (a *arm) trackBy(c config.Config, of stream, by func(config.Config) (*pointer, error)) error {
	p, err := by(c)
	if err != nil || p == nil {
		return err
	}
	a.track, a.hang = p.track, p.close
	if of != online || c.Practice.Mate == "" {
		return nil
	}
	mine := wayOf(c)
	c.Robot.Way = "backward"
	if mine == tabletop.Backward {
		c.Robot.Way = "forward"
	}
	other, err := by(c)
	if err != nil {
		return errors.Join(err, p.close())
	}
	other.marks = p.marks // both see by the same cameras, of which one finds what the other need not see
	turn := func() *pointer {
		if a.onward.way != mine {
			return other
		}
		return p
	}
	a.track = func(ctx context.Context, step int, obs robot.Observation) ([]perception.Keypoint, error) {
		return turn().track(ctx, step, obs)
	}
	a.hidden = func(ctx context.Context, obs robot.Observation) error { return turn().hidden(ctx, obs) }
	a.hang = func() error { return errors.Join(p.close(), other.close()) }
	return nil
}

// pointer follows the points of a plan through one arm's episodes.
type pointer struct {
	cfg     config.Config
	plan    kagi.Plan
	open    func() ([]keypoint.Camera, error)
	marks   *landmarks
	cams    []keypoint.Camera     // as of the episode's reset
	success func() bool           // nil: nobody tells
	tracker *keypoint.Tracker     // nil: no point is followed from a pixel
	chosen  []kagi.Point          // the episode's candidates that a model takes somewhere
	last    map[string][3]float64 // places, of points that were seen
	carried map[string]*carried   // of points that a hand may carry
}

func newPointer(c config.Config, cams func() ([]keypoint.Camera, error), full func(camera string) (robot.Frame, error), success func() bool) (*pointer, error) {
	plan, err := planOf(c)
	if err != nil {
		return nil, err
	}
	marks, err := newLandmarks(c, full)
	if err != nil {
		return nil, err
	}
	p := &pointer{cfg: c, open: cams, marks: marks, success: success}
	return p, p.use(plan)
}

// use makes a plan the one to follow from now on.
func (p *pointer) use(plan kagi.Plan) error {
	if err := fits(plan, p.cfg); err != nil {
		return err
	}
	p.plan = plan
	return nil
}

func (p *pointer) close() error {
	if p.tracker == nil {
		return nil
	}
	return p.tracker.Close()
}

// track returns the keys of a tick; those of the first carry the episode's waypoints.
func (p *pointer) track(ctx context.Context, step int, obs robot.Observation) ([]perception.Keypoint, error) {
	if step == 0 {
		var err error
		if p.cams, err = p.open(); err != nil {
			return nil, err
		}
		if err := p.marks.correct(ctx, p.cams); err != nil {
			return nil, err
		}
		if k := clickerOf(ctx); k != nil {
			plan, err := k.plan(ctx, p.cams, obs)
			if err == nil && !reflect.DeepEqual(plan, p.plan) {
				err = p.use(plan)
			}
			if err != nil {
				return nil, err
			}
		}
		p.forget()
	}
	keys, err := p.places(step, obs)
	if err != nil {
		return nil, err
	}
	if step == 0 {
		legs, err := p.legs(ctx, obs)
		if err != nil {
			return nil, err
		}
		for _, k := range p.chosen {
			keys = perception.AddPlace(keys, k.Name, p.last[k.Name], 1)
		}
		if err := p.follow(obs); err != nil {
			return nil, err
		}
		keys = kagi.Tell(keys, legs)
	}
	if p.success != nil {
		k := perception.Keypoint{Name: kagi.Success}
		if p.success() {
			k.Score = 1
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// forget begins an episode, of which no point was seen yet.
func (p *pointer) forget() {
	p.last, p.chosen, p.carried = map[string][3]float64{}, nil, map[string]*carried{}
}

// places are where the plan's points are, or were last.
func (p *pointer) places(step int, obs robot.Observation) (keys []perception.Keypoint, err error) {
	seen, err := p.look(step, obs)
	if err != nil {
		return nil, err
	}
	for _, k := range slices.Concat(p.plan.Points, p.chosen) {
		at, score := obs.State.EE.P, 1.0
		if !k.Hand {
			if at, score, err = p.place(k, seen[k.Name], obs.State); err != nil {
				return nil, err
			}
		}
		if score > 0 {
			p.last[k.Name] = at
		}
		keys = perception.AddPlace(keys, k.Name, p.where(k), score)
	}
	return keys, nil
}

// where is the place of a point that was seen, and else the one near which the plan says that
// it lies.
func (p *pointer) where(k kagi.Point) [3]float64 {
	at, seen := p.last[k.Name]
	if !seen && k.Near != nil {
		return *k.Near
	}
	return at
}

// hidden says which point, on which the waypoints hang, is not seen before an episode, or that
// nobody knows where a camera stands now; nil where all are seen, or where somebody else than
// the plan tells the waypoints. It looks as track does.
func (p *pointer) hidden(ctx context.Context, obs robot.Observation) (err error) {
	if plannerOf(ctx) != nil || clickerOf(ctx) != nil {
		return nil
	}
	if p.cams, err = p.open(); err != nil {
		return nil // track says so
	}
	if err := p.marks.correct(ctx, p.cams); err != nil {
		if lost := (*strayed)(nil); errors.As(err, &lost) {
			return lost
		}
		return nil
	}
	p.forget()
	if _, err := p.places(0, obs); err != nil {
		return nil
	}
	_, err = p.plan.Fix(p.last)
	return err
}

// look finds the plan's points in the frames: coloured ones anew each time, others by
// following them.
func (p *pointer) look(step int, obs robot.Observation) (map[string]perception.Keypoint, error) {
	seen := map[string]perception.Keypoint{}
	pixels := false
	for _, k := range slices.Concat(p.plan.Points, p.chosen) {
		switch {
		case k.Near != nil: // together with its likes, below
		case k.Colour != nil:
			f, err := frameOf(obs.Frames, k.Camera)
			if err != nil {
				return nil, err
			}
			px, ok, err := k.Find(f)
			if err != nil {
				return nil, err
			}
			if ok {
				seen[k.Name] = perception.Keypoint{Name: k.Name, Camera: k.Camera, X: px[0], Y: px[1], Score: 1}
			}
		case k.Pixel != nil:
			pixels = true
			if step == 0 { // begun once all are known, see follow
				seen[k.Name] = firstOf(k)
			}
		}
	}
	if err := p.lookNear(obs, seen); err != nil {
		return nil, err
	}
	if step == 0 || !pixels {
		return seen, nil
	}
	followed, err := p.tracker.Track(obs.Frames)
	if err != nil {
		return nil, err
	}
	for _, k := range followed {
		seen[k.Name] = k
	}
	return seen, nil
}

// lookNear finds the points that the plan tells apart by where they lie: from there until they
// were seen, and then from where they were last, as their cameras see it now.
func (p *pointer) lookNear(obs robot.Observation, seen map[string]perception.Keypoint) error {
	type likes struct {
		camera string
		colour [3]float64
	}
	names, from := map[likes][]string{}, map[likes][][2]float64{}
	for _, k := range p.plan.Points {
		if k.Near == nil {
			continue
		}
		i := slices.IndexFunc(p.cams, func(c keypoint.Camera) bool { return c.Name == k.Camera })
		cam := p.cams[i].At(obs.State.EE)
		if px, ok := cam.Project(p.where(k)); ok {
			g := likes{k.Camera, *k.Colour}
			names[g], from[g] = append(names[g], k.Name), append(from[g], px)
		}
	}
	for g, at := range from {
		f, err := frameOf(obs.Frames, g.camera)
		if err != nil {
			return err
		}
		px, ok, err := kagi.FindNear(f, g.colour, at)
		if err != nil {
			return err
		}
		for i, name := range names[g] {
			if ok[i] {
				seen[name] = perception.Keypoint{Name: name, Camera: g.camera, X: px[i][0], Y: px[i][1], Score: 1}
			}
		}
	}
	return nil
}

// firstOf is a point in its episode's first frame.
func firstOf(k kagi.Point) perception.Keypoint {
	return perception.Keypoint{Name: k.Name, Camera: k.Camera, X: k.Pixel[0], Y: k.Pixel[1], Score: 1}
}

// follow begins to follow the episode's points from their pixels.
func (p *pointer) follow(obs robot.Observation) (err error) {
	var begin []perception.Keypoint
	var apart []string // a plan's points are of several things, also where they are p1, p2 and so on
	for _, k := range p.plan.Points {
		if k.Pixel != nil {
			begin, apart = append(begin, firstOf(k)), append(apart, k.Name)
		}
	}
	for _, k := range p.chosen { // of marks, whose letter is their thing's
		begin = append(begin, firstOf(k))
	}
	if len(begin) == 0 {
		return nil
	}
	if p.tracker == nil {
		if p.tracker, err = keypoint.NewTracker(keypoint.Config{}); err != nil {
			return err
		}
	}
	p.tracker.Apart = apart
	return p.tracker.Begin(obs.Frames, begin)
}

func frameOf(fs []robot.Frame, camera string) (robot.Frame, error) {
	for _, f := range fs {
		if f.Camera == camera {
			return f, nil
		}
	}
	return robot.Frame{}, fmt.Errorf("wire: there is no frame of camera %s, in which the plan's points are", camera)
}

// legs are the waypoints of an episode: the planner's, where there is one and it can,
// else the plan's.
func (p *pointer) legs(ctx context.Context, obs robot.Observation) ([]kagi.Leg, error) {
	if pl := plannerOf(ctx); pl != nil {
		legs, err := pl.ask(ctx, p, obs)
		if err == nil {
			return legs, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		pl.fell(err)
	}
	return p.plan.Fix(p.last)
}

// keysOf are recorded keypoints.
func keysOf(ks []record.Keypoint) []perception.Keypoint {
	if ks == nil {
		return nil
	}
	out := make([]perception.Keypoint, len(ks))
	for i, k := range ks {
		out[i] = perception.Keypoint(k)
	}
	return out
}
