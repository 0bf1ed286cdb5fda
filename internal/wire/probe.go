package wire

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image/png"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/probe"
	"github.com/rapport-rl/rapport/robot"
)

// ProbeConfig says how a reward is probed.
type ProbeConfig struct {
	probe.Config
	Out string // PNG, which must not be there yet; empty: probe.png in the session's folder
}

// Rise is a part of the picture in which the reward rises.
type Rise struct {
	Camera      string
	Column, Row int     // of patches, from the top left, from 1
	Gain        float64 // in the reward's units
	Share       float64 // of all that patches gain
}

// Probed is what a probe found.
type Probed struct {
	probe.Report
	Reward string   // in words
	Real   int      // frames that it knew
	From   []string // what was climbed from, as demo-00003:12
	Rises  []Rise   // the largest first
	Out    string
}

// Numbers of a probe, ours: episodes that its frames are from, and the frames of each.
const (
	probedEpisodes = 12
	probedFrames   = 2
)

// ProbeReward climbs the newest reward of the session in dir by the pixels of recorded
// frames, and draws what came of them.
func ProbeReward(ctx context.Context, dir string, pc ProbeConfig, environ, sets []string, o Options) (out Probed, err error) {
	s, err := visit(dir, judged, "a probe", environ, sets, o)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	p, err := s.judges(ctx)
	if errors.Is(err, errNoTruth) {
		return out, fmt.Errorf("wire: the reward of %s is the simulator's truth, which sees no pictures; want a session with a learned one, as reward.kind rapl or rlhf", dir)
	}
	if err != nil {
		return out, err
	}
	conv, ok := p.eyes.(*encoder.Conv)
	if !ok {
		return out, fmt.Errorf("wire: the encoder of %s is of encoder.kind %s, which cannot be differentiated here; rapport reward compare %[1]s --out DIR draws by covered patches what its rewards look at", dir, s.cfg.Encoder.Kind)
	}
	if p.taste.Sight != nil || p.taste.KAGI != nil {
		return out, fmt.Errorf("wire: the reward of %s goes by tracked points (reward.kind %s, reward.sees %s), which no pixel moves; %s", dir, p.taste.kind(), s.cfg.Reward.Sees, onFilm(dir))
	}
	out.Reward = p.named(s.cfg.Reward)
	l := conv.Lens()
	ms, images, err := s.moments(ctx, l)
	if err != nil {
		return out, err
	}
	out.Real = len(images)
	for k := range ms {
		if k > 0 && ms[k].id == ms[k-1].id {
			ms[k].judge = ms[k-1].judge
		} else if ms[k].judge, err = p.taste.near(ctx, p.scorer, ms[k].traj); err != nil {
			return out, err
		}
	}
	var dst []float64
	rate := func(k int, z []float32) (float64, error) {
		m := ms[k]
		was := m.traj[m.step]
		m.traj[m.step].Embed = z
		dst = slices.Grow(dst[:0], len(m.traj))[:len(m.traj)-1]
		err := m.judge.Score(ctx, dst, m.traj)
		m.traj[m.step] = was
		return dst[m.step-1], err
	}
	pc.Told = func(done, of int) { s.tell("probe", done, of, "") }
	pc.Seed = draw(s.cfg.Seed, networks, 7)
	pc.Told(0, pc.Frames)
	if out.Report, err = probe.Audit(ctx, l, rate, images, pc.Config); err != nil {
		return out, err
	}
	for _, f := range out.Found {
		out.From = append(out.From, ms[f.At].String())
	}
	out.Rises = rises(out.Report, l.Cameras())
	sheet, err := probeSheet(l, out.Report)
	if err != nil {
		return out, err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture(sheet)); err != nil {
		return out, fmt.Errorf("wire: probe: %w", err)
	}
	if out.Out = pc.Out; pc.Out != "" {
		return out, WriteNew(pc.Out, b.Bytes())
	}
	const name = "probe.png"
	out.Out = filepath.Join(s.Dir(), name)
	return out, s.store.Put(name, b.Bytes())
}

// near is the reward s of the taste for episodes that are much like traj: where it
// matches frames with preferred videos, with the nearest of them alone, since each takes
// its time, and one frame that changes makes another the nearest hardly ever.
func (t taste) near(ctx context.Context, s reward.Scorer, traj []perception.Features) (reward.Scorer, error) {
	x, ok := s.(explainer)
	if !ok {
		return s, nil
	}
	e, err := x.Explain(ctx, traj)
	if err != nil || e.Expert < 0 || e.Expert >= len(t.Experts) {
		return s, err
	}
	t.Experts = t.Experts[e.Expert : e.Expert+1]
	return t.scorer()
}

// moment is a step of a recorded episode.
type moment struct {
	id    string
	step  int
	traj  []perception.Features
	judge reward.Scorer
}

func (m moment) String() string { return fmt.Sprintf("%s:%d", m.id, m.step) }

// moments are recorded frames as the encoder sees them: of episodes spread over all that
// have frames, of each its middle and its end.
func (s *Session) moments(ctx context.Context, l *encoder.Lens) (ms []moment, images [][][]float32, err error) {
	var ids []string
	for _, origin := range []policy.Origin{policy.Demo, policy.Online} {
		rows, err := s.store.Episodes(ctx, origin)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
	}
	n := min(probedEpisodes, len(ids))
	for k := range n {
		e, err := s.store.Episode(ids[k*len(ids)/n])
		if err != nil {
			return nil, nil, err
		}
		var steps []int
		for i := range probedFrames {
			steps = append(steps, max(1, (i+1)*e.Len()/probedFrames))
		}
		seen, err := s.frames(e, steps)
		if err != nil {
			return nil, nil, fmt.Errorf("%w; a probe changes recorded frames", err)
		}
		traj := e.Trajectory()
		for i, t := range steps {
			x, err := l.Images(seen[i])
			if err != nil {
				return nil, nil, fmt.Errorf("wire: probe: %s: %w", e.ID, err)
			}
			ms, images = append(ms, moment{id: e.ID, step: t, traj: traj}), append(images, x)
		}
		s.tell("frames", k+1, n, "")
	}
	return ms, images, nil
}

// rises are the patches in which the reward rises, the largest first.
func rises(r probe.Report, cameras []string) (out []Rise) {
	all := 0.0
	for c, m := range r.Gain {
		for p, g := range m {
			if g > 0 {
				all += g
				out = append(out, Rise{Camera: cameras[c], Column: p%r.Patches + 1, Row: p/r.Patches + 1, Gain: g})
			}
		}
	}
	for i := range out {
		out[i].Share = out[i].Gain / all
	}
	slices.SortStableFunc(out, func(a, b Rise) int { return cmp.Compare(b.Gain, a.Gain) })
	return out
}

// probeSheet draws a row for each frame that was climbed from: of each camera the frame,
// what it became, how much every pixel changed, and where the reward rose.
func probeSheet(l *encoder.Lens, r probe.Report) (robot.Frame, error) {
	var cells []robot.Frame
	add := func(f robot.Frame, err error, text string) error {
		if err == nil && text != "" {
			f, err = vision.Annotate(f, text)
		}
		cells = append(cells, f)
		return err
	}
	cols := 0
	for k, f := range r.Found {
		for c, name := range l.Cameras() {
			texts := [4]string{name, "probe", "changed", "rises"}
			if k > 0 {
				texts = [4]string{}
			}
			was, is := l.Frame(c, f.Frame[c]), l.Frame(c, f.Probe[c])
			changed := is
			changed.Pix = make([]byte, len(is.Pix))
			for i, v := range is.Pix {
				d := 2 * (int(v) - int(was.Pix[i]))
				changed.Pix[i] = byte(min(max(d, -d), 255))
			}
			for i, g := range []robot.Frame{was, is, changed} {
				big, err := vision.Resize(g, magnified, magnified)
				if err := add(big, err, texts[i]); err != nil {
					return robot.Frame{}, fmt.Errorf("wire: probe: %w", err)
				}
			}
			over, err := overlay(was, f.Gain[c], r.Patches, nil)
			if err := add(over, err, texts[3]); err != nil {
				return robot.Frame{}, fmt.Errorf("wire: probe: %w", err)
			}
		}
		if k == 0 {
			cols = len(cells)
		}
	}
	return vision.Mosaic(cells, cols, magnified, magnified)
}
