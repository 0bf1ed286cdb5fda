package wire

import (
	"errors"
	"fmt"
	"os"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/perceptual"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/reward/uvd"
	"github.com/rapport-rl/rapport/reward/vlmrm"
)

// visual is what a taste of the small visual rewards holds; at most one is set.
type visual struct {
	UVD        *uvd.Plan         `json:"uvd,omitempty"`
	Perceptual *perceptual.Model `json:"perceptual,omitempty"`
	VLMRM      *vlmrm.Model      `json:"vlm_rm,omitempty"`
}

// of tells whether v holds what a kind needs.
func (v visual) of(kind string) bool {
	return kind == "uvd" && v.UVD != nil || kind == "perceptual" && v.Perceptual != nil || kind == "vlm-rm" && v.VLMRM != nil
}

func (v visual) scorer() (reward.Scorer, error) {
	switch {
	case v.UVD != nil:
		return uvd.New(*v.UVD)
	case v.Perceptual != nil:
		return perceptual.New(*v.Perceptual)
	}
	return vlmrm.New(*v.VLMRM)
}

// learn makes c.Kind of the videos that the person likes, or of prompts.
func (v *visual) learn(c config.Reward, liked []rapl.Video) error {
	switch c.Kind {
	case "uvd":
		p, err := uvd.Of(liked, uvd.Config{Gap: c.Visual.Gap})
		v.UVD = &p
		return err
	case "perceptual":
		m, err := perceptual.Learn(liked, perceptual.Config{Steps: c.Visual.Steps})
		v.Perceptual = &m
		return err
	}
	goal, err := prompts("goal", c.Visual.Goal)
	if err != nil {
		return err
	}
	var base [][]float64
	if c.Visual.Alpha > 0 {
		if base, err = prompts("baseline", c.Visual.Baseline); err != nil {
			return err
		}
	}
	if len(liked) == 0 {
		return errors.New("wire: no video to tell the width of embeddings by; record or label at least one")
	}
	d := liked[0].D
	if d%len(goal[0]) != 0 {
		return fmt.Errorf("wire: reward.visual.goal: prompts of %d numbers do not go into frames of %d: make both with one model", len(goal[0]), d)
	}
	m, err := vlmrm.Of(goal, base, c.Visual.Alpha, d/len(goal[0]))
	v.VLMRM = &m
	return err
}

// worded refuses prompts of vlm-rm whose width is not that of an image, where a frame of so
// many cameras is d numbers: they are another model's, even where one divides the other.
func worded(c config.Reward, cameras, d int) error {
	if c.Kind != "vlm-rm" {
		return nil
	}
	goal, err := prompts("goal", c.Visual.Goal)
	if err == nil && cameras*len(goal[0]) != d {
		err = fmt.Errorf("wire: reward.visual.goal: prompts of %d numbers, but images of %d cameras come to %d in all: make both with one model", len(goal[0]), cameras, d)
	}
	return err
}

// understood refuses a session whose prompts are not of the model that is its encoder, before
// a person demonstrates for it. One that begins from another has that one's reward.
func understood(c config.Config) error {
	if c.Reward.Kind != "vlm-rm" || c.Session.From != "" {
		return nil
	}
	x, err := openONNX(c)
	if err != nil {
		return nil // backed says why
	}
	return errors.Join(worded(c.Reward, len(c.Robot.Cameras), x.Dim()), x.Close())
}

func prompts(what, path string) ([][]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("wire: reward.visual.%s: %w", what, err)
	}
	rows, err := vlmrm.Read(f, path)
	return rows, errors.Join(err, f.Close())
}

// walking is running for uvd, whose sub-goal depends on what was seen before.
type walking struct {
	s     *uvd.Scorer
	w     uvd.Walk
	begun bool
	got   []float64
}

func (r *walking) Add(f perception.Features) (err error) {
	if !r.begun {
		r.begun = true
		r.w, err = r.s.Walk(f.Embed)
		return err
	}
	if len(f.Embed) != r.s.Dim() {
		return fmt.Errorf("wire: embedding of %d numbers, want %d", len(f.Embed), r.s.Dim())
	}
	r.got = append(r.got, r.w.Step(f.Embed))
	return nil
}

func (r *walking) Len() int { return len(r.got) }

func (r *walking) Rewards(dst []float64) int {
	copy(dst, r.got)
	return -1
}
