package wire

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// plans are those of the simulated tasks, found by colour.
//
//go:embed plans/*.json
var plans embed.FS

// keyed says whether episodes carry tracked points.
func keyed(c config.Config) bool { return byWaypoints(c) || c.Reward.Sees != "features" }

// byWaypoints says whether the reward is progress along waypoints.
func byWaypoints(c config.Config) bool { return c.Reward.Kind == "kagi" }

// planOf is the configured plan, or the task's.
func planOf(c config.Config) (kagi.Plan, error) {
	if f := c.Reward.KAGI.Plan; f != "" {
		p, err := kagi.Load(f)
		if err != nil {
			err = fmt.Errorf("wire: reward.kagi.plan: %w", err)
		}
		return p, err
	}
	name := c.Robot.Task
	if wayOf(c) == tabletop.Backward {
		name += "-back"
	}
	b, err := plans.ReadFile("plans/" + name + ".json")
	if err != nil {
		return kagi.Plan{}, fmt.Errorf("wire: reward.kagi.plan is empty and no plan comes with task %s; write one (docs/kagi.md) and name it", name)
	}
	return kagi.Decode(b)
}

// readable refuses files of points, cameras and markers that cannot be read or do not fit
// the session, before a folder is made for it.
func readable(c config.Config) error {
	_, err := landmarkFiles(c)
	if keyed(c) && real(c) {
		_, err2 := calibrated(c)
		err = errors.Join(err, err2)
	}
	return errors.Join(planned(c), err)
}

// planned is readable of the plan alone, all that a learner without an arm needs.
func planned(c config.Config) error {
	if !keyed(c) || byClicks(c) {
		return nil
	}
	plan, err := planOf(c)
	if err != nil {
		return err
	}
	return fits(plan, c)
}

// fits refuses a plan whose points the session's cameras cannot see.
func fits(plan kagi.Plan, c config.Config) error {
	if plan.Camera != "" {
		return fmt.Errorf("wire: %sthe plan is in pixels of camera %s, but the session knows where its cameras are; want places in the base frame", planKey(c), plan.Camera)
	}
	for _, k := range plan.Points {
		if !k.Hand && !slices.ContainsFunc(c.Robot.Cameras, func(r config.Camera) bool { return r.Name == k.Camera }) {
			return fmt.Errorf("wire: %sthe plan's point %s is seen by camera %q, which robot.cameras does not have", planKey(c), k.Name, k.Camera)
		}
	}
	return nil
}

// planKey names the file that a plan is from, for errors.
func planKey(c config.Config) string {
	if f := c.Reward.KAGI.Plan; f != "" {
		return "reward.kagi.plan: " + f + ": "
	}
	return ""
}

// seenKeys are the points whose places the policy sees, in the plan's order. The
// hand is not among them: Place has it.
func seenKeys(c config.Config) []string {
	if !c.Policy.Keys || !keyed(c) {
		return nil
	}
	return pointNames(c)
}

// pointNames are the points of the plan but the hand, in its order.
func pointNames(c config.Config) []string {
	p, err := planOf(c)
	if err != nil {
		return nil // told by Session.kagi
	}
	var names []string
	for _, k := range p.Points {
		if !k.Hand {
			names = append(names, k.Name)
		}
	}
	return names
}

// kagi is the reward's configuration. An episode carries its waypoints itself; the
// plan is for those that do not.
func (s *Session) kagi() (*kagi.Config, error) {
	p, err := planOf(s.cfg)
	if err != nil {
		return nil, err
	}
	k := s.cfg.Reward.KAGI
	c := &kagi.Config{Plan: &p, Form: kagi.Form(k.Form), Tolerance: k.Tolerance, Top: k.Top, Potential: k.Potential, Gamma: s.cfg.Learner.Gamma}
	return c, c.Validate()
}

// tracking is loop.Actor's Track.
type tracking func(ctx context.Context, step int, obs robot.Observation) ([]perception.Keypoint, error)

// errFlat says that there is nothing that a camera's pixel could be lifted into.
var errFlat = errors.New("wire: reward.kind is kagi, or reward.sees names points: their cameras see in three dimensions; want another reward.kind and reward.sees features, or a task of the table")

// trackSim follows the points of a simulated world's plan, until done; both are nil
// under other rewards.
func trackSim(c config.Config, w world) (_ tracking, done func() error, err error) {
	if !keyed(c) {
		return nil, nil, nil
	}
	tw, ok := w.(*tabletop.World)
	if !ok {
		return nil, nil, errFlat
	}
	// Where the cameras are is known from the first reset on.
	cams := func() ([]keypoint.Camera, error) { return SimCameras(tw) }
	var success func() bool
	if byWaypoints(c) && c.Reward.KAGI.Sparse == "truth" {
		success = func() bool { return w.Truth().Success }
	}
	p, err := newPointer(c, cams, func(camera string) (robot.Frame, error) { return photo(tw, camera) }, success)
	if err != nil {
		return nil, nil, err
	}
	return p.track, p.close, nil
}

// follow has a simulated arm's track: that of the way that its episodes go, of both where
// two sessions practise on it.
func (a *arm) follow(c config.Config, of stream) error {
	return a.trackBy(c, of, func(c config.Config) (tracking, func() error, error) { return trackSim(c, a.world) })
}

// trackBy is follow with what makes a way's track.
func (a *arm) trackBy(c config.Config, of stream, by func(config.Config) (tracking, func() error, error)) error {
	track, done, err := by(c)
	a.track, a.hang = track, done
	if err != nil || track == nil || of != online || c.Practice.Mate == "" {
		return err
	}
	mine := wayOf(c)
	c.Robot.Way = "backward"
	if mine == tabletop.Backward {
		c.Robot.Way = "forward"
	}
	other, otherDone, err := by(c)
	if err != nil {
		return errors.Join(err, done())
	}
	a.track = func(ctx context.Context, step int, obs robot.Observation) ([]perception.Keypoint, error) {
		if a.onward.way != mine {
			return other(ctx, step, obs)
		}
		return track(ctx, step, obs)
	}
	a.hang = func() error { return errors.Join(done(), otherDone()) }
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
	last    map[string][3]float64 // places
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
		p.last, p.chosen, p.carried = map[string][3]float64{}, nil, map[string]*carried{}
	}
	seen, err := p.look(step, obs)
	if err != nil {
		return nil, err
	}
	var keys []perception.Keypoint
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
		keys = perception.AddPlace(keys, k.Name, p.last[k.Name], score)
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
	if err := p.lookNear(step, obs, seen); err != nil {
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

// lookNear finds the points that the plan tells apart by where they lie: from there at the
// reset, and then from where they were last, as their cameras see it now.
func (p *pointer) lookNear(step int, obs robot.Observation, seen map[string]perception.Keypoint) error {
	type likes struct {
		camera string
		colour [3]float64
	}
	names, from := map[likes][]string{}, map[likes][][2]float64{}
	for _, k := range p.plan.Points {
		if k.Near == nil {
			continue
		}
		if step == 0 {
			p.last[k.Name] = *k.Near
		}
		i := slices.IndexFunc(p.cams, func(c keypoint.Camera) bool { return c.Name == k.Camera })
		cam := p.cams[i].At(obs.State.EE)
		if px, ok := cam.Project(p.last[k.Name]); ok {
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
	for _, k := range slices.Concat(p.plan.Points, p.chosen) {
		if k.Pixel != nil {
			begin = append(begin, firstOf(k))
		}
	}
	if len(begin) == 0 {
		return nil
	}
	if p.tracker == nil {
		if p.tracker, err = keypoint.NewTracker(keypoint.Config{}); err != nil {
			return err
		}
	}
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

// planner is the model that writes waypoints.
type planner struct {
	model kagi.Model
	fell  func(error) // is told why the task's own plan is taken instead
	told  func(calls, hits int)

	mu          sync.Mutex
	calls, hits int
	gave, none  int // resets in which the model wrote waypoints, and in which it did not
}

// count is of resets so far: those that the model wrote waypoints for, and others.
func (pl *planner) count() (gave, none int) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return pl.gave, pl.none
}

type plannerKey struct{}

func withPlanner(ctx context.Context, p *planner) context.Context {
	return context.WithValue(ctx, plannerKey{}, p)
}

// unasked returns a context under which nobody is asked for waypoints.
func unasked(ctx context.Context) context.Context {
	return context.WithValue(withPlanner(ctx, nil), clickerKey{}, (*clicker)(nil))
}

// plannerOf is nil where no model is to be asked.
func plannerOf(ctx context.Context) *planner {
	p, _ := ctx.Value(plannerKey{}).(*planner)
	return p
}

func (pl *planner) ask(ctx context.Context, p *pointer, obs robot.Observation) ([]kagi.Leg, error) {
	b, things, err := p.board(ctx, obs)
	if err != nil {
		return nil, err
	}
	legs, use, err := kagi.Ask(ctx, pl.model, p.plan.Task, b)
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if use.Hit {
		pl.hits++
	} else {
		pl.calls++
	}
	if err == nil {
		pl.gave++
	} else {
		pl.none++
	}
	pl.told(pl.calls, pl.hits)
	for _, k := range things {
		if slices.ContainsFunc(legs, func(l kagi.Leg) bool { return l.Point == k.Name }) {
			p.chosen = append(p.chosen, k)
		}
	}
	return legs, err
}

// plan settles who writes the waypoints, says so, and returns the context under which
// it is asked.
func (s *Session) plan(ctx context.Context) (context.Context, error) {
	ctx = s.heeding(ctx)
	if !byWaypoints(s.cfg) {
		if s.Clicks() != "" { // of the points that the reward sees
			return s.clicked(ctx)
		}
		return ctx, nil
	}
	source := s.cfg.Reward.KAGI.Source
	switch {
	case s.vlm != nil:
	case source == "vlm":
		return ctx, errors.New("wire: reward.kagi.source is vlm, but there is no endpoint; set RAPPORT_VLM_URL or RAPPORT_VLM_KEY, or take reward.kagi.source task")
	case source == "auto":
		source = "task"
	}
	sparse := "success told by the simulator's truth"
	switch s.cfg.Reward.KAGI.Sparse {
	case "classifier":
		sparse = "success told by a classifier"
	case "judge":
		sparse = "success told by a judge"
	case "none":
		sparse = "no success told"
	}
	if s.Clicks() != "" {
		s.log.Info("waypoints", "source", source, "sparse", s.cfg.Reward.KAGI.Sparse)
		return s.clicked(ctx)
	}
	if source == "task" || source == "clicks" {
		from := "that comes with task " + s.cfg.Robot.Task
		if f := s.cfg.Reward.KAGI.Plan; f != "" {
			from = f
		}
		s.log.Info("waypoints", "source", source, "plan", from, "sparse", s.cfg.Reward.KAGI.Sparse)
		s.tell("waypoints", 1, 1, fmt.Sprintf("source %s: the plan %s, no model is asked; %s", source, from, sparse))
		return ctx, nil
	}
	cache := s.cfg.Reward.KAGI.Cache
	if cache == "" {
		cache = filepath.Join(s.Dir(), "vlm")
	}
	m, err := s.vlm(cache)
	if err != nil {
		return ctx, err
	}
	s.log.Info("waypoints", "source", "vlm", "cache", cache, "sparse", s.cfg.Reward.KAGI.Sparse)
	s.tell("waypoints", 1, 1, fmt.Sprintf("source vlm: a model is asked once a reset, the task's plan stands in for it; %s", sparse))
	s.planner = &planner{model: m,
		fell: func(err error) { s.log.Warn("waypoints: the model gave none, the task's plan is taken", "err", err) },
		told: func(calls, hits int) { s.log.Debug("waypoints: asked", "calls", calls, "kept", hits) },
	}
	return withPlanner(ctx, s.planner), nil
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
