package wire

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// KeypointStudy says how tracking and lifting are judged by the truth of simulated tasks.
type KeypointStudy struct {
	Seeds    int
	Ticks    int // of a sequence; 0: the task's horizon
	Task     string
	Render   tabletop.Render // "": EGL
	Troubles []Trouble
	Tracker  keypoint.Config
}

// KeypointResult is how it went under one trouble, over all styles, seeds and both
// cameras.
type KeypointResult struct {
	Trouble Trouble
	// Points is the number of points in view, each of each frame after the first.
	Points int
	// Pixels are the errors of those that were tracked.
	Pixels []float64
	// Lost is how many of those in view were held for lost, Wrong how many were tracked
	// farther off than 10 pixels, Again how many of the sequences' points in view at the
	// end were tracked then, of Ends.
	Lost, Wrong, Again, Ends int
	// Hidden counts the points out of view, and Blind those of them that were tracked
	// farther off than 10 pixels from where they were.
	Hidden, Blind int
	// Lift are the errors of tracked points lifted to their true height, and Both those of
	// points triangulated from both cameras, m. Exact are Lift's for true pixels.
	Lift, Both, Exact []float64
}

// Keypoints runs a study. tell may be nil.
func Keypoints(ctx context.Context, st KeypointStudy, tell Progress) ([]KeypointResult, error) {
	var out []KeypointResult
	for _, trouble := range st.Troubles {
		r := KeypointResult{Trouble: trouble}
		for _, style := range []tabletop.Style{tabletop.Good, tabletop.Bad} {
			for seed := range uint64(st.Seeds) {
				if tell != nil {
					tell(string(trouble), int(seed)+1, st.Seeds, st.Task+", "+string(style))
				}
				if err := r.sequence(ctx, st, style, seed); err != nil {
					return nil, fmt.Errorf("wire: keypoints: %s, %s, seed %d: %w", trouble, st.Task, seed, err)
				}
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// truth is where a point truly is in one camera's frame.
type truthPoint struct {
	px   [2]float64
	at   [3]float64
	seen bool
}

// sequence tracks one demonstration.
func (r *KeypointResult) sequence(ctx context.Context, st KeypointStudy, style tabletop.Style, seed uint64) (err error) {
	task := tabletop.Task(st.Task)
	w, err := tabletop.New(tabletop.Config{Task: task, Render: st.Render, Cameras: []tabletop.Camera{{Name: "front", W: 224, H: 224}, {Name: "scene", W: 320, H: 240}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	demo, err := tabletop.NewDemonstrator(w, style, seed)
	if err != nil {
		return err
	}
	obs, err := w.ResetSeed(ctx, seed)
	if err != nil {
		return err
	}
	cams, err := SimCameras(w)
	if err != nil {
		return err
	}
	ticks := st.Ticks
	if ticks == 0 {
		ticks = task.Horizon()
	}
	marks := marksOf(w)
	var spoil []*spoiler
	for i, c := range cams {
		spoil = append(spoil, newSpoiler(r.Trouble, ticks, c.W, c.H, seed*2+uint64(i)))
	}
	tr, err := keypoint.NewTracker(st.Tracker)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tr.Close()) }()
	// Which mark and which camera each tracked point is of.
	var which [][2]int
	var keys []perception.Keypoint
	for t := range ticks + 1 {
		if t > 0 {
			if obs, err = w.Step(ctx, demo.Act(obs)); err != nil {
				return err
			}
		}
		frames := make([]robot.Frame, len(cams))
		now := make([][]truthPoint, len(marks)) // by camera
		for i := range cams {
			frames[i] = spoil[i].next(t, obs.Frames[i])
			for k := range marks {
				p, err := seen(w, &cams[i], spoil[i], &marks[k], obs.State.EE)
				if err != nil {
					return err
				}
				now[k] = append(now[k], p)
			}
		}
		if t == 0 {
			for k, ps := range now {
				for i, p := range ps {
					if p.seen {
						which = append(which, [2]int{k, i})
						keys = append(keys, perception.Keypoint{Name: marks[k].name, Camera: cams[i].Name, X: p.px[0], Y: p.px[1]})
					}
				}
			}
			if err := tr.Begin(frames, keys); err != nil {
				return err
			}
			continue
		}
		if keys, err = tr.Track(frames); err != nil {
			return err
		}
		r.count(keys, which, now, cams, spoil, t == ticks)
	}
	return nil
}

// seen is where a camera sees a mark now.
func seen(w *tabletop.World, c *keypoint.Camera, s *spoiler, m *marked, hand robot.Pose) (truthPoint, error) {
	p := truthPoint{at: m.place(w, hand)}
	px, ok := c.Project(p.at)
	if !ok {
		return p, nil
	}
	free, err := w.Sees(c.Name, p.at, m.Deep)
	if err != nil {
		return p, err
	}
	var covered bool
	p.px, covered = s.where(px)
	p.seen = free && !covered && c.Inside(p.px)
	return p, nil
}

// count adds one tick.
func (r *KeypointResult) count(keys []perception.Keypoint, which [][2]int, now [][]truthPoint, cams []keypoint.Camera, spoil []*spoiler, last bool) {
	const far = 10 // pixels
	// Of each mark, its pixels in both cameras where it is tracked, unspoilt.
	pairs := map[int][2]*[2]float64{}
	for n, k := range keys {
		mark, cam := which[n][0], which[n][1]
		p := now[mark][cam]
		off := math.Hypot(k.X-p.px[0], k.Y-p.px[1])
		if !p.seen {
			r.Hidden++
			if k.Score > 0 && off > far {
				r.Blind++
			}
			continue
		}
		r.Points++
		if last {
			r.Ends++
		}
		if k.Score == 0 {
			r.Lost++
			continue
		}
		if last && off <= far {
			r.Again++
		}
		r.Pixels = append(r.Pixels, off)
		if off > far {
			r.Wrong++
		}
		// The camera model is of the unspoilt view; a sway is no error of lifting.
		dx, dy := math.Round(spoil[cam].dx), math.Round(spoil[cam].dy)
		px := [2]float64{k.X - dx, k.Y - dy}
		if got, err := cams[cam].Lift(px, p.at[2]); err == nil {
			r.Lift = append(r.Lift, distance3(got, p.at))
		}
		if got, err := cams[cam].Lift([2]float64{p.px[0] - dx, p.px[1] - dy}, p.at[2]); err == nil {
			r.Exact = append(r.Exact, distance3(got, p.at))
		}
		pair := pairs[mark]
		pair[cam] = &px
		pairs[mark] = pair
	}
	for mark := range now {
		pair := pairs[mark]
		if pair[0] == nil || pair[1] == nil {
			continue
		}
		if got, _, err := keypoint.Triangulate(&cams[0], &cams[1], *pair[0], *pair[1]); err == nil {
			r.Both = append(r.Both, distance3(got, now[mark][0].at))
		}
	}
}

func distance3(a, b [3]float64) float64 {
	return math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
}
