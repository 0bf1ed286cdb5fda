package rlpd

import (
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/checkpoint"
)

// state is what a checkpoint holds beside the tensors.
type state struct {
	Arch         bc.Arch
	Critics      int
	CriticHidden []int
	Replay       buffer.Mark
	// Rand is the PCG's own encoding.
	Rand    []byte
	Fitted  bool
	Online  bool
	Steps   uint64 // of the critics
	Actors  uint64
	Version uint64
	Dormant float64 // what DrM's gauge told last
	Woke    uint64  `json:",omitzero"` // 1 more than the steps at which it told of the awakening
}

// format marks a checkpoint; its number changes with the layout.
func (l *Learner) format() string {
	if l.conservative != nil {
		return "rapport-calql-2"
	}
	return "rapport-rlpd-3"
}

// Save writes everything that learning goes on from, but for the episodes,
// which belong to the session's store: actor, reference, critics, targets,
// temperature, the moments of all optimisers, the random numbers' state and the
// counters. A Learner of the same Config to which the same episodes are added in
// the same order and which Restores it goes on bit for bit.
func (l *Learner) Save(w io.Writer) error {
	pcg, err := l.pcg.MarshalBinary()
	var mark buffer.Mark
	if err == nil {
		mark, err = l.replay.Mark()
	}
	if err == nil {
		err = checkpoint.Save(w, l.format(), state{
			Arch: l.actor.Arch, Critics: l.cfg.Critics, CriticHidden: l.cfg.CriticHidden, Replay: mark,
			Rand: pcg, Fitted: l.fitted, Online: l.online, Steps: l.critics, Actors: l.actors, Version: l.version, Dormant: l.dormant(), Woke: l.woke(),
		}, l.parts()...)
	}
	if err != nil {
		return fmt.Errorf("%s: save: %w", l.kind, err)
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
	s, err := checkpoint.Restore(r, l.format(), func(s state) error {
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
		return fmt.Errorf("%s: restore: %w", l.kind, err)
	}
	*l.pcg = pcg
	l.fitted, l.online, l.critics, l.actors, l.version = s.Fitted, s.Online, s.Steps, s.Actors, s.Version
	if l.waker != nil {
		l.waker.dormant, l.waker.woke = s.Dormant, s.Woke
	}
	return nil
}

func (l *Learner) dormant() float64 {
	if l.waker == nil {
		return 0
	}
	return l.waker.dormant
}

func (l *Learner) woke() uint64 {
	if l.waker == nil {
		return 0
	}
	return l.waker.woke
}

// parts lists everything of a checkpoint.
func (l *Learner) parts() []checkpoint.Part {
	ps := []checkpoint.Part{
		{Tensors: l.actor.Tensors()},
		{Name: "reference", Tensors: l.ref.Tensors()},
		{Tensors: nn.Tensors(l.criticParams)},
		{Tensors: nn.Tensors(l.targetParams)},
		{Tensors: nn.Tensors([]*nn.Param{l.logAlpha})},
		{Name: "critic", Adam: l.adam.critic},
		{Name: "actor", Adam: l.adam.actor},
		{Name: "alpha", Adam: l.adam.alpha},
	}
	if l.sight != nil {
		ps = append(ps, checkpoint.Part{Name: "trunk", Adam: l.sight.Optimiser()})
	}
	if w := l.waker; w != nil {
		ps = append(ps, checkpoint.Part{Tensors: nn.Tensors(w.params)}, checkpoint.Part{Name: "value", Adam: w.adam})
	}
	if c := l.conservative; c != nil {
		ps = append(ps, checkpoint.Part{Tensors: c.Tensors()}, checkpoint.Part{Name: "lagrange", Adam: c.Optimiser()})
	}
	return ps
}
