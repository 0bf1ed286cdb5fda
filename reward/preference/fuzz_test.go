package preference_test

import (
	"bytes"
	"testing"

	"github.com/rapport-rl/rapport/reward/preference"
)

func FuzzLoad(f *testing.F) {
	rng := newRand(1)
	for _, cfg := range []preference.Config{
		{Linear: true, Epochs: 1},
		{Hidden: []int{2}, Members: 1, Ties: preference.Davidson, Epochs: 1},
	} {
		net, _, err := preference.FitRLHF(f.Context(), asked(rng, 5, 2, []float64{1, 0}, preference.BradleyTerry, 0), cfg)
		if err != nil {
			f.Fatal(err)
		}
		var b bytes.Buffer
		if err := net.Save(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		net, err := preference.Load(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := net.Save(&b); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := preference.Load(&b); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}
