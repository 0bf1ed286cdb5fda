package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rapport-rl/rapport/robot"
)

// Headers of a call. A request tells how long its caller waits, on no clock but
// the server's own; a reply without ErrorHeader is a result.
const (
	TimeoutHeader = "Rapport-Timeout-Ms"
	ErrorHeader   = "Rapport-Error" // a code of codes
	PeerHeader    = "Rapport-Peer"
	BusyHeader    = "Rapport-Working" // on an empty reply: still at it
)

const (
	// workingEvery is how often the server of a long call says that it lives,
	// and silence is after how long its caller gives it up. Three lost signs in a
	// row are a dead server, not a slow network.
	workingEvery = time.Second
	silence      = 3*workingEvery + workingEvery/2
	// queuePerWorker is how many calls may wait for a worker. Two cameras' worth:
	// what waits longer is too old for an arm.
	queuePerWorker = 4
	// drainLimit is how long stopping a service waits for the server.
	drainLimit = 2 * time.Second
)

// RemoteError is an error that a server returned. errors.Is finds behind it
// robot.ErrStopped, robot.ErrStale, io.EOF, context.DeadlineExceeded
// and the sentinels of this package that the server meant.
type RemoteError struct {
	Peer    string // who served
	Subject string // what was called
	Code    string // see docs/bus.md
	Text    string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s (from %s: %s)", e.Text, e.Peer, e.Subject)
}

// Is makes sentinels survive the wire.
func (e *RemoteError) Is(target error) bool {
	for _, c := range codes() {
		if c.code == e.Code {
			return c.err == target
		}
	}
	return false
}

type code struct {
	code string
	err  error
}

// codes pairs the codes of the wire with sentinels. What matches none is "error".
// A server that is cancelled is gone for its caller, who was not cancelled.
func codes() []code {
	return []code{
		{"stopped", robot.ErrStopped}, {"stale", robot.ErrStale}, {"eof", io.EOF},
		{"deadline", context.DeadlineExceeded}, {"gone", ErrLost},
		{"busy", ErrBusy}, {"wire", ErrWire}, {"large", ErrLarge}, {"none", ErrNone}, {"reject", ErrReject},
		{"expired", ErrExpired}, {"older", ErrOlder},
	}
}

func codeOf(err error) string {
	if errors.Is(err, context.Canceled) {
		return "gone"
	}
	for _, c := range codes() {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "error"
}

// call sends b and waits for the reply, at most until ctx's deadline, or limit
// if ctx has none. A patient call goes on only while its server says that it
// lives.
func (c *Conn) call(ctx context.Context, subj string, b []byte, limit time.Duration, patient bool) ([]byte, error) {
	if err := c.checkSize("request "+subj, len(b)); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	end, _ := ctx.Deadline()
	ms := max(time.Until(end).Milliseconds(), 1)
	m := &nats.Msg{Subject: subj, Data: b, Header: nats.Header{TimeoutHeader: {strconv.FormatInt(ms, 10)}}}
	var reply *nats.Msg
	var err error
	if patient {
		reply, err = c.wait(ctx, m)
	} else {
		reply, err = c.nc.RequestMsgWithContext(ctx, m)
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w: %s; start its process, or check that both name the same session", ErrNoService, subj)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return nil, fmt.Errorf("%w: call %s: no connection to the NATS server", ErrLost, subj)
	case err != nil:
		return nil, fmt.Errorf("bus: call %s: %w", subj, err)
	}
	if code := reply.Header.Get(ErrorHeader); code != "" {
		return nil, &RemoteError{reply.Header.Get(PeerHeader), subj, code, string(reply.Data)}
	}
	return reply.Data, nil
}

// wait is a request whose server may be silent only briefly.
func (c *Conn) wait(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	m.Reply = c.nc.NewInbox()
	// Room for the signs of life that come while the caller is not scheduled; a
	// subscription's own queue would cost half a megabyte a call.
	in := make(chan *nats.Msg, 16)
	sub, err := c.nc.ChanSubscribe(m.Reply, in)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil {
			c.log.Debug("bus: unsubscribe", "err", err)
		}
	}()
	if err := c.nc.PublishMsg(m); err != nil {
		return nil, err
	}
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.gone:
			return nil, nats.ErrConnectionClosed
		case <-quiet.C:
			return nil, fmt.Errorf("%w: no sign of life for %v", ErrLost, silence)
		case r := <-in:
			switch {
			case len(r.Data) == 0 && r.Header.Get("Status") == "503":
				return nil, nats.ErrNoResponders
			case r.Header.Get(BusyHeader) == "":
				return r, nil
			}
			quiet.Reset(silence)
		}
	}
}

// handler answers one call. rest is the subject's last token.
type handler func(ctx context.Context, rest string, b []byte) ([]byte, error)

// service answers the calls on one subject.
type service struct {
	c       *Conn
	subj    string
	h       handler
	patient bool
	sub     *nats.Subscription
	closed  chan struct{} // no more calls of take
	in      chan job
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	once    sync.Once
}

type job struct {
	m    *nats.Msg
	end  time.Time
	done func() // ends the signs of life
}

// serve answers calls on subj with h, on so many workers, until ctx ends or
// stop is called; stop cancels the calls under way and waits for them. Servers
// of one subject share its calls.
func (c *Conn) serve(ctx context.Context, subj string, workers int, patient bool, h handler) (stop func(), err error) {
	// The queue group's name is part of the contract: other languages join it.
	return c.serveGroup(ctx, subj, "serve", workers, patient, h)
}

// serveGroup is serve for servers that share calls in a group of another name.
func (c *Conn) serveGroup(ctx context.Context, subj, group string, workers int, patient bool, h handler) (stop func(), err error) {
	work, cancel := context.WithCancel(ctx)
	s := &service{
		c: c, subj: subj, h: h, patient: patient, cancel: cancel,
		in: make(chan job, workers*queuePerWorker), closed: make(chan struct{}),
	}
	for range workers {
		s.wg.Go(func() { s.work(work) })
	}
	s.sub, err = c.nc.QueueSubscribe(subj, group, s.take)
	if err == nil {
		s.sub.SetClosedHandler(func(string) { close(s.closed) })
		err = c.nc.FlushTimeout(dialLimit)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("bus: serve %s: %w", subj, err)
	}
	context.AfterFunc(work, s.stop)
	return s.stop, nil
}

func (s *service) stop() {
	s.once.Do(func() {
		if s.sub != nil {
			s.unsubscribe()
		}
		s.cancel()
		s.wg.Wait()
		for len(s.in) > 0 {
			j := <-s.in
			j.done()
			s.fail(j.m, fmt.Errorf("%w: it stopped serving", ErrLost))
		}
	})
}

// unsubscribe returns after the last call of take. Draining lets take see what
// has arrived, so that its callers are told; without a connection there is
// nobody to tell, and draining would wait for it.
func (s *service) unsubscribe() {
	end := time.NewTimer(drainLimit)
	defer end.Stop()
	if s.c.nc.IsConnected() && s.sub.Drain() == nil {
		select {
		case <-s.closed:
			return
		case <-s.c.gone:
			return
		case <-end.C:
		}
	}
	if err := s.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
		s.c.log.Warn("bus: stop serving", "subject", s.subj, "err", err)
	}
	select {
	case <-s.closed:
	case <-s.c.gone:
	}
}

// take runs in the library's goroutine and must not block.
func (s *service) take(m *nats.Msg) {
	now := time.Now()
	ms, err := strconv.ParseInt(m.Header.Get(TimeoutHeader), 10, 64)
	if err != nil || ms <= 0 {
		ms = callLimit.Milliseconds()
	}
	ms = min(ms, (24 * time.Hour).Milliseconds())
	j := job{m, now.Add(time.Duration(ms) * time.Millisecond), func() {}}
	if s.patient {
		j.done = s.working(m)
	}
	select {
	case s.in <- j:
	default:
		j.done()
		s.fail(m, fmt.Errorf("%w: %d calls wait", ErrBusy, cap(s.in)))
	}
}

func (s *service) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.in:
			s.answer(ctx, j)
		}
	}
}

func (s *service) answer(ctx context.Context, j job) {
	ctx, cancel := context.WithDeadline(ctx, j.end)
	defer cancel()
	defer j.done()
	if ctx.Err() != nil {
		s.fail(j.m, fmt.Errorf("too late: waited longer than its caller: %w", ctx.Err()))
		return
	}
	b, err := s.protect(ctx, j.m)
	if err == nil {
		err = s.c.checkSize("reply", len(b))
	}
	if err != nil {
		s.fail(j.m, err)
		return
	}
	if err := j.m.Respond(b); err != nil {
		s.c.log.Warn("bus: reply", "subject", s.subj, "err", err)
	}
}

// protect turns a panic of the handler into an error: one bad request must not
// take the server from everybody else.
func (s *service) protect(ctx context.Context, m *nats.Msg) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.c.log.Error("bus: handler panicked", "subject", m.Subject, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("handler panicked: %v", p)
		}
	}()
	return s.h(ctx, lastToken(m.Subject), m.Data)
}

// working says that a long call lives, until the returned function is called.
func (s *service) working(m *nats.Msg) (done func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(workingEvery)
		defer t.Stop()
		for {
			select {
			case <-end:
				return
			case <-t.C:
				r := &nats.Msg{Subject: m.Reply, Header: nats.Header{BusyHeader: {"1"}, PeerHeader: {s.c.name}}}
				if err := s.c.nc.PublishMsg(r); err != nil {
					s.c.log.Debug("bus: sign of life", "err", err)
				}
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

func (s *service) fail(m *nats.Msg, err error) {
	r := &nats.Msg{
		Subject: m.Reply, Data: []byte(err.Error()),
		Header: nats.Header{ErrorHeader: {codeOf(err)}, PeerHeader: {s.c.name}},
	}
	if m.Reply == "" {
		return
	}
	if err := s.c.nc.PublishMsg(r); err != nil {
		s.c.log.Warn("bus: reply", "subject", s.subj, "err", err)
	}
}

func lastToken(subj string) string {
	for i := len(subj) - 1; i >= 0; i-- {
		if subj[i] == '.' {
			return subj[i+1:]
		}
	}
	return subj
}
