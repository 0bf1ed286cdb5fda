package checkpoint

import (
	"fmt"
	"io"
	"math/rand/v2"
)

// Stage is what learners by imitation keep beside their tensors.
type Stage[A Shape[A]] struct {
	Arch    A
	Rand    []byte // the PCG's own encoding
	Fitted  bool   // the normalisation is set
	Steps   uint64 // gradient steps so far
	Version uint64 // of the parameters
}

// Shape is the shape of a network, which tells how it differs from another.
type Shape[A any] interface{ Diff(A) []string }

// SaveStage saves s with the state of pcg.
func SaveStage[A Shape[A]](w io.Writer, format string, s Stage[A], pcg *rand.PCG, parts ...Part) error {
	var err error
	if s.Rand, err = pcg.MarshalBinary(); err != nil {
		return err
	}
	return Save(w, format, s, parts...)
}

// RestoreStage is Restore of a Stage of a network of shape arch, with the state of
// pcg.
func RestoreStage[A Shape[A]](r io.Reader, format string, arch A, pcg *rand.PCG, parts ...Part) (Stage[A], error) {
	var was rand.PCG
	s, err := Restore(r, format, func(s Stage[A]) error {
		if err := Diff(arch.Diff(s.Arch)).Err(); err != nil {
			return err
		}
		if err := was.UnmarshalBinary(s.Rand); err != nil {
			return fmt.Errorf("random state: %w", err)
		}
		return nil
	}, parts...)
	if err == nil {
		*pcg = was
	}
	return s, err
}
