package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// watcher makes the features of one recording.
type watcher struct {
	p      *projector
	by     reward.Scorer // that the logged rewards are of, where it is not the newest one
	out    *Replayed
	gaps   gapCounter
	framed bool
	seen   []perception.Features // from the frames
	logged []perception.Features
	stamps []time.Time
	live   running
	fed    int // features that live was given
	lives  []float64
	buf    []float64
	ticks  []record.Tick // not embedded yet
	first  time.Time     // stamp of what was shown first
	began  time.Time     // when that was
}

// see reads the recording to its end.
func (w *watcher) see(ctx context.Context, f footage) error {
	if w.p.rc.Live {
		var err error
		if w.live, err = runningOf(w.p.parts.scorer); err != nil {
			return err
		}
	}
	// One at a time where somebody watches.
	size := batch
	if w.p.rc.Live || w.p.rc.Speed > 0 {
		size = 1
	}
	err := f.Each(ctx, func(t record.Tick) error {
		if err := w.pace(ctx, t.State.Stamp); err != nil {
			return err
		}
		w.ticks = append(w.ticks, t)
		if len(w.ticks) < size {
			return nil
		}
		return w.embed(ctx)
	})
	var torn tornError
	if err == nil || errors.As(err, &torn) { // what came before the damage counts
		if e := w.embed(ctx); e != nil {
			err = e
		}
	}
	w.out.Gaps = w.gaps.gaps()
	return err
}

// pace waits until the recorded time has passed, in which seeing and scoring take their part.
func (w *watcher) pace(ctx context.Context, stamp time.Time) error {
	if w.p.rc.Speed <= 0 {
		return nil
	}
	if w.first.IsZero() {
		w.first, w.began = stamp, w.p.now()
		return nil
	}
	due := w.began.Add(time.Duration(float64(stamp.Sub(w.first)) / w.p.rc.Speed))
	if d := due.Sub(w.p.now()); d > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.p.after(d):
		}
	}
	return nil
}

// embed makes the features of the ticks that wait.
func (w *watcher) embed(ctx context.Context) error {
	if len(w.ticks) == 0 {
		return nil
	}
	frames := make([][]robot.Frame, len(w.ticks))
	none := 0
	for i, t := range w.ticks {
		frames[i] = t.Frames
		if len(t.Frames) == 0 {
			none++
		}
		w.gaps.count(t.Frames)
		w.out.Frames += len(t.Frames)
		w.stamps = append(w.stamps, t.State.Stamp)
		if t.Embed != nil {
			w.logged = append(w.logged, perception.Features{Stamp: t.Seen, Embed: t.Embed, Keys: keysOf(t.Keys)})
		}
	}
	w.framed = w.framed || none < len(frames)
	if w.framed && none > 0 {
		return fmt.Errorf("%d of %d observations have no frames, others have: the recording is of two kinds", none, len(frames))
	}
	if w.framed {
		fs, err := encoder.Batch(ctx, w.p.parts.eyes, frames, runtime.GOMAXPROCS(0))
		if errors.Is(err, encoder.ErrCamera) {
			return fmt.Errorf("%w; the session's encoder was made for it: of a bag, say which topic it is by --map NAME=TOPIC", err)
		}
		if err != nil {
			return err
		}
		for i := range fs {
			fs[i].Keys = keysOf(w.ticks[i].Keys)
		}
		w.seen = append(w.seen, fs...)
	}
	w.ticks = w.ticks[:0]
	if w.live == nil {
		return nil
	}
	fs := w.seen
	if !w.framed {
		fs = w.logged
	}
	for _, f := range fs[w.fed:] {
		w.fed++
		if err := w.live.Add(f); err != nil {
			return err
		}
		if n := w.live.Len(); n > 0 {
			w.buf = append(w.buf[:0], make([]float64, n)...)
			w.live.Rewards(w.buf)
			w.lives = append(w.lives, w.buf[n-1])
		}
	}
	return nil
}

// judge scores what was seen beside what was logged.
func (w *watcher) judge(ctx context.Context, logged []float64) error {
	n := len(w.stamps)
	again := w.logged
	if len(again) != n {
		again = nil
	}
	w.out.Features = len(w.logged)
	traj := w.seen
	if !w.framed {
		traj = again
	}
	switch {
	case n < 2:
		return fmt.Errorf("%d observations, want two at least for a reward", n)
	case traj == nil:
		return errors.New("it holds neither frames nor features for each observation, so there is nothing to score")
	}
	e, err := explain(ctx, w.p.parts.scorer, traj)
	if err != nil {
		return err
	}
	w.out.Expert = e.Name
	if w.out.way, err = waymapOf(w.p.parts.scorer, traj); err != nil {
		return err
	}
	second := make([]float64, n-1)
	switch {
	case again == nil:
		for i := range second {
			second[i] = math.NaN()
		}
	case !w.framed:
		copy(second, e.Rewards)
	default:
		// Features of another encoder may not even fit this reward.
		if err := w.p.parts.scorer.Score(ctx, second, again); err != nil {
			return fmt.Errorf("logged features: %w", err)
		}
		w.out.Drift = drift(w.seen, again)
	}
	if w.by != nil && again != nil {
		if err := w.by.Score(ctx, second, again); err != nil {
			return fmt.Errorf("logged features: %w", err)
		}
	}
	if w.by != nil && w.framed {
		w.out.framed = make([]float64, n-1)
		if err := w.by.Score(ctx, w.out.framed, traj); err != nil {
			return err
		}
	}
	for t := range n - 1 {
		st := Step{T: t + 1, Stamp: w.stamps[t+1], Reward: e.Rewards[t], Again: second[t], Matched: e.Match[t], Logged: math.NaN(), Live: math.NaN()}
		if len(logged) == n-1 {
			st.Logged = logged[t]
		}
		if len(w.lives) == n-1 {
			st.Live = w.lives[t]
		}
		w.out.Steps = append(w.out.Steps, st)
	}
	return nil
}

// drift is the largest difference of a number of the features.
func drift(a, b []perception.Features) float64 {
	top := 0.0
	for t := range a {
		if len(a[t].Embed) != len(b[t].Embed) {
			return math.Inf(1)
		}
		for i, x := range a[t].Embed {
			top = max(top, math.Abs(float64(x)-float64(b[t].Embed[i])))
		}
	}
	return top
}
