package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Operator is what whoever drives an arm does for people. Stop may come at any
// moment, and while another call is under way.
type Operator interface {
	// Stop latches a fault and returns when the arm was told to hold.
	Stop(ctx context.Context, s Stop) (Stopped, error)
	// Acknowledge clears a fault in the name of somebody who has seen the arm.
	Acknowledge(ctx context.Context, a Acknowledge) (Acknowledged, error)
	// Faults lists the session's faults, the newest first.
	Faults(ctx context.Context) ([]Fault, error)
}

// Stop asks for the arm to be held until somebody acknowledges.
type Stop struct {
	Who string `json:"who"`
	Why string `json:"why"`
}

// Stopped is what became of a Stop.
type Stopped struct {
	Session string `json:"session"`
	Peer    string `json:"peer"` // the process that drives the arm
	// Fault is the stop's own, though others are open: each is to be acknowledged. Who stops
	// again for the same reason has one.
	Fault Fault `json:"fault"`
	// Already says that a fault was latched before.
	Already bool `json:"already,omitempty"`
	// Idle says that no arm moves in this stage of the session: what is latched
	// stops the next one before its first command.
	Idle bool `json:"idle,omitempty"`
	// Held says that the arm was told to hold, Hold after how long on the
	// driver's clock since the request came. Without it the next tick holds.
	Held bool          `json:"held"`
	Hold time.Duration `json:"hold_ns"`
	// Took is from the request to its answer, on the asker's clock.
	Took time.Duration `json:"-"`
}

// Acknowledge clears the fault of a number. Nobody clears faults that he does
// not name.
type Acknowledge struct {
	Fault int64  `json:"fault"`
	Who   string `json:"who"`
	Note  string `json:"note,omitempty"`
}

// Acknowledged is what became of an Acknowledge.
type Acknowledged struct {
	Fault Fault `json:"fault"`
	// Left counts the faults that are still to be acknowledged.
	Left int `json:"left"`
}

// Fault is a latched fault, as people are told of it.
type Fault struct {
	ID      int64     `json:"id"`
	Cause   string    `json:"cause"`
	Detail  string    `json:"detail"`
	Episode string    `json:"episode,omitempty"`
	Stamp   time.Time `json:"stamp"` // of the arm's state, on the backend's clock
	At      time.Time `json:"at"`    // on the driver's clock
	// Open says that nobody has acknowledged it yet; otherwise By did, at Cleared.
	Open    bool      `json:"open"`
	By      string    `json:"by,omitempty"`
	Cleared time.Time `json:"cleared,omitzero"`
	Note    string    `json:"note,omitempty"`
}

const (
	// operatorLimit bounds an operator's act without a deadline of its own: a
	// person repeats what was not answered by then.
	operatorLimit = 2 * time.Second
	// gather is how long StopAll listens for further answers after the last one.
	gather = 200 * time.Millisecond
	// operatorWorkers is how many acts of one kind are worked on at once.
	operatorWorkers = 1
	// maxWords bounds a name and a reason, bytes.
	maxWords = 500
)

// stopAll is the subject that every driver on a server listens on, whatever its
// session.
const stopAll = root + "stop"

// ServeOperator answers the operator's acts for a session until ctx ends or stop
// is called. Several may serve one session: a Stop reaches all of them.
func ServeOperator(ctx context.Context, c *Conn, session string, op Operator) (stop func(), err error) {
	if err := checkName("session", session); err != nil {
		return nil, err
	}
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	halt := func(ctx context.Context, _ string, b []byte) ([]byte, error) {
		r, err := op.Stop(ctx, decodeStop(b))
		if err != nil {
			return nil, err
		}
		r.Session, r.Peer = session, c.name
		return json.Marshal(r)
	}
	rest := func(ctx context.Context, what string, b []byte) ([]byte, error) {
		switch what {
		case "acknowledge":
			var a Acknowledge
			if err := json.Unmarshal(b, &a); err != nil {
				return nil, fmt.Errorf("%w: acknowledge: %v", ErrWire, err)
			}
			if a.Who == "" || len(a.Who) > maxWords || len(a.Note) > maxWords {
				return nil, fmt.Errorf("%w: acknowledge: who must be 1 to %d bytes, note at most as many", ErrReject, maxWords)
			}
			r, err := op.Acknowledge(ctx, a)
			if err != nil {
				return nil, err
			}
			return json.Marshal(r)
		case "faults":
			fs, err := op.Faults(ctx)
			if err != nil {
				return nil, err
			}
			return json.Marshal(append([]Fault{}, fs...))
		}
		return nil, fmt.Errorf("%w: operators do not %.40q", ErrWire, what)
	}
	for _, s := range []struct {
		subj, group string
		h           handler
	}{
		// Each driver is a group of its own for stops.
		{subject(session, "call.stop"), c.nc.NewInbox(), halt},
		{stopAll, c.nc.NewInbox(), halt},
		{subject(session, "call.operator.*"), "serve", rest},
	} {
		f, err := c.serveGroup(ctx, s.subj, s.group, operatorWorkers, false, s.h)
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, f)
	}
	return stop, nil
}

// decodeStop never fails: a request to stop that cannot be read is one.
func decodeStop(b []byte) Stop {
	var s Stop
	if json.Unmarshal(b, &s) != nil {
		s = Stop{Why: string(b)}
	}
	if s.Who = words(s.Who); s.Who == "" {
		s.Who = "somebody"
	}
	if s.Why = words(s.Why); s.Why == "" {
		s.Why = "no reason given"
	}
	return s
}

// words cuts what a person wrote to a length and to letters.
func words(s string) string {
	s = s[:min(len(s), maxWords)]
	for len(s) > 0 && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// Stop holds the session's arm. The error is ErrNoService if nobody drives one.
func (c *Conn) Stop(ctx context.Context, session string, s Stop) (Stopped, error) {
	var r Stopped
	began := time.Now()
	err := c.ask(ctx, session, "call.stop", s, &r)
	r.Took = time.Since(began)
	return r, err
}

// StopAll holds every arm that is driven over this server, whatever its session.
func (c *Conn) StopAll(ctx context.Context, s Stop) ([]Stopped, error) {
	ctx, cancel := c.within(ctx, operatorLimit)
	defer cancel()
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("bus: stop: %w", err)
	}
	in := make(chan *nats.Msg, 64)
	inbox := c.nc.NewInbox()
	sub, err := c.nc.ChanSubscribe(inbox, in)
	if err != nil {
		return nil, fmt.Errorf("bus: stop: %w", err)
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil {
			c.log.Debug("bus: unsubscribe", "err", err)
		}
	}()
	began := time.Now()
	if err := c.nc.PublishRequest(stopAll, inbox, b); err != nil {
		if errors.Is(err, nats.ErrReconnectBufExceeded) {
			return nil, fmt.Errorf("%w: stop: no connection to the NATS server", ErrLost)
		}
		return nil, fmt.Errorf("bus: stop: %w", err)
	}
	var all []Stopped
	var errs error
	var quiet <-chan time.Time
	for {
		select {
		case m := <-in:
			var r Stopped
			switch code := m.Header.Get(ErrorHeader); {
			case len(m.Data) == 0 && m.Header.Get("Status") == "503":
				return nil, fmt.Errorf("%w: nobody drives an arm over this server", ErrNoService)
			case code != "":
				errs = errors.Join(errs, &RemoteError{m.Header.Get(PeerHeader), stopAll, code, string(m.Data)})
			case json.Unmarshal(m.Data, &r) != nil:
				errs = errors.Join(errs, fmt.Errorf("%w: answer to stop", ErrWire))
			default:
				r.Took = time.Since(began)
				all = append(all, r)
			}
			quiet = time.After(gather)
		case <-quiet:
			return all, errs
		case <-c.gone:
			return all, errors.Join(errs, fmt.Errorf("%w: connection, while stopping", ErrClosed))
		case <-ctx.Done():
			if len(all) == 0 {
				errs = errors.Join(errs, fmt.Errorf("%w: nobody answered the stop: %w", ErrLost, ctx.Err()))
			}
			return all, errs
		}
	}
}

// Acknowledge clears a fault of the session. The error is ErrNone if there is no
// open fault of this number.
func (c *Conn) Acknowledge(ctx context.Context, session string, a Acknowledge) (Acknowledged, error) {
	var r Acknowledged
	return r, c.ask(ctx, session, "call.operator.acknowledge", a, &r)
}

// Faults lists the faults of the session, the newest first.
func (c *Conn) Faults(ctx context.Context, session string) ([]Fault, error) {
	var r []Fault
	return r, c.ask(ctx, session, "call.operator.faults", struct{}{}, &r)
}

// ask calls with JSON both ways.
func (c *Conn) ask(ctx context.Context, session, rest string, req, reply any) error {
	if err := checkName("session", session); err != nil {
		return err
	}
	b, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("bus: %s: %w", rest, err)
	}
	if b, err = c.call(ctx, subject(session, rest), b, operatorLimit, false); err != nil {
		return err
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("%w: answer to %s: %v", ErrWire, rest, err)
	}
	return nil
}
