package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"path/filepath"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// scene is the camera that shows the whole arm to people; policies do not see it.
var scene = tabletop.Camera{Name: "scene", W: 320, H: 240}

// shots is how many frames of an episode a sheet shows, first and last included.
const shots = 6

// take is a filmed episode.
type take struct {
	episode policy.Episode
	frames  [][]robot.Frame
	scene   []robot.Frame // (shots,), by the scene's camera
	success bool
	cut     bool // off by the guard
	// way is drawn over the sheet; nil under rewards without waypoints.
	way   *waymap
	cam   keypoint.Camera // the scene's
	hands []robot.Pose    // (T+1,)
}

// shot is the step at which the k-th of the shots was taken.
func (t take) shot(k int) int { return k * (len(t.frames) - 1) / (shots - 1) }

// films runs parameters on the i-th evaluation seed, one after the other in one world,
// whose cameras take long to open.
func (s *Session) films(ctx context.Context, p parts, i int, of ...policy.Params) (ts []take, err error) {
	var extra []tabletop.Camera
	if flat(s.cfg) {
		extra = append(extra, scene)
	}
	a, err := newArm(s.cfg, evaluation, extra...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	ctx = unasked(ctx) // as an evaluation
	detach, err := deskOf(ctx).attach(ctx, a)
	defer detach()
	if err != nil {
		return nil, err
	}
	for _, params := range of {
		t, err := s.film(ctx, a, p, params, i)
		if err != nil {
			return ts, err
		}
		ts = append(ts, t)
	}
	return ts, nil
}

func (s *Session) film(ctx context.Context, a *arm, p parts, params policy.Params, i int) (t take, err error) {
	a.next = i
	_, chunks, err := viewOf(params)
	if err != nil {
		return t, err
	}
	pi, err := newPlayer(ctx, s.cfg, p.view, chunks, false)
	if err != nil {
		return t, err
	}
	pi.Begin(uint64(i))
	table, _ := a.world.(*tabletop.World)
	var moments []*tabletop.Moment // drawn in the end: few are shown, and which is not known before
	actor := &loop.Actor{Backend: a.guard, Extractor: p.eyes, Track: a.track, Tell: tellerOf(ctx), Policy: pi, Horizon: s.cfg.Robot.Horizon, Pixels: pixels(s.cfg),
		Watch: func(_ context.Context, _ int, obs robot.Observation, _ policy.Input) error {
			t.frames, t.hands = append(t.frames, obs.Frames), append(t.hands, obs.State.EE)
			if table == nil {
				return nil
			}
			m, err := table.Moment()
			moments = append(moments, m)
			return err
		}}
	if err := actor.Load(params); err != nil {
		return t, err
	}
	t.episode, err = deskOf(ctx).again(ctx, func() (ep policy.Episode, err error) {
		ep, err = actor.Episode(ctx, fmt.Sprintf("film-%05d", i), uint64(i))
		t.cut, err = cutOff(ctx, a, err)
		return ep, err
	}, func() error {
		a.next, t.frames, t.hands, moments = i, nil, nil, nil
		pi.Begin(uint64(i))
		return nil
	})
	t.success = a.world.Truth().Success && !t.cut
	if err != nil {
		return t, err
	}
	if table == nil {
		for k := range shots {
			fs := t.frames[t.shot(k)]
			t.scene = append(t.scene, fs[len(fs)-1])
		}
		return t, nil
	}
	var shown []*tabletop.Moment
	for k := range shots {
		shown = append(shown, moments[t.shot(k)])
	}
	if t.scene, err = table.Photos(scene, shown); err != nil || t.cut || !keyed(s.cfg) {
		return t, err
	}
	if t.way, err = waymapOf(p.scorer, t.episode.Trajectory()); err == nil {
		t.cam, err = simCamera(table, scene)
	}
	return t, err
}

// sheet shows the scene's frames, evenly spread.
func (t take) sheet(caption string) (report.Sheet, error) {
	how := "fails"
	switch {
	case t.success:
		how = "succeeds"
	case t.cut:
		how = "fails: the guard cuts it off"
	}
	sh := report.Sheet{Caption: caption + " " + how}
	for k, f := range t.scene {
		if n := t.shot(k); t.way != nil {
			var err error
			if f, err = t.way.draw(f, t.cam, t.hands[n], n); err == nil {
				f, err = vision.Annotate(f, t.way.says(n))
			}
			if err != nil {
				return sh, err
			}
		}
		sh.Frames = append(sh.Frames, picture(f))
	}
	return sh, nil
}

// report writes report.html and returns its path.
func (s *Session) report(ctx context.Context, p parts, tuned policy.Params, before, after []bool, took time.Duration) (string, error) {
	s.tell("report", 0, 1, "")
	c := s.cfg
	out, err := s.leftOut(ctx)
	if err != nil {
		return "", err
	}
	shown, err := s.store.Episodes(ctx, policy.Demo)
	if err != nil {
		return "", err
	}
	did, err := s.store.Episodes(ctx, policy.Online) // fewer than session.episodes where practice.hours ended it
	if err != nil {
		return "", err
	}
	r := report.Report{
		Title:   s.name,
		Summary: fmt.Sprintf("Task %s, seed %d: %s, then fine-tuned for %d episodes on %s.", c.Robot.Task, c.Seed, clonedFrom(c, len(shown), len(out)), len(did), paid(c)),
		Heard:   heard(c),
		Before:  share(before), After: share(after),
		Facts: []report.Fact{
			{Name: "folder", Value: s.Dir()},
			{Name: "episodes", Value: "episodes/*.mcap: frames, state, commands, features, rewards"},
			{Name: "database", Value: "session.db: episodes, labels, metrics, checkpoints, faults"},
			{Name: "checkpoints", Value: "checkpoints/: encoder, reward, policy (cloned), learner, tuned (the policy)"},
			{Name: "configuration", Value: "config.yaml, as resolved"},
			{Name: "the last start took", Value: took.Round(time.Second).String()},
		},
	}
	styles, err := s.styles(ctx)
	if err != nil {
		return "", err
	}
	if worse(r.Before, r.After) {
		styles = append(styles, report.Fact{Name: "worse", Value: "success fell by more than chance may; the cloned policy is kept: rapport eval --policy cloned"})
	}
	if len(out) > 0 {
		styles = append(styles, report.Fact{Name: "left out", Value: fmt.Sprintf("%d demonstrations, by %s", len(out), c.Demos.Filter)})
	}
	helped, err := s.helped(ctx)
	if err != nil {
		return "", err
	}
	found, err := s.searchFacts(ctx)
	if err != nil {
		return "", err
	}
	r.Facts = slices.Concat(styles, helped, found, s.waypointFacts(), r.Facts)
	resolved, err := s.store.Config()
	if err != nil {
		return "", err
	}
	r.Config = string(resolved)
	if err := errors.Join(s.suspicions(ctx, &r), s.sayings(ctx, &r)); err != nil {
		return "", err
	}
	if r.Episodes, err = s.curve(ctx); err != nil {
		return "", err
	}
	if !judgeable(c) {
		tell := s.reportReal
		if logged(c) {
			tell = s.reportRecorded
		}
		if err := tell(ctx, p, &r); err != nil {
			return "", err
		}
		return s.writeReport(r)
	}
	i := telling(before, after)
	ts, err := s.films(ctx, p, i, p.clone, tuned)
	if err != nil {
		return "", err
	}
	was, is := ts[0], ts[1]
	for _, t := range []struct {
		take    take
		caption string
	}{{was, "cloned"}, {is, "fine-tuned"}} {
		sh, err := t.take.sheet(fmt.Sprintf("Fresh seed %d, %s policy:", i, t.caption))
		if err != nil {
			return "", err
		}
		r.Sheets = append(r.Sheets, sh)
	}
	if r.Reward, err = s.explain(ctx, p, is); err != nil {
		return "", err
	}
	if r.More, err = s.explainChosen(ctx, p); err != nil {
		return "", err
	}
	return s.writeReport(r)
}

func (s *Session) writeReport(r report.Report) (string, error) {
	var page bytes.Buffer
	if err := report.Write(&page, r); err != nil {
		return "", err
	}
	if err := s.store.Put("report.html", page.Bytes()); err != nil {
		return "", err
	}
	s.tell("report", 1, 1, "")
	return filepath.Join(s.Dir(), "report.html"), nil
}

// telling is the seed that shows the difference best: one that failed before and
// succeeds after, or else the first.
func telling(before, after []bool) int {
	for i := range before {
		if !before[i] && after[i] {
			return i
		}
	}
	return 0
}

// curve reads the online episodes' returns and successes.
func (s *Session) curve(ctx context.Context) ([]report.Episode, error) {
	returns, err := s.store.Metric(ctx, "episode", "return")
	if err != nil {
		return nil, err
	}
	success, err := s.store.Metric(ctx, "episode", "success")
	if err != nil {
		return nil, err
	}
	won := map[uint64]bool{}
	for _, p := range success {
		won[p.Step] = p.Value > 0
	}
	var out []report.Episode
	for _, r := range returns {
		hit, judged := won[r.Step]
		out = append(out, report.Episode{N: int(r.Step), Return: r.Value, Success: hit, Judged: judged})
	}
	return out, nil
}

// explain shows what is behind the reward of a take.
func (s *Session) explain(ctx context.Context, p parts, t take) (report.Reward, error) {
	traj := t.episode.Trajectory()
	if _, ok := p.scorer.(truth); ok || t.cut {
		return report.Reward{}, nil // a film is run without, and half an episode tells half
	}
	e, err := explain(ctx, p.scorer, traj)
	if err != nil {
		return report.Reward{}, err
	}
	if e.Name == "" { // compared with no video
		return report.Reward{Name: p.named(s.cfg.Reward) + ", the fine-tuned episode above", Rewards: e.Rewards}, nil
	}
	r := report.Reward{Name: p.named(s.cfg.Reward) + ", the fine-tuned episode above against " + e.Name, Rewards: e.Rewards, Expert: e.Expert, Matched: e.Match}
	for i := range e.T {
		r.Plan = append(r.Plan, e.Plan[i*e.Frames:(i+1)*e.Frames])
	}
	if !s.cfg.Session.Record {
		return r, nil
	}
	// What was preferred of a session that this one begins from need not be a demonstration,
	// and only those were copied.
	liked, err := s.framesOf(e.Name)
	if err != nil {
		return r, err
	}
	if len(liked) == 0 {
		r.Name += ", whose frames are not in this session's folder"
		return r, nil
	}
	for k := range shots {
		step := k * (e.T - 1) / (shots - 1)
		// Step and match count from the frame after the reset.
		r.Pairs = append(r.Pairs, above(picture(t.frames[step+1][0]), picture(liked[e.Match[step]])))
	}
	return r, nil
}

// picture is a frame as an image.
func picture(f robot.Frame) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, f.W, f.H))
	for i, j := 0, 0; j < len(f.Pix); i, j = i+4, j+3 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = f.Pix[j+2], f.Pix[j+1], f.Pix[j], 255
	}
	return img
}

// above puts one image above the other, with a gap.
func above(a, b image.Image) image.Image {
	const gap = 2
	da, db := a.Bounds(), b.Bounds()
	img := image.NewRGBA(image.Rect(0, 0, max(da.Dx(), db.Dx()), da.Dy()+gap+db.Dy()))
	put := func(src image.Image, y0 int) {
		d := src.Bounds()
		for y := range d.Dy() {
			for x := range d.Dx() {
				img.Set(x, y0+y, src.At(d.Min.X+x, d.Min.Y+y))
			}
		}
	}
	for x := range img.Bounds().Dx() {
		for y := range gap {
			img.Set(x, da.Dy()+y, color.White)
		}
	}
	put(a, 0)
	put(b, da.Dy()+gap)
	return img
}
