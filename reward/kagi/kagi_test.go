package kagi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/blob"
)

// push is a plan for the blob world, in pixels: to the object's far side, then the
// object to the goal.
func push() kagi.Plan {
	return kagi.Plan{
		Task: "push the red disc into the green ring", Camera: blob.Camera,
		Points: []kagi.Point{
			{Name: "hand", Hand: true},
			{Name: "object", Camera: blob.Camera, Colour: &[3]float64{204, 38, 38}},
			{Name: "goal", Camera: blob.Camera, Colour: &[3]float64{51, 166, 77}},
		},
		Stages: []kagi.Stage{
			{Point: "hand", Waypoints: []kagi.Waypoint{{At: [3]float64{-9, 0, 0}, From: "object"}}},
			{Point: "object", Waypoints: []kagi.Waypoint{{From: "goal", At: [3]float64{-15, 0, 0}}, {From: "goal"}}},
		},
	}
}

// watch sees a clip's frames as a session does: things by their colour, the hand by
// what the arm knows of itself.
func watch(t *testing.T, c blob.Clip, p kagi.Plan) []perception.Features {
	t.Helper()
	fs := make([]perception.Features, len(c.Frames))
	for i, f := range c.Frames {
		for _, k := range p.Points {
			key := perception.Keypoint{Name: k.Name, Camera: f.Camera, Score: 1}
			if k.Hand {
				side := float64(f.W)
				key.X, key.Y = c.States[i].Gripper.X*side-0.5, c.States[i].Gripper.Y*side-0.5
			} else {
				px, ok, err := k.Find(f)
				if err != nil {
					t.Fatal(err)
				}
				if key.X, key.Y = px[0], px[1]; !ok {
					key.Score = 0
				}
			}
			fs[i].Keys = append(fs[i].Keys, key)
		}
	}
	return fs
}

// The acceptance of card 4: on the scripted optimal path the reward rises with time.
func TestRewardRisesAlongTheOptimalPath(t *testing.T) {
	for _, form := range []kagi.Form{kagi.Furthest, kagi.Nearest} {
		for seed := range uint64(5) {
			clip := blob.New(blob.Config{}, rand.NewPCG(seed, 4)).Clip(1)
			plan := push()
			s, err := kagi.New(kagi.Config{Plan: &plan, Form: form, Tolerance: 3})
			if err != nil {
				t.Fatal(err)
			}
			traj := watch(t, clip, plan)
			r := make([]float64, len(traj)-1)
			if err := s.Score(t.Context(), r, traj); err != nil {
				t.Fatal(err)
			}
			// Until the object is at rest in the goal: what lies still has no order.
			n := len(r)
			for n > 1 && clip.States[n].Object == clip.States[n-1].Object {
				n--
			}
			time := make([]float64, n)
			for i := range time {
				time[i] = float64(i)
			}
			if tau := rank.Kendall(r[:n], time); !(tau >= 0.95) {
				t.Errorf("%s, seed %d: Kendall's tau is %.3f over %d steps, want 0.95 at least", form, seed, tau, n)
			}
			for i, v := range r {
				if !(v >= -1 && v <= 0) {
					t.Errorf("%s, seed %d: reward %d is %v, want -1 to 0", form, seed, i, v)
				}
			}
		}
	}
}

// path is a trajectory of one point named hand through places in the base frame.
func path(places ...[3]float64) []perception.Features {
	fs := make([]perception.Features, len(places))
	for i, p := range places {
		fs[i].Keys = kagi.Put(nil, "hand", p, 1)
	}
	return fs
}

// line is a plan of one stage along x with waypoints at 0.1, 0.2, 0.3 m.
func line() *kagi.Plan {
	return &kagi.Plan{Points: []kagi.Point{{Name: "hand", Hand: true}}, Stages: []kagi.Stage{{Point: "hand",
		Waypoints: []kagi.Waypoint{{At: [3]float64{0.1}}, {At: [3]float64{0.2}}, {At: [3]float64{0.3}}}}}}
}

func score(t *testing.T, c kagi.Config, traj []perception.Features) []float64 {
	t.Helper()
	s, err := kagi.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := make([]float64, len(traj)-1)
	if err := s.Score(t.Context(), r, traj); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFormsByHand(t *testing.T) {
	// From b_0 = 0: half-way to the first; at it; three quarters of the way to the
	// second; back at the start; at the second; at the end; away again.
	xs := [][3]float64{{0}, {0.05}, {0.1}, {0.175}, {0}, {0.2}, {0.3}, {0.1}}
	for _, tt := range []struct {
		form kagi.Form
		phi  []float64
	}{
		{kagi.Furthest, []float64{0.5 / 3, 1. / 3, 1.75 / 3, 1. / 3, 2. / 3, 1, 2. / 3}},
		{kagi.Nearest, []float64{0.5 / 3, 1. / 3, 2. / 3, 0, 2. / 3, 1, 1. / 3}},
	} {
		got := score(t, kagi.Config{Plan: line(), Form: tt.form}, path(xs...))
		for i, phi := range tt.phi {
			if want := -1 + 0.9*phi; math.Abs(got[i]-want) > 1e-12 {
				t.Errorf("%s: reward %d is %.6f, want %.6f", tt.form, i, got[i], want)
			}
		}
	}
	// The potential-based variant telescopes: the discounted sum tells ends alone.
	const gamma = 0.9
	pot := score(t, kagi.Config{Plan: line(), Potential: true, Gamma: gamma}, path(xs...))
	sum, plain, g := 0.0, 0.0, 1.0
	for _, v := range pot {
		sum, plain, g = sum+g*v, plain-g, g*gamma
	}
	if want := plain + 0.9*(g*2/3-0); math.Abs(sum-want) > 1e-12 {
		t.Errorf("the discounted sum is %.6f, want %.6f", sum, want)
	}
}

func TestSuccessIsPaidTheSparseReward(t *testing.T) {
	traj := path([3]float64{0}, [3]float64{0.05}, [3]float64{0.05}, [3]float64{0.05})
	traj[2].Keys = append(traj[2].Keys, perception.Keypoint{Name: kagi.Success, Score: 0.5})
	traj[3].Keys = append(traj[3].Keys, perception.Keypoint{Name: kagi.Success, Score: 0.49})
	got := score(t, kagi.Config{Plan: line(), Sparse: -0.01}, traj)
	if got[1] != -0.01 || got[0] != got[2] || got[0] != -1+0.9*0.5/3 {
		t.Errorf("got %v, want the sparse -0.01 in the second step alone", got)
	}
}

func TestLostPointKeepsItsPlaceAndIsFlagged(t *testing.T) {
	traj := path([3]float64{0}, [3]float64{0.1}, [3]float64{0.9}, [3]float64{0.2})
	for i := range traj[2].Keys {
		traj[2].Keys[i].Score = 0
	}
	s, err := kagi.New(kagi.Config{Plan: line()})
	if err != nil {
		t.Fatal(err)
	}
	steps, legs, err := s.Explain(traj)
	if err != nil || len(legs) != 1 || len(steps) != 3 {
		t.Fatalf("got %d steps, %d legs, %v", len(steps), len(legs), err)
	}
	if e := steps[1]; !e.Lost || e.At != [3]float64{0.1} || e.Phi != steps[0].Phi {
		t.Errorf("while lost: %+v, want the step before, flagged", e)
	}
	if e := steps[2]; e.Lost || e.Waypoint != 2 || math.Abs(e.Distance-0.1) > 1e-12 || math.Abs(e.Length-0.1) > 1e-12 {
		t.Errorf("found again: %+v", e)
	}
}

func TestStagesFollowOneAnother(t *testing.T) {
	plan := &kagi.Plan{
		Points: []kagi.Point{{Name: "hand", Hand: true}, {Name: "cup", Camera: "c", Pixel: &[2]float64{1, 1}}},
		Stages: []kagi.Stage{
			{Point: "hand", Waypoints: []kagi.Waypoint{{From: "cup"}}},
			{Point: "cup", Waypoints: []kagi.Waypoint{{At: [3]float64{0.4, 0, 0.2}, From: "cup", Axes: "y"}}},
		},
	}
	tick := func(hand, cup [3]float64) perception.Features {
		return perception.Features{Keys: kagi.Put(kagi.Put(nil, "hand", hand, 1), "cup", cup, 1)}
	}
	traj := []perception.Features{
		tick([3]float64{0, 0, 0}, [3]float64{0.2, 0.1, 0}),
		tick([3]float64{0.2, 0.1, 0}, [3]float64{0.2, 0.1, 0}),
		tick([3]float64{0, 0, 0}, [3]float64{0.3, 0.1, 0.1}), // the hand matters no more
		tick([3]float64{0, 0, 0}, [3]float64{0.4, 0.1, 0.2}),
		tick([3]float64{0, 0, 0}, [3]float64{0, 0, 0}), // so the end is left again
	}
	s, err := kagi.New(kagi.Config{Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	steps, _, err := s.Explain(traj)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		stage int
		phi   float64
	}{{1, 0.5}, {1, 0.75}, {1, 1}, {1, 0.5}} {
		if steps[i].Stage != want.stage || math.Abs(steps[i].Phi-want.phi) > 1e-9 {
			t.Errorf("step %d: stage %d, progress %.3f, want %d and %.3f", i, steps[i].Stage, steps[i].Phi, want.stage, want.phi)
		}
	}
}

// What the first features carry is what counts, so a stored episode keeps its plan.
func TestPlanTravelsWithTheEpisode(t *testing.T) {
	legs := []kagi.Leg{{Point: "hand", To: [][3]float64{{0.1, 0.2, 0.3}, {1}}, Grip: []string{"", ""}}, {Point: "a/b", To: [][3]float64{{2}}, Grip: []string{""}}}
	keys := kagi.Tell(kagi.Put(nil, "hand", [3]float64{}, 1), legs)
	got, err := kagi.Told(keys)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(legs) {
		t.Fatalf("got %v, %v, want %v", got, err, legs)
	}
	traj := path([3]float64{}, [3]float64{0.5})
	traj[0].Keys = kagi.Tell(traj[0].Keys, []kagi.Leg{{Point: "hand", To: [][3]float64{{1}}, Grip: []string{""}}})
	if r := score(t, kagi.Config{Plan: line()}, traj); r[0] != -1+0.9*0.5 {
		t.Errorf("got %v, want half of the episode's own plan", r[0])
	}
	s, err := kagi.New(kagi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Score(t.Context(), make([]float64, 1), path([3]float64{}, [3]float64{})); err == nil || !strings.Contains(err.Error(), "task file") {
		t.Errorf("got %v, want to hear that there is no plan", err)
	}
	if err := s.Score(t.Context(), make([]float64, 2), traj); err == nil {
		t.Error("two features for two rewards pass")
	}
	keys[2].Name = "way/1/0/hand"
	if _, err := kagi.Told(keys); err == nil {
		t.Error("waypoints out of order pass")
	}
}

func TestLiveIsScore(t *testing.T) {
	plan := push()
	traj := watch(t, blob.New(blob.Config{}, rand.NewPCG(9, 9)).Clip(0.7), plan)
	c := kagi.Config{Plan: &plan, Tolerance: 3}
	want := score(t, c, traj)
	s, err := kagi.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l := s.Live()
	for i, f := range traj {
		if err := l.Add(f); err != nil {
			t.Fatal(err)
		}
		got := make([]float64, l.Len())
		l.Rewards(got)
		for k, v := range got {
			if v != want[k] {
				t.Fatalf("after %d features reward %d is %v, want %v", i+1, k, v, want[k])
			}
		}
	}
}

func TestBadPlansAreRefusedByField(t *testing.T) {
	good, err := json.Marshal(push())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kagi.Decode(good); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string][2]string{
		"plan:":                {`{`, ``},
		"unknown field":        {`"task"`, `"tusk"`},
		"points[1].name":       {`"name":"object"`, `"name":"hand"`},
		`begin with "way/"`:    {`"name":"object"`, `"name":"way/0/0/hand"`},
		`other than "success"`: {`"name":"object"`, `"name":"success"`},
		"points[2].camera":     {`"goal","camera":"blob"`, `"goal","camera":""`},
		"needs neither":        {`"hand":true`, `"hand":true,"pixel":[1,2]`},
		"pixel or a colour":    {`"colour":[51,166,77]`, `"height":1`},
		"points[0].all":        {`"hand":true`, `"hand":true,"all":true`},
		"points[2].near":       {`"name":"goal"`, `"name":"goal","all":true,"near":[0,0,0]`},
		"points[0].near":       {`"hand":true`, `"hand":true,"near":[0,0,0]`},
		"points[1].held":       {`"name":"object"`, `"name":"object","held":-1`},
		"points[1].upon":       {`"name":"object"`, `"name":"object","upon":0.06`},
		"stages[0].point":      {`"point":"hand"`, `"point":"foot"`},
		"waypoints[0].from":    {`"from":"object"`, `"from":"subject"`},
		"waypoints[0].axes":    {`"from":"object"`, `"from":"object","axes":"xx"`},
		"waypoints[0].grip":    {`"from":"object"`, `"from":"object","grip":"twist"`},
		"points[1].colour is":  {`"colour":[204,38,38]`, `"colour":[319,18,15]`},
		"points[1].colour has": {`"colour":[204,38,38]`, `"colour":[219,18]`},
		"points[0].pixel has":  {`"hand":true`, `"camera":"blob","pixel":[1,2,3]`},
		"points[2].height is":  {`"name":"goal"`, `"name":"goal","height":-5`},
		"[0].waypoints[0].at has 2 entries, want 3":                  {`"at":[-9,0,0]`, `"at":[-9,0]`},
		"[0].waypoints[0].at has 4 entries, want 3":                  {`"at":[-9,0,0]`, `"at":[-9,0,0,0]`},
		"[0].waypoints[0].at has 3 entries, want 3 n":                {`"at":[-9,0,0]`, `"at":[-9,null,0]`},
		"[0].waypoints[0].at is missing":                             {`"at":[-9,0,0],"from":"object"`, `"grip":"open"`},
		"[1].waypoints[0].at is [1e+308 0 0], want pixels of camera": {`"at":[-15,0,0]`, `"at":[1e308,0,0]`},
		"[0].waypoints[0].at is [-9 0 0], want metres":               {`"camera":"blob","points"`, `"points"`},
		"something follows it":                                       {`}]}]}`, `}]}]} {}`},
	} {
		b := strings.Replace(string(good), change[0], change[1], 1)
		if b == string(good) {
			t.Fatalf("%s: nothing was changed in %s", says, b)
		}
		file := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(file, []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := kagi.Load(file); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v, want %q and the file said", err, says)
		}
	}
	for says, c := range map[string]kagi.Config{
		"form": {Form: "fast"}, "tolerance": {Tolerance: -1}, "top": {Top: 2}, "sparse": {Sparse: 1}, "gamma": {Gamma: 2}, "points": {Plan: &kagi.Plan{}},
	} {
		if _, err := kagi.New(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q said", err, says)
		}
	}
}

// samePlan compares what two plans are written as: an empty list may be read as none.
func samePlan(a, b kagi.Plan) bool {
	x, err := kagi.Encode(a)
	y, err2 := kagi.Encode(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

func FuzzDecode(f *testing.F) {
	b, err := json.Marshal(push())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"points":[{"name":"hand","hand":true}],"stages":[{"point":"hand","waypoints":[{"at":[1,2,3],"from":"hand","axes":"z"}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := kagi.Decode(b)
		if err != nil {
			return
		}
		if again, err := kagi.Encode(p); err != nil {
			t.Fatalf("a valid plan is not written: %v", err)
		} else if q, err := kagi.Decode(again); err != nil || !samePlan(p, q) {
			t.Fatalf("%+v is read as %+v, %v", p, q, err)
		}
		s, err := kagi.New(kagi.Config{Plan: &p})
		if err != nil {
			t.Fatalf("a valid plan makes no scorer: %v", err)
		}
		fs := make([]perception.Features, 3)
		for i := range fs {
			for _, k := range p.Points {
				fs[i].Keys = append(kagi.Put(fs[i].Keys, k.Name, [3]float64{float64(i)}, 1), perception.Keypoint{Name: k.Name, Camera: p.Camera, Score: 1})
			}
		}
		r := make([]float64, 2)
		if err := s.Score(context.Background(), r, fs); err != nil {
			t.Fatal(err)
		}
		for _, v := range r {
			if !(v >= -1 && v <= 0) {
				t.Fatalf("reward is %v", v)
			}
		}
	})
}

func TestFindTakesTheLargestSpot(t *testing.T) {
	f := robot.Frame{Camera: "c", W: 10, H: 6, Pix: make([]byte, 180)}
	dot := func(x, y int, b, g, r byte) { copy(f.Pix[3*(y*10+x):], []byte{b, g, r}) }
	for x := range 3 {
		for y := range 2 {
			dot(6+x, 3+y, 10, 20, 200) // lit
		}
	}
	dot(0, 0, 10, 20, 200)
	px, ok, err := kagi.Find(f, [3]float64{100, 10, 5})
	if err != nil || !ok || px != [2]float64{7, 3.5} {
		t.Errorf("got %v, %v, %v, want the middle (7, 3.5)", px, ok, err)
	}
	if _, ok, err := kagi.Find(f, [3]float64{0, 0, 255}); ok || err != nil {
		t.Errorf("blue is found where there is none, or %v", err)
	}
	if _, _, err := kagi.Find(f, [3]float64{}); err == nil {
		t.Error("black passes for a colour")
	}
	if _, _, err := kagi.Find(robot.Frame{W: 3, H: 3}, [3]float64{1}); err == nil {
		t.Error("a frame without pixels passes")
	}
}

// Four things of one colour: two touch, one is far from its place, one is hidden.
func TestFindNearTellsLikesApart(t *testing.T) {
	f := robot.Frame{Camera: "c", W: 40, H: 32, Pix: make([]byte, 3*40*32)}
	box := func(x, y, w, h int) {
		for i := range w {
			for j := range h {
				copy(f.Pix[3*((y+j)*40+x+i):], []byte{10, 20, 200})
			}
		}
	}
	box(4, 10, 6, 4)  // its middle is (6.5, 11.5)
	box(10, 10, 6, 4) // (12.5, 11.5), and touches it
	box(30, 25, 4, 4) // (31.5, 26.5)
	box(33, 2, 3, 3)  // nobody's
	from := [][2]float64{{5, 12}, {13, 10}, {30, 25}, {20, 20}}
	px, ok, err := kagi.FindNear(f, [3]float64{200, 20, 10}, from)
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]float64{{6.5, 11.5}, {12.5, 11.5}, {31.5, 26.5}, {20, 20}}
	if !slices.Equal(px, want) || !slices.Equal(ok, []bool{true, true, true, false}) {
		t.Errorf("got %v, %v, want %v and the last not seen", px, ok, want)
	}
	// In whichever order they are named.
	slices.Reverse(from)
	slices.Reverse(want)
	if px, _, err = kagi.FindNear(f, [3]float64{200, 20, 10}, from); err != nil || !slices.Equal(px, want) {
		t.Errorf("reversed: got %v, %v", px, err)
	}
	if _, ok, err = kagi.FindNear(f, [3]float64{0, 0, 255}, from); err != nil || slices.Contains(ok, true) {
		t.Errorf("blue: got %v, %v, want nothing seen", ok, err)
	}
	if _, _, err := kagi.FindNear(robot.Frame{W: 3, H: 3}, [3]float64{1}, from); err == nil {
		t.Error("a frame without pixels passes")
	}
}

// A thing that is lifted and put back in one stage would be paid for at once, where it lies; in two
// it is paid for once it was lifted.
func TestWaysThatComeBackAreStagesOfTheirOwn(t *testing.T) {
	up, down := kagi.Waypoint{At: [3]float64{2: 0.1}, From: "cup"}, kagi.Waypoint{From: "cup"}
	far, aside := kagi.Waypoint{At: [3]float64{0.2, 0, 0.1}}, kagi.Waypoint{At: [3]float64{0, 0, 0.03}, From: "cup", Axes: "xy"}
	stage := func(point string, ws ...kagi.Waypoint) kagi.Stage { return kagi.Stage{Point: point, Waypoints: ws} }
	plan := func(ss ...kagi.Stage) kagi.Plan {
		return kagi.Plan{Points: []kagi.Point{{Name: "hand", Hand: true}, {Name: "cup", Camera: "front", Colour: &[3]float64{}, Height: 0.03}}, Stages: ss}
	}
	for name, tt := range map[string]struct {
		plan kagi.Plan
		says string
	}{
		"lifted and put back":           {plan(stage("cup", up, down)), "stage 1, waypoint 2 comes back to where its stage begins"},
		"put back at its height":        {plan(stage("cup", up, aside)), "waypoint 2 comes back to where"},
		"by way of the hand":            {plan(stage("hand", down), stage("cup", up, down)), "stage 2, waypoint 2 comes back to where"},
		"back to a waypoint":            {plan(stage("hand", up, down, up)), "waypoint 3 comes back to waypoint 1"},
		"back to the stage before":      {plan(stage("hand", up), stage("hand", down, up)), "stage 2, waypoint 2 comes back to where"},
		"in two stages":                 {plan(stage("cup", up), stage("cup", down)), ""},
		"another in between":            {plan(stage("cup", up), stage("hand", up), stage("cup", down)), ""},
		"said twice":                    {plan(stage("cup", down, down, up)), ""},
		"relative to something else":    {plan(stage("hand", up, far, up)), "waypoint 3"},
		"a hand that went with a thing": {plan(stage("cup", up), stage("hand", far, kagi.Waypoint{From: "hand"})), ""},
	} {
		if err := tt.plan.Onward(0); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", name, err, tt.says)
		}
	}
	cup := func(zs ...float64) (fs []perception.Features) {
		for _, z := range zs {
			fs = append(fs, perception.Features{Keys: kagi.Put(nil, "cup", [3]float64{0.5, 0, z}, 1)})
		}
		return fs
	}
	for _, form := range []kagi.Form{kagi.Furthest, kagi.Nearest} {
		p := plan(stage("cup", up), stage("cup", down))
		s, err := kagi.New(kagi.Config{Plan: &p, Form: form})
		if err != nil {
			t.Fatal(err)
		}
		steps, _, err := s.Explain(cup(0.03, 0.03, 0.08, 0.13, 0.08, 0.03))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{0, 0.25, 0.5, 0.75, 1} {
			if got := steps[i].Phi; math.Abs(got-want) > 1e-9 {
				t.Errorf("%s: progress %v at step %d, want %v", form, got, i+1, want)
			}
		}
	}
}

// board is a table of 5 x 5 tiles of 0.1 m with lines at 0, 0.1 and 0.2 m.
func board() kagi.Board {
	return kagi.Board{
		Marks: []string{"H", "P1"},
		Spot: func(tile, line string) ([3]float64, error) {
			if len(tile) != 2 || tile[0] < 'a' || tile[0] > 'e' || tile[1] < '1' || tile[1] > '5' {
				return [3]float64{}, fmt.Errorf("no tile is called %q", tile)
			}
			if len(line) != 1 || line[0] < '1' || line[0] > '3' {
				return [3]float64{}, fmt.Errorf("no line is called %q", line)
			}
			return [3]float64{float64(tile[0]-'a') * 0.1, float64(tile[1]-'1') * 0.1, float64(line[0]-'1') * 0.1}, nil
		},
		Start: map[string][3]float64{"H": {0, 0, 0.1}},
		Box:   kagi.Box{Min: [3]float64{0, 0, 0}, Max: [3]float64{0.4, 0.4, 0.15}},
	}
}

func answer(mark string, tiles ...string) string {
	s := fmt.Sprintf(`{"steps":[{"what":"go","mark":%q,"waypoints":[`, mark)
	for i, tile := range tiles {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprintf(`{"tile":%q,"line":%q,"fingers":"keep"}`, tile[:2], tile[2:])
	}
	return s + "]}]}"
}

func client(t *testing.T, s *vlmtest.Server) *vlm.Client {
	t.Helper()
	t.Cleanup(s.Close)
	c, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 3, Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A way begins where the last step left things, and not where they were at the reset.
func TestAPointsLaterStepIsJudgedFromWhereItIsThen(t *testing.T) {
	home, cube, goal := [3]float64{0, 0, 0.1}, [3]float64{0.2, 0, 0}, [3]float64{0.4, 0.3, 0}
	leg := func(point string, to ...[3]float64) kagi.Leg { return kagi.Leg{Point: point, To: to} }
	for _, tt := range []struct {
		name string
		legs []kagi.Leg
		ok   bool
	}{
		{"the hand returns from where it carried the cube", []kagi.Leg{leg("hand", cube), leg("cube", goal), leg("hand", goal, home)}, true},
		{"without reaching for it", []kagi.Leg{leg("cube", goal), leg("hand", goal, home)}, true},
		{"there and back", []kagi.Leg{leg("cube", goal), leg("cube", goal, cube)}, true},
		{"the hand goes round", []kagi.Leg{leg("hand", cube), leg("hand", goal, home)}, false},
		{"the cube is not where the hand is", []kagi.Leg{leg("hand", goal), leg("cube", home, goal)}, false},
	} {
		start := map[string][3]float64{"hand": home, "cube": cube}
		if err := kagi.Monotone(tt.legs, start, []string{"hand"}, 0.06); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(start) != 2 || start["cube"] != cube {
			t.Errorf("%s: the reset is another: %v", tt.name, start)
		}
	}
}

func TestModelIsAskedOnceAndItsWayIsJudged(t *testing.T) {
	good := answer("H", "b22", "c32")
	for _, tt := range []struct {
		name, first, says string
	}{
		{"no such mark", answer("Z", "c31"), `"Z", which is no mark`},
		{"no such tile", answer("H", "z91"), `no tile is called`},
		{"no such line", answer("H", "c39"), `no line is called`},
		{"outside the workspace", answer("H", "c33"), "outside the workspace"},
		{"comes back", answer("H", "b21", "b22", "b21"), "comes back to waypoint 1"},
		{"comes back to its start", answer("H", "b12", "a12"), "comes back to where its stage begins"},
		{"leads away", answer("H", "e52", "b22"), "leads away"},
		{"no waypoints", answer("H"), "out of bounds"},
		{"another shape", `{"waypoints":[]}`, "steps"},
		{"no JSON", `I would go to c3.`, "no JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := vlmtest.Script(vlmtest.Reply{Text: tt.first}, vlmtest.Reply{Text: good})
			legs, use, err := kagi.Ask(t.Context(), client(t, s), "reach the cup", board())
			if err != nil {
				t.Fatal(err)
			}
			if use.Tries != 2 || len(legs) != 1 || legs[0].Point != "H" || math.Abs(legs[0].To[1][0]-0.2) > 1e-12 {
				t.Errorf("got %v after %d tries, want the second answer's", legs, use.Tries)
			}
			asked := s.Asked()
			if !strings.Contains(asked[1].Text, tt.says) {
				t.Errorf("the model is told %q, want %q in it", asked[1].Text, tt.says)
			}
			if !strings.Contains(asked[0].Text, "reach the cup") || !strings.Contains(asked[0].Text, "H, P1") {
				t.Errorf("the prompt %q lacks the task or the marks", asked[0].Text)
			}
		})
	}
	t.Run("hopeless", func(t *testing.T) {
		_, _, err := kagi.Ask(t.Context(), client(t, vlmtest.Script(vlmtest.Reply{Text: "no"})), "task", board())
		if !errors.Is(err, vlm.ErrMalformed) {
			t.Errorf("got %v, want %v", err, vlm.ErrMalformed)
		}
	})
}

// Where a waypoint has nothing to count from, it is said what would help.
func TestAPointThatIsNotSeenNamesTheRemedy(t *testing.T) {
	p := push()
	_, err := p.Fix(map[string][3]float64{"hand": {}, "goal": {}})
	if want := `relative to "object", which is not seen at the reset: show it to camera blob, which looks for red, green and blue of [204 38 38], or correct points[1] of the plan`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	p.Points[1].Colour, p.Points[1].Pixel = nil, &[2]float64{3, 4}
	if _, err := p.Fix(nil); err == nil || !strings.Contains(err.Error(), "camera blob looks for it, at pixel [3 4]") {
		t.Errorf("got %v, want the pixel said", err)
	}
}
