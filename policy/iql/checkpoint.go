package iql

import (
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/checkpoint"
)

// format marks a checkpoint; its number changes with the layout.
const format = "rapport-iql-2"

// state is what a checkpoint holds beside the tensors.
type state struct {
	Arch         bc.Arch
	Critics      int
	CriticHidden []int
	Replay       buffer.Mark
	Rand         []byte // the PCG's own encoding
	Fitted       bool
	Factor       float64
	Online       bool
	Steps        uint64
	Actors       uint64
	Version      uint64
}

// Save writes all that learning goes on from, but for the episodes, which belong
// to the session's store. A Learner of the same Config to which the same episodes
// are added in the same order and which Restores it goes on bit for bit.
func (l *Learner) Save(w io.Writer) error {
	pcg, err := l.pcg.MarshalBinary()
	var mark buffer.Mark
	if err == nil {
		mark, err = l.replay.Mark()
	}
	if err == nil {
		err = checkpoint.Save(w, format, state{
			Arch: l.actor.Arch, Critics: l.cfg.Critics, CriticHidden: l.cfg.CriticHidden, Replay: mark, Rand: pcg,
			Fitted: l.fitted, Factor: l.factor, Online: l.online, Steps: l.steps, Actors: l.actors, Version: l.version,
		}, l.parts()...)
	}
	if err != nil {
		return fmt.Errorf("iql: save: %w", err)
	}
	return nil
}

// Restore takes back what Save wrote. A checkpoint that is corrupt, or of
// another shape than configured, is an error that names what is wrong, and
// changes nothing. With Config.Dir the replay is rewound
// to the episodes of then, and later ones may be added again; if the
// disk fails in that alone, Restore again.
func (l *Learner) Restore(r io.Reader) error {
	var pcg rand.PCG
	s, err := checkpoint.Restore(r, format, func(s state) error {
		d := checkpoint.Diff(l.actor.Arch.Diff(s.Arch))
		d.Field("Critics", l.cfg.Critics, s.Critics)
		d.Field("CriticHidden", l.cfg.CriticHidden, s.CriticHidden)
		if err := d.Err(); err != nil {
			return err
		}
		if err := pcg.UnmarshalBinary(s.Rand); err != nil {
			return fmt.Errorf("random state: %w", err)
		}
		return l.replay.Fits(s.Replay)
	}, l.parts()...)
	if err == nil {
		err = l.replay.Return(s.Replay)
	}
	if err != nil {
		return fmt.Errorf("iql: restore: %w", err)
	}
	*l.pcg = pcg
	l.fitted, l.factor, l.online, l.steps, l.actors, l.version = s.Fitted, s.Factor, s.Online, s.Steps, s.Actors, s.Version
	return nil
}

func (l *Learner) parts() []checkpoint.Part {
	ps := []checkpoint.Part{
		{Tensors: l.actor.Tensors()},
		{Name: "reference", Tensors: l.ref.Tensors()},
		{Tensors: nn.Tensors(l.criticParams)},
		{Tensors: nn.Tensors(l.targetParams)},
		{Tensors: nn.Tensors(l.valueParams)},
		{Name: "critic", Adam: l.adam.critic},
		{Name: "value", Adam: l.adam.value},
		{Name: "actor", Adam: l.adam.actor},
	}
	if l.sight != nil {
		ps = append(ps, checkpoint.Part{Name: "trunk", Adam: l.sight.Optimiser()})
	}
	return ps
}
