package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rapport-rl/rapport/policy"
)

const (
	// ackWait is after how long without a sign of life an episode goes to another
	// consumer.
	ackWait = 15 * time.Second
	// nakDelay is the first wait after a handler failed; it doubles up to nakMax.
	nakDelay = time.Second
	nakMax   = 30 * time.Second
	// pullFor is how long one request for the next episode stays open, and so
	// how late a restarted server is noticed.
	pullFor = 2 * time.Second
	// inFlight is how many episodes consumers of one name may hold between them.
	inFlight = 64
)

// Consumer takes episodes from the session's queue. Consumers of one Durable
// name share the work; a queue has one name. Fields are set before Run.
type Consumer struct {
	Conn    *Conn
	Session string
	Durable string // "learner", if empty
	// Sole says that no other process consumes under this name, as that which holds
	// the session's folder. Episodes then come strictly in order, and what a
	// predecessor held when it died comes first and at once: otherwise it comes after
	// AckWait, behind those that followed it.
	Sole bool
	// AckWait is after how long a dead consumer's episode is given to another;
	// 0 means 15 s. A handler may take longer, as long as its process lives.
	AckWait time.Duration
	// Retry is the wait after a handler's first error; 0 means 1 s.
	Retry time.Duration

	handled, repeated, failed, dead atomic.Uint64
	// unnoted are keys of handled episodes whose note the server did not take,
	// as it was away; each comes again, and is noted then.
	unnoted map[string]bool
	waited  bool // the episode in fn, see Waited
}

// Counts is what became of deliveries.
type Counts struct {
	Handled  uint64 // the handler returned nil
	Repeated uint64 // acknowledged unseen, for their id was handled before
	Failed   uint64 // the handler returned an error; to be tried again
	Dead     uint64 // undecodable or rejected; kept with the dead letters
}

// Counts tells what became of the deliveries so far.
func (q *Consumer) Counts() Counts {
	return Counts{q.handled.Load(), q.repeated.Load(), q.failed.Load(), q.dead.Load()}
}

// Waited says, to fn alone, whether its episode lay in the queue already when this consumer began,
// or found the server again.
func (q *Consumer) Waited() bool { return q.waited }

// Run calls fn for each episode, one at a time, until ctx ends, which returns
// nil. An episode is acknowledged after fn returned nil; after an error it
// comes again, later and later, and after one that wraps ErrReject it goes to
// the dead letters. Ids that were handled are noted at the server, so that an
// episode which is delivered again is not handled again; only this process's
// death between fn's return and that note repeats one. Run outlives the server's absence.
func (q *Consumer) Run(ctx context.Context, fn func(context.Context, policy.Episode) error) error {
	if q.Durable == "" {
		q.Durable = "learner"
	}
	for what, s := range map[string]string{"session": q.Session, "consumer": q.Durable} {
		if err := checkName(what, s); err != nil {
			return err
		}
	}
	if q.AckWait == 0 {
		q.AckWait = ackWait
	}
	if q.Retry == 0 {
		q.Retry = nakDelay
	}
	delay := retryMin
	for ctx.Err() == nil {
		begun := q.handled.Load()
		err := q.session(ctx, fn)
		if ctx.Err() != nil {
			break
		}
		if q.Conn.nc.IsClosed() {
			return fmt.Errorf("%w: connection, while consuming episodes", ErrClosed)
		}
		if !again(err) {
			return err
		}
		if q.handled.Load() > begun {
			delay = retryMin
		}
		q.Conn.log.Warn("bus: episodes: trying again", "err", err)
		pause(ctx, delay)
		delay = min(2*delay, retryMax)
	}
	return nil
}

// again says whether waiting can help against err.
func again(err error) bool {
	return !errors.Is(err, jetstream.ErrJetStreamNotEnabled) && !errors.Is(err, ErrTaken)
}

// queue is what one consumer holds at the server.
type queue struct {
	next jetstream.Consumer
	seen jetstream.KeyValue
	last uint64 // the newest episode when it was opened
}

// session consumes until something fails.
func (q *Consumer) session(ctx context.Context, fn func(context.Context, policy.Episode) error) error {
	whole := ctx
	ctx, stop := q.Conn.whileConnected(whole)
	defer stop()
	s, err := q.open(ctx)
	if err != nil {
		return err
	}
	for {
		pull, cancel := context.WithTimeout(ctx, pullFor)
		m, err := s.next.Next(jetstream.FetchContext(pull))
		cancel()
		switch {
		case err == nil:
			// A lost connection ends no handler, only the waiting for more.
			q.one(whole, s, m, fn)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded):
			// Nothing came.
		default:
			return fmt.Errorf("bus: next episode: %w", err)
		}
	}
}

func (q *Consumer) open(ctx context.Context) (queue, error) {
	c := q.Conn
	for _, cfg := range []jetstream.StreamConfig{episodeStream(q.Session), deadStream(q.Session)} {
		if err := c.ensure(ctx, cfg); err != nil {
			return queue{}, err
		}
	}
	ctx, cancel := c.within(ctx, ackLimit)
	defer cancel()
	seen, err := c.bucket(ctx, streamName(q.Session, "HANDLED"))
	if err != nil {
		return queue{}, err
	}
	stream, most := streamName(q.Session, "EPISODES"), inFlight
	if q.Sole {
		// A work queue keeps what was not acknowledged. Its next consumer begins with
		// the oldest, whoever held that; nothing is in this process's hands here.
		if err := c.js.DeleteConsumer(ctx, stream, q.Durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return queue{}, fmt.Errorf("bus: consumer %s: %w", q.Durable, err)
		}
		most = 1
	}
	next, err := c.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: q.Durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: q.AckWait, MaxDeliver: -1, MaxAckPending: most,
	})
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == errQueueUnique || api.ErrorCode == errQueueFilter) {
		return queue{}, fmt.Errorf("%w: the episodes of session %s go to a consumer of another name than %q; use its name to share them", ErrTaken, q.Session, q.Durable)
	}
	if err != nil {
		return queue{}, fmt.Errorf("bus: consumer %s: %w", q.Durable, err)
	}
	st, err := c.js.Stream(ctx, stream) // asks for its state
	if err != nil {
		return queue{}, fmt.Errorf("bus: stream %s: %w", stream, err)
	}
	return queue{next, seen, st.CachedInfo().State.LastSeq}, nil
}

// Codes of the server for a second name on a work queue (nats-server
// errors.json: JSConsumerWQMultipleUnfilteredErr, JSConsumerWQConsumerNotUniqueErr).
const (
	errQueueUnique = 10099
	errQueueFilter = 10100
)

// one handles one delivery. What goes wrong with acknowledging is logged: the
// episode will come again, and the note of its id stops it then.
func (q *Consumer) one(ctx context.Context, s queue, m jetstream.Msg, fn func(context.Context, policy.Episode) error) {
	e, err := DecodeEpisode(m.Data())
	if err != nil {
		q.bury(ctx, m, err)
		return
	}
	log := q.Conn.log.With("episode", e.ID)
	sum := sha256.Sum256([]byte(e.ID))
	key := hex.EncodeToString(sum[:16])
	if q.unnoted[key] {
		q.repeated.Add(1)
		q.note(ctx, s, m, key, e.ID)
		return
	}
	known, err := q.known(ctx, s, key)
	if err == nil && known {
		q.repeated.Add(1)
		q.ack(ctx, m)
		return
	}
	if err == nil {
		meta, unread := m.Metadata()
		q.waited = unread == nil && meta.Sequence.Stream <= s.last
		err = q.alive(ctx, m, func() error { return fn(ctx, e) })
		if errors.Is(err, ErrReject) {
			q.bury(ctx, m, err)
			return
		}
		if err != nil {
			q.failed.Add(1)
		}
	}
	if err != nil {
		log.Warn("bus: episode failed", "err", err)
		q.nak(m, ctx.Err() != nil)
		return
	}
	q.handled.Add(1)
	q.note(ctx, s, m, key, e.ID)
}

// note writes down that an episode was handled, then acknowledges it.
func (q *Consumer) note(ctx context.Context, s queue, m jetstream.Msg, key, id string) {
	at, cancel := q.Conn.within(context.WithoutCancel(ctx), ackLimit)
	defer cancel()
	if _, err := s.seen.PutString(at, key, id); err != nil {
		q.Conn.log.Warn("bus: handled, but not noted; it will come again", "episode", id, "err", err)
		if q.unnoted == nil {
			q.unnoted = make(map[string]bool)
		}
		q.unnoted[key] = true
		return
	}
	delete(q.unnoted, key)
	q.ack(ctx, m)
}

func (q *Consumer) known(ctx context.Context, s queue, key string) (bool, error) {
	ctx, cancel := q.Conn.within(ctx, ackLimit)
	defer cancel()
	_, err := s.seen.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// alive runs fn while it keeps the episode from being given to another.
func (q *Consumer) alive(ctx context.Context, m jetstream.Msg, fn func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		t := time.NewTicker(q.AckWait / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if err := m.InProgress(); err != nil {
					q.Conn.log.Debug("bus: sign of life", "err", err)
				}
			}
		}
	})
	return fn()
}

func (q *Consumer) ack(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := q.Conn.within(context.WithoutCancel(ctx), ackLimit)
	defer cancel()
	if err := m.DoubleAck(ctx); err != nil {
		q.Conn.log.Warn("bus: acknowledging failed; the episode will come again", "err", err)
	}
}

func (q *Consumer) nak(m jetstream.Msg, now bool) {
	delay := q.Retry
	if meta, err := m.Metadata(); err == nil {
		for range min(meta.NumDelivered-1, 16) {
			delay = min(2*delay, max(nakMax, q.Retry))
		}
	}
	err := error(nil)
	if now {
		err = m.Nak()
	} else {
		err = m.NakWithDelay(delay)
	}
	if err != nil {
		q.Conn.log.Warn("bus: refusing failed; the episode will come again", "err", err)
	}
}

// bury keeps a message that cannot be handled, and says why in a header.
func (q *Consumer) bury(ctx context.Context, m jetstream.Msg, why error) {
	ctx, cancel := q.Conn.within(context.WithoutCancel(ctx), ackLimit)
	defer cancel()
	dead := &nats.Msg{Subject: subject(q.Session, "dead.episode"), Data: m.Data(), Header: nats.Header{
		ErrorHeader: {oneLine(why.Error())}, PeerHeader: {q.Conn.name},
	}}
	if _, err := q.Conn.js.PublishMsg(ctx, dead); err != nil {
		q.Conn.log.Error("bus: dead letter not kept", "err", err)
		q.nak(m, false)
		return
	}
	q.dead.Add(1)
	q.Conn.log.Error("bus: episode kept with the dead letters", "stream", streamName(q.Session, "DEAD"), "err", why)
	if err := m.TermWithReason(oneLine(why.Error())); err != nil {
		q.Conn.log.Warn("bus: terminating failed; the message will come again", "err", err)
	}
}

// oneLine makes s fit for a header.
func oneLine(s string) string {
	b := []byte(s[:min(len(s), 1000)])
	for i, x := range b {
		if x < ' ' || x == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

// deadStream keeps what could not be handled, until a person deletes it.
func deadStream(session string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName(session, "DEAD"), Subjects: []string{subject(session, "dead.>")}, Storage: jetstream.FileStorage,
	}
}
