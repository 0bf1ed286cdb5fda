package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/record"
)

// logged says whether the episodes of c come from recordings, so that nothing
// moves and what was applied is the log's.
func logged(c config.Config) bool { return c.Robot.Kind == "bag" }

// judgeable says whether anybody can tell success: the simulator's truth alone.
func judgeable(c config.Config) bool { return c.Robot.Kind == "sim" }

// source is one recording that a session learns from.
type source struct {
	path      string
	ours      bool        // an episode of another session
	topics    bag.Mapping // of a bag
	preferred bool
	notes     []string
}

// sources finds the recordings of c and which topic of them is which. All that is
// wrong is told at once, before a session begins.
func sources(c config.Config) ([]source, error) {
	files, err := expand("robot.bag.files", c.Robot.Bag.Files)
	if err != nil {
		return nil, err
	}
	liked, err := expand("robot.bag.preferred", c.Robot.Bag.Preferred)
	if err != nil {
		return nil, err
	}
	for _, f := range liked {
		if !slices.Contains(files, f) {
			err = errors.Join(err, fmt.Errorf("wire: robot.bag.preferred names %s, which is not among robot.bag.files", f))
		}
	}
	var out []source
	for _, f := range files {
		s := source{path: f, preferred: slices.Contains(liked, f)}
		var e error
		if s.ours = IsEpisode(f); s.ours {
			var rec record.Recording
			if rec, e = record.ReadNumbers(f); e != nil {
				e = fmt.Errorf("%w; leave it out, or bring it back from a copy", e)
			} else {
				e = keepsPace(c, f, rec)
			}
		} else {
			s.topics, s.notes, e = bagSource(c, f)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("wire: robot.bag.files: %s: %w", f, e))
		}
		out = append(out, s)
	}
	return out, err
}

// offPace is the share by which an episode's rate, as its stamps have it, may differ from a
// session's: stamps jitter, and an arm may have been held.
const offPace = 0.1

// keepsPace refuses an episode of ticks that are not as far apart as those of c: what is commanded is
// of a tick, and a policy that learned from both would be of neither.
func keepsPace(c config.Config, path string, rec record.Recording) error {
	here := 1 / period(c).Seconds()
	var rate float64
	home := homeOf(path)
	of, err := asBegun(home)
	if home != "" && err == nil && policy.Origin(rec.Info.Origin) == policy.Online { // demonstrations may be of an earlier session
		rate = 1 / period(of).Seconds()
	} else {
		var stamps []time.Time
		for _, t := range rec.Ticks {
			stamps = append(stamps, t.State.Stamp)
		}
		rate = rateOf(stamps, here)
	}
	if rate == 0 || math.Abs(rate/here-1) <= offPace {
		return nil
	}
	return fmt.Errorf("its moves are of %.4g ticks a second, and a session over recordings makes %.4g, as policies command so much a tick; leave it out", rate, here)
}

// rateOf is how many ticks a second stamps tell, by their mean distance or by that of most,
// whichever is nearer to what is expected; 0: they tell none.
func rateOf(stamps []time.Time, expected float64) float64 {
	var ds []time.Duration
	for i := 1; i < len(stamps); i++ {
		ds = append(ds, stamps[i].Sub(stamps[i-1]))
	}
	if len(ds) == 0 {
		return 0
	}
	mean := stamps[len(stamps)-1].Sub(stamps[0]).Seconds() / float64(len(ds))
	slices.Sort(ds)
	median := ds[len(ds)/2].Seconds()
	if mean <= 0 || median <= 0 {
		return 0
	}
	if math.Abs(1/mean-expected) < math.Abs(1/median-expected) {
		return 1 / mean
	}
	return 1 / median
}

// resolved names the recordings of c one by one, so that a session goes on with those
// that it began with, and says what is wrong with them.
func resolved(c config.Config) (config.Config, error) {
	all, err := sources(c)
	if err != nil {
		return c, err
	}
	c.Robot.Bag.Files, c.Robot.Bag.Preferred = []string{}, []string{}
	for _, s := range all {
		c.Robot.Bag.Files = append(c.Robot.Bag.Files, s.path)
		if s.preferred {
			c.Robot.Bag.Preferred = append(c.Robot.Bag.Preferred, s.path)
		}
	}
	return c, nil
}

// expand lists what files and patterns name, once each.
func expand(key string, patterns []string) (files []string, err error) {
	for _, p := range patterns {
		found, e := filepath.Glob(p)
		if _, missing := os.Stat(p); missing == nil {
			found, e = []string{p}, nil // a name that looks like a pattern
		}
		if e == nil && len(found) == 0 {
			e = errors.New("there is no such recording")
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("wire: %s: %s: %w", key, p, e))
		}
		for _, f := range found {
			if f = filepath.Clean(f); !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, err
}

// bagSource maps the topics of a bag to the cameras of c, in their order.
func bagSource(c config.Config, path string) (m bag.Mapping, notes []string, err error) {
	said := map[string]string{}
	for _, w := range c.Robot.Bag.Topics {
		name, topic, _ := strings.Cut(w, "=")
		said[strings.TrimSpace(name)] = strings.TrimSpace(topic)
	}
	guessed, notes, err := bagMapping(path, said, false)
	if err != nil {
		return m, notes, err
	}
	m = guessed
	m.Cameras = nil
	for i, cam := range c.Robot.Cameras {
		at := slices.IndexFunc(guessed.Cameras, func(g bag.Camera) bool { return g.Name == cam.Name })
		if at < 0 {
			b, e := bag.Open(path, bag.Options{})
			if e != nil {
				return m, notes, e
			}
			err = errors.Join(err, fmt.Errorf("robot.cameras[%d].name is %q, but no topic is taken for it; say which it is, as --set 'robot.bag.topics=[%s=/camera/color/image_raw]'; there are %s", i, cam.Name, cam.Name, topicNames(b.Info())), b.Close())
			continue
		}
		m.Cameras = append(m.Cameras, guessed.Cameras[at])
	}
	if err != nil {
		return m, notes, err
	}
	// Whatever is wrong with the topics is known once it is opened to be played.
	k, err := bag.NewBackend(path, bag.BackendConfig{Map: m, Hand: gripping(c)})
	if err != nil {
		return m, notes, handless(err)
	}
	return m, notes, k.Close()
}

// gripping says whether the policy of c commands the hand.
func gripping(c config.Config) bool { return slices.Contains(c.Policy.Axes, "grip") }

// handless tells what to do where a recording says nothing of the hand.
func handless(err error) error {
	if errors.Is(err, bag.ErrHandless) {
		return fmt.Errorf("policy.axes has grip, but %w; name its topic, as --set 'robot.bag.topics=[gripper=/franka_gripper/joint_states]', or leave grip out of policy.axes", err)
	}
	return err
}

// episodes hands over what a recording holds, with frames of the sizes of c.
func (s *source) episodes(ctx context.Context, c config.Config, add func(policy.Episode) error) (notes []string, err error) {
	var odd []string
	fit := func(fs []robot.Frame) ([]robot.Frame, error) {
		if odd == nil && c.Session.From != "" { // without, the encoder learns from these
			odd = misshapen(c, fs)
		}
		return fitted(c, fs)
	}
	moves := moves{of: viewConfig(c, 0).Action}
	counted := func(e policy.Episode) error {
		moves.add(e)
		return add(e)
	}
	p := stretch{id: recordingID(s.path), add: counted, fit: fit, limit: c.Robot.Horizon, hand: gripping(c)}
	if !s.ours {
		notes, err = p.play(ctx, s.path, s.topics)
		err = handless(err)
	} else {
		var e policy.Episode
		if e, err = loose(s.path); err != nil {
			return nil, err
		}
		for t, in := range e.Inputs {
			o := robot.Observation{State: in.State, Frames: in.Frames, By: robot.ByLog}
			if t > 0 {
				o.Applied = e.Applied[t-1]
			}
			if err = p.take(o); err != nil {
				break
			}
		}
		if err == nil {
			p.e.Terminal = ended(ctx, s.path, &e) && p.over == 0
			err = p.end()
		}
	}
	if err != nil {
		return notes, fmt.Errorf("wire: %s: %w", s.path, err)
	}
	if n := moves.note(c); n != "" {
		notes = append(notes, s.path+": "+n)
	}
	for _, o := range odd {
		notes = append(notes, s.path+": "+o)
	}
	return append(slices.Clone(s.notes), notes...), nil
}

// moves counts what policies cannot express of what was commanded.
type moves struct {
	of           view.Action
	steps, lossy int
}

func (m *moves) add(e policy.Episode) {
	act := make([]float32, m.of.Dim())
	for _, cmd := range e.Applied {
		m.steps++
		if m.of.Row(act, cmd) > 0.01 {
			m.lossy++
		}
	}
}

// note is what the user should know of them; "" for nothing.
func (m *moves) note(c config.Config) string {
	if m.lossy == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d moves are along other axes, or further, than policy.axes (%s) and policy.scale (%g) can express: a policy learns what they leave of them",
		m.lossy, m.steps, strings.Join(c.Policy.Axes, ", "), c.Policy.Scale)
}

// misshapen tells of the configured cameras of fs whose pictures are brought to another shape.
func misshapen(c config.Config, fs []robot.Frame) []string {
	odd := []string{}
	for _, cam := range c.Robot.Cameras {
		i := slices.IndexFunc(fs, func(f robot.Frame) bool { return f.Camera == cam.Name })
		if i >= 0 && fs[i].Squeezed(cam.Width, cam.Height) {
			odd = append(odd, fmt.Sprintf("the pictures of camera %s, %dx%d, are brought to another shape, %dx%d, so that things look narrower or wider than they are: what learned in simulation, where pictures are true to scale, was shown none so; crop them to that shape", cam.Name, fs[i].W, fs[i].H, cam.Width, cam.Height))
		}
	}
	return odd
}

// fitted are the configured cameras of fs in their order and size.
func fitted(c config.Config, fs []robot.Frame) (out []robot.Frame, err error) {
	for _, cam := range c.Robot.Cameras {
		i := slices.IndexFunc(fs, func(f robot.Frame) bool { return f.Camera == cam.Name })
		if i < 0 {
			return nil, fmt.Errorf("there is no picture of camera %s", cam.Name)
		}
		f := fs[i]
		if f.W != cam.Width || f.H != cam.Height {
			if f, err = vision.Resize(f, cam.Width, cam.Height); err != nil {
				return nil, fmt.Errorf("camera %s: %w", cam.Name, err)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// unsafeInID is what a file's name may have and an episode's may not.
var unsafeInID = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// logID names the n-th recorded episode, and tells which recording it is of.
func logID(n int, of string) string {
	of = unsafeInID.ReplaceAllString(of, "_")
	return fmt.Sprintf("log-%05d-%s", n, of[:min(len(of), 80)])
}
