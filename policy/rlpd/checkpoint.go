package rlpd

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
)

// format marks a checkpoint; its number changes with the layout.
const format = "rapport-rlpd-1"

// state is what a checkpoint holds beside the tensors.
type state struct {
	Arch         bc.Arch
	Critics      int
	CriticHidden []int
	// Rand is the PCG's own encoding.
	Rand    []byte
	Fitted  bool
	Steps   uint64 // of the critics
	Actors  uint64
	Version uint64
	// Sum is the SHA-256 of all else, in hex.
	Sum string
}

// Save writes everything that learning goes on from, but for the episodes,
// which belong to the session's store: actor, reference, critics, targets,
// temperature, the moments of all optimisers, the random numbers' state and the
// counters. A Learner of the same Config to which the same episodes are added in
// the same order and which Restores it goes on bit for bit.
func (l *Learner) Save(w io.Writer) error {
	s, err := l.state()
	if err != nil {
		return fmt.Errorf("rlpd: save: %w", err)
	}
	ts := l.tensors(l.adam)
	s.Sum = sum(s, ts)
	head, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("rlpd: save: %w", err)
	}
	if err := nn.Save(w, ts, map[string]string{"format": format, "state": string(head)}); err != nil {
		return fmt.Errorf("rlpd: save: %w", err)
	}
	return nil
}

func (l *Learner) state() (state, error) {
	pcg, err := l.pcg.MarshalBinary()
	return state{
		Arch: l.actor.Arch, Critics: l.cfg.Critics, CriticHidden: l.cfg.CriticHidden,
		Rand: pcg, Fitted: l.fitted, Steps: l.critics, Actors: l.actors, Version: l.version,
	}, err
}

// Restore takes back what Save wrote. A checkpoint that is corrupt, or of
// another shape than configured, is an error that names what is wrong, and
// changes nothing.
func (l *Learner) Restore(r io.Reader) error {
	if err := l.restore(r); err != nil {
		return fmt.Errorf("rlpd: restore: %w", err)
	}
	return nil
}

func (l *Learner) restore(r io.Reader) error {
	ts, meta, err := nn.Load(r)
	if err != nil {
		return err
	}
	if meta["format"] != format {
		return fmt.Errorf("format is %q, want %q", meta["format"], format)
	}
	var s state
	if err := json.Unmarshal([]byte(meta["state"]), &s); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	mine, err := l.state()
	if err != nil {
		return err
	}
	if d := mine.diff(s); d != nil {
		return fmt.Errorf("the checkpoint does not fit the configuration (here and there): %s", strings.Join(d, ", "))
	}
	// All is tried on copies first, so that nothing is half restored.
	adam := l.optimisers()
	want := l.tensors(adam)
	got := make([]nn.Tensor, len(want))
	for i, t := range want {
		j := slices.IndexFunc(ts, func(o nn.Tensor) bool { return o.Name == t.Name })
		if j < 0 {
			return fmt.Errorf("no tensor %q", t.Name)
		}
		got[i] = ts[j]
		if !slices.Equal(got[i].Shape, t.Shape) {
			return fmt.Errorf("tensor %q has shape %v, want %v", t.Name, got[i].Shape, t.Shape)
		}
		for _, v := range got[i].Data {
			if d := v - v; d != d {
				return fmt.Errorf("tensor %q holds %v", t.Name, v)
			}
		}
	}
	if len(ts) != len(want) {
		return fmt.Errorf("%d tensors, want %d", len(ts), len(want))
	}
	if given := s.Sum; given != sum(s, got) {
		return errors.New("the checksum is wrong: the file is damaged, go back to an older checkpoint")
	}
	pcg := *l.pcg
	if err := pcg.UnmarshalBinary(s.Rand); err != nil {
		return fmt.Errorf("random state: %w", err)
	}
	for _, o := range []struct {
		name string
		adam *nn.Adam
	}{{"critic", adam.critic}, {"actor", adam.actor}, {"alpha", adam.alpha}} {
		if err := o.adam.Restore(strip(o.name, got)); err != nil {
			return fmt.Errorf("optimiser of the %s: %w", o.name, err)
		}
	}

	for i, t := range l.tensors(adam) { // the moments are in place by now
		copy(t.Data, got[i].Data)
	}
	*l.pcg, l.adam = pcg, adam
	l.fitted, l.critics, l.actors, l.version = s.Fitted, s.Steps, s.Actors, s.Version
	return nil
}

// diff names where the shapes of two checkpoints differ.
func (s state) diff(o state) []string {
	d := s.Arch.View.Diff(o.Arch.View)
	for _, f := range []struct {
		name string
		a, b any
	}{
		{"Arch.Hidden", s.Arch.Hidden, o.Arch.Hidden},
		{"Arch.LayerNorm", s.Arch.LayerNorm, o.Arch.LayerNorm},
		{"Critics", s.Critics, o.Critics},
		{"CriticHidden", s.CriticHidden, o.CriticHidden},
	} {
		if a, b := fmt.Sprint(f.a), fmt.Sprint(f.b); a != b {
			d = append(d, fmt.Sprintf("%s is %s and %s", f.name, a, b))
		}
	}
	return d
}

// tensors lists everything of a checkpoint; the arrays are shared, but for the
// step counts of the optimisers.
func (l *Learner) tensors(o optimisers) []nn.Tensor {
	ts := l.actor.Tensors()
	ts = append(ts, prefix("reference", l.ref.Tensors())...)
	ts = append(ts, nn.Tensors(l.criticParams)...)
	ts = append(ts, nn.Tensors(l.targetParams)...)
	ts = append(ts, nn.Tensors([]*nn.Param{l.logAlpha})...)
	ts = append(ts, prefix("critic", o.critic.State())...)
	ts = append(ts, prefix("actor", o.actor.State())...)
	return append(ts, prefix("alpha", o.alpha.State())...)
}

func prefix(name string, ts []nn.Tensor) []nn.Tensor {
	for i := range ts {
		ts[i].Name = name + "/" + ts[i].Name
	}
	return ts
}

// strip returns those of ts with the prefix, without it.
func strip(name string, ts []nn.Tensor) []nn.Tensor {
	var out []nn.Tensor
	for _, t := range ts {
		if rest, ok := strings.CutPrefix(t.Name, name+"/"); ok {
			t.Name = rest
			out = append(out, t)
		}
	}
	return out
}

// sum is the checksum of a checkpoint.
func sum(s state, ts []nn.Tensor) string {
	h := sha256.New()
	s.Sum = ""
	fmt.Fprintf(h, "%v", s)
	buf := make([]byte, 0, 1<<16)
	for _, t := range ts {
		fmt.Fprintf(h, "%s %v", t.Name, t.Shape)
		for i, v := range t.Data {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			if len(buf) == cap(buf) || i == len(t.Data)-1 {
				h.Write(buf)
				buf = buf[:0]
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
