package view_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
	"pgregory.net/rapid"
)

func config() view.Config {
	return view.Config{
		Embed: 2, Place: []int{1, 0}, Origin: [3]float64{0.5, -0.5, 9}, Span: 0.5, Fingers: true, Horizon: 10,
		Action: view.Action{Axes: []int{1, 5}, Scale: 0.0125, Turn: 0.1, MoveGrip: true},
	}
}

func input() policy.Input {
	in := policy.Input{Step: 5, Features: perception.Features{Embed: []float32{7, 8}}}
	in.State.EE.P = [3]float64{1, 0.25, math.NaN()} // z is not seen
	in.State.Grip = 0.02
	return in
}

func TestRowHoldsWhatIsConfigured(t *testing.T) {
	whole := config()
	only := func(f func(c *view.Config)) view.Config {
		c := view.Config{Action: whole.Action}
		f(&c)
		return c
	}
	for _, tt := range []struct {
		name string
		c    view.Config
		want []float32
	}{
		{"everything in order", whole, []float32{7, 8, 1.5, 1, 0.25, 0.5}},
		{"embedding", only(func(c *view.Config) { c.Embed = 2 }), []float32{7, 8}},
		{"fingers", only(func(c *view.Config) { c.Fingers = true }), []float32{0.25}},
		{"clock", only(func(c *view.Config) { c.Horizon = 20 }), []float32{0.25}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.c.Validate(); err != nil {
				t.Fatal(err)
			}
			got := make([]float32, tt.c.Dim())
			if err := tt.c.Row(got, input()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("row = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRowRefusesWhatNoPolicyMaySee(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(in *policy.Input)
		want  string
	}{
		{"short embedding", func(in *policy.Input) { in.Features.Embed = in.Features.Embed[:1] }, "has 1 numbers, want 2"},
		{"NaN feature", func(in *policy.Input) { in.Features.Embed[1] = float32(math.NaN()) }, "number 1"},
		{"infinite place", func(in *policy.Input) { in.State.EE.P[0] = math.Inf(-1) }, "number 3"},
		{"NaN fingers", func(in *policy.Input) { in.State.Grip = math.NaN() }, "number 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := input()
			tt.spoil(&in)
			err := config().Row(make([]float32, config().Dim()), in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestRowDoesNotAllocate(t *testing.T) {
	c, in := config(), input()
	row := make([]float32, c.Dim())
	if n := testing.AllocsPerRun(100, func() { _ = c.Row(row, in) }); n != 0 {
		t.Errorf("Row allocates %v times, want 0", n)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for _, tt := range []struct {
		want  string
		spoil func(c *view.Config)
	}{
		{"Embed", func(c *view.Config) { c.Embed = -1 }},
		{"Horizon", func(c *view.Config) { c.Horizon = -1 }},
		{"Place holds axis 3", func(c *view.Config) { c.Place = []int{3} }},
		{"Place holds axis 1 twice", func(c *view.Config) { c.Place = []int{1, 0, 1} }},
		{"Span", func(c *view.Config) { c.Span = 0 }},
		{"Origin[2]", func(c *view.Config) { c.Origin[2] = math.NaN() }},
		{"sees nothing", func(c *view.Config) { c.Embed, c.Place, c.Fingers, c.Horizon = 0, nil, false, 0 }},
		{"Axes holds axis 6", func(c *view.Config) { c.Action.Axes = []int{6} }},
		{"Scale", func(c *view.Config) { c.Action.Scale = math.Inf(1) }},
		{"Turn", func(c *view.Config) { c.Action.Turn = -1 }},
		{"moves nothing", func(c *view.Config) { c.Action = view.Action{} }},
		{"Grip", func(c *view.Config) { c.Action.Grip = 1.5 }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			c := config()
			tt.spoil(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestDiffNamesTheField(t *testing.T) {
	if d := config().Diff(config()); d != nil {
		t.Errorf("equal views differ: %v", d)
	}
	for _, tt := range []struct {
		want  string
		spoil func(c *view.Config)
	}{
		{"Embed is 2 and 3", func(c *view.Config) { c.Embed = 3 }},
		{"Place is [1 0] and [0 1]", func(c *view.Config) { c.Place = []int{0, 1} }},
		{"Origin is [0.5 -0.5 9] and [0 0 0]", func(c *view.Config) { c.Origin = [3]float64{} }},
		{"Span is 0.5 and 1", func(c *view.Config) { c.Span = 1 }},
		{"Fingers is true and false", func(c *view.Config) { c.Fingers = false }},
		{"Horizon is 10 and 0", func(c *view.Config) { c.Horizon = 0 }},
		{"Action.Axes is [1 5] and [1]", func(c *view.Config) { c.Action.Axes = []int{1} }},
		{"Action.Scale is 0.0125 and 1", func(c *view.Config) { c.Action.Scale = 1 }},
		{"Action.Turn is 0.1 and 1", func(c *view.Config) { c.Action.Turn = 1 }},
		{"Action.MoveGrip is true and false", func(c *view.Config) { c.Action.MoveGrip = false }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			o := config()
			tt.spoil(&o)
			if d := config().Diff(o); !slices.Equal(d, []string{tt.want}) {
				t.Errorf("diff = %q, want %q alone", d, tt.want)
			}
		})
	}
	// Points are seen in units of the workspace, too, and what is seen of neither is not.
	for _, tt := range []struct {
		name string
		keys []string
		want []string
	}{
		{"points alone", []string{"ball"}, []string{"Origin is [0.5 -0.5 9] and [0 0 0]", "Span is 0.5 and 1"}},
		{"no place at all", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			c.Place, c.Keys = nil, tt.keys
			o := c
			o.Origin, o.Span = [3]float64{}, 1
			if d := c.Diff(o); !slices.Equal(d, tt.want) {
				t.Errorf("diff = %q, want %q", d, tt.want)
			}
		})
	}
}

func TestCommandAndRowAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := view.Action{
			Axes:     rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(t, "order")[:rapid.IntRange(1, 6).Draw(t, "axes")],
			Scale:    rapid.Float64Range(1e-4, 0.1).Draw(t, "scale"),
			Turn:     rapid.Float64Range(1e-4, 0.5).Draw(t, "turn"),
			MoveGrip: rapid.Bool().Draw(t, "grip"),
		}
		act := rapid.SliceOfN(rapid.Float32Range(-1, 1), a.Dim(), a.Dim()).Draw(t, "act")
		got := make([]float32, a.Dim())
		if lost := a.Row(got, a.Command(act)); lost > 1e-12 {
			t.Fatalf("lost %v of an action's own command", lost)
		}
		for i := range got {
			// Two roundings in float64 stay below float32's own.
			if math.Abs(float64(got[i]-act[i])) > 1e-7 {
				t.Fatalf("action %v came back as %v", act, got)
			}
		}
	})
}

func TestRowTellsWhatIsLost(t *testing.T) {
	a := view.Action{Axes: []int{0, 1}, Scale: 0.01, Grip: 0.5}
	for _, tt := range []struct {
		name string
		c    robot.Command
		act  []float32
		lost float64
	}{
		{"within", robot.Command{Delta: [6]float64{0.005, -0.01}, Grip: 1}, []float32{0.5, -1}, 0},
		{"beyond the range", robot.Command{Delta: [6]float64{0.025}}, []float32{1, 0}, 1.5},
		{"along an axis that it lacks", robot.Command{Delta: [6]float64{2: 0.02}}, []float32{0, 0}, 2},
		{"about an axis that it lacks", robot.Command{Delta: [6]float64{4: -0.3}}, []float32{0, 0}, 0.3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			act := make([]float32, 2)
			lost := a.Row(act, tt.c)
			if !slices.Equal(act, tt.act) || math.Abs(lost-tt.lost) > 1e-12 {
				t.Errorf("row = %v, lost %v; want %v, %v", act, lost, tt.act, tt.lost)
			}
		})
	}
}

func ExampleAction() {
	a := view.Action{Axes: []int{0, 1}, Scale: 0.0125}
	c := a.Command([]float32{1, -3}) // clamped to [-1,1]
	fmt.Println(c.Delta[:3])
	// Output: [0.0125 -0.0125 0]
}

func TestImageHoldsTheCamerasInOrder(t *testing.T) {
	c := view.Config{Cameras: []view.Camera{{"wrist", 2, 1}, {"front", 1, 1}}, Action: config().Action}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	in := input()
	in.Frames = []robot.Frame{
		{Camera: "front", W: 1, H: 1, Pix: []byte{1, 2, 3}},
		{Camera: "side", W: 9, H: 9},
		{Camera: "wrist", W: 2, H: 1, Pix: []byte{4, 5, 6, 7, 8, 9}},
	}
	got := make([]byte, c.Pixels())
	if err := c.Image(got, in); err != nil {
		t.Fatal(err)
	}
	if want := []byte{4, 5, 6, 7, 8, 9, 1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("image = %v, want %v", got, want)
	}
	for _, tt := range []struct {
		want  string
		spoil func(fs []robot.Frame)
	}{
		{`no frame of camera "front"`, func(fs []robot.Frame) { fs[0].Camera = "back" }},
		{`"wrist" gave 1x1 pixels`, func(fs []robot.Frame) { fs[2] = robot.Frame{Camera: "wrist", W: 1, H: 1, Pix: []byte{1, 2, 3}} }},
		{"in 5 bytes", func(fs []robot.Frame) { fs[2].Pix = fs[2].Pix[:5] }},
	} {
		bad := in
		bad.Frames = slices.Clone(in.Frames)
		tt.spoil(bad.Frames)
		if err := c.Image(got, bad); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error = %v, want one with %q", err, tt.want)
		}
	}
}

func TestCamerasAreChecked(t *testing.T) {
	for _, cams := range [][]view.Camera{
		{{"", 1, 1}},
		{{"a", 1, 1}, {"a", 1, 1}},
		{{"a", 0, 1}},
		{{"a", 1 << 62, 4}},
		{{"a", 1 << 12, 1 << 11}, {"b", 1, 1}},
	} {
		c := view.Config{Cameras: cams, Action: config().Action}
		if err := c.Validate(); err == nil {
			t.Errorf("%v was accepted", cams)
		}
	}
}
