package classifier

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
)

func TestInputIsEmbeddingPlacesAndDistances(t *testing.T) {
	f := perception.Features{Embed: []float32{7, 8}}
	f.Keys = perception.AddPlace(f.Keys, "hand", [3]float64{0, 0, 0}, 1)
	f.Keys = perception.AddPlace(f.Keys, "cube", [3]float64{3, 4, 12}, 0)
	f.Keys = perception.AddPlace(f.Keys, "cup", [3]float64{3, 0, 0}, 0.5)
	points := []float32{0, 0, 0, 1, 3, 4, 12, 0, 3, 0, 0, 0.5,
		13, 5, // cube, hand
		3, 3, float32(math.Hypot(4, 12)), 4} // cup, hand and cube
	names := []string{"hand", "cube", "cup"}
	for _, tt := range []struct {
		sees Sees
		want []float32
	}{
		{Sees{}, f.Embed},
		{Sees{Points: names, Alone: true}, points},
		{Sees{Points: names}, append([]float32{7, 8}, points...)},
	} {
		got, err := tt.sees.Input(f)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, error %v, want %v", tt.sees, got, err, tt.want)
		}
	}
	if _, err := (Sees{Points: []string{"spoon"}}).Input(f); err == nil || !strings.Contains(err.Error(), `"spoon"`) {
		t.Errorf("a point that is not tracked: error %v", err)
	}
	for _, bad := range []Sees{{Alone: true}, {Points: []string{""}}, {Points: []string{"a", "a"}}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken for valid", bad)
		}
	}
}

// Whether the hand is within 4 cm of a ball that lies elsewhere each time is not linear in
// places, nor in an embedding that does not know; it is in distances.
func TestPointsTellWhatIsNear(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 0))
	var shots []Shot
	var last perception.Features
	sees := Sees{Points: []string{"hand", "ball"}, Alone: true}
	for g := range 40 {
		for range 10 {
			at := [3]float64{0.3 + 0.3*rng.Float64(), rng.Float64() - 0.5, 0.03}
			far, turn := 0.12*rng.Float64(), 2*math.Pi*rng.Float64()
			f := perception.Features{Embed: []float32{float32(rng.NormFloat64())}}
			f.Keys = perception.AddPlace(f.Keys, "ball", at, 1)
			f.Keys = perception.AddPlace(f.Keys, "hand", [3]float64{at[0] + far*math.Cos(turn), at[1] + far*math.Sin(turn), at[2]}, 1)
			x, err := sees.Input(f)
			if err != nil {
				t.Fatal(err)
			}
			shots, last = append(shots, Shot{Group: fmt.Sprint(g), Input: x, Success: far < 0.04}), f
		}
	}
	m, rep, err := Train(t.Context(), shots, Config{Hidden: 16, Decay: 0.001})
	if err != nil {
		t.Fatalf("%v\n%s", err, rep)
	}
	if p, r := rep.Measured.Precision(), rep.Measured.Recall(); p < 0.95 || r < 0.9 {
		t.Errorf("precision %.3f, recall %.3f, want 0.95 and 0.9", p, r)
	}
	m.Sees = sees
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Model
	if err := json.Unmarshal(b, &back); err != nil || back.Validate() != nil {
		t.Fatal(err, back.Validate())
	}
	p, err := back.Succeeded(t.Context(), last)
	want, err2 := m.Succeeded(t.Context(), last)
	if err != nil || err2 != nil || p != want {
		t.Errorf("told %v (%v), after it was written %v (%v)", want, err2, p, err)
	}
	if _, err := back.Succeeded(t.Context(), perception.Features{Embed: last.Embed}); err == nil {
		t.Error("features without points are told")
	}
}
