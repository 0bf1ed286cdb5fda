package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
)

// The kinds of checkpoints.
const (
	kindEncoder = "encoder" // encoder.Conv
	kindReward  = "reward"  // taste
	kindPolicy  = "policy"  // the cloned policy
	kindLearner = "learner" // the learner's whole state
	kindTuned   = "tuned"   // the policy of that learner
)

// eyes is an extractor that knows the length of its embedding.
type eyes interface {
	perception.Extractor
	Dim() int
}

// parts is what a session acts, scores and learns with.
type parts struct {
	eyes   eyes
	taste  taste
	scorer reward.Scorer
	view   view.Config
	clone  policy.Params    // the cloned policy
	demos  []policy.Episode // labelled
}

// prepare makes the parts, or reads those that an earlier run of the session
// finished.
func (s *Session) prepare(ctx context.Context) (parts, error) {
	done, err := s.store.Marked(ctx, "prepared")
	if err != nil {
		return parts{}, err
	}
	if done != "" {
		return s.prepared(ctx)
	}
	if s.cfg.Session.From != "" {
		return s.inherit(ctx)
	}
	gather, ask := s.demonstrated, s.ask
	if logged(s.cfg) {
		gather, ask = s.recordings, s.prefer
	}
	demos, err := gather(ctx)
	if err != nil {
		return parts{}, err
	}
	var p parts
	if err := s.untuneEyes(ctx); err != nil {
		return p, err
	}
	if p.eyes, err = s.openEyes(ctx, demos); err != nil {
		return p, err
	}
	if err := look(ctx, p.eyes, demos, s.tell); err != nil {
		return p, err
	}
	if p.taste, err = ask(ctx, demos); err != nil {
		return p, err
	}
	if s.cfg.Reward.Train == "all" && s.cfg.Reward.Kind == "rapl" && p.taste.Head != nil {
		if err := s.tuneEyes(ctx, &p, demos); err != nil {
			return p, err
		}
	}
	if p.scorer, err = p.taste.scorer(); err != nil {
		return p, err
	}
	if err := s.keepMakers(ctx); err != nil {
		return p, err
	}
	if ctx, err = s.telling(ctx); err != nil {
		return p, err
	}
	for i := range demos {
		e := &demos[i].episode
		if err := retell(ctx, e); err != nil {
			return p, err
		}
		if _, ok := p.scorer.(truth); ok {
			e.Rewards = trueRewards(demos[i])
		} else if err := rate(ctx, p.scorer, e); err != nil {
			return p, err
		}
		if err := s.keepDemo(ctx, demos[i]); err != nil {
			return p, err
		}
		if pixels(s.cfg) {
			if err := s.store.Frames(e); err != nil {
				return p, err
			}
		}
		p.demos = append(p.demos, *e)
	}
	p.view = viewConfig(s.cfg, p.eyes.Dim())
	if p.clone, err = s.imitate(ctx, p.view, p.demos); err != nil {
		return p, err
	}
	// Of a session that is prepared again, since a checkpoint was dropped.
	if err := s.judgeAnew(ctx, &p); err != nil {
		return p, err
	}
	return p, s.store.Mark(ctx, "prepared", "yes")
}

func (s *Session) demonstrated(ctx context.Context) ([]demo, error) {
	return collect(ctx, s.cfg, s.tell)
}

// prepared reads what prepare stored.
func (s *Session) prepared(ctx context.Context) (parts, error) {
	p, err := s.made(ctx)
	if err != nil {
		return p, err
	}
	if err := s.keepMakers(ctx); err != nil {
		return p, err
	}
	if p.demos, err = s.stored(ctx, policy.Demo); err != nil {
		return p, err
	}
	// Those of an earlier session tell the success, and have the reward, that it went by.
	renew, err := s.renewing(ctx)
	if err != nil || renew == nil {
		return p, err
	}
	for i := range p.demos {
		if err := renew(&p.demos[i]); err != nil {
			return p, err
		}
		if err := rate(ctx, p.scorer, &p.demos[i]); err != nil {
			return p, err
		}
	}
	return p, nil
}

// made is what prepare made, without the demonstrations.
func (s *Session) made(ctx context.Context) (parts, error) {
	var p parts
	var err error
	if p.eyes, err = s.openEyes(ctx, nil); err != nil {
		return p, err
	}
	if p.taste, err = s.newestTaste(ctx); err != nil {
		return p, err
	}
	if p.scorer, err = p.taste.scorer(); err != nil {
		return p, err
	}
	p.view = viewConfig(s.cfg, p.eyes.Dim())
	v, b, err := s.latest(ctx, kindPolicy)
	if err != nil {
		return p, err
	}
	p.clone = policy.Params{Version: v, Data: b}
	if s.cfg.Session.From == "" {
		return p, nil
	}
	// It was cloned where guard.workspace may have been wider, and goes on to see places so.
	cloned, _, err := viewOf(p.clone)
	p.view.Origin, p.view.Span = cloned.Origin, cloned.Span
	return p, err
}

// stored reads the episodes of an origin in the order they were added, without those that
// demos.filter left out, and with the frames that the policy sees.
func (s *Session) stored(ctx context.Context, origin policy.Origin) ([]policy.Episode, error) {
	es, err := s.logged(ctx, origin)
	if err != nil {
		return nil, err
	}
	for i, e := range es {
		if es[i], err = s.framed(e); err != nil {
			return nil, err
		}
	}
	return es, nil
}

// framed is e with the frames that the policy sees, which e itself is left without.
func (s *Session) framed(e policy.Episode) (policy.Episode, error) {
	if !pixels(s.cfg) {
		return e, nil
	}
	e.Inputs = slices.Clone(e.Inputs)
	return e, s.store.Frames(&e)
}

// give adds an episode of logged to a learner. Its frames are read for that alone: those
// of all episodes may be more than there is memory, and the replay keeps them its own way.
func (s *Session) give(ctx context.Context, l policy.Learner, e policy.Episode) error {
	e, err := s.framed(e)
	if err != nil {
		return err
	}
	return l.Add(ctx, e)
}

// logged is stored without frames.
func (s *Session) logged(ctx context.Context, origin policy.Origin) ([]policy.Episode, error) {
	rows, err := s.store.Episodes(ctx, origin)
	if err != nil {
		return nil, err
	}
	var es []policy.Episode
	out, err := s.leftOut(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if out[r.ID] {
			continue
		}
		e, err := s.store.Episode(r.ID)
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, nil
}

// openEyes loads or trains the encoder. demos is nil where it must be stored.
func (s *Session) openEyes(ctx context.Context, demos []demo) (eyes, error) {
	if s.cfg.Encoder.Kind == "onnx" {
		return s.frozen(ctx)
	}
	_, b, err := s.latest(ctx, kindEncoder)
	if err == nil {
		return encoder.Decode(b)
	}
	if !errors.Is(err, store.ErrNone) || demos == nil {
		return nil, err
	}
	enc, rep, err := trainEyes(ctx, s.cfg, demos, s.tell)
	if err != nil {
		return nil, err
	}
	s.log.Info("encoder trained", "ticks", rep.Ticks, "loss", rep.Last, "explained", rep.Explained)
	if b, err = enc.Encode(); err != nil {
		return nil, err
	}
	return enc, s.store.SaveCheckpoint(ctx, kindEncoder, 1, b)
}

// trainEyes trains the encoder on demonstrations.
func trainEyes(ctx context.Context, c config.Config, demos []demo, tell Progress) (*encoder.Conv, encoder.Report, error) {
	var data encoder.Data
	for _, d := range demos {
		clip := encoder.Clip{Frames: d.frames, Applied: d.episode.Applied}
		for _, in := range d.episode.Inputs {
			clip.States = append(clip.States, in.State)
		}
		data.Clips = append(data.Clips, clip)
	}
	var names []string
	for _, cam := range c.Robot.Cameras {
		names = append(names, cam.Name)
	}
	ec := encoder.Default(names...)
	ec.Shape.Keypoints, ec.Shape.Colours, ec.Steps = c.Encoder.Keypoints, c.Encoder.Colours, c.Encoder.Steps
	ec.Seed = draw(c.Seed, networks, 0)
	return encoder.Train(ctx, data, ec, func(step, total int, loss float64) {
		tell("encoder", step, total, fmt.Sprintf("loss %.3f", loss))
	})
}

// openONNX loads a frozen backbone. Pixels enter as RAPL's do (facts of its
// code: scaled to [0,1], RGB, not normalised).
func openONNX(c config.Config) (*encoder.ONNX, error) {
	oc := encoder.ONNXConfig{Model: c.Encoder.ONNX, Net: vision.NetConfig{W: c.Encoder.Size, H: c.Encoder.Size, SwapRB: true}}
	for _, cam := range c.Robot.Cameras {
		oc.Cameras = append(oc.Cameras, encoder.Camera{Name: cam.Name})
	}
	return encoder.LoadONNX(oc)
}

// backed refuses a backbone that cannot be used before a folder is made and a person
// demonstrates for it.
func backed(c config.Config) error {
	if c.Encoder.Kind != "onnx" {
		return nil
	}
	x, err := openONNX(c)
	if err != nil {
		return fmt.Errorf("wire: encoder.onnx does not fit encoder.size %d: %w", c.Encoder.Size, err)
	}
	return x.Close()
}

// look computes the features of the demonstrations.
func look(ctx context.Context, x eyes, demos []demo, tell Progress) error {
	for i := range demos {
		fs, err := encoder.Batch(ctx, x, demos[i].frames, runtime.GOMAXPROCS(0))
		if err != nil {
			return err
		}
		for t := range fs {
			f := &demos[i].episode.Inputs[t].Features
			f.Stamp, f.Embed = fs[t].Stamp, fs[t].Embed // keypoints stay
		}
		tell("features", i+1, len(demos), "")
	}
	return nil
}

// ask has the person pick the preferred videos and answer comparisons, and
// aligns the embedding with the answers.
func (s *Session) ask(ctx context.Context, demos []demo) (taste, error) {
	c := s.cfg.Reward
	t := taste{Version: tasteVersion, Kind: c.Kind, Gamma: c.Gamma}
	err := t.Cost.UnmarshalText([]byte(c.Cost))
	if err != nil {
		return t, fmt.Errorf("wire: reward.cost: %w", err)
	}
	if t.Sight, err = sightOfDemos(s.cfg, demos); err != nil {
		return t, err
	}
	truths, videos, err := sightings(t.Sight, demos)
	if err != nil {
		return t, err
	}
	who := person.New(rand.NewPCG(draw(s.cfg.Seed, people, -1), 0), 0)
	for _, i := range who.Pick(truths, c.Experts) {
		t.Experts = append(t.Experts, videos[i])
	}
	if len(t.Experts) == 0 && c.Kind != "kagi" && c.Kind != "truth" { // nothing of which is learned from videos
		return t, errors.New("wire: the person likes none of the demonstrations, so there is nothing to reward; record better ones, or raise demos.good")
	}
	if c.Triplets > 0 && config.Comparing(c.Kind) {
		triplets, err := s.answers(ctx, who, truths, videos)
		if err != nil {
			return t, err
		}
		s.tell("preferences", 0, 1, fmt.Sprintf("%d answers", len(triplets)))
		rep, err := t.compare(ctx, c, s.cfg.Seed, triplets)
		if err != nil {
			if errors.Is(err, errTooFew) {
				err = fmt.Errorf("%w: raise reward.triplets", err)
			}
			return t, fmt.Errorf("wire: reward.kind %s: %w", c.Kind, err)
		}
		s.tell("preferences", 1, 1, fmt.Sprintf("%d answers, %.0f %% of the held-out ones told right", len(triplets), 100*rep.After.Accuracy))
	}
	if c.Kind == "heron" {
		s.tell("preferences", 0, 1, "")
		note, err := t.rank(ctx, c, s.cfg.Seed, demos, videos)
		if err != nil {
			return t, fmt.Errorf("wire: reward.heron: %w", err)
		}
		s.tell("preferences", 1, 1, note)
	}
	liked, rest := parted(who, truths, videos)
	if err := t.learn(ctx, c, draw(s.cfg.Seed, networks, 3), liked, rest); err != nil {
		return t, err
	}
	if c.Kind == "kagi" {
		if t.KAGI, err = s.kagi(); err != nil {
			return t, err
		}
	}
	b, err := json.Marshal(t)
	if err != nil {
		return t, fmt.Errorf("wire: reward: %w", err)
	}
	return t, s.store.SaveCheckpoint(ctx, kindReward, 1, b)
}

// answers are the person's, stored.
func (s *Session) answers(ctx context.Context, who *person.Person, truths [][]sim.Truth, videos []rapl.Video) ([]rapl.Triplet, error) {
	answers, err := s.survey(ctx, who, truths, videos)
	if err != nil {
		return nil, err
	}
	triplets := compared(label.Triplets(answers), videos, tied(s.cfg.Reward))
	if kind := s.cfg.Reward.Kind; len(triplets) < least(kind) {
		or := ""
		if kind == "rapl" { // which goes without
			or = ", or set it to 0"
		}
		return nil, fmt.Errorf("wire: the person could tell apart only %d pairs of demonstrations, and reward.kind %s wants %d at least; record more different ones or raise reward.triplets%s", len(triplets), kind, least(kind), or)
	}
	return triplets, nil
}

// keepDemo stores a labelled demonstration with its frames, unless an earlier
// run of the session did.
func (s *Session) keepDemo(ctx context.Context, d demo) error {
	e := d.episode
	_, err := s.store.Episode(e.ID)
	if err == nil || !errors.Is(err, store.ErrNone) {
		return err
	}
	if s.cfg.Session.Record {
		r, err := s.store.Record(e.ID, e.Seq, e.Seed, e.Origin)
		if err != nil {
			return err
		}
		for t, in := range e.Inputs {
			obs := robot.Observation{State: in.State, Frames: d.frames[t]}
			var version uint64
			if t > 0 {
				obs.Applied, obs.By, version = e.Applied[t-1], e.By[t-1], e.Version[t-1]
			}
			if err := r.Tick(obs, version, in.Features); err != nil {
				return errors.Join(err, r.Abort())
			}
		}
		if err := r.Finish(e.Rewards, e.Terminal); err != nil {
			return err
		}
	}
	_, err = s.store.AddEpisode(ctx, e)
	return err
}

// imitate clones the demonstrations and stores the policy.
func (s *Session) imitate(ctx context.Context, v view.Config, demos []policy.Episode) (policy.Params, error) {
	c := s.cfg.Policy
	if s.cfg.Learner.Kind == "diffusion" {
		p, _, err := imitateChunks(ctx, s.cfg, v, demos, c.Clone.Steps, func(step, steps int, note string) { s.tell("clone", step, steps, note) })
		if err != nil {
			return p, err
		}
		p.Version = 1
		return p, s.store.SaveCheckpoint(ctx, kindPolicy, p.Version, bytes.Clone(p.Data))
	}
	on, _, err := learnOn(s.cfg.Learner)
	if err != nil {
		return policy.Params{}, err
	}
	net, _, err := bc.Train(ctx, bc.Config{
		Arch: bc.Arch{View: v, Hidden: c.Hidden, Trunk: trunkConfig(c)}, Steps: c.Clone.Steps, Batch: c.Clone.Batch, LR: c.Clone.Rate, Std: c.Clone.Std,
		Seed: draw(s.cfg.Seed, networks, 1), Device: on,
	}, demos, func(p bc.Progress) {
		s.tell("clone", p.Step, p.Steps, fmt.Sprintf("loss %.4f", p.Loss))
	})
	if err != nil {
		return policy.Params{}, err
	}
	p, err := net.Encode(1)
	if err != nil {
		return p, err
	}
	return p, s.store.SaveCheckpoint(ctx, kindPolicy, p.Version, bytes.Clone(p.Data))
}
