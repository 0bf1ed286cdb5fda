package vlmrm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/robot"
)

var _ reward.Scorer = (*Scorer)(nil)

const d = 64

func gauss(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

func unit(x []float64) []float64 {
	floats.Scale(1/floats.Norm(x, 2), x)
	return x
}

func scorer(t *testing.T, goal, base []float64, alpha float64) *Scorer {
	t.Helper()
	m, err := Of([][]float64{goal}, [][]float64{base}, alpha, 1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The acceptance of capability card 13, in three parts.
func TestAlphaZeroIsTheCosine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	goal, base := gauss(rng, d), gauss(rng, d)
	s := scorer(t, goal, base, 0)
	for range 100 {
		x := unit(gauss(rng, d))
		want := floats.Dot(x, goal) / floats.Norm(goal, 2)
		if got := s.At(x); math.Abs(got-want) > 1e-6 {
			t.Fatalf("reward %v, want the cosine %v", got, want)
		}
	}
}

func TestTheLineDisregardsNuisance(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	goal, base := unit(gauss(rng, d)), unit(gauss(rng, d))
	u := make([]float64, d)
	floats.SubTo(u, goal, base)
	unit(u)
	var truth []float64
	var traj []perception.Features
	traj = append(traj, perception.Features{})
	for i := range 200 {
		a := float64(i) / 199
		// From baseline to goal, with something large across the line that changes from
		// frame to frame.
		x := make([]float64, d)
		floats.AddScaled(x, 1-a, base)
		floats.AddScaled(x, a, goal)
		n := gauss(rng, d)
		floats.AddScaled(n, -floats.Dot(n, u), u)
		floats.AddScaled(x, 1.2*rng.Float64(), unit(n))
		f := perception.Features{Embed: make([]float32, d)}
		for j, v := range x {
			f.Embed[j] = float32(v)
		}
		truth, traj = append(truth, a), append(traj, f)
	}
	rho := map[float64]float64{}
	for _, alpha := range []float64{0, 0.5, 1} {
		got := make([]float64, 200)
		for i, f := range traj[1:] {
			row := make([]float64, d)
			for j, v := range f.Embed {
				row[j] = float64(v)
			}
			got[i] = scorer(t, goal, base, alpha).At(row)
		}
		rho[alpha] = rank.Spearman(got, truth)
	}
	t.Log(rho)
	if rho[1] < 0.98 || rho[1] <= rho[0] {
		t.Errorf("Spearman %v with alpha 1 and %v with 0, want 0.98 and less", rho[1], rho[0])
	}
	// What is across the line changes nothing at alpha 1, and something at ½.
	x, n := gauss(rng, d), gauss(rng, d)
	floats.AddScaled(n, -floats.Dot(n, u), u)
	y := make([]float64, d)
	floats.AddTo(y, x, n)
	if a, b := scorer(t, goal, base, 1).At(x), scorer(t, goal, base, 1).At(y); math.Abs(a-b) > 1e-9*math.Abs(a) {
		t.Errorf("alpha 1: %v, and %v with something across the line", a, b)
	}
	if a, b := scorer(t, goal, base, 0.5).At(x), scorer(t, goal, base, 0.5).At(y); math.Abs(a-b) < 1e-6 {
		t.Error("alpha 0.5 disregards what is across the line")
	}
}

// The formula as the paper has it, with a projection onto the line.
func TestFormulaAgainstThePaper(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	goal, base := unit(gauss(rng, d)), unit(gauss(rng, d))
	for _, alpha := range []float64{0, 0.3, 0.9, 1} {
		x := unit(gauss(rng, d))
		dir, off := make([]float64, d), make([]float64, d)
		floats.SubTo(dir, goal, base)
		floats.SubTo(off, x, base)
		k := floats.Dot(off, dir) / floats.Dot(dir, dir)
		sum := 0.0
		for i := range x {
			e := alpha*(base[i]+k*dir[i]) + (1-alpha)*x[i] - goal[i]
			sum += e * e
		}
		if got, want := scorer(t, goal, base, alpha).At(x), 1-sum/2; math.Abs(got-want) > 1e-12 {
			t.Errorf("alpha %v: %v, want %v", alpha, got, want)
		}
	}
}

// An image model in a file made here, whose embedding is the mean of blue and of red:
// the prompt is "red", the beginning "blue".
func TestFramesThroughONNX(t *testing.T) {
	const side = 4
	b := onnx.NewBuilder("image")
	x := b.Flatten(b.Input("image", "RGB", 3, side, side))
	w := nn.NewParam("w", 2, 3*side*side)
	bias := nn.NewParam("b", 2)
	for i := range side * side {
		w.Data[i] = 1. / (side * side)                         // red to the first
		w.Data[3*side*side+2*side*side+i] = 1. / (side * side) // blue to the second
	}
	b.Output("embedding", "", b.Linear(x, w, bias), 2)
	path := filepath.Join(t.TempDir(), "image.onnx")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Model().Write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	enc, err := encoder.LoadONNX(encoder.ONNXConfig{Model: path, Cameras: []encoder.Camera{{Name: "front"}, {Name: "wrist"}},
		Net: vision.NetConfig{W: side, H: side, SwapRB: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	frame := func(camera string, blue, red byte) robot.Frame {
		f := robot.Frame{Camera: camera, W: side, H: side, Pix: make([]byte, 3*side*side)}
		for i := range side * side {
			f.Pix[3*i], f.Pix[3*i+2] = blue, red
		}
		return f
	}
	var traj []perception.Features
	for _, red := range []byte{0, 60, 120, 255} {
		x, err := enc.Extract(t.Context(), []robot.Frame{frame("front", 255-red, red), frame("wrist", 255-red, red)})
		if err != nil {
			t.Fatal(err)
		}
		traj = append(traj, x)
	}
	m, err := Of([][]float64{{3, 0}}, [][]float64{{0, 1}}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Model
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	s, err := New(back)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float64, 3)
	if err := s.Score(t.Context(), got, traj); err != nil {
		t.Fatal(err)
	}
	if !(got[0] < got[1] && got[1] < got[2]) || math.Abs(got[2]-1) > 1e-6 {
		t.Errorf("rewards %v, want rising to 1", got)
	}
}

func npy(version byte, descr, order, shape string, numbers any) []byte {
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape)
	var b bytes.Buffer
	b.WriteString("\x93NUMPY")
	b.Write([]byte{version, 0})
	if version == 1 {
		binary.Write(&b, binary.LittleEndian, uint16(len(head)))
	} else {
		binary.Write(&b, binary.LittleEndian, uint32(len(head)))
	}
	b.WriteString(head)
	binary.Write(&b, binary.LittleEndian, numbers)
	return b.Bytes()
}

func TestRead(t *testing.T) {
	for what, c := range map[string]struct {
		name string
		b    []byte
		want string
	}{
		"array":     {"a.json", []byte(`[1, 2.5]`), "[[1 2.5]]"},
		"arrays":    {"a.json", []byte(`[[1, 2], [3, 4]]`), "[[1 2] [3 4]]"},
		"endpoint":  {"a.json", []byte(`{"object":"list","data":[{"embedding":[1,2]},{"embedding":[3,4]}],"model":"m"}`), "[[1 2] [3 4]]"},
		"float32":   {"a.npy", npy(1, "<f4", "False", "(2, 2)", []float32{1, 2, 3, 4}), "[[1 2] [3 4]]"},
		"float64":   {"a.NPY", npy(2, "<f8", "False", "(2, 1)", []float64{1, 2}), "[[1] [2]]"},
		"one axis":  {"a.npy", npy(1, "<f8", "True", "(3,)", []float64{1, 2, 3}), "[[1 2 3]]"},
		"!ragged":   {"a.json", []byte(`[[1, 2], [3]]`), "embedding 1 has 1 numbers"},
		"!empty":    {"a.json", []byte(`{"data":[]}`), "no embedding"},
		"!text":     {"a.json", []byte(`hello`), "neither an array"},
		"!order":    {"a.npy", npy(1, "<f8", "True", "(2, 1)", []float64{1, 2}), "Fortran"},
		"!type":     {"a.npy", npy(1, "<f2", "False", "(1, 1)", []float32{1}), "astype"},
		"!axes":     {"a.npy", npy(1, "<f8", "False", "(1, 1, 1)", []float64{1}), "3 axes"},
		"!short":    {"a.npy", npy(1, "<f8", "False", "(2, 2)", []float64{1, 2}), "16 bytes of numbers"},
		"!huge":     {"a.npy", npy(1, "<f8", "False", "(67108864, 67108864)", []float64{1, 2}), "bytes of numbers"},
		"!version":  {"a.npy", npy(9, "<f8", "False", "(1,)", []float64{1}), "version 9"},
		"!magic":    {"a.npy", []byte("PK\x03\x04aaaaaaaaaa"), "not a .npy"},
		"!no shape": {"a.npy", npy(1, "<f8", "False", "", []float64{1}), "lacks"},
		"!nan":      {"a.npy", npy(1, "<f8", "False", "(1,)", []float64{math.NaN()}), "is NaN"},
	} {
		rows, err := Read(bytes.NewReader(c.b), c.name)
		if strings.HasPrefix(what, "!") {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want %q", what, err, c.want)
			}
		} else if err != nil || fmt.Sprint(rows) != c.want {
			t.Errorf("%s: %v, error %v, want %s", what, rows, err, c.want)
		}
	}
	if _, err := Read(io.MultiReader(strings.NewReader("["), errs{}), "a.json"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

type errs struct{}

func (errs) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func FuzzRead(f *testing.F) {
	f.Add(npy(1, "<f4", "False", "(2, 2)", []float32{1, 2, 3, 4}), true)
	f.Add(npy(2, "<f8", "True", "(3,)", []float64{1, 2, 3}), true)
	f.Add([]byte(`{"data":[{"embedding":[1,2]}]}`), false)
	f.Add([]byte(`[[1],[2]]`), false)
	f.Fuzz(func(t *testing.T, b []byte, isNPY bool) {
		name := "a.json"
		if isNPY {
			name = "a.npy"
		}
		rows, err := Read(bytes.NewReader(b), name)
		if err != nil {
			return
		}
		for _, r := range rows {
			if len(r) == 0 || len(r) != len(rows[0]) || floats.HasNaN(r) {
				t.Fatalf("unsound rows %v", rows)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	one := []float64{1, 0}
	for _, c := range []struct {
		goal, base [][]float64
		alpha      float64
		cameras    int
		want       string
	}{
		{nil, nil, 0, 1, "no goal prompt"},
		{[][]float64{one}, nil, 0.5, 1, "no baseline prompt"},
		{[][]float64{one}, [][]float64{one}, 0.5, 1, "the same embedding"},
		{[][]float64{one}, [][]float64{{1}}, 0.5, 1, "make both with one model"},
		{[][]float64{one, {1}}, nil, 0, 1, "goal prompt 1"},
		{[][]float64{{0, 0}}, nil, 0, 1, "of length 0"},
		{[][]float64{one, {-1, 0}}, nil, 0, 1, "opposite"},
		{[][]float64{one}, [][]float64{{0, 1}}, 2, 1, "alpha 2"},
		{[][]float64{one}, nil, 0, 0, "0 cameras"},
	} {
		if _, err := Of(c.goal, c.base, c.alpha, c.cameras); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if _, err := New(Model{Goal: []float64{2}, Cameras: 1}); err == nil || !strings.Contains(err.Error(), "length 2") {
		t.Errorf("error %v", err)
	}
	s, err := New(Model{Goal: one, Cameras: 1})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	f := func(x ...float32) perception.Features { return perception.Features{Embed: x} }
	for _, c := range []struct {
		ctx  context.Context
		n    int
		traj []perception.Features
		want string
	}{
		{ended, 1, []perception.Features{f(1, 0), f(1, 0)}, "canceled"},
		{t.Context(), 1, []perception.Features{f(1, 0)}, "1 features for 1"},
		{t.Context(), 1, []perception.Features{f(), f(1)}, "of 1 numbers, want 2"},
		{t.Context(), 1, []perception.Features{f(), f(0, 0)}, "length 0"},
	} {
		if err := s.Score(c.ctx, make([]float64, c.n), c.traj); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
