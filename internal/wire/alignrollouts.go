package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
)

// rolloutPrefix begins the IDs of rollouts.
const rolloutPrefix = "rollout-"

// rolloutID names the n-th rollout.
func rolloutID(n int) string { return fmt.Sprintf("%s%05d", rolloutPrefix, n) }

// tuning is how a policy is tuned, and its chains are drawn: with noise, without
// which steps have no density; a flow takes none.
func (a *Alignment) tuning() align.Config {
	c := a.s.cfg
	return align.Config{
		Rank: c.Align.Rank, LR: c.Align.Rate, Seed: draw(c.Seed, networks, 20),
		Draw: diffusion.Draw{Steps: c.Policy.Diffusion.Draws, Eta: 1},
	}
}

// rollouts has the policy do episodes, and keeps each with its frames and the chains
// by which its chunks were drawn. A rollout depends on the session's seed and its
// number alone, whoever makes it when. One that the guard cuts off, since the policy
// drove the arm to its limits, is made again from the same start with other chunks.
func (a *Alignment) rollouts(ctx context.Context) (string, error) {
	var todo []int
	for n := range a.s.cfg.Align.Rollouts {
		_, err := a.s.store.Episode(rolloutID(n))
		if err == nil {
			_, err = os.Stat(a.chainFile(n))
		}
		switch {
		case errors.Is(err, store.ErrNone), errors.Is(err, os.ErrNotExist):
			todo = append(todo, n)
		case err != nil:
			return "", err
		}
	}
	note := fmt.Sprintf("%d episodes with their chains", a.s.cfg.Align.Rollouts)
	if len(todo) == 0 {
		return note + ", made before", nil
	}
	net, err := a.net()
	if err != nil {
		return "", err
	}
	if err := a.s.keepMakers(ctx); err != nil {
		return "", err
	}
	if ctx, err = a.s.telling(ctx); err != nil {
		return "", err
	}
	var keep sync.Mutex // one file is written at a time
	c, p := a.s.cfg, a.p
	count := counter(a.s.tell, "rollouts", len(todo))
	err = spread(withPlanner(ctx, nil), c, online, len(todo), func(ctx context.Context, m *arm, i int) error {
		n := todo[i]
		var chains []chained
		pi, err := diffusion.NewPolicy(diffusion.PolicyConfig{
			View: p.view, Exec: c.Policy.Diffusion.Exec, Seed: draw(c.Seed, exploration, 2),
			Drawer: func(*diffusion.Net, diffusion.Draw) (diffusion.Drawer, error) {
				return newChainer(net, a.tuning(), &chains)
			},
		})
		if err != nil {
			return err
		}
		d := demo{}
		actor := &loop.Actor{Backend: m.guard, Extractor: p.eyes, Track: m.track, Tell: tellerOf(ctx), Policy: pi, Horizon: c.Robot.Horizon, Pixels: len(p.view.Cameras) > 0,
			Watch: func(_ context.Context, _ int, obs robot.Observation, _ policy.Input) error {
				d.frames = append(d.frames, obs.Frames)
				return nil
			}}
		if err := actor.Load(p.clone); err != nil {
			return err
		}
		d.episode, err = uncut(ctx, m, func(try uint64) (policy.Episode, error) {
			m.next, chains, d.frames = n, nil, nil
			pi.Begin(uint64(n) + try<<32)
			return actor.Episode(ctx, rolloutID(n), uint64(n))
		})
		if err != nil {
			return fmt.Errorf("wire: align: %s: %w", rolloutID(n), err)
		}
		d.episode.Origin, d.episode.Seed = policy.Online, draw(c.Seed, online, n)
		// The chains first: an episode that is stored has them.
		keep.Lock()
		defer keep.Unlock()
		if err := a.keepChains(n, chains); err != nil {
			return err
		}
		if err := a.s.keepDemo(ctx, d); err != nil {
			return err
		}
		count("")
		return nil
	})
	return note, err
}

// chained is a chunk as it was drawn.
type chained struct {
	seen, x []float32 // see align.Sample
}

// chainer draws chunks, and keeps the chains that lead to them.
type chainer struct {
	look *diffusion.Looker
	rec  *align.Recorder
	seen []float32
	to   *[]chained
}

func newChainer(n *diffusion.Net, c align.Config, to *[]chained) (*chainer, error) {
	t, err := align.Tune(n, c)
	if err != nil {
		return nil, err
	}
	k := &chainer{seen: make([]float32, n.Seen()), to: to}
	if k.look, err = diffusion.NewLooker(n, 1); err != nil {
		return nil, err
	}
	k.rec, err = align.NewRecorder(t, 1)
	return k, err
}

// Sample implements diffusion.Drawer.
func (k *chainer) Sample(dst, seen []float32, pix []byte, rng *rand.Rand) {
	k.look.Look(k.seen, seen, pix)
	ss := k.rec.New(1, k.seen)
	k.rec.Draw(ss, rng)
	copy(dst, ss[0].Actions)
	*k.to = append(*k.to, chained{ss[0].Seen, ss[0].X})
}

func (a *Alignment) chainFile(n int) string { return a.file("chains/" + rolloutID(n) + ".safetensors") }

// keepChains writes the chains of a rollout: seen (N, Seen) and x (N, (S+1) L).
func (a *Alignment) keepChains(n int, cs []chained) error {
	if len(cs) == 0 {
		return fmt.Errorf("wire: align: %s drew no chunk", rolloutID(n))
	}
	var seen, x []float32
	for _, c := range cs {
		seen, x = append(seen, c.seen...), append(x, c.x...)
	}
	N := len(cs)
	b, err := nn.Encode([]nn.Tensor{{Name: "seen", Shape: []int{N, len(seen) / N}, Data: seen}, {Name: "x", Shape: []int{N, len(x) / N}, Data: x}}, nil)
	if err != nil {
		return fmt.Errorf("wire: align: chains of %s: %w", rolloutID(n), err)
	}
	return grid.Put(a.chainFile(n), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// chains reads what keepChains wrote of some rollouts as samples of r, with densities: the group
// is the rollout. They are computed all at once, since a Recorder takes as long for a few rows as
// for all that it has.
func (a *Alignment) chains(rollouts []int, r *align.Recorder) (of [][]align.Sample, err error) {
	net, err := a.net()
	if err != nil {
		return nil, err
	}
	var all []align.Sample
	ends := []int{0}
	for _, n := range rollouts {
		ss, err := a.drawn(n, net.Seen(), r)
		if err != nil {
			return nil, err
		}
		all = append(all, ss...)
		ends = append(ends, len(all))
	}
	r.Replay(all)
	for i := range rollouts {
		of = append(of, all[ends[i]:ends[i+1]:ends[i+1]])
	}
	return of, nil
}

// drawn are the chains of a rollout, of histories of C numbers, without densities.
func (a *Alignment) drawn(n, C int, r *align.Recorder) ([]align.Sample, error) {
	file := a.chainFile(n)
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, a.before(AlignRollouts)
	}
	if err != nil {
		return nil, fmt.Errorf("wire: align: %w", err)
	}
	damaged := func(err error) error {
		return fmt.Errorf("wire: align: %s: %w; remove it, and make the rollout again: rapport align rollouts %s", file, err, Quoted(a.s.Dir()))
	}
	ts, _, err := nn.Decode(b)
	if err != nil {
		return nil, damaged(err)
	}
	find := func(name string) nn.Tensor {
		if i := slices.IndexFunc(ts, func(t nn.Tensor) bool { return t.Name == name }); i >= 0 && len(ts[i].Shape) == 2 {
			return ts[i]
		}
		return nn.Tensor{Shape: []int{0, 0}}
	}
	seen, x := find("seen"), find("x")
	N := seen.Shape[0]
	if N == 0 || x.Shape[0] != N {
		return nil, damaged(errors.New("it holds no chains"))
	}
	X := x.Shape[1]
	if seen.Shape[1] != C {
		return nil, damaged(fmt.Errorf("its histories have %d numbers, the policy's %d", seen.Shape[1], C))
	}
	ss := r.New(N, seen.Data)
	for i := range ss {
		if len(ss[i].X) != X {
			return nil, damaged(fmt.Errorf("its chains have %d numbers, want %d", X, len(ss[i].X)))
		}
		copy(ss[i].X, x.Data[i*X:])
		ss[i].Group = n
	}
	return ss, nil
}
