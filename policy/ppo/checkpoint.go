package ppo

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/checkpoint"
)

// format marks a checkpoint; its number changes with the layout.
const format = "rapport-ppo-1"

// state is what a checkpoint holds beside the tensors.
type state struct {
	Arch        bc.Arch
	ValueHidden []int
	Keep        int
	Auxiliary   bool   `json:",omitempty"` // there are heads
	Rand        []byte // the PCG's own encoding
	Fitted      bool
	Slots       []uint64 // versions remembered
	Taken       uint64   // episodes of policies that were learned from, in the order of addition
	Updates     uint64
	Steps       uint64
	Version     uint64
}

// Save writes all that learning goes on from, but for the episodes, which belong
// to the session's store: actor, reference, value, the versions remembered, the
// moments of the optimisers, the random numbers' state and the counters. A Learner
// of the same Config to which the same episodes are added in the same order and
// which Restores it goes on bit for bit: it knows which were learned from. One that
// Restores first keeps nothing of those at any time.
func (l *Learner) Save(w io.Writer) error {
	pcg, err := l.pcg.MarshalBinary()
	if err == nil {
		err = checkpoint.Save(w, format, state{
			Arch: l.actor.Arch, ValueHidden: l.cfg.ValueHidden, Keep: l.cfg.Keep, Auxiliary: l.cfg.Auxiliary > 0, Rand: pcg, Fitted: l.fitted,
			Slots: l.slots, Taken: l.taken, Updates: l.updates, Steps: l.steps, Version: l.version,
		}, l.parts()...)
	}
	if err != nil {
		return fmt.Errorf("ppo: save: %w", err)
	}
	return nil
}

// Restore takes back what Save wrote. A checkpoint that is corrupt, or of
// another shape than configured, is an error that names what is wrong, and
// changes nothing.
func (l *Learner) Restore(r io.Reader) error {
	var pcg rand.PCG
	s, err := checkpoint.Restore(r, format, func(s state) error {
		d := checkpoint.Diff(l.actor.Arch.Diff(s.Arch))
		d.Field("ValueHidden", l.cfg.ValueHidden, s.ValueHidden)
		d.Field("Keep", l.cfg.Keep, s.Keep)
		d.Field("Auxiliary heads", l.cfg.Auxiliary > 0, s.Auxiliary)
		if err := d.Err(); err != nil {
			return err
		}
		if len(s.Slots) != s.Keep {
			return fmt.Errorf("%d versions remembered, want %d", len(s.Slots), s.Keep)
		}
		if err := pcg.UnmarshalBinary(s.Rand); err != nil {
			return fmt.Errorf("random state: %w", err)
		}
		return nil
	}, l.parts()...)
	if err != nil {
		return fmt.Errorf("ppo: restore: %w", err)
	}
	*l.pcg = pcg
	copy(l.slots, s.Slots)
	begins := l.updates == 0
	l.fitted, l.taken, l.updates, l.steps, l.version = s.Fitted, s.Taken, s.Updates, s.Steps, s.Version
	if begins { // has no update of its own to go back by, and frames are large
		l.rolls = slices.Clone(l.waiting())
	}
	return nil
}

func (l *Learner) parts() []checkpoint.Part {
	ps := []checkpoint.Part{
		{Tensors: l.actor.Tensors()},
		{Name: "reference", Tensors: l.ref.Tensors()},
		{Tensors: nn.Tensors(l.valueParams)},
		{Name: "actor", Adam: l.adam.actor},
		{Name: "value", Adam: l.adam.value},
	}
	if l.sight != nil && l.sight.aside != nil {
		ps = append(ps, checkpoint.Part{Tensors: nn.Tensors(l.sight.aside.params)}, checkpoint.Part{Name: "auxiliary", Adam: l.sight.aside.adam})
	}
	if l.sight != nil {
		ps = append(ps, checkpoint.Part{Name: "trunk", Adam: l.sight.adam})
	}
	for i, n := range l.past {
		ps = append(ps, checkpoint.Part{Name: fmt.Sprintf("past%d", i), Tensors: n.Tensors()})
	}
	return ps
}
