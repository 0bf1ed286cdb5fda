package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// Topic is a stream of one type that may lose the old for the new.
type Topic[T any] struct {
	Name   string // tokens joined by dots
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error)
}

// FrameTopic carries one camera's pictures, as JPEG above RawView bytes.
func FrameTopic(camera string) Topic[robot.Frame] {
	return Topic[robot.Frame]{
		"frame." + camera,
		func(f robot.Frame) ([]byte, error) { return EncodeFrames([]robot.Frame{f}, RawView) },
		func(b []byte) (robot.Frame, error) {
			fs, err := DecodeFrames(b)
			if err != nil {
				return robot.Frame{}, err
			}
			if len(fs) != 1 {
				return robot.Frame{}, fmt.Errorf("%w: %d frames of one camera", ErrWire, len(fs))
			}
			return fs[0], nil
		},
	}
}

// FeatureTopic carries what the extractor made of each tick.
func FeatureTopic() Topic[perception.Features] {
	return Topic[perception.Features]{"features", EncodeFeatures, DecodeFeatures}
}

// StateTopic carries the arm's state.
func StateTopic() Topic[robot.State] {
	return Topic[robot.State]{"state", EncodeState, DecodeState}
}

// CommandTopic carries what was applied, with number and lease.
func CommandTopic() Topic[Order] { return Topic[Order]{"command", EncodeOrder, DecodeOrder} }

// RewardTopic carries the rewards of the episode so far, (T,).
func RewardTopic() Topic[[]float64] {
	return Topic[[]float64]{"rewards", EncodeRewards, func(b []byte) ([]float64, error) {
		_, r, err := decode[struct{}]("rewards", b)
		if err != nil {
			return nil, err
		}
		v := make([]float64, r.count("rewards", "f8", -1))
		return v, errors.Join(r.done("rewards"), DecodeRewards(v, b))
	}}
}

// MetricTopic carries the numbers of a role, as "learner" or "actor".
func MetricTopic(role string) Topic[policy.Stats] {
	return Topic[policy.Stats]{"metrics." + role, EncodeStats, DecodeStats}
}

func (t Topic[T]) subject(session string) (string, error) {
	if err := checkName("session", session); err != nil {
		return "", err
	}
	for start, i := 0, 0; i <= len(t.Name); i++ {
		if i == len(t.Name) || t.Name[i] == '.' {
			if err := checkName("topic "+t.Name, t.Name[start:i]); err != nil {
				return "", err
			}
			start = i + 1
		}
	}
	return subject(session, "telemetry."+t.Name), nil
}

// ring is a bounded queue that drops its oldest.
type ring[T any] struct {
	mu      sync.Mutex
	buf     []T
	first   int
	n       int
	ready   chan struct{}
	dropped atomic.Uint64
}

func newRing[T any](depth int) *ring[T] {
	return &ring[T]{buf: make([]T, max(depth, 1)), ready: make(chan struct{}, 1)}
}

func (r *ring[T]) put(v T) {
	r.mu.Lock()
	if r.n == len(r.buf) {
		r.first, r.n = (r.first+1)%len(r.buf), r.n-1
		r.dropped.Add(1)
	}
	r.buf[(r.first+r.n)%len(r.buf)] = v
	r.n++
	r.mu.Unlock()
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *ring[T]) get() (v T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		return v, false
	}
	v, r.buf[r.first] = r.buf[r.first], v // the zero value lets the old one go
	r.first, r.n = (r.first+1)%len(r.buf), r.n-1
	return v, true
}

// Feed publishes a topic.
type Feed[T any] struct {
	ring   *ring[T]
	lost   atomic.Uint64
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewFeed makes a feed with room for depth values; one goroutine encodes and
// sends them.
func NewFeed[T any](c *Conn, session string, t Topic[T], depth int) (*Feed[T], error) {
	subj, err := t.subject(session)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Feed[T]{ring: newRing[T](depth), cancel: cancel}
	f.wg.Go(func() {
		for {
			v, ok := f.ring.get()
			if !ok {
				select {
				case <-ctx.Done():
					return
				case <-f.ring.ready:
				}
				continue
			}
			if err := f.send(c, subj, t, v); err != nil && f.lost.Add(1) == 1 {
				c.log.Warn("bus: telemetry lost; further losses are only counted", "subject", subj, "err", err)
			}
		}
	})
	return f, nil
}

func (f *Feed[T]) send(c *Conn, subj string, t Topic[T], v T) error {
	if !c.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	b, err := t.Encode(v)
	if err != nil {
		return err
	}
	if err := c.checkSize(subj, len(b)); err != nil {
		return err
	}
	return c.nc.Publish(subj, b)
}

// Publish never blocks. v must not change afterwards. When the feed is full its
// oldest value is dropped.
func (f *Feed[T]) Publish(v T) { f.ring.put(v) }

// Dropped counts values that were overtaken in the feed, or that could not be
// encoded or sent.
func (f *Feed[T]) Dropped() uint64 { return f.ring.dropped.Load() + f.lost.Load() }

// Close sends what is queued and stops. Publish must not follow.
func (f *Feed[T]) Close() {
	f.cancel()
	f.wg.Wait()
}

// Tap receives a topic.
type Tap[T any] struct {
	c    *Conn
	t    Topic[T]
	sub  *nats.Subscription
	ring *ring[[]byte]
	bad  atomic.Uint64
	end  chan struct{}
	once sync.Once
}

// NewTap subscribes to a topic and keeps the newest depth values.
func NewTap[T any](c *Conn, session string, t Topic[T], depth int) (*Tap[T], error) {
	subj, err := t.subject(session)
	if err != nil {
		return nil, err
	}
	p := &Tap[T]{c: c, t: t, ring: newRing[[]byte](depth), end: make(chan struct{})}
	if p.sub, err = c.nc.Subscribe(subj, func(m *nats.Msg) { p.ring.put(m.Data) }); err != nil {
		return nil, fmt.Errorf("bus: subscribe %s: %w", subj, err)
	}
	if err := c.nc.FlushTimeout(dialLimit); err != nil {
		p.Close()
		return nil, fmt.Errorf("bus: subscribe %s: %w", subj, err)
	}
	return p, nil
}

// Next is the oldest value that was kept, or the next to come.
func (p *Tap[T]) Next(ctx context.Context) (T, error) {
	for {
		if b, ok := p.ring.get(); ok {
			v, err := p.t.Decode(b)
			if err != nil {
				p.bad.Add(1)
			}
			return v, err
		}
		var none T
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case <-p.end:
			return none, fmt.Errorf("%w: tap of %s", ErrClosed, p.t.Name)
		case <-p.ring.ready:
		}
	}
}

// Dropped counts values that were overtaken before Next, or malformed.
func (p *Tap[T]) Dropped() uint64 {
	n := p.ring.dropped.Load() + p.bad.Load()
	if d, err := p.sub.Dropped(); err == nil {
		n += uint64(d)
	}
	return n
}

// Close unsubscribes and ends Next.
func (p *Tap[T]) Close() {
	p.once.Do(func() {
		if err := p.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			p.c.log.Debug("bus: unsubscribe", "err", err)
		}
		close(p.end)
	})
}
