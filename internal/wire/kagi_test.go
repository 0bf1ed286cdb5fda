package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
	"github.com/rapport-rl/rapport/robot"
)

// waypointed is a configuration of a task under the reward kagi.
func waypointed(t *testing.T, task string) config.Config {
	t.Helper()
	c := tiny(t)
	c.Robot.Task, c.Reward.Kind, c.Policy.Keys = task, "kagi", true
	return c
}

// resetArm is an arm that has begun its first episode, and what it observes then.
func resetArm(t *testing.T, c config.Config) (*arm, robot.Observation) {
	t.Helper()
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	obs, err := a.guard.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a, obs
}

// firstKeys begins an arm's next episode, and are the points that are seen then.
func firstKeys(t *testing.T, a *arm) []perception.Keypoint {
	t.Helper()
	obs, err := a.guard.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := a.track(t.Context(), 0, obs)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// logging begins a session, and is what it logs.
func logging(t *testing.T, c config.Config) (*Session, *strings.Builder) {
	t.Helper()
	var said strings.Builder
	o := quietly()
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	s, err := Create(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, &said
}

func TestPointsAreWhereTheThingsAre(t *testing.T) {
	for task, body := range map[string]map[string]string{
		"reach":   {"ball": "ball"},
		"group":   {"red": "box1", "blue": "box2"},
		"clutter": {"red": "box1", "blue": "box2", "yellow1": "box3", "yellow2": "box4", "yellow3": "box5", "yellow4": "box6"},
	} {
		a, err := newArm(waypointed(t, task), online)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range 8 {
			a.next = seed
			keys := firstKeys(t, a)
			for name, thing := range body {
				p, score, ok := perception.Place(keys, name)
				if !ok || score == 0 {
					t.Errorf("%s, seed %d: %s is not seen", task, seed, name)
					continue
				}
				for _, b := range a.world.Truth().Bodies {
					// A cube's spot is its top and a side: a centimetre and a half.
					if d := math.Hypot(p[0]-b.Pose.P[0], p[1]-b.Pose.P[1]); b.Name == thing && d > 0.015 {
						t.Errorf("%s, seed %d: %s is seen %.4f m beside its place", task, seed, name, d)
					}
				}
			}
			if legs, err := kagi.Told(keys); err != nil || len(legs) == 0 {
				t.Errorf("%s, seed %d: the episode carries %d stages, %v", task, seed, len(legs), err)
			}
		}
		if err := a.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// asked is a session of two episodes, after so many good demonstrations and two bad ones, whose
// waypoints a stub is asked for, which has deadline for each try; it gives what was logged, and the report's words on waypoints.
func asked(t *testing.T, s *vlmtest.Server, good int, deadline time.Duration) (out, report string, err error) {
	t.Helper()
	defer s.Close()
	c := waypointed(t, "reach")
	c.Name, c.Reward.KAGI.Source = "one", "vlm"
	c.Session.Episodes, c.Session.Evaluate = 2, 1
	c.Robot.Horizon, c.Demos.Good, c.Demos.Bad, c.Reward.Experts = 20, good, 2, 1
	var b strings.Builder
	o := quietly()
	o.Log = slog.New(slog.NewTextHandler(&b, nil))
	o.Endpoint = "stub at 127.0.0.1"
	o.VLM = func(cache string) (kagi.Model, error) {
		return vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 2, Deadline: deadline, Cache: cache, Log: o.Log,
			Sleep: func(context.Context, time.Duration) error { return nil }})
	}
	ses, err := Create(t.Context(), c, o)
	if err != nil {
		return b.String(), "", err
	}
	_, err = ses.Run(t.Context())
	if err = errors.Join(err, ses.Close()); err != nil {
		return b.String(), "", err
	}
	ends, err := Outcomes(t.Context(), ses.Dir())
	if want := (Outcome{Ticks: 20}); len(ends) != 2 || ends[0] != want && !ends[0].Success || ends[1] != want && !ends[1].Success {
		t.Errorf("online episodes ended as %+v, want two of 20 ticks or of success", ends)
	}
	page, readErr := os.ReadFile(filepath.Join(ses.Dir(), "report.html"))
	return b.String(), string(page), errors.Join(err, readErr)
}

const wayToC3 = `{"steps":[{"what":"reach","mark":"hand","waypoints":[{"tile":"c3","line":"3","fingers":"keep"}]}]}`

// Card 4: one call an episode, none a step.
func TestModelIsAskedOnceAReset(t *testing.T) {
	s := vlmtest.Script(vlmtest.Reply{Text: wayToC3})
	out, _, err := asked(t, s, 2, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	// 4 demonstrations and 2 episodes; none for evaluation and film.
	if n := len(s.Asked()); n != 6 {
		t.Errorf("the model was asked %d times, want 6: once an episode of 20 steps", n)
	}
	q := s.Asked()[0]
	if len(q.Images) != 1 || !strings.Contains(q.Text, "red ball") || !strings.Contains(q.Text, "hand, ball") {
		t.Errorf("it was asked %q with %d images", q.Text, len(q.Images))
	}
	if !strings.Contains(out, "source=vlm") || !strings.Contains(out, `model="stub at 127.0.0.1"`) || strings.Contains(out, "task's plan is taken") {
		t.Errorf("the log is %s", out)
	}
}

// Whatever the endpoint does, the session goes on with the task's plan and says so.
func TestFailingModelIsStoodInForByTheTasksPlan(t *testing.T) {
	a, obs := resetArm(t, waypointed(t, "reach"))
	want, err := a.track(t.Context(), 0, obs)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]vlmtest.Reply{
		"malformed":     {Text: "I would reach for it."},
		"another shape": {Text: `{"way":[]}`},
		"outside":       {Text: strings.Replace(wayToC3, "c3", "z9", 1)},
		"429":           {Status: 429, RetryAfter: "1"},
		"hang":          {Hang: true},
		"half":          {Half: true, Text: wayToC3},
		"401":           {Status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			s := vlmtest.Script(r)
			defer s.Close()
			m, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 2, Deadline: 100 * time.Millisecond, Sleep: func(context.Context, time.Duration) error { return nil }})
			if err != nil {
				t.Fatal(err)
			}
			var told error
			keys, err := a.track(withPlanner(t.Context(), &planner{model: m, fell: func(err error) { told = err }, told: func(int, int) {}}), 0, obs)
			if err != nil {
				t.Fatal(err)
			}
			if told == nil || !slices.Equal(keys, want) {
				t.Errorf("told %v; keys %v, want the plan's %v", told, keys, want)
			}
		})
	}
}

// Over HTTP, in a session: of eight resets the endpoint fails seven, each in another way, and answers
// the last late. The session ends as any, the log has each failure and what stood in.
func TestSessionGoesOnWithoutTheModel(t *testing.T) {
	const deadline = 2 * time.Second // a busy machine answers at once by then
	ways := []struct {
		name, says string
		r          vlmtest.Reply
	}{ // all tries of a call each; the eighth and all that is asked later is answered
		{"malformed", "the answer cannot be used", vlmtest.Reply{Text: "I would reach for it."}},
		{"429", "status 429", vlmtest.Reply{Status: 429, RetryAfter: "1"}},
		{"outside", "z9", vlmtest.Reply{Text: strings.Replace(wayToC3, "c3", "z9", 1)}},
		{"half", "unexpected EOF", vlmtest.Reply{Half: true, Text: wayToC3}},
		{"another shape", "$ lacks", vlmtest.Reply{Text: `{"way":[]}`}},
		{"no key", "status 401", vlmtest.Reply{Status: 401}},
		{"hang", "deadline", vlmtest.Reply{Hang: true}}, // of the first online episode
	}
	var mu sync.Mutex
	calls := map[string]int{} // by the picture, which all tries of a call show; several may be under way
	s := vlmtest.Start(func(_ int, q vlmtest.Request) vlmtest.Reply {
		mu.Lock()
		defer mu.Unlock()
		shown := fmt.Sprint(q.Images)
		n, ok := calls[shown]
		if !ok {
			n = len(calls)
			calls[shown] = n
		}
		if n < len(ways) {
			return ways[n].r
		}
		return vlmtest.Reply{Delay: deadline / 10, Text: wayToC3}
	})
	out, report, err := asked(t, s, 4, deadline)
	if err != nil {
		t.Fatal(err)
	}
	var fell []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "the model gave none, the task's plan is taken") {
			fell = append(fell, line)
		}
	}
	if len(fell) != len(ways) {
		t.Fatalf("the plan stood in %d times, want %d; the log is %s", len(fell), len(ways), out)
	}
	for _, w := range ways {
		i := slices.IndexFunc(fell, func(line string) bool { return strings.Contains(line, w.says) })
		if i < 0 {
			t.Errorf("%s: the log has %q left, want one that says %q", w.name, fell, w.says)
			continue
		}
		fell = slices.Delete(fell, i, i+1)
	}
	if want := "model&#39;s (stub at 127.0.0.1) in 1 resets that this process asked about; in 7 it gave none, and the plan that comes with the task stood in"; !strings.Contains(report, want) {
		t.Errorf("the report does not say %q", want)
	}
	if took := regexp.MustCompile(`stood in; 8 calls \(\d+ tries, 0 answers kept from before\), \d+ tokens in and \d+ out, [\d.]+ s a call`); !took.MatchString(report) {
		t.Errorf("the report does not say what the calls took, as %s", took)
	}
}

// Whose waypoints a model wrote says so where it goes on without an endpoint, and no other.
func TestGoingOnWithoutTheEndpointIsTold(t *testing.T) {
	c := waypointed(t, "reach")
	for _, asked := range []bool{false, true} {
		c.Name = fmt.Sprint(asked)
		s, log := logging(t, c)
		if asked {
			if err := os.Mkdir(filepath.Join(s.Dir(), "vlm"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.plan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(log.String(), "set RAPPORT_VLM_URL"); warned != asked {
			t.Errorf("a model was asked before: %v, the log is %s", asked, log.String())
		}
	}
}

// What auto came to stays with a session, whatever shell it goes on in, and is the task's plan
// where a file of one is named.
func TestASessionKeepsWhoWritesItsWaypoints(t *testing.T) {
	model := func(string) (kagi.Model, error) {
		return vlm.New(vlm.Config{URL: "http://127.0.0.1:1/v1", Model: "stub"})
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	b, err := plans.ReadFile("plans/reach.json")
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, plan  string
		first, then func(string) (kagi.Model, error)
		asks        [2]bool // then, and with the first again
		says        string
	}{
		{"task", "", nil, model, [2]bool{}, "began with the task's plan, which is kept"},
		{"vlm", "", model, nil, [2]bool{false, true}, "a model wrote those of this session so far"},
		{"plan", file, model, model, [2]bool{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := waypointed(t, "reach")
			c.Name, c.Reward.KAGI.Plan = tt.name, tt.plan
			s, log := logging(t, c)
			asks := func(vlm func(string) (kagi.Model, error)) bool {
				t.Helper()
				s.vlm = vlm
				ctx, err := s.plan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return plannerOf(ctx) != nil
			}
			if got, want := asks(tt.first), tt.first != nil && tt.plan == ""; got != want {
				t.Errorf("it begins with a model: %v, want %v", got, want)
			}
			if strings.Contains(log.String(), "level=WARN") {
				t.Errorf("it begins with %s", log)
			}
			if got := [2]bool{asks(tt.then), asks(tt.first)}; got != tt.asks {
				t.Errorf("it goes on with a model: %v, want %v", got, tt.asks)
			}
			if warned := strings.Contains(log.String(), "level=WARN"); warned != (tt.says != "") || !strings.Contains(log.String(), tt.says) {
				t.Errorf("the log is %s, want %q in it", log, tt.says)
			}
		})
	}
}

// An endpoint that does not answer is soon asked seldom, says so once, and is asked at each
// reset again once it answers.
func TestASilentEndpointIsAskedSeldom(t *testing.T) {
	a, obs := resetArm(t, waypointed(t, "reach"))
	up := false
	s := vlmtest.Start(func(int, vlmtest.Request) vlmtest.Reply {
		if up {
			return vlmtest.Reply{Text: wayToC3}
		}
		return vlmtest.Reply{Status: 503}
	})
	defer s.Close()
	m, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	var fell []error
	pl := &planner{model: m, fell: func(err error) { fell = append(fell, err) }, told: func(int, int) {}}
	ctx := withPlanner(t.Context(), pl)
	resets := func(n, want int) {
		t.Helper()
		before := len(s.Asked())
		for range n {
			if _, err := a.track(ctx, 0, obs); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(s.Asked()) - before; got != want {
			t.Errorf("%d resets asked %d times, want %d", n, got, want)
		}
	}
	resets(3, 3)
	resets(9, 0)
	resets(1, 1) // the tenth
	resets(9, 0)
	up = true
	resets(1, 1)
	resets(4, 4)
	told, rests := 0, 0
	for _, err := range fell {
		if strings.Contains(err.Error(), "at every 10th alone") {
			told++
		}
		if errors.Is(err, errRests) {
			rests++
		}
	}
	if gave, none := pl.resets(); gave != 5 || none != 22 || told != 1 || rests != 18 {
		t.Errorf("%d resets with and %d without the model, of which %d rest, and %d that say how often it is asked; want 5, 22, 18 and 1", gave, none, rests, told)
	}
}

// What was answered before is used while the endpoint rests, too.
func TestKeptAnswersServeWhileTheEndpointRests(t *testing.T) {
	a, obs := resetArm(t, waypointed(t, "reach"))
	s := vlmtest.Start(func(int, vlmtest.Request) vlmtest.Reply { return vlmtest.Reply{Text: wayToC3} })
	defer s.Close()
	m, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 1, Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	pl := &planner{model: m, fell: func(err error) { t.Errorf("fell back: %v", err) }, told: func(int, int) {}}
	for range 3 {
		if _, err := a.track(withPlanner(t.Context(), pl), 0, obs); err != nil {
			t.Fatal(err)
		}
		pl.silent = patience
	}
	if gave, none := pl.resets(); gave != 3 || none != 0 || pl.calls != 1 || pl.hits != 2 || len(s.Asked()) != 1 {
		t.Errorf("%d resets with and %d without the model, by %d calls and %d answers kept, %d asked; want 3, 0, 1, 2 and 1", gave, none, pl.calls, pl.hits, len(s.Asked()))
	}
}

func TestStoppedModelStopsTheSession(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := vlmtest.Start(func(int, vlmtest.Request) vlmtest.Reply {
		cancel()
		return vlmtest.Reply{Hang: true}
	})
	defer s.Close()
	m, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub"})
	if err != nil {
		t.Fatal(err)
	}
	a, obs := resetArm(t, waypointed(t, "reach"))
	ctx = withPlanner(ctx, &planner{model: m, fell: func(err error) { t.Errorf("fell back: %v", err) }, told: func(int, int) {}})
	if _, err := a.track(ctx, 0, obs); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestSessionsWithoutPlanOrEndpointAreRefused(t *testing.T) {
	for says, change := range map[string]func(*config.Config){
		"RAPPORT_VLM_URL":     func(c *config.Config) { c.Reward.KAGI.Source = "vlm" },
		"nowhere.json":        func(c *config.Config) { c.Reward.KAGI.Plan = "nowhere.json" },
		"name a clicked file": func(c *config.Config) { c.Reward.KAGI.Source = "clicks" },
		`camera "front"`:      func(c *config.Config) { c.Robot.Cameras[0].Name = "wrist" },
		"recordings have":     func(c *config.Config) { c.Robot.Kind = "bag" },
		"reward.kagi.form":    func(c *config.Config) { c.Reward.KAGI.Form = "fast" },
	} {
		t.Run(says, func(t *testing.T) {
			c := waypointed(t, "reach")
			c.Name = "one"
			change(&c)
			s, err := Create(t.Context(), c, quietly())
			if err == nil {
				_, err = s.Run(t.Context())
				err = errors.Join(err, s.Close())
			}
			if err == nil {
				err = c.Validate()
			}
			if err == nil || !strings.Contains(err.Error()+fmt.Sprint(c.Validate()), says) {
				t.Errorf("got %v, want %q said", err, says)
			}
		})
	}
}

// Waypoints are learned from no video, so that nobody need like one.
func TestWaypointsNeedNoLikedDemonstration(t *testing.T) {
	for kind, want := range map[string]string{"kagi": "", "goal": "likes none of the demonstrations"} {
		c := waypointed(t, "reach")
		c.Name, c.Reward.Kind, c.Demos.Good, c.Demos.Bad = kind, kind, 0, 2
		s, err := Create(t.Context(), c, quietly())
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.prepare(t.Context())
		if want != "" {
			wantErr(t, err, want)
		} else if err != nil || len(p.demos) != 2 {
			t.Errorf("%s: %d demonstrations, error %v, want 2", kind, len(p.demos), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The learner's gradient goes where the way goes: a hand that nears the ball is paid
// more each step, and one that turns away less.
func TestNearingTheBallIsPaidMore(t *testing.T) {
	c := waypointed(t, "reach")
	c.Reward.KAGI.Sparse = "none"
	a, obs := resetArm(t, c)
	s, err := kagi.New(kagi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l := s.Live()
	for step := range 12 {
		keys, err := a.track(t.Context(), step, obs)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(perception.Features{Keys: keys}); err != nil {
			t.Fatal(err)
		}
		ball := a.world.Truth().Bodies[0].Pose.P
		cmd := robot.Command{Grip: 1}
		for i := range 2 {
			cmd.Delta[i] = min(0.01, max(-0.01, ball[i]-obs.State.EE.P[i]))
		}
		if obs, err = a.guard.Step(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	steps := l.Steps()
	for i := 2; i < len(steps); i++ {
		if !(steps[i].Reward > steps[i-1].Reward) && steps[i].Waypoint == 0 {
			t.Errorf("step %d: %.4f after %.4f, though the hand is nearer", i, steps[i].Reward, steps[i-1].Reward)
		}
	}
}

// A policy of points goes by the tracked points and the arm's own state: whatever the
// pictures are embedded as, it sees the same.
func TestAPolicyMaySeePointsAlone(t *testing.T) {
	c := waypointed(t, "reach")
	c.Name, c.Policy.Sees, c.Session.Episodes, c.Session.Evaluate = "points", "points", 1, 1
	s, err := Create(t.Context(), c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, b, err := s.store.LatestCheckpoint(t.Context(), "tuned")
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := viewOf(policy.Params{Data: b})
	if err != nil || v.Embed != 0 || !slices.Equal(v.Keys, []string{"ball"}) || len(v.Cameras) > 0 {
		t.Fatalf("it sees %+v, error %v", v, err)
	}
	es, err := s.stored(t.Context(), policy.Online)
	if err != nil || len(es) != 1 {
		t.Fatal(len(es), err)
	}
	in := es[0].Inputs[1]
	row := func(in policy.Input) []float32 {
		t.Helper()
		dst := make([]float32, v.Dim())
		if err := v.Row(dst, in); err != nil {
			t.Fatal(err)
		}
		return dst
	}
	before := row(in)
	in.Features.Embed = make([]float32, len(in.Features.Embed))
	if got := row(in); !slices.Equal(got, before) {
		t.Errorf("with another embedding it sees %v, want %v", got, before)
	}
	in.Features.Keys = slices.Clone(in.Features.Keys)
	for i := range in.Features.Keys {
		in.Features.Keys[i].X += 0.1
	}
	if got := row(in); slices.Equal(got, before) {
		t.Error("with points elsewhere it sees the same")
	}
}
