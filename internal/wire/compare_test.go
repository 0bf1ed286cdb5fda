package wire

import (
	"context"
	"errors"
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
)

func TestJudgeIsTheAuthorsMeasure(t *testing.T) {
	nan := math.NaN()
	up := []float64{0, 1, 2, 3, 4, 5, 6, 7}
	down := []float64{7, 6, 5, 4, 3, 2, 1, 0}
	flat := make([]float64, 8)
	// Right at every other step alone, which is what is looked at: steps 1, 3, 5, 7.
	every := []float64{1, 9, 2, 0, 3, 9, 4, 0}
	o := Comparison{Every: 2, Rewards: []string{"up", "down", "flat", "every", "none"}, Episodes: []Rated{
		{Steps: 8, Distance: down, Negative: true, Rewards: [][]float64{up, down, flat, every, nil}},
		{Steps: 8, Distance: []float64{7, 6, 5, 4, 3, 2, 1, 0.5}, Rewards: [][]float64{down, down, flat, every, nil}},
		{Steps: 8, Distance: []float64{0, 0, 1e-5, 0, 2e-5, 0, 3e-5, 0}, Negative: true, Rewards: [][]float64{up, down, flat, every, nil}}, // nothing moved, it jitters
		{Steps: 8, Rewards: [][]float64{up, up, up, up, up}},                                                                               // no truth
		{Err: context.Canceled},
	}}
	o.judge()
	want := []Judged{
		{Negative: 1, All: 0, OfNegative: 1, OfAll: 2, ReturnNegative: nan, Returns: nan},
		{Negative: -1, All: -1, OfNegative: 1, OfAll: 2, ReturnNegative: nan, Returns: nan},
		{Negative: 0, All: 0, OfNegative: 1, OfAll: 2, ReturnNegative: nan, Returns: nan},
		{Negative: 1, All: 1, OfNegative: 1, OfAll: 2, ReturnNegative: nan, Returns: nan},
		{Negative: nan, All: nan, ReturnNegative: nan, Returns: nan},
	}
	if diff := cmp.Diff(want, o.Truth, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
}

// What people saw of an episode is what is learned from, and not all of it.
func TestTripletsOfStretchesAreOfThese(t *testing.T) {
	video := func(name string) rapl.Video { return rapl.Video{Name: name, D: 2, Embed: []float32{0, 1, 2, 3, 4, 5}} }
	answer := func(a, b, w label.Clip) label.Likeness {
		return label.Likeness{Anchor: a, Order: label.Order{Better: b, Worse: w}}
	}
	a, b, w := label.Clip{Episode: "a"}, label.Clip{Episode: "b", From: 1, To: 3}, label.Clip{Episode: "w", From: 2}
	got := compared([]label.Likeness{
		answer(a, b, w),
		answer(a, b, label.Clip{Episode: "w", From: 2, To: 4}), // beyond its end
		answer(a, b, label.Clip{Episode: "elsewhere"}),
	}, []rapl.Video{video("a"), video("b"), video("w")}, false)
	want := []rapl.Triplet{{Anchor: video("a"), Better: rapl.Video{Name: "b[1:3]", D: 2, Embed: []float32{2, 3, 4, 5}}, Worse: rapl.Video{Name: "w[2:0]", D: 2, Embed: []float32{4, 5}}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// comparesAgain fails unless a session's rewards come out again beside others, under the
// name of their kind; those of truth by living through the episodes again.
func comparesAgain(t *testing.T, dir, kind string, gamma float64) {
	t.Helper()
	c, err := CompareRewards(t.Context(), CompareConfig{ReplayConfig: ReplayConfig{Files: []string{dir}}, Every: 1}, nil, nil, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if left := c.Left(); len(left) > 0 {
		t.Errorf("left out: %v", left)
	}
	if c.Discount != gamma {
		t.Errorf("STARC of the discount %v, want the learner's %v", c.Discount, gamma)
	}
	found := false
	for _, p := range c.Pairs {
		if c.Rewards[p.A] != "logged" || c.Rewards[p.B] != kind {
			continue
		}
		found = true
		for _, e := range c.Episodes {
			if !slices.Equal(e.Rewards[p.A], e.Rewards[p.B]) {
				t.Errorf("%s: %v were logged, %s gives %v", e.ID, e.Rewards[p.A], kind, e.Rewards[p.B])
			}
		}
		// A reward that is the same in every frame has no order.
		if p.STARC != 0 || p.PerFrame != 1 && !math.IsNaN(p.PerFrame) {
			t.Errorf("the logged rewards and the same again: %+v", p)
		}
	}
	if !found {
		t.Errorf("kind %s: compared are %v", kind, c.Rewards)
	}
}

// corner is an encoder that sees how red the pixels of a quarter of the image are.
type corner struct{}

func (corner) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	sum := float32(0)
	f := fs[0]
	for y := range f.H / 2 {
		for x := range f.W / 2 {
			sum += float32(f.Pix[3*(y*f.W+x)+2])
		}
	}
	return perception.Features{Embed: []float32{sum}}, nil
}

// redness is a reward that likes what corner sees.
type redness struct{}

func (redness) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	for t := range dst {
		dst[t] = float64(traj[t+1].Embed[0])
	}
	return nil
}

func TestSaliencyFindsWhatTheRewardLooksAt(t *testing.T) {
	const side, patches = 32, 4
	f := robot.Frame{Camera: "front", W: side, H: side, Pix: make([]byte, 3*side*side)}
	for i := range f.Pix {
		f.Pix[i] = 40
	}
	red := func(at image.Rectangle) {
		for y := at.Min.Y; y < at.Max.Y; y++ {
			for x := at.Min.X; x < at.Max.X; x++ {
				f.Pix[3*(y*side+x)+2] = 250
			}
		}
	}
	red(patch(f, 1, patches))    // in the corner that counts: column 1, row 0
	red(patch(f, 15, patches))   // where nobody looks
	dark := patch(f, 4, patches) // darker than the mean: column 0, row 1
	for y := dark.Min.Y; y < dark.Max.Y; y++ {
		for x := dark.Min.X; x < dark.Max.X; x++ {
			f.Pix[3*(y*side+x)+2] = 0
		}
	}
	c, err := coverings(t.Context(), corner{}, []robot.Frame{f}, patches)
	if err != nil {
		t.Fatal(err)
	}
	traj := make([]perception.Features, 3)
	for i := range traj {
		traj[i].Embed = []float32{1}
	}
	maps, err := occluded(t.Context(), redness{}, traj, 2, c)
	if err != nil {
		t.Fatal(err)
	}
	m := maps[0]
	for p, x := range m {
		inside := p%patches < 2 && p/patches < 2
		if !inside && x != 0 {
			t.Errorf("covering patch %d, which the encoder does not see, changes the reward by %v", p, x)
		}
		if p != 1 && x >= m[1] {
			t.Errorf("patch %d counts %v, the red one %v", p, x, m[1])
		}
	}
	if !(m[1] > 0 && m[4] < 0) {
		t.Errorf("covering the red patch lowers the reward by %v, covering the dark one by %v", m[1], m[4])
	}
	if traj[2].Embed[0] != 1 {
		t.Error("the trajectory was altered")
	}
	over, err := overlay(f, m, patches, []perception.Keypoint{{Camera: "front", X: 20, Y: 20}})
	if err != nil {
		t.Fatal(err)
	}
	at := func(p image.Rectangle) [3]byte {
		x, y := (p.Min.X+p.Max.X)*magnified/2/side, (p.Min.Y+p.Max.Y)*magnified/2/side
		return [3]byte(over.Pix[3*(y*over.W+x):])
	}
	if a, b := at(patch(f, 1, patches)), at(patch(f, 4, patches)); a[2] < 150 || a[0] > 100 || b[0] <= b[2] {
		t.Errorf("the red patch is %v, the dark one %v (BGR); want a red and a blue tint", a, b)
	}
	if _, err := coverings(t.Context(), corner{}, []robot.Frame{f}, 64); err == nil {
		t.Error("32 pixels were cut into 64 patches")
	}
}

func TestChoicesAreReadAndLeftoversTold(t *testing.T) {
	o, err := parseChoices("gamma=2.5,cost=l2,x=1")
	if err != nil {
		t.Fatal(err)
	}
	if g, c, d := o.number("gamma", 1), o.text("cost", "cosine"), o.number("none", 7); g != 2.5 || c != "l2" || d != 7 {
		t.Errorf("got %v, %v, %v", g, c, d)
	}
	if err := o.end(); err == nil || err.Error() != "this kind has no x" {
		t.Errorf("left over: %v", err)
	}
	for _, bad := range []string{"a", "=1", "a=", "a=1,a=2", ",", "a=1,"} {
		if _, err := parseChoices(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if o, err := parseChoices(""); err != nil || o.end() != nil {
		t.Errorf("none: %v", err)
	}
}

func TestAnyRewardSpecificationIsReadOrRefused(t *testing.T) {
	// Of letters that specifications are made of, since few others come to anything.
	piece := rapid.OneOf(rapid.SampledFrom([]string{"a", "b", "=", ":", ",", "+", "krc", "logged", "distance", "harmonic", "of=", "lo=", "lambda=", "-1", "0.5"}), rapid.String())
	head := rapid.SampledFrom([]string{"", "a=", "a=logged", "a=distance", "a=krc:of=b", "a=harmonic:of=b+c"})
	rapid.Check(t, func(t *rapid.T) {
		s := head.Draw(t, "head") + strings.Join(rapid.SliceOfN(piece, 0, 6).Draw(t, "pieces"), "")
		b := &bench{visit: func(string) (*Session, error) { return nil, errors.New("none") }}
		rs, err := b.rivals(context.Background(), []string{s})
		if err == nil && (len(rs) != 1 || rs[0].name == "" || rs[0].rate == nil) {
			t.Errorf("%q makes %v", s, rs)
		}
	})
	if rs, err := new(bench).rivals(t.Context(), []string{"a=logged", "b=distance"}); err != nil || len(rs) != 2 {
		t.Errorf("%v, %v", rs, err)
	}
}
