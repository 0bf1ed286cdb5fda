package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/iql"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/robot"
)

// cloneOf is a policy to begin from.
func cloneOf(t *testing.T) *bc.Net {
	t.Helper()
	n, err := bc.NewNet(policytest.Arch(), rand.New(rand.NewPCG(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fed is a learner that begins from start and has demonstrations.
func fed(t *testing.T, c config.Config, start *bc.Net) policy.Keeper {
	t.Helper()
	from, err := start.Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKeeper(c, from, false, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(2, 1, [2]float64{}) {
		if err := k.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// What was cloned stays until the critics know something, and moves less and less where the
// session says so: critics that know nothing weigh rows by chance.
func TestIQLKeepsTheCloneWhileItsCriticsLearn(t *testing.T) {
	c, err := config.Load("", nil, []string{"learner.kind=iql", "learner.warmup=4", "learner.updates=4", "learner.hidden=[8]", "learner.batch=8", "session.episodes=10"})
	if err != nil {
		t.Fatal(err)
	}
	start := cloneOf(t)
	// far is how far the policy's parameters are from the clone's after each round.
	far := func(decay bool) (out []float64) {
		c.Learner.IQL.Decay = decay
		k := fed(t, c, start)
		for range c.Session.Episodes + 1 { // the warm-up, and the session's
			if _, err := k.Update(t.Context()); err != nil {
				t.Fatal(err)
			}
			var moved float64
			for i, p := range k.(*iql.Learner).Actor().Params() {
				for j, v := range p.Data {
					moved += math.Abs(float64(v - start.Params()[i].Data[j]))
				}
			}
			out = append(out, moved)
		}
		return out
	}
	plain, slow := far(false), far(true)
	if plain[0] != 0 || slow[0] != 0 {
		t.Errorf("the policy moved by %g and %g while the critics warmed up", plain[0], slow[0])
	}
	n := len(plain) - 1
	if !(plain[1] > 0 && slow[n] > 0 && slow[n]-slow[n-1] < (plain[n]-plain[n-1])/2) {
		t.Errorf("it moved to %g, and with a rate that falls to %g", plain, slow)
	}
}

// A session that learned already goes on with the rate it had, however many episodes it is given,
// so that what it learned is learned again to the same bits.
func TestARateFallsOverTheEpisodesThatItBeganWith(t *testing.T) {
	ctx := t.Context()
	for name, tt := range map[string]struct {
		learned, decay bool
		want           int
	}{
		"nothing learned":   {false, true, 50},
		"learned":           {true, true, 4},
		"learned, no decay": {true, false, 50},
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			c.Name, c.Learner.Kind, c.Learner.IQL.Decay, c.Learner.Warmup = "a", "iql", tt.decay, 0
			st, err := founded(filepath.Join(c.Out, c.Name), c)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if tt.learned {
				if err := st.SaveCheckpoint(ctx, kindLearner, 2, []byte("2")); err != nil {
					t.Fatal(err)
				}
			}
			more := c
			for _, more.Session.Episodes = range []int{20, 50} {
				if _, err := agree(ctx, st, func(string) (config.Config, error) { return more, nil }); err != nil {
					t.Fatal(err)
				}
			}
			from, err := cloneOf(t).Encode(1)
			if err != nil {
				t.Fatal(err)
			}
			s := &Session{cfg: more, store: st}
			got, err := s.newLearner(ctx, parts{clone: from})
			if err != nil {
				t.Fatal(err)
			}
			c.Session.Episodes = tt.want
			want, err := newKeeper(c, from, true, "")
			if err != nil {
				t.Fatal(err)
			}
			var bits [2]bytes.Buffer
			for i, l := range []policy.Keeper{got, want} {
				for _, e := range policytest.Demos(2, 1, [2]float64{}) {
					if err := l.Add(ctx, e); err != nil {
						t.Fatal(err)
					}
				}
				for range 3 {
					if _, err := l.Update(ctx); err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(l.Save(&bits[i]), closeKeeper(l)); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(bits[0].Bytes(), bits[1].Bytes()) {
				t.Errorf("not learned at a rate that falls over %d episodes", tt.want)
			}
		})
	}
}

// aside is a session whose learner is in a process of its own, and the feed of what it tells.
func aside(t *testing.T) (*Session, *shared, *bus.Feed[policy.Stats]) {
	t.Helper()
	c := tiny(t)
	s := begun(t, c)
	feed, err := bus.NewFeed(s.conn, s.name, bus.MetricTopic("learner"), depth)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	return s, &shared{l: fed(t, c, cloneOf(t))}, feed
}

// A learner in a process of its own tells how much of a person's it has, too.
func TestALearnersProcessCountsAPersonsRows(t *testing.T) {
	s, l, feed := aside(t)
	n := 0
	for i, e := range policytest.Demos(2, 2, [2]float64{}) {
		e.ID, e.Origin = episodeID(i), policy.Online
		if i == 1 {
			e.By[1], e.By[2] = robot.ByHuman, robot.ByHuman
		}
		if err := s.learnFrom(t.Context(), l, &n, e, nil, feed); err != nil {
			t.Fatal(err)
		}
	}
	said, err := s.store.Metric(t.Context(), "learner", "human_rows")
	if err != nil || len(said) != 1 || said[0].Step != 1 || said[0].Value != 2 {
		t.Errorf("got %+v, %v; want two rows after the second episode", said, err)
	}
}

// An episode that comes again is learned from once; another one of its id is told.
func TestAnotherEpisodeOfAKnownIDIsRejected(t *testing.T) {
	s, l, feed := aside(t)
	n := 0
	come := func(e policy.Episode) error {
		e.ID, e.Origin = episodeID(0), policy.Online
		return s.learnFrom(t.Context(), l, &n, e, nil, feed)
	}
	es := policytest.Demos(2, 2, [2]float64{})
	if err := errors.Join(come(es[0]), come(es[0])); err != nil || n != 1 {
		t.Errorf("learned from %d, %v; want one", n, err)
	}
	if err := come(es[1]); !errors.Is(err, bus.ErrReject) || n != 1 {
		t.Errorf("learned from %d, %v; want that it is another", n, err)
	}
}

// Episodes of an actor that numbers them anew end the learner while it comes by them; what waits of
// that actor when the learner begins again is put aside.
func TestWhatWaitsUnderKnownIDsIsPutAside(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	set(t, &c, "session.episodes=5")
	s := begun(t, c)
	var said atomic.Int64
	s.tell = func(stage string, done, _ int, _ string) {
		if stage == "learn" {
			said.Store(int64(done))
		}
	}
	clone, err := cloneOf(t).Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	p := parts{clone: clone, demos: policytest.Demos(2, 1, [2]float64{})}
	spool, err := bus.NewPublisher(s.conn, s.name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	es := policytest.Demos(8, 8, [2]float64{})
	come := func(from int, es ...policy.Episode) {
		t.Helper()
		for i, e := range es {
			e.ID, e.Origin = episodeID(from+i), policy.Online
			if err := spool.Publish(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
		if err := spool.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range es[:3] {
		e.ID, e.Seq, e.Origin = episodeID(i), uint64(i), policy.Online
		if _, err := s.store.AddEpisode(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	learns := func() {
		_, err := s.consume(ctx, p)
		done <- err
	}
	go learns()
	come(3, es[3])
	eventually(t, "it learns from the fourth", func() bool { return said.Load() == 4 })
	come(0, es[4:7]...)
	wantErr(t, <-done, episodeID(0), "end that actor", "puts aside what waits")
	come(4, es[7])
	go learns()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	rows, err := s.store.Episodes(ctx, policy.Online)
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d episodes, %v; want 5", len(rows), err)
	}
	for i, k := range []int{0, 1, 2, 3, 7} {
		if e, err := s.store.Episode(episodeID(i)); err != nil || !slices.Equal(e.Applied, es[k].Applied) {
			t.Errorf("%s is another episode, %v", episodeID(i), err)
		}
	}
}

// With a deterministic head the deviation stays as it was cloned.
func TestIQLMovesTheDeviationOrNot(t *testing.T) {
	start := cloneOf(t)
	last := func(n *bc.Net) []float32 { ps := n.Params(); return ps[len(ps)-1].Data } // the biases of means and deviations
	for head, stay := range map[string]int{"gaussian": 0, "deterministic": len(last(start)) / 2} {
		c, err := config.Load("", nil, []string{"learner.kind=iql", "learner.warmup=0", "learner.updates=4", "learner.hidden=[8]", "learner.batch=8", "learner.iql.head=" + head})
		if err != nil {
			t.Fatal(err)
		}
		k := fed(t, c, start)
		if _, err := k.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		same := 0
		for i, v := range last(k.(*iql.Learner).Actor()) {
			if v == last(start)[i] {
				same++
			}
		}
		if same != stay {
			t.Errorf("%s: %d of %d outputs stay, want %d", head, same, len(last(start)), stay)
		}
	}
}

// framing is a learner that looks at what it is given.
type framing struct {
	policy.Keeper
	with   int // inputs that came with a frame
	before int // of these, those before its checkpoint
}

func (f *framing) Restore(io.Reader) error {
	f.before = f.with
	return nil
}

func (f *framing) Add(_ context.Context, e policy.Episode) error {
	for _, in := range e.Inputs {
		if len(in.Frames) == 1 && len(in.Frames[0].Pix) > 0 {
			f.with++
		}
	}
	return nil
}

// Frames are there while an episode is learned from, and no longer: a session that is gone
// on with would else hold those of all its episodes, whatever its replay keeps.
func TestFramesAreReadForTheLearnerAlone(t *testing.T) {
	ctx, c := t.Context(), tiny(t)
	set(t, &c, "name=seen", "policy.sees=pixels", "policy.trunk.strides=[2,2]", "policy.trunk.channels=4", "policy.clone.steps=2", "policy.clone.batch=8", "learner.batch=4", "learner.warmup=1", "learner.updates=1", "robot.horizon=10", "session.episodes=2", "session.evaluate=1", "session.checkpoint=1")
	s, err := Create(ctx, c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	es, err := s.logged(ctx, policy.Online)
	if err != nil || len(es) != 2 {
		t.Fatalf("%d episodes, %v", len(es), err)
	}
	for _, e := range es {
		var f framing
		if err := s.give(ctx, &f, e); err != nil {
			t.Fatal(err)
		}
		if f.with != len(e.Inputs) {
			t.Errorf("%s: the learner was given %d frames of %d", e.ID, f.with, len(e.Inputs))
		}
		for _, in := range e.Inputs {
			if in.Frames != nil {
				t.Fatalf("%s: tick %d keeps its frames", e.ID, in.Step)
			}
		}
	}

	// It is the learner that the session had, and rounds after a checkpoint are those it did.
	p, err := s.prepared(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, want, err := s.store.LatestCheckpoint(ctx, kindLearner)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int{2, 1} {
		if from == 1 {
			if err := s.store.DropCheckpoint(ctx, kindLearner); err != nil {
				t.Fatal(err)
			}
		}
		l, n, err := s.learner(ctx, p)
		if err != nil || n != 2 {
			t.Fatalf("from checkpoint %d: %d episodes, %v", from, n, err)
		}
		var got bytes.Buffer
		if err := l.Save(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("from checkpoint %d the learner is another", from)
		}
	}

	// PPO's is to know which episodes it need not keep before it is given them.
	all := len(es[0].Inputs) + len(es[1].Inputs)
	for kind, want := range map[string]int{"rlpd": all, "ppo": 0} {
		var f framing
		s.cfg.Learner.Kind = kind
		if err := s.recall(ctx, pupil{l: &f}, nil, es); err != nil || f.with != all || f.before != want {
			t.Errorf("%s: given %d frames, %d of them before its checkpoint, %v; want %d and %d", kind, f.with, f.before, err, all, want)
		}
	}
}
