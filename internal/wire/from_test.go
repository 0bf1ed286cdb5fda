package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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
		"critic":    {critic, "rapport align '" + dir + "'"},
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
