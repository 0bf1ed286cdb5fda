package policytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
)

// Subject is a kind of learner under test, on the reach.
type Subject struct {
	// New makes a small, quick one. It learns in less than three rounds of an
	// online episode each.
	New func(seed uint64) (policy.Keeper, error)
	// Others makes ones of other configurations whose checkpoints the first does
	// not take back, each under what Restore says of them.
	Others map[string]func() (policy.Keeper, error)
	// Player acts by parameters of the learner; nil: by draws of a bc.Net.
	Player func(ps policy.Params, seed uint64) (Counted, error)
	// Metrics are told in some round; nil: entropy, kl and actor_grad.
	Metrics []string
}

// Counted is a Policy that is told which episode begins.
type Counted interface {
	policy.Policy
	Begin(n uint64)
}

func (s Subject) player(ps policy.Params, seed uint64) (Counted, error) {
	if s.Player != nil {
		return s.Player(ps, seed)
	}
	return Player(ps, bc.Sample, seed)
}

// TestKeeper runs the suite.
func TestKeeper(t *testing.T, s Subject) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
}

// check is one part of the suite. It says what is wrong as an error, so that
// the suite can be tested itself.
type check struct {
	name string
	run  func(ctx context.Context, s Subject) error
}

func checks() []check {
	return []check{
		{"the parameters act", acts},
		{"versions tell parameters apart", versions},
		{"metrics are finite and named once", metrics},
		{"one seed gives one result", seeds},
		{"an id counts once", once},
		{"a resumed run goes on to the same bits", resumes},
		{"what Restore refuses changes nothing", refuses},
		{"a bad episode changes nothing", spoilt},
		{"a cancelled context stops", cancelled},
	}
}

// run is a learner in a session: what it was given and what it said.
type run struct {
	policy.Keeper
	s      Subject
	given  []policy.Episode
	online int
	params []policy.Params // before each round
	stats  []policy.Stats  // of each round
}

// start makes a learner and gives it demonstrations.
func start(ctx context.Context, s Subject, seed uint64) (*run, error) {
	k, err := s.New(seed)
	if err != nil {
		return nil, err
	}
	r := &run{Keeper: k, s: s}
	for _, e := range Demos(3, 1, [2]float64{0.12, -0.09}) {
		if err := r.give(ctx, e); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *run) give(ctx context.Context, e policy.Episode) error {
	r.given = append(r.given, e)
	return r.Add(ctx, e)
}

// rounds goes n rounds in the order of a session: an episode is acted by the
// parameters of before the update, and added after it.
func (r *run) rounds(ctx context.Context, n int) error {
	for range n {
		ps, err := r.Latest(ctx)
		if err != nil {
			return err
		}
		st, err := r.Update(ctx)
		if err != nil {
			return err
		}
		e, err := r.s.explore(ctx, ps, r.online, 7)
		if err != nil {
			return err
		}
		r.params, r.stats, r.online = append(r.params, ps), append(r.stats, st), r.online+1
		if err := r.give(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) saved() ([]byte, error) {
	var b bytes.Buffer
	err := r.Save(&b)
	return b.Bytes(), err
}

// played is a run of n rounds and its checkpoint.
func played(ctx context.Context, s Subject, seed uint64, n int) (*run, []byte, error) {
	r, err := start(ctx, s, seed)
	if err != nil {
		return nil, nil, err
	}
	if err := r.rounds(ctx, n); err != nil {
		return nil, nil, err
	}
	b, err := r.saved()
	return r, b, err
}

// same says whether r still saves to the bytes want.
func (r *run) same(want []byte, after string) error {
	got, err := r.saved()
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("the learner changed after %s", after)
	}
	return err
}

func acts(ctx context.Context, s Subject) error {
	r, _, err := played(ctx, s, 1, 4)
	if err != nil {
		return err
	}
	ps, err := r.Latest(ctx)
	if err != nil {
		return err
	}
	if _, err := s.explore(ctx, ps, r.online, 7); err != nil {
		return err
	}
	if s.Player == nil { // the mean acts too
		if _, err := Success(ctx, ps); err != nil {
			return err
		}
	}
	if bytes.Equal(ps.Data, r.params[0].Data) {
		return errors.New("four rounds changed nothing")
	}
	return nil
}

func versions(ctx context.Context, s Subject) error {
	r, _, err := played(ctx, s, 1, 5)
	if err != nil {
		return err
	}
	if r.params[0].Version < 1 {
		return errors.New("the first version is 0, which stands for none")
	}
	for i := 1; i < len(r.params); i++ {
		a, b := r.params[i-1], r.params[i]
		if b.Version < a.Version {
			return fmt.Errorf("version %d came after %d", b.Version, a.Version)
		}
		if changed := !bytes.Equal(a.Data, b.Data); changed != (a.Version != b.Version) {
			return fmt.Errorf("versions %d and %d, but the parameters changed: %v", a.Version, b.Version, changed)
		}
	}
	return nil
}

func metrics(ctx context.Context, s Subject) error {
	r, _, err := played(ctx, s, 1, 5)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for i, st := range r.stats {
		seen := map[string]bool{}
		for _, m := range st.Metrics {
			if m.Name == "" || seen[m.Name] {
				return fmt.Errorf("round %d tells %q twice, or without a name", i, m.Name)
			}
			if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
				return fmt.Errorf("round %d: %s is %v", i, m.Name, m.Value)
			}
			seen[m.Name], told[m.Name] = true, true
		}
		if i > 0 && st.Updates < r.stats[i-1].Updates {
			return fmt.Errorf("round %d: %d updates after %d", i, st.Updates, r.stats[i-1].Updates)
		}
	}
	names := s.Metrics
	if names == nil {
		names = []string{"entropy", "kl", "actor_grad"}
	}
	for _, name := range names {
		if !told[name] {
			return fmt.Errorf("no round tells %s", name)
		}
	}
	return nil
}

func seeds(ctx context.Context, s Subject) error {
	_, a, err := played(ctx, s, 1, 3)
	if err != nil {
		return err
	}
	_, b, err := played(ctx, s, 1, 3)
	if err != nil {
		return err
	}
	_, c, err := played(ctx, s, 2, 3)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return errors.New("one seed gave two results")
	}
	if bytes.Equal(a, c) {
		return errors.New("two seeds gave one result")
	}
	return nil
}

func once(ctx context.Context, s Subject) error {
	_, want, err := played(ctx, s, 1, 4)
	if err != nil {
		return err
	}
	r, err := start(ctx, s, 1)
	if err != nil {
		return err
	}
	for range 4 {
		if err := r.rounds(ctx, 1); err != nil {
			return err
		}
		for _, e := range r.given {
			if err := r.Add(ctx, e); err != nil {
				return err
			}
		}
	}
	return r.same(want, "episodes were added twice")
}

func resumes(ctx context.Context, s Subject) error {
	for _, n := range []int{0, 1, 3, 4} {
		a, middle, err := played(ctx, s, 1, n)
		if err != nil {
			return err
		}
		k, err := s.New(1)
		if err != nil {
			return err
		}
		b := &run{Keeper: k, s: s, online: a.online}
		for _, e := range a.given {
			if err := b.give(ctx, e); err != nil {
				return err
			}
		}
		if err := b.Restore(bytes.NewReader(middle)); err != nil {
			return err
		}
		if err := b.same(middle, "a restoration: it saves to other bytes"); err != nil {
			return err
		}
		if err := errors.Join(a.rounds(ctx, 3), b.rounds(ctx, 3)); err != nil {
			return err
		}
		want, err := a.saved()
		if err != nil {
			return err
		}
		if x, y := fmt.Sprint(a.stats[n:]), fmt.Sprint(b.stats); x != y {
			return fmt.Errorf("resumed after %d rounds it tells %s, want %s", n, y, x)
		}
		if err := b.same(want, fmt.Sprintf("three rounds otherwise than one that was not interrupted after %d", n)); err != nil {
			return err
		}
	}
	return nil
}

func refuses(ctx context.Context, s Subject) error {
	r, whole, err := played(ctx, s, 1, 3)
	if err != nil {
		return err
	}
	ps, err := r.Latest(ctx)
	if err != nil {
		return err
	}
	flip := func(at int) []byte {
		d := bytes.Clone(whole)
		d[at] ^= 1
		return d
	}
	type bad struct {
		want string
		data []byte
	}
	bads := []bad{
		{"shorter", nil},
		{"cut short", whole[:len(whole)-100]},
		{"checksum", flip(len(whole) - 2001)},
		{"restore:", flip(20)},
		{"format is", ps.Data},
	}
	for want, other := range s.Others {
		k, err := other()
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := k.Save(&b); err != nil {
			return err
		}
		bads = append(bads, bad{want, b.Bytes()})
	}
	for _, b := range bads {
		err := r.Restore(bytes.NewReader(b.data))
		if err == nil || !strings.Contains(err.Error(), b.want) {
			return fmt.Errorf("refused with %v, want an error with %q", err, b.want)
		}
		if err := r.same(whole, fmt.Sprintf("it refused: %v", err)); err != nil {
			return err
		}
	}
	return nil
}

func spoilt(ctx context.Context, s Subject) error {
	r, whole, err := played(ctx, s, 1, 3)
	if err != nil {
		return err
	}
	e, err := s.explore(ctx, r.params[2], 99, 1)
	if err != nil {
		return err
	}
	spoilt := e
	spoilt.Inputs = append([]policy.Input{}, e.Inputs...)
	spoilt.Inputs[3].State.EE.P[0] = math.NaN()
	if r.Add(ctx, spoilt) == nil {
		return errors.New("took an episode that sees a NaN")
	}
	short := e
	short.Inputs = e.Inputs[1:]
	if r.Add(ctx, short) == nil {
		return errors.New("took an episode of wrong lengths")
	}
	if err := r.same(whole, "it refused an episode"); err != nil {
		return err
	}
	if err := r.Add(ctx, e); err != nil {
		return fmt.Errorf("the mended episode: %w", err)
	}
	return nil
}

func cancelled(ctx context.Context, s Subject) error {
	r, whole, err := played(ctx, s, 1, 3)
	if err != nil {
		return err
	}
	e, err := s.explore(ctx, r.params[2], 99, 1)
	if err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, update := r.Update(over)
	_, latest := r.Latest(over)
	for what, err := range map[string]error{"Add": r.Add(over, e), "Update": update, "Latest": latest} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s said %v, want the context's error", what, err)
		}
	}
	return r.same(whole, "its context was over")
}
