package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rapport-rl/rapport/policy"
)

const (
	// duplicates is how long the server remembers ids while it runs. Consumers
	// remember for ever, see Consumer.
	duplicates = 24 * time.Hour
	// ackLimit bounds the wait for one acknowledgement of JetStream: its library
	// waits 5 s too.
	ackLimit = 5 * time.Second
	// retryMin and retryMax bound the wait before a server is tried again.
	retryMin = 50 * time.Millisecond
	retryMax = 2 * time.Second
	// maxID bounds an id, bytes; it travels in a header.
	maxID = 256
)

func checkID(what, id string) error {
	ok := id != "" && len(id) <= maxID
	for _, r := range id {
		ok = ok && r >= ' ' && r != 0x7f
	}
	if !ok {
		return fmt.Errorf("bus: %s %.40q: want 1 to %d bytes without control characters", what, id, maxID)
	}
	return nil
}

// Publisher hands episodes to the session's queue. Each is on the local disk
// before Publish returns, and stays there until the server has acknowledged it,
// so neither side's death loses one.
type Publisher struct {
	c    *Conn
	subj string
	cfg  jetstream.StreamConfig
	sp   *spool

	wake   chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the spool shrinks

	sent, repeated, refused atomic.Uint64
}

// NewPublisher opens the spool in dir, which one process may use at a time, and
// starts sending what it holds. The server may be away.
func NewPublisher(c *Conn, session, dir string) (*Publisher, error) {
	if err := checkName("session", session); err != nil {
		return nil, err
	}
	sp, err := openSpool(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{
		c: c, subj: subject(session, "episode"), cfg: episodeStream(session), sp: sp,
		wake: make(chan struct{}, 1), cancel: cancel, changed: make(chan struct{}),
	}
	p.wg.Go(func() { p.send(ctx) })
	return p, nil
}

// Publish keeps e and returns; it is sent as soon as the server takes it, in
// the order of publishing. Publishing an id again is harmless.
func (p *Publisher) Publish(ctx context.Context, e policy.Episode) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("bus: publish episode %s: %w", e.ID, err)
	}
	if err := checkID("episode id", e.ID); err != nil {
		return err
	}
	b, err := p.encode(e)
	if err != nil {
		return err
	}
	if err := p.sp.put(b); err != nil {
		return err
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// Fits is an error for an episode that the server would not take.
func (p *Publisher) Fits(e policy.Episode) error {
	_, err := p.encode(e)
	return err
}

func (p *Publisher) encode(e policy.Episode) ([]byte, error) {
	b, err := EncodeEpisode(e)
	if err != nil {
		return nil, err
	}
	return b, p.c.checkStored("episode "+e.ID, len(b))
}

// Pending is the number of episodes that no server acknowledged yet.
func (p *Publisher) Pending() int { return p.sp.len() }

// Waiting is the number of episodes that nobody has learned from yet: those of Pending, and those
// that lie in the session's queue, whoever put them there. What was lost or buried does not wait.
func (p *Publisher) Waiting(ctx context.Context) (int, error) {
	spooled := p.Pending() // first: one that is sent in between counts twice rather than not at all
	ctx, cancel := p.c.within(ctx, ackLimit)
	defer cancel()
	st, err := p.c.js.Stream(ctx, p.cfg.Name) // asks for its state
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return spooled, nil
	}
	if err != nil {
		return 0, fmt.Errorf("bus: stream %s: %w", p.cfg.Name, err)
	}
	return spooled + int(st.CachedInfo().State.Msgs), nil
}

// Counts tells how many episodes were acknowledged, how many of these the
// server knew already, and how many were set aside because no server would
// ever take them.
func (p *Publisher) Counts() (sent, repeated, refused uint64) {
	return p.sent.Load(), p.repeated.Load(), p.refused.Load()
}

// Flush waits until everything is acknowledged.
func (p *Publisher) Flush(ctx context.Context) error {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if p.sp.len() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("bus: flush: %d episodes are still in %s: %w", p.sp.len(), p.sp.dir, ctx.Err())
		case <-changed:
		}
	}
}

// Close stops sending. What is unsent stays in the spool for the next
// Publisher.
func (p *Publisher) Close() {
	p.once.Do(func() {
		p.cancel()
		p.wg.Wait()
		p.sp.lock.release()
	})
}

// send empties the spool, for ever.
func (p *Publisher) send(ctx context.Context) {
	delay, ready := retryMin, false
	for ctx.Err() == nil {
		name, b, err := p.sp.head()
		if err == nil && name == "" {
			select {
			case <-ctx.Done():
			case <-p.wake:
			}
			continue
		}
		if err == nil && !ready {
			err = p.c.ensure(ctx, p.cfg)
			ready = err == nil
		}
		if err == nil {
			err = p.one(ctx, name, b)
		}
		if err == nil {
			delay = retryMin
			continue
		}
		if ctx.Err() != nil {
			return
		}
		ready = false
		p.c.log.Warn("bus: episode waits in the spool", "file", name, "pending", p.sp.len(), "err", err)
		pause(ctx, delay)
		delay = min(2*delay, retryMax)
	}
}

// one sends the spool's head. An error means to try again.
func (p *Publisher) one(ctx context.Context, name string, b []byte) error {
	m, _, err := decode[episodeMeta]("episode", b)
	if err == nil {
		var ack *jetstream.PubAck
		ack, err = p.publish(ctx, m.ID, b)
		if err == nil {
			p.sent.Add(1)
			if ack.Duplicate {
				p.repeated.Add(1)
			}
			if err := p.sp.drop(name); err != nil {
				p.c.log.Error("bus: sent, but still spooled; it will come again", "err", err)
			}
			p.shrunk()
			return nil
		}
		if !tooLarge(err) {
			return err
		}
	}
	aside, rerr := p.sp.refuse(name)
	p.refused.Add(1)
	p.shrunk()
	p.c.log.Error("bus: episode set aside", "file", aside, "err", errors.Join(err, rerr))
	return nil
}

// tooLarge says that the server will never take the message. That it could not store one is
// told by one code for whatever reason, of which others pass.
func tooLarge(err error) bool {
	if errors.Is(err, nats.ErrMaxPayload) {
		return true
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	return api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum ||
		api.ErrorCode == jetstream.ErrorCode(server.JSStreamStoreFailedF) && api.Description == server.ErrMsgTooLarge.Error()
}

func (p *Publisher) publish(ctx context.Context, id string, b []byte) (*jetstream.PubAck, error) {
	ctx, cancel := p.c.within(ctx, ackLimit)
	defer cancel()
	return p.c.js.PublishMsg(ctx, &nats.Msg{Subject: p.subj, Data: b, Header: nats.Header{MsgIDHeader: {id}}}, jetstream.WithRetryAttempts(0))
}

func (p *Publisher) shrunk() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// episodeStream is the work queue: the server forgets what was acknowledged.
func episodeStream(session string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName(session, "EPISODES"), Subjects: []string{subject(session, "episode")},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Duplicates: duplicates,
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
