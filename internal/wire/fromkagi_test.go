package wire

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/filter"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
	"github.com/rapport-rl/rapport/robot/record"
)

// planFile writes a plan down.
func planFile(t *testing.T, p kagi.Plan) string {
	t.Helper()
	b, err := kagi.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A session by waypoints that begins from one whose reward by them is another is to the bit
// the one that began afresh: its demonstrations are paid anew.
func TestDemonstrationsOfASessionByWaypointsArePaidAnew(t *testing.T) {
	ctx := t.Context()
	c := waypointed(t, "reach")
	c.Demos.Good, c.Demos.Bad, c.Session.End = 2, 1, "success"
	other := kagi.Plan{Task: "over the ball", Points: []kagi.Point{
		{Name: "hand", Hand: true},
		{Name: "ball", Camera: "front", Colour: &[3]float64{219, 18, 15}, Height: 0.12},
	}, Stages: []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{At: [3]float64{0, 0, 0.2}, From: "ball"}, {At: [3]float64{0.5, 0.1, 0.3}}}}}}
	plan := planFile(t, other)
	endpoint := vlmtest.Start(func(int, vlmtest.Request) vlmtest.Reply { return vlmtest.Reply{Text: wayToC3} })
	defer endpoint.Close()
	o := quietly()
	o.VLM = func(cache string) (kagi.Model, error) {
		return vlm.New(vlm.Config{URL: endpoint.URL, Model: "stub", Cache: cache})
	}
	prepared := func(name string, change func(c *config.Config)) parts {
		t.Helper()
		c := c
		c.Name = name
		change(&c)
		s, err := Create(ctx, c, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		asking, err := s.plan(ctx)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.prepare(asking)
		if err != nil {
			t.Fatal(err)
		}
		s.vlm = nil // what it goes on with needs no endpoint
		again, err := s.prepare(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range p.demos {
			if !reflect.DeepEqual(d.Rewards, again.demos[i].Rewards) {
				t.Errorf("%s goes on with %s paid %v, want %v", name, d.ID, again.demos[i].Rewards, d.Rewards)
			}
		}
		return p
	}
	c.Reward.KAGI.Source = "task"
	first := prepared("first", func(*config.Config) {})
	for _, tt := range []struct {
		name   string
		change func(k *config.KAGI)
	}{
		{"dense", func(k *config.KAGI) { k.Sparse = "none" }},
		{"potential", func(k *config.KAGI) { k.Potential, k.Tolerance, k.Top = true, 0.05, 0.5 }},
		{"plan", func(k *config.KAGI) { k.Plan = plan }},
		{"model", func(k *config.KAGI) { k.Source = "vlm" }},
	} {
		want := prepared(tt.name, func(c *config.Config) { tt.change(&c.Reward.KAGI) })
		got := prepared(tt.name+"-from", func(c *config.Config) {
			tt.change(&c.Reward.KAGI)
			c.Session.From = filepath.Join(c.Out, "first")
		})
		if !reflect.DeepEqual(got.clone, want.clone) {
			t.Errorf("%s: the clone is another", tt.name)
		}
		differs := false
		for i, d := range got.demos {
			if !reflect.DeepEqual(d.Rewards, want.demos[i].Rewards) {
				t.Errorf("%s: %s is paid %v, want %v", tt.name, d.ID, d.Rewards, want.demos[i].Rewards)
			}
			differs = differs || !reflect.DeepEqual(d.Rewards, first.demos[i].Rewards)
		}
		if !differs {
			t.Errorf("%s pays as the first does, so that this shows nothing", tt.name)
		}
		paidAlike(t, filepath.Join(c.Out, tt.name+"-from"), got.demos)
	}
	// A model that wrote the waypoints is not asked again, and its session may be paid by a plan.
	asked := len(endpoint.Asked())
	if asked != 6 {
		t.Errorf("the model was asked %d times, want once for each of 3 demonstrations made and 3 taken over", asked)
	}
	got := prepared("model-again", func(c *config.Config) {
		c.Reward.KAGI.Source, c.Session.From = "vlm", filepath.Join(c.Out, "model")
	})
	if n := len(endpoint.Asked()); n != asked || reflect.DeepEqual(got.demos[0].Rewards, first.demos[0].Rewards) {
		t.Errorf("the model was asked %d times more, want 0, and its waypoints kept", n-asked)
	}
	got = prepared("task-again", func(c *config.Config) { c.Session.From = filepath.Join(c.Out, "model") })
	for i, d := range got.demos {
		if !reflect.DeepEqual(d.Rewards, first.demos[i].Rewards) {
			t.Errorf("after a model's session %s is paid %v, want the plan's %v", d.ID, d.Rewards, first.demos[i].Rewards)
		}
	}
	// What was not followed cannot be paid for.
	c.Name, c.Session.From, c.Policy.Keys = "ghost", filepath.Join(c.Out, "nokeys"), false
	prepared("nokeys", func(c *config.Config) { c.Session.From = "" })
	other.Points = append(other.Points, kagi.Point{Name: "ghost", Camera: "front", Colour: &[3]float64{255, 0, 255}})
	other.Stages[0].Waypoints[0].From = "ghost"
	c.Reward.KAGI.Plan = planFile(t, other)
	_, err := Create(ctx, c, o)
	wantErr(t, err, "reward.kagi.plan", `"ghost"`, "begins afresh")
	c.Reward.KAGI.Plan, c.Reward.KAGI.Source, c.Reward.KAGI.Marks = "", "vlm", "candidates"
	_, err = Create(ctx, c, o)
	wantErr(t, err, "reward.kagi.marks is candidates", "reward.kagi.marks=plan")
	c.Reward.KAGI.Marks, c.Reward.KAGI.Source, c.Policy.Keys = "plan", "task", true

	c.Name, c.Session.From = "truth", filepath.Join(c.Out, "dense")
	_, err = Create(ctx, c, quietly())
	wantErr(t, err, "reward.kagi.sparse is truth", "reward.kagi.sparse=none")
	c.Robot.Task, c.Reward.KAGI.Sparse = "stack", "none"
	_, err = Create(ctx, c, quietly())
	wantErr(t, err, "task reach", "the points ball", "red, blue", "want --set 'robot.task=reach'")
}

// A comparison rates what is whole of recordings that the session does not go by: of one that is
// torn, and of one whose process died before it was counted.
func TestTornRecordingsAreComparedWhereDemonstrationsAreRenewed(t *testing.T) {
	ctx := t.Context()
	c := waypointed(t, "reach")
	c.Demos.Good, c.Demos.Bad = 2, 1
	var s *Session
	for _, c.Name = range []string{"first", "next"} {
		var err error
		if s, err = Create(ctx, c, quietly()); err != nil {
			t.Fatal(err)
		}
		_, err = s.prepare(withDesk(ctx, s.desk))
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		c.Session.From, c.Reward.KAGI.Sparse = s.Dir(), "none"
	}
	rec, err := record.Read(s.episodeFile("demo-00000"))
	if err != nil {
		t.Fatal(err)
	}
	torn, uncounted := s.episodeFile("online-00000"), s.episodeFile("online-00001")
	for i, path := range []string{torn, uncounted} {
		info := rec.Info
		info.ID, info.Origin = episodeID(i), uint8(policy.Online)
		w, err := record.Create(path, info)
		if err != nil {
			t.Fatal(err)
		}
		for _, tick := range rec.Ticks {
			if err := w.Tick(tick); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Rewards(rec.Rewards), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(torn)
	if err := errors.Join(err, os.WriteFile(torn, b[:len(b)-100], 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := CompareRewards(ctx, CompareConfig{ReplayConfig: ReplayConfig{Session: s.Dir(), Files: []string{s.episodeFile("demo-00000"), torn, uncounted}}, Rewards: []string{"own=own"}, Bare: true, Every: 1}, nil, nil, quietly())
	if err != nil || len(out.Episodes) != 3 {
		t.Fatalf("%d recordings, %v", len(out.Episodes), err)
	}
	for i, e := range out.Episodes {
		if is := errors.Is(e.Err, record.ErrTruncated); len(e.Rewards) != 1 || is != (i == 1) || e.Err != nil && !is {
			t.Errorf("%s: %d rewards, error %v", e.ID, len(e.Rewards), e.Err)
		}
	}
}

// paidAlike says that whatever looks at a session pays its demonstrations as the session does.
func paidAlike(t *testing.T, dir string, demos []policy.Episode) {
	t.Helper()
	s, err := visit(dir, trains, "training", nil, []string{"learner.kind=iql"}, quietly())
	if err != nil {
		t.Fatal(err)
	}
	offline, err := s.corpus(t.Context(), false, true)
	if err := errors.Join(err, s.store.Close()); err != nil {
		t.Fatal(err)
	}
	rows, _, err := FilterDemos(t.Context(), dir, filter.Config{}, nil, nil, quietly())
	if err != nil {
		t.Fatal(err)
	}
	beside, err := CompareRewards(t.Context(), CompareConfig{ReplayConfig: ReplayConfig{Files: []string{dir}}, Rewards: []string{"own=own"}, Bare: true, Every: 1}, nil, nil, quietly())
	if err := errors.Join(append(beside.Left(), err)...); err != nil {
		t.Fatal(err)
	}
	asData, err := OpenSession(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer asData.Close()
	var items []filter.Item
	for i, d := range demos {
		if e, err := asData.Episode(t.Context(), i); err != nil || !slices.Equal(e.Rewards, d.Rewards) {
			t.Errorf("exported %s is paid %v, %v; want %v", d.ID, e.Rewards, err, d.Rewards)
		}
		if got := offline.episodes[i].Rewards; !slices.Equal(got, d.Rewards) {
			t.Errorf("%s: offline %s is paid %v, want %v", dir, d.ID, got, d.Rewards)
		}
		if got := beside.Episodes[i].Rewards[0]; !slices.Equal(got, d.Rewards) {
			t.Errorf("%s: compared, %s is paid %v, want %v", dir, d.ID, got, d.Rewards)
		}
		items = append(items, filter.Item{ID: d.ID, Task: s.cfg.Robot.Task, Rewards: d.Rewards})
	}
	want, err := filter.Review(items, filter.Config{})
	for i, r := range want {
		if err != nil || rows[i].ID != r.ID || rows[i].Score != r.Score {
			t.Errorf("%s: the filter has %+v, %v; want %+v", dir, rows[i], err, r)
		}
	}
}
