package wire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/ot"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// deep are the widths of the hidden layers of reward.train mlp.
var deep = []int{64}

// aligning is how a reward is aligned in the run of a seed.
func aligning(c config.Reward, run uint64, cost ot.Cost) (rapl.AlignConfig, error) {
	a := rapl.AlignConfig{
		Cost: cost, Gamma: c.Gamma, Dim: c.Dim, Temperature: c.Temperature, Enough: c.Enough, ByPair: true,
		Seed: draw(run, networks, 2), Workers: runtime.GOMAXPROCS(0),
	}
	if c.Train == "mlp" {
		a.Hidden = deep
	}
	if err := a.Gradient.UnmarshalText([]byte(c.Gradient)); err != nil {
		return a, fmt.Errorf("wire: reward.gradient: %w", err)
	}
	return a, nil
}

// compared are the triplets that people said of videos, by their names, or of stretches
// of them; of pairs, without an anchor. Those of other clips are left out, and ties unless they
// are asked for.
func compared(said []label.Likeness, videos []rapl.Video, ties bool) []rapl.Triplet {
	find := map[string]rapl.Video{}
	for _, v := range videos {
		find[v.Name] = v
	}
	var out []rapl.Triplet
	for _, x := range said {
		t := rapl.Triplet{Anchor: cut(find[x.Anchor.Episode], x.Anchor), Better: cut(find[x.Better.Episode], x.Better), Worse: cut(find[x.Worse.Episode], x.Worse), Tie: x.Tie, Annotator: x.Annotator}
		if t.Tie && !ties || t.Anchor.Len() == 0 && x.Anchor.Episode != "" || t.Better.Len() == 0 || t.Worse.Len() == 0 {
			continue
		}
		out = append(out, t)
	}
	return out
}

// cut is what a clip shows of its episode, v; nothing where it goes beyond.
func cut(v rapl.Video, c label.Clip) rapl.Video {
	if whole(c) {
		return v
	}
	from, to, ok := portion(c, v.Len())
	if !ok {
		return rapl.Video{}
	}
	return rapl.Video{Name: clipName(c), D: v.D, Embed: v.Embed[from*v.D : to*v.D]}
}

// portion is what a clip shows of an episode of n frames after the reset; not ok beyond them.
func portion(c label.Clip, n int) (from, to int, ok bool) {
	from, to = c.From, cmp.Or(c.To, n)
	return from, to, 0 <= from && from < to && to <= n
}

// clipName names what a clip shows.
func clipName(c label.Clip) string {
	if whole(c) {
		return c.Episode
	}
	return fmt.Sprintf("%s[%d:%d]", c.Episode, c.From, c.To)
}

func whole(c label.Clip) bool { return c.From == 0 && c.To == 0 }

// The passes over the triplets in which the encoder learns, once the head has, and
// after how many without gain they end.
const (
	wholeEpochs   = 12
	wholePatience = 4
)

// tuneEyes has the encoder learn from the comparisons, end to end with the head
// that was aligned before. What the session goes on with is the new encoder: its
// features of the demonstrations, the preferred videos in them, and the head.
func (s *Session) tuneEyes(ctx context.Context, p *parts, demos []demo) error {
	enc, ok := p.eyes.(*encoder.Conv)
	if !ok {
		return fmt.Errorf("wire: reward.train is all, but the encoder is a frozen backbone; want head or mlp")
	}
	said, err := s.heard(ctx)
	if err != nil {
		return err
	}
	at := map[string]int{}
	for i, d := range demos {
		at[d.episode.ID] = i
	}
	var scenes []rapl.Scene
	place := map[string]int{} // of a clip among the scenes
	scene := func(c label.Clip) (int, error) {
		if k, ok := place[clipName(c)]; ok {
			return k, nil
		}
		i, ok := at[c.Episode]
		if !ok {
			return -1, nil
		}
		fs := demos[i].frames[1:] // the frame after the reset is no doing of anybody's
		from, to, ok := portion(c, len(fs))
		if !ok {
			return -1, nil
		}
		film, err := enc.Film(fs[from:to])
		if err != nil {
			return -1, err
		}
		place[clipName(c)] = len(scenes)
		scenes = append(scenes, rapl.Scene{Name: clipName(c), Film: film})
		return place[clipName(c)], nil
	}
	var cs []rapl.Comparison
	for _, x := range label.Triplets(said) {
		var k [3]int
		for i, c := range [...]label.Clip{x.Anchor, x.Better, x.Worse} {
			if k[i], err = scene(c); err != nil {
				return err
			}
		}
		if min(k[0], k[1], k[2]) >= 0 && (s.cfg.Reward.Ties || !x.Tie) {
			cs = append(cs, rapl.Comparison{Anchor: k[0], Better: k[1], Worse: k[2], Tie: x.Tie})
		}
	}
	how, err := aligning(s.cfg.Reward, s.cfg.Seed, p.taste.Cost)
	if err != nil {
		return err
	}
	how.Init, how.Epochs, how.Patience = p.taste.Head, wholeEpochs, wholePatience
	how.Sides = p.taste.Sides // what the head learned from is not held out
	tuned, head, rep, err := rapl.Tune(ctx, enc, scenes, cs, rapl.TuneConfig{AlignConfig: how, Told: func(e, of int, m rapl.Measure) {
		s.tell("encoder by preferences", e, of, fmt.Sprintf("loss %.3f", m.Loss))
	}})
	if err != nil {
		return err
	}
	s.log.Info("encoder tuned by preferences", "held_out_before", rep.Before.Loss, "held_out", rep.After.Loss, "epoch", rep.Best)
	if rep.Best == 0 { // nothing was gained, and nothing changes
		return nil
	}
	p.eyes, p.taste.Head, p.taste.Sides = tuned, &head, rep.Sides
	if err := look(ctx, tuned, demos, s.tell); err != nil {
		return err
	}
	for i, e := range p.taste.Experts {
		k, ok := at[e.Name]
		if !ok {
			return fmt.Errorf("wire: the preferred video %s is no demonstration", e.Name)
		}
		if p.taste.Experts[i], err = rapl.VideoOf(e.Name, demos[k].episode.Trajectory()[1:]); err != nil {
			return err
		}
	}
	eyes, err := tuned.Encode()
	if err != nil {
		return err
	}
	b, err := json.Marshal(p.taste)
	if err != nil {
		return fmt.Errorf("wire: reward: %w", err)
	}
	return errors.Join(s.store.SaveCheckpoint(ctx, kindEncoder, tunedVersion, eyes), s.store.SaveCheckpoint(ctx, kindReward, tunedVersion, b))
}

// tunedVersion is of the checkpoints that tuneEyes makes of those of version 1.
const tunedVersion = 2

// untuneEyes forgets an encoder that was tuned by a run that died before it was
// prepared, so that this one begins as that did. A reward that was aligned anew since stays.
func (s *Session) untuneEyes(ctx context.Context) error {
	kinds := []string{kindEncoder, kindReward}
	if since, err := s.store.Marked(ctx, markRealigned); err != nil {
		return err
	} else if since != "" {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		v, _, err := s.store.LatestCheckpoint(ctx, kind)
		if errors.Is(err, store.ErrNone) || err == nil && v < tunedVersion {
			continue
		}
		if err == nil {
			err = s.store.DropCheckpoint(ctx, kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
