package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/sample"
)

// kindCritic is the checkpoint of what an alignment says of chunks that nobody carried
// out (align.Critic).
const kindCritic = "critic"

type criticKey struct{}

// searchBy is what players search by.
type searchBy struct {
	critic []byte
	of     string // the session that keeps it: its folder, or its name on the bus
	now    func() time.Time
}

// searching returns the context under which players search among chunks by the
// session's critic, where policy.diffusion.sampler says so.
func (s *Session) searching(ctx context.Context) (context.Context, error) {
	if !searched(s.cfg) {
		return ctx, nil
	}
	_, b, err := s.latest(ctx, kindCritic)
	if errors.Is(err, store.ErrNone) {
		return ctx, fmt.Errorf("wire: policy.diffusion.sampler.kind is %s, but %s has no critic to search by; %s, or take plain", s.cfg.Policy.Diffusion.Sampler.Kind, s.Dir(), alignIt(s.Dir()))
	}
	if err != nil {
		return ctx, err
	}
	return searchedBy(ctx, b, s.Dir(), s.now), nil
}

// publishCritic puts what players search by under ctx, if they do, where the actor looks.
func (s *Session) publishCritic(ctx context.Context) error {
	with, ok := ctx.Value(criticKey{}).(searchBy)
	if !ok {
		return nil
	}
	return s.publishNewest(ctx, "the critic that is searched by", subCritic, with.critic)
}

// hearCritic waits for the critic that the learner publishes, and returns the context
// under which players search by it, where policy.diffusion.sampler says so. A learner
// that begins again publishes the same one, since a session does not align.
func (r *role) hearCritic(ctx context.Context, clock func() time.Time) (context.Context, error) {
	if !searched(r.cfg) {
		return ctx, nil
	}
	now := &swap[[]byte]{}
	err := r.await(subCritic, func(b []byte) error {
		now.set(b)
		return nil
	})
	if err == nil {
		err = r.ctx.Err()
	}
	if err != nil {
		return ctx, err
	}
	return searchedBy(ctx, now.get(), r.name, clock), nil
}

// searchedBy returns the context under which players search by a critic that was saved,
// of the session of.
func searchedBy(ctx context.Context, critic []byte, of string, now func() time.Time) context.Context {
	return context.WithValue(ctx, criticKey{}, searchBy{critic, of, now})
}

// Searched says how Evaluate, given the same, searches among chunks; "": it draws them plainly.
func Searched(dir string, environ, sets []string) (string, error) {
	c, err := configOf(dir, environ, sets)
	if err != nil || !searched(c) {
		return "", err
	}
	switch p := c.Policy.Diffusion.Sampler; p.Kind {
	case "best":
		return fmt.Sprintf("best of %d chunks", p.Draws), nil
	case "fk":
		return fmt.Sprintf("fk of %d chunks, scale %g", p.Draws, p.Scale), nil
	case "reno":
		return fmt.Sprintf("reno of %d iterations", p.Draws), nil
	default:
		return fmt.Sprintf("%s, scale %g", p.Kind, p.Scale), nil
	}
}

func searched(c config.Config) bool { return c.Policy.Diffusion.Sampler.Kind != "plain" }

// searchable refuses a session that would search by a critic of what it trains itself: the
// trunk of a policy that sees frames, which is another after the first round.
func searchable(c config.Config) error {
	if !searched(c) || !pixels(c) {
		return nil
	}
	return fmt.Errorf("wire: policy.diffusion.sampler.kind is %s and policy.sees pixels, but a session trains the trunk that the critic goes by; take plain, or search without training: rapport eval RUN --policy cloned --set policy.diffusion.sampler.kind=%[1]s", c.Policy.Diffusion.Sampler.Kind)
}

// keepCritic stores an alignment's critic, of samples of n.
func (s *Session) keepCritic(ctx context.Context, k *align.Critic, n *diffusion.Net, version uint64) error {
	var b bytes.Buffer
	if err := k.Save(&b, n); err != nil {
		return err
	}
	return s.store.SaveCheckpoint(ctx, kindCritic, version, b.Bytes())
}

// share of a control tick that a search on a real arm may take: the rest is for the
// encoder, the guard and what a busy machine takes.
const searchShare = 0.5

// drawerOf makes what draws a player's chunks, for diffusion.PolicyConfig.Drawer; nil is
// the plain sampler. Each player has a critic of its own.
func drawerOf(ctx context.Context, c config.Config) (func(*diffusion.Net, diffusion.Draw) (diffusion.Drawer, error), error) {
	if !searched(c) {
		return nil, nil
	}
	with, ok := ctx.Value(criticKey{}).(searchBy)
	if !ok {
		return nil, fmt.Errorf("wire: policy.diffusion.sampler.kind is %s, which sessions and evaluations of an aligned policy have; want plain", c.Policy.Diffusion.Sampler.Kind)
	}
	p := c.Policy.Diffusion.Sampler
	kind, err := sample.KindOf(p.Kind)
	if err != nil {
		return nil, fmt.Errorf("wire: policy.diffusion.sampler.kind: %w", err)
	}
	sc := sample.Config{Kind: kind, N: p.Draws, Scale: p.Scale}
	if real(c) {
		began := with.now()
		sc.Budget, sc.Clock = searchShare/c.Robot.ROS.Rate, func() time.Duration { return with.now().Sub(began) }
		sc.Pace = &sample.Pace{} // parameters come anew for each episode, of which few chunks are searched
	}
	return func(n *diffusion.Net, d diffusion.Draw) (diffusion.Drawer, error) {
		k, err := align.RestoreCritic(with.critic, n)
		if err != nil {
			return nil, fmt.Errorf("wire: policy.diffusion.sampler: %s: %w; search with the policy that was aligned (rapport eval %s --policy cloned), or align this one to have a critic of it (rapport align)", filepath.Join(with.of, "checkpoints", kindCritic+"-*.bin"), err, Quoted(with.of))
		}
		// align.chunks may have been another for the alignment than the folder says, or than
		// a session that begins from it has: the critic knows. Those of before it was kept do not.
		s := &searcher{first: c.Align.Chunks}
		if k.Chunks != 0 {
			s.first = max(0, k.Chunks)
		}
		if s.by, err = sample.New(n, d, sc, k.Steer(n)); err != nil {
			return nil, fmt.Errorf("wire: policy.diffusion.sampler: %w", err)
		}
		s.plain, err = diffusion.NewSampler(n, 1, d)
		return s, err
	}, nil
}

// searcher searches among an episode's first chunks, of which the critic was fitted, and
// draws the others plainly.
type searcher struct {
	by    *sample.Drawer
	plain diffusion.Drawer
	first int // chunks; 0: all
	drawn int
}

// Begin says that the next chunk is an episode's first.
func (s *searcher) Begin() {
	s.drawn = 0
	s.by.Begin()
}

// Metrics tells of the episode's searches.
func (s *searcher) Metrics() []policy.Metric { return s.by.Metrics() }

// Sample draws a chunk.
func (s *searcher) Sample(dst, seen []float32, pix []byte, rng *rand.Rand) {
	if s.drawn++; s.first > 0 && s.drawn > s.first {
		s.plain.Sample(dst, seen, pix, rng)
		return
	}
	s.by.Sample(dst, seen, pix, rng)
}

// searches watches whether the searches of a player keep the tick.
type searches struct{ begun, warned bool }

// metrics are those of the episode that by ended, none where it draws chunks plainly. It
// warns once of what a tick had no time for; the first chunk of all is plain, since nothing
// is measured before it.
func (w *searches) metrics(by player, log *slog.Logger) []policy.Metric {
	p, ok := by.(interface{ Metrics() []policy.Metric })
	if !ok {
		return nil
	}
	ms := p.Metrics()
	of := map[string]float64{}
	for _, m := range ms {
		of[m.Name] = m.Value
	}
	late, plain := of["sample_late"], of["sample_plain"]
	if !w.begun {
		plain = 0
	}
	w.begun = w.begun || of["sample_draws"] > 0
	if (late > 0 || plain > 0) && !w.warned {
		w.warned = true
		log.Warn("a control tick is too short for policy.diffusion.sampler: chunks are drawn plainly or come late; take fewer policy.diffusion.sampler.draws, fewer policy.diffusion.draws, or plain",
			"plain", plain, "late", late, "seconds", of["sample_seconds"])
	}
	return ms
}

// searchFacts says what the searches of the session's online episodes came to, of which an
// actor's lie in its own folder; none where nothing was searched.
func (s *Session) searchFacts(ctx context.Context) ([]report.Fact, error) {
	var sums [5]int
	for i, name := range []string{"sample_draws", "sample_fewer", "sample_plain", "sample_cut", "sample_late"} {
		ps, err := s.store.Metric(ctx, "episode", name)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			sums[i] += int(p.Value)
		}
	}
	if sums[0] == 0 {
		return nil, nil
	}
	return []report.Fact{{Name: "chunks searched", Value: fmt.Sprintf("%d: %d with fewer particles, %d drawn plainly, %d cut short, %d late", sums[0], sums[1], sums[2], sums[3], sums[4])}}, nil
}
