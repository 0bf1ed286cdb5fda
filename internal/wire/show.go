package wire

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
)

// showEvery is how often a process says what it does. A screen takes it for
// silent after a few of these.
const showEvery = 250 * time.Millisecond

// show says on the bus what a process does, for screens. A nil show says
// nothing; that is what sessions without a bus have.
type show struct {
	feed    *bus.Feed[bus.Summary]
	rewards *bus.Feed[[]float64]
	log     *slog.Logger

	mu  sync.Mutex
	now bus.Summary
	run rollout // that is under way
}

// rollout is what has been seen of an episode whose reward is to be shown while
// it runs. The driving goroutine adds to it, that of show scores it: four times a
// second, so that a simulation that ends episodes more quickly pays nothing.
type rollout struct {
	n      int // counts episodes
	scorer reward.Scorer
	traj   []perception.Features
}

// shows begins to tell what s does as role, until the returned function is
// called. What s.tell is told goes there too.
func (s *Session) shows(role string) (stop func(), err error) {
	w := &show{log: s.log}
	if w.feed, err = bus.NewFeed(s.conn, s.name, bus.SummaryTopic(role), 2); err != nil {
		return nil, err
	}
	if w.rewards, err = bus.NewFeed(s.conn, s.armOn(), bus.RewardTopic(), 2); err != nil {
		w.feed.Close()
		return nil, err
	}
	w.now.Horizon, w.now.Teleop = s.cfg.Robot.Horizon, s.cfg.Teleop.Input == "bus"
	for _, c := range s.cfg.Robot.Cameras {
		w.now.Cameras = append(w.now.Cameras, c.Name)
	}
	s.show = w
	tell := s.tell
	s.tell = func(stage string, done, total int, note string) {
		w.stage(stage, done, total, note)
		tell(stage, done, total, note)
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	if s.after != nil {
		wg.Go(func() {
			var l living
			for {
				w.publish()
				l.score(w)
				select {
				case <-s.after(showEvery):
				case <-end:
					return
				}
			}
		})
	}
	return func() {
		close(end)
		wg.Wait()
		w.mu.Lock()
		w.now.Bye = true
		w.mu.Unlock()
		w.publish()
		w.feed.Close()
		w.rewards.Close()
	}, nil
}

func (w *show) publish() {
	w.mu.Lock()
	w.now.Seq++
	now := w.now
	// What is appended to later must not reach into what the feed still holds.
	now.Returns, now.Success = slices.Clone(now.Returns), slices.Clone(now.Success)
	w.mu.Unlock()
	w.feed.Publish(now)
}

func (w *show) stage(stage string, done, total int, note string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now.Stage, w.now.Done, w.now.Total, w.now.Note = stage, done, total, note
}

// share tells a share of successes, in place of the last one of this name.
func (w *show) share(when string, sh report.Share) {
	if w == nil || sh.Of == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v := bus.Share{When: when, Hits: sh.Hits, Of: sh.Of}
	if i := slices.IndexFunc(w.now.Success, func(o bus.Share) bool { return o.When == when }); i >= 0 {
		w.now.Success[i] = v
		return
	}
	w.now.Success = append(w.now.Success, v)
}

// returned tells the return of the n-th online episode. Those between that it was
// not told of are unknown.
func (w *show) returned(n int, r float64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.now.Returns) == 0 {
		w.now.First = n
	}
	if gap := w.now.First - n; gap > 0 { // an earlier one, told after those that were learned again
		w.now.First, w.now.Returns = n, append(make([]float64, gap), w.now.Returns...)
		for i := range gap {
			w.now.Returns[i] = math.NaN()
		}
	}
	i := n - w.now.First
	for len(w.now.Returns) <= i {
		w.now.Returns = append(w.now.Returns, math.NaN())
	}
	w.now.Returns[i] = r
}

// earlier tells the returns of the episodes that the folder holds.
func (s *Session) earlier(ctx context.Context) error {
	if s.show == nil {
		return nil
	}
	ps, err := s.store.Metric(ctx, "episode", "return")
	if err != nil {
		return err
	}
	for _, p := range ps {
		s.show.returned(int(p.Step), p.Value)
	}
	return nil
}

// explored is how often the online episodes before the next one succeeded, of those of
// which that is known.
func (s *Session) explored(ctx context.Context, next int) (sh report.Share, err error) {
	ps, err := s.store.Metric(ctx, "episode", "success")
	for _, p := range ps {
		if int(p.Step) < next && !math.IsNaN(p.Value) {
			sh.Of++
			if p.Value > 0 {
				sh.Hits++
			}
		}
	}
	return sh, err
}

// handled tells the desk how many steps a person decided in the online episodes before
// the next one.
func (s *Session) handled(ctx context.Context, next int) error {
	n, _, err := s.drove(ctx, next)
	s.desk.handled(n)
	return err
}

// drove is how many steps a person decided in the online episodes before the next one, and
// of how many of them.
func (s *Session) drove(ctx context.Context, next int) (steps, episodes int, err error) {
	ps, err := s.store.Metric(ctx, "episode", "human")
	for _, p := range ps {
		if int(p.Step) < next && !math.IsNaN(p.Value) {
			steps += int(p.Value)
			episodes++
		}
	}
	return steps, episodes, err
}

// begin makes the reward of the episode that begins be shown while it runs, if
// the scorer is at hand.
func (w *show) begin(scorer reward.Scorer) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run = rollout{n: w.run.n + 1, scorer: scorer, traj: w.run.traj[:0:0]}
}

// tick takes the next features of the running episode.
func (w *show) tick(f perception.Features) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.run.scorer != nil {
		w.run.traj = append(w.run.traj, f)
	}
}

// living scores the running episode, for one goroutine.
type living struct {
	of   int // the rollout
	live running
	got  int // frames of it
}

// score publishes the rewards of the episode so far. What cannot be scored here is
// told by whoever labels the episode; a screen is no reason to end it.
func (l *living) score(w *show) {
	defer func() {
		if r := recover(); r != nil { // nor is it one to let go of an arm that moves
			l.live = nil
			w.log.Error("wire: the running episode's reward is not shown", "panic", r)
		}
	}()
	w.mu.Lock()
	run := w.run
	w.mu.Unlock()
	if run.n != l.of {
		l.of, l.live, l.got = run.n, nil, 0
		if run.scorer != nil {
			l.live, _ = runningOf(run.scorer)
		}
	}
	if run.scorer == nil || l.live == nil || len(run.traj) == l.got {
		return
	}
	for _, f := range run.traj[l.got:] {
		if l.live.Add(f) != nil {
			l.live = nil
			return
		}
		l.got++
	}
	r := make([]float64, l.live.Len())
	l.live.Rewards(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.run.n == run.n && w.run.scorer != nil { // or it was labelled meanwhile
		w.rewards.Publish(r)
	}
}

// scored tells the rewards of the episode that is over.
func (w *show) scored(r []float64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run.scorer, w.run.traj = nil, nil
	w.rewards.Publish(slices.Clone(r))
}
