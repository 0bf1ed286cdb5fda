package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Entry is one line of the session's journal: a preference label, or something
// that an operator did. It is never discarded.
type Entry struct {
	Seq   uint64    // place in the journal, from 1
	Kind  string    // one token, as "label", "fault" or "operator"
	ID    string    // unique; appending it again changes nothing
	Stamp time.Time // when the server took it
	Data  []byte    // JSON, by convention of the kind
}

// journalStream refuses deletion: what a person said cannot be said again.
func journalStream(session string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName(session, "JOURNAL"), Subjects: []string{subject(session, "journal.*")},
		Storage: jetstream.FileStorage, Duplicates: duplicates, DenyDelete: true, DenyPurge: true,
	}
}

// Append returns the place of the entry once the server has stored it.
func (c *Conn) Append(ctx context.Context, session, kind, id string, data []byte) (seq uint64, err error) {
	ack, err := c.append(ctx, session, kind, id, data)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// append stores an entry and returns what the server says of it.
func (c *Conn) append(ctx context.Context, session, kind, id string, data []byte) (*jetstream.PubAck, error) {
	if err := errors.Join(checkName("session", session), checkName("kind", kind), checkID("entry id", id)); err != nil {
		return nil, err
	}
	if err := c.checkStored("journal entry "+id, len(data)); err != nil {
		return nil, err
	}
	ctx, cancel := c.within(ctx, ackLimit)
	defer cancel()
	m := &nats.Msg{Subject: subject(session, "journal."+kind), Data: data, Header: nats.Header{MsgIDHeader: {id}}}
	cfg := journalStream(session)
	ack, err := c.js.PublishMsg(ctx, m, jetstream.WithExpectStream(cfg.Name), jetstream.WithRetryAttempts(0))
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		if err = c.ensure(ctx, cfg); err == nil {
			ack, err = c.js.PublishMsg(ctx, m, jetstream.WithExpectStream(cfg.Name))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bus: journal: %s %s is not stored: %w", kind, id, err)
	}
	return ack, nil
}

// Replay calls fn for each entry from place from on (1 is the first), in order.
// With follow it goes on with what is appended, until ctx ends, which returns
// nil; else it returns at the end. An error of fn ends it. Following outlives
// the server's absence. A server that comes back without its store has another
// journal, which is read from the first entry on.
func (c *Conn) Replay(ctx context.Context, session string, from uint64, follow bool, fn func(Entry) error) error {
	if err := checkName("session", session); err != nil {
		return err
	}
	next := max(from, 1)
	var born time.Time // when the server made the journal that next is a place in
	delay := retryMin
	for ctx.Err() == nil {
		var mine error
		err := c.replay(ctx, session, &next, &born, follow, func(e Entry) error {
			if mine = fn(e); mine == nil {
				next, delay = e.Seq+1, retryMin
			}
			return mine
		})
		switch {
		case mine != nil:
			return mine
		case err == nil:
			return nil
		case follow && ctx.Err() != nil:
			return nil
		case c.nc.IsClosed():
			return fmt.Errorf("%w: connection, while reading the journal", ErrClosed)
		case !follow && !errors.Is(err, errDisconnected):
			return err
		}
		c.log.Warn("bus: journal: trying again", "err", err)
		pause(ctx, delay)
		delay = min(2*delay, retryMax)
	}
	if follow {
		return nil
	}
	return fmt.Errorf("bus: journal: %w", ctx.Err())
}

// replay reads from the place next on, as long as the connection lasts.
func (c *Conn) replay(ctx context.Context, session string, next *uint64, born *time.Time, follow bool, fn func(Entry) error) error {
	ctx, stop := c.whileConnected(ctx)
	defer stop()
	cfg := journalStream(session)
	if err := c.ensure(ctx, cfg); err != nil {
		return err
	}
	open, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	st, err := c.js.Stream(open, cfg.Name)
	if err != nil {
		return fmt.Errorf("bus: journal: %w", err)
	}
	info := st.CachedInfo()
	if !born.IsZero() && !info.Created.Equal(*born) {
		c.log.Warn("bus: journal: the server lost its store; this is another journal", "session", session)
		*next = 1
	}
	*born = info.Created
	from, last := *next, info.State.LastSeq
	if !follow && from > last {
		return nil
	}
	cons, err := st.OrderedConsumer(open, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return fmt.Errorf("bus: journal: %w", err)
	}
	it, err := cons.Messages()
	if err != nil {
		return fmt.Errorf("bus: journal: %w", err)
	}
	defer it.Stop()
	for {
		wait, done := context.WithTimeout(ctx, stall)
		m, err := it.Next(jetstream.NextContext(wait))
		done()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			if err := c.quiet(ctx, st, from); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("bus: journal: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("bus: journal: %w", err)
		}
		e := Entry{
			Seq: meta.Sequence.Stream, Kind: lastToken(m.Subject()), ID: m.Headers().Get(MsgIDHeader),
			Stamp: meta.Timestamp.UTC(), Data: m.Data(),
		}
		if err := fn(e); err != nil {
			return err
		}
		from = e.Seq + 1
		if !follow && e.Seq >= last {
			return nil
		}
	}
}

// stall is how long a reader waits before it asks whether there is something
// that it was not sent.
const stall = 3 * time.Second

// quiet is an error if the stream has entries from that sequence on: a consumer that
// was made while the server came back may be forgotten on one side.
func (c *Conn) quiet(ctx context.Context, st jetstream.Stream, from uint64) error {
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	info, err := st.Info(ctx)
	if err != nil {
		return fmt.Errorf("bus: journal: %w", err)
	}
	if last := info.State.LastSeq; last >= from {
		return fmt.Errorf("%w: journal: entries %d to %d do not come", errDisconnected, from, last)
	}
	return nil
}
