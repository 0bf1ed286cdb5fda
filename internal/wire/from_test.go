package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/robot"
)

// A policy that draws chunks is gone on with by what learns chunks, and no other one is: it is told
// before there is a folder, and not once both were evaluated.
func TestPoliciesOfAnotherSortAreRefusedAtOnce(t *testing.T) {
	for _, tt := range []struct{ was, is, filter, want string }{
		{was: "rlpd", is: "diffusion", want: "is rlpd, whose policy draws no chunks of actions, and is diffusion here; want --set learner.kind=rlpd"},
		{was: "diffusion", is: "iql", want: "is diffusion, whose policy draws chunks of actions, and is iql here; want --set learner.kind=diffusion"},
		{was: "rlpd", is: "iql"},
		{was: "diffusion", is: "diffusion"},
		{was: "rlpd", is: "diffusion", filter: "list.csv"}, // cloned anew
	} {
		c := tiny(t)
		c.Learner.Kind = tt.was
		first := filepath.Join(c.Out, "first")
		st, err := founded(first, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		c.Name, c.Session.From, c.Learner.Kind, c.Demos.Filter = "second", first, tt.is, tt.filter
		if err = alike(c); tt.want == "" {
			if err != nil {
				t.Errorf("%s after %s: %v", tt.is, tt.was, err)
			}
			continue
		}
		if _, err = Create(t.Context(), c, quietly()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s after %s: %v, want %q", tt.is, tt.was, err, tt.want)
		}
		if _, err := os.Stat(filepath.Join(c.Out, c.Name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a folder is left (%v)", err)
		}
	}
}

// A simulation is drawn as the one that a session begins from was; what nobody draws is not asked for.
func TestASessionIsDrawnAsTheOneThatItBeginsFrom(t *testing.T) {
	for _, tt := range []struct {
		was, is []string
		want    string
	}{
		{was: nil, is: []string{"robot.render=raster"}, want: "robot.render is raster, was egl in "},
		{was: nil, is: []string{"robot.render=raster", "robot.kind=bag", "robot.bag.files=[a.bag]", "session.from=a"}},
		{was: []string{"robot.render=raster"}, is: nil},
	} {
		c := tiny(t)
		first := filepath.Join(c.Out, "first")
		set(t, &c, tt.was...)
		st, err := founded(first, c)
		if err := errors.Join(err, st.Close()); err != nil {
			t.Fatal(err)
		}
		set(t, &c, tt.is...)
		c.Session.From = first
		if err := alike(c); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v after %v: %v, want %q", tt.is, tt.was, err, tt.want)
		}
	}
}

// A session may keep the arm to less than the one that it begins from did, never to more, and its policy
// sees places as it learned to.
func TestASessionMayHaveANarrowerWorkspace(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	c.Name = "wide"
	s, err := Create(ctx, c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	wide := s.Dir()
	was, err := s.prepare(withDesk(ctx, s.desk))
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	c.Name, c.Session.From = "narrow", wide
	for want, sets := range map[string][]string{
		"want --set": {"guard.workspace.min=[0.25, -0.2, 0.05]", "encoder.keypoints=5"}, // of the encoder alone
		"as --set 'guard.workspace.min=[0.3, -0.3, 0.015]'": {"guard.workspace.min=[0.3, -0.4, 0.015]"},
		"as --set 'guard.workspace.max=[0.7, 0.3, 0.6]'":    {"guard.workspace.max=[0.7, 0.31, 0.6]"},
	} {
		c := c
		set(t, &c, sets...)
		err := alike(c)
		wantErr(t, err, want)
		if err != nil && strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%v: %v, want one thing", sets, err)
		}
	}
	set(t, &c, "guard.workspace.min=[0.25, -0.2, 0.05]", "guard.workspace.max=[0.7, 0.3, 0.5]")
	things := c // whose points lie on the box's floor
	things.Reward.Kind, things.Reward.KAGI.Source, things.Reward.KAGI.Marks = "kagi", "vlm", "candidates"
	wantErr(t, alike(things), "reward.kagi.marks is candidates", "want one that begins at 0.015 m")
	s = begun(t, c)
	for _, when := range []string{"begun", "gone on with"} {
		got, err := s.prepare(withDesk(ctx, s.desk))
		if err != nil {
			t.Fatal(when, err)
		}
		if !reflect.DeepEqual(got.view, was.view) {
			t.Errorf("%s, its policy sees %+v, want %+v", when, got.view, was.view)
		}
	}
}

// A session of PPO ends with another policy than the cloned one from the number of episodes on that
// lasting wants.
func TestPPOLearnsFromTheEpisodesThatItIsSaidTo(t *testing.T) {
	ctx := t.Context()
	net, err := bc.NewNet(policytest.Arch(), rand.New(rand.NewPCG(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	from, err := net.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	e := policytest.Demos(1, 1, [2]float64{0.12, -0.09})[0]
	e.Origin, e.Terminal = policy.Online, false
	for i := range e.Version {
		e.By[i], e.Version[i] = robot.ByPolicy, 1
	}
	c := tiny(t)
	c.Learner.Kind, c.Learner.Device, c.Learner.PPO.Episodes, c.Learner.Batch, c.Robot.Horizon = "ppo", "cpu", 2, 4, e.Len()
	l, err := newKeeper(c, from, true, "")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 { // in the order of loop.Session
		if _, err := l.Update(ctx); err != nil {
			t.Fatal(err)
		}
		p, err := l.Latest(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c.Session.Episodes = n + 1
		if changed := p.Version > 1; changed != (lasting(c) == nil) {
			t.Errorf("of %d episodes the policy is another: %t, and %v", n+1, changed, lasting(c))
		}
		e.ID = fmt.Sprint(n)
		if err := l.Add(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
}

// A remedy that names a folder is a command that a shell takes, whatever the folder is called.
func TestRemediesQuoteFolders(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "my runs", "a")
	c := tinyAlign(t)
	c.Policy.Diffusion.Sampler.Kind, c.Reward.Kind, c.Reward.KAGI.Sparse = "best", "kagi", "judge"
	c.Session.From, c.Demos.Filter = dir, "my list.csv"
	st, err := founded(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := guestOf("a", nil, st, c, quietly())
	if err := os.WriteFile(filepath.Join(dir, judgeFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, critic := s.searching(ctx)
	_, _, judged := s.refereed(ctx)
	_, marked := s.stretches(ctx, nil)
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"critic":    {critic, "rapport align --set 'session.from=" + dir + "'"},
		"judge":     {judged, "rapport reward judge '" + dir + "'"},
		"marks":     {marked, "rapport label '" + dir + "' --kind"},
		"alignment": {(&Alignment{s: s}).before(AlignRank), "rapport align rank '" + dir + "'"},
		"filter":    {unfiltered(c), "--set 'session.from=" + dir + "' --set 'demos.filter=my list.csv'"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, tt.err, tt.want)
		}
	}
}

// A session that began from another keeps the rewards that it aligned itself: where one is dropped it
// goes on from the one before without the earlier session, and prepared again by the one that it has,
// whatever the earlier session's is by now.
func TestASessionKeepsItsOwnRewardsOfAnEarlierOne(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	c.Name = "earlier"
	s, err := Create(ctx, c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	earlier := s.Dir()
	opened := func() (parts, error) { return s.prepare(withDesk(ctx, s.desk)) }
	if _, err := opened(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.Name, c.Session.From = "later", earlier
	if s, err = Create(ctx, c, byTheClock()); err != nil {
		t.Fatal(err)
	}
	later := s.Dir()
	if _, err := opened(); err != nil {
		t.Fatal(err)
	}
	aligns := func(dir string, want uint64) {
		t.Helper()
		if re, err := Align(ctx, dir, nil, nil, byTheClock()); err != nil || re.Version != want {
			t.Fatalf("%s: reward %d, %v; want %d", dir, re.Version, err, want)
		}
	}
	reopen := func() {
		t.Helper()
		if s, err = Reopen(ctx, c, byTheClock()); err != nil {
			t.Fatal(err)
		}
	}
	sum := func() string {
		t.Helper()
		sum, err := s.store.CheckpointSum(ctx, kindReward)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	drop := func(kind string) {
		t.Helper()
		if err := s.DropCheckpoint(ctx, kind); err != nil {
			t.Fatal(err)
		}
	}
	goesOnBy := func(when, want string) {
		t.Helper()
		if _, err := opened(); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if sum() != want {
			t.Errorf("%s: the session goes on by another reward", when)
		}
	}
	first := sum()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	aligns(later, 2)
	damage(t, later, kindReward)
	if err := os.Rename(earlier, earlier+"-away"); err != nil {
		t.Fatal(err)
	}
	reopen()
	_, err = opened()
	wantErr(t, err, "version 1 is before it")
	drop(kindReward)
	goesOnBy("its own dropped, without the earlier session", first)
	if err := errors.Join(s.Close(), os.Rename(earlier+"-away", earlier)); err != nil {
		t.Fatal(err)
	}

	aligns(later, 2)
	aligns(earlier, 2)
	aligns(earlier, 3)
	reopen()
	defer func() { s.Close() }()
	own := sum()
	drop(kindPolicy)
	goesOnBy("its policy dropped", own)
	drop(kindEncoder)
	damage(t, later, kindReward)
	_, err = opened()
	wantErr(t, err, "version 1 is before it")
	drop(kindReward)
	goesOnBy("encoder and its own reward dropped", first)
	// Without any it has that of the earlier session again.
	drop(kindReward)
	if _, err := opened(); err != nil {
		t.Fatal(err)
	}
	if v, _, err := s.store.LatestCheckpoint(ctx, kindReward); err != nil || v != 3 {
		t.Errorf("its only reward dropped: reward %d, %v; want 3", v, err)
	}
}

// A session on an arm that began with a grip and no hand goes on; a new one is refused.
func TestAGripWantsAHand(t *testing.T) {
	c := tiny(t)
	set(t, &c, "robot.kind=ros", "robot.task=stack", "robot.ros.gripper.kind=none", "reward.kind=rapl", "policy.axes=[x, y, z, grip]", "session.from="+t.TempDir())
	if err := c.Validate(); err != nil {
		t.Errorf("a folder of before is refused: %v", err)
	}
	wantErr(t, equipped(t.Context(), c, quietly()), "policy.axes has grip", "want robot.ros.gripper.kind franka, or policy.axes without grip")
	c.Policy.Axes = []string{"x", "y", "z"}
	if err := equipped(t.Context(), c, quietly()); err != nil {
		t.Error(err)
	}
}
