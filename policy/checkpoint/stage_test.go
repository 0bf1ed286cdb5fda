package checkpoint_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/checkpoint"
)

// shape is the width of a network.
type shape int

func (s shape) Diff(o shape) []string {
	if s == o {
		return nil
	}
	return []string{fmt.Sprintf("width is %d and %d", s, o)}
}

func TestStageComesBack(t *testing.T) {
	pcg := rand.NewPCG(1, 2)
	pcg.Uint64()
	var out bytes.Buffer
	if err := checkpoint.SaveStage(&out, format, checkpoint.Stage[shape]{Arch: 3, Fitted: true, Steps: 7, Version: 4}, pcg, newBox(5).parts()...); err != nil {
		t.Fatal(err)
	}
	want := pcg.Uint64()
	b, other := newBox(1), rand.NewPCG(8, 9)
	s, err := checkpoint.RestoreStage(bytes.NewReader(out.Bytes()), format, shape(3), other, b.parts()...)
	if err != nil {
		t.Fatal(err)
	}
	if s.Arch != 3 || !s.Fitted || s.Steps != 7 || s.Version != 4 || b.w.Data[0] != 5 {
		t.Errorf("stage %+v, weights %v", s, b.w.Data)
	}
	if got := other.Uint64(); got != want {
		t.Errorf("the next random number is %d, want %d", got, want)
	}
}

func TestStageThatIsRefusedChangesNothing(t *testing.T) {
	save := func(s checkpoint.Stage[shape]) []byte {
		return newBox(5).save(t, format, s)
	}
	pcg, err := rand.NewPCG(1, 2).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		data []byte
		want string
	}{
		{save(checkpoint.Stage[shape]{Arch: 4, Rand: pcg}), "width is 3 and 4"},
		{save(checkpoint.Stage[shape]{Arch: 3, Rand: pcg[:5]}), "random state"},
		{save(checkpoint.Stage[shape]{Arch: 3, Rand: pcg})[:40], "header"},
	} {
		b, r, same := newBox(1), rand.NewPCG(8, 9), rand.NewPCG(8, 9)
		_, err := checkpoint.RestoreStage(bytes.NewReader(tt.data), format, shape(3), r, b.parts()...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error = %v, want one with %q", err, tt.want)
		}
		if b.w.Data[0] != 1 || r.Uint64() != same.Uint64() {
			t.Errorf("what was refused (%s) changed the learner", tt.want)
		}
	}
}
