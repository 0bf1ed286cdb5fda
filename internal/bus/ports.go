package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
)

// How long a call may take when its context does not say. Ten control ticks at
// 10 Hz for acting; scoring and learning are beside the loop.
const (
	actLimit     = time.Second
	extractLimit = 5 * time.Second
	callLimit    = 30 * time.Second
	updateLimit  = 10 * time.Minute // with signs of life, see silence
	whoLimit     = 300 * time.Millisecond
)

// ServeExtractor serves e to the session until ctx ends or stop is called. e
// must be safe for several goroutines. Several servers share the calls.
func ServeExtractor(ctx context.Context, c *Conn, session string, e perception.Extractor) (stop func(), err error) {
	return c.servePort(ctx, session, "extract", runtime.GOMAXPROCS(0), false, func(ctx context.Context, _ string, b []byte) ([]byte, error) {
		fs, err := DecodeFrames(b)
		if err != nil {
			return nil, err
		}
		f, err := e.Extract(ctx, fs)
		if err != nil {
			return nil, err
		}
		return EncodeFeatures(f)
	})
}

// Extractor calls the session's extractor.
func Extractor(c *Conn, session string) perception.Extractor { return extractor{c, session} }

type extractor struct {
	c       *Conn
	session string
}

func (x extractor) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	b, err := EncodeFrames(fs, min(RawFrames, x.c.payload()-headRoom))
	if err != nil {
		return perception.Features{}, err
	}
	if b, err = x.c.callPort(ctx, x.session, "extract", b, extractLimit, false); err != nil {
		return perception.Features{}, err
	}
	return DecodeFeatures(b)
}

// ServeScorer serves s to the session, one call at a time; more servers score
// more at once.
func ServeScorer(ctx context.Context, c *Conn, session string, s reward.Scorer) (stop func(), err error) {
	return c.servePort(ctx, session, "score", 1, true, func(ctx context.Context, _ string, b []byte) ([]byte, error) {
		traj, err := DecodeTrajectory(b)
		if err != nil {
			return nil, err
		}
		if len(traj) < 2 {
			return nil, fmt.Errorf("%w: trajectory of %d features, want at least 2", ErrWire, len(traj))
		}
		dst := make([]float64, len(traj)-1)
		if err := s.Score(ctx, dst, traj); err != nil {
			return nil, err
		}
		return EncodeRewards(dst)
	})
}

// Scorer calls the session's scorer.
func Scorer(c *Conn, session string) reward.Scorer { return scorer{c, session} }

type scorer struct {
	c       *Conn
	session string
}

func (x scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if len(traj) != len(dst)+1 {
		panic("bus: score: trajectory is not one longer than dst")
	}
	if len(dst) == 0 {
		return nil
	}
	b, err := EncodeTrajectory(traj)
	if err != nil {
		return err
	}
	if b, err = x.c.callPort(ctx, x.session, "score", b, callLimit, true); err != nil {
		return err
	}
	return DecodeRewards(dst, b)
}

// Lease is how long a command of a served policy may be applied after its
// caller sent the input. Five ticks at 10 Hz: an arm that is told older things
// holds still instead.
const Lease = 500 * time.Millisecond

// ServePolicy serves p, one call of Act at a time. A policy keeps its chunk of
// actions inside, so a session has one; a second server gets ErrTaken.
func ServePolicy(ctx context.Context, c *Conn, session string, p policy.Policy) (stop func(), err error) {
	var seq atomic.Uint64
	act, err := c.serveOne(ctx, session, "policy.act", false, func(ctx context.Context, _ string, b []byte) ([]byte, error) {
		in, err := DecodeInput(b)
		if err != nil {
			return nil, err
		}
		cmd, err := p.Act(ctx, in)
		if err != nil {
			return nil, err
		}
		return EncodeOrder(Order{seq.Add(1), Lease, cmd})
	})
	if err != nil {
		return nil, err
	}
	load, err := c.servePort(ctx, session, "policy.load", 1, false, func(_ context.Context, _ string, b []byte) ([]byte, error) {
		v, err := DecodeParams(b)
		if err != nil {
			return nil, err
		}
		return nil, p.Load(v)
	})
	if err != nil {
		act()
		return nil, err
	}
	return func() { act(); load() }, nil
}

// Policy calls the session's policy. A command that comes after its lease is
// ErrExpired.
func Policy(c *Conn, session string) policy.Policy { return actor{c, session} }

type actor struct {
	c       *Conn
	session string
}

func (x actor) Act(ctx context.Context, in policy.Input) (robot.Command, error) {
	b, err := EncodeInput(in)
	if err != nil {
		return robot.Command{}, err
	}
	sent := time.Now()
	if b, err = x.c.callPort(ctx, x.session, "policy.act", b, actLimit, false); err != nil {
		return robot.Command{}, err
	}
	o, err := DecodeOrder(b)
	if err != nil {
		return robot.Command{}, err
	}
	if age := time.Since(sent); age > o.Lease {
		return robot.Command{}, fmt.Errorf("%w: %v after the input, lease %v", ErrExpired, age, o.Lease)
	}
	return o.Command, nil
}

func (x actor) Load(p policy.Params) error {
	b, err := EncodeParams(p)
	if err != nil {
		return err
	}
	_, err = x.c.callPort(context.Background(), x.session, "policy.load", b, callLimit, false)
	return err
}

// ServeLearner serves l, one call at a time. A session has one learner; a
// second server gets ErrTaken.
func ServeLearner(ctx context.Context, c *Conn, session string, l policy.Learner) (stop func(), err error) {
	return c.serveOne(ctx, session, "learner.*", true, func(ctx context.Context, what string, b []byte) ([]byte, error) {
		switch what {
		case "add":
			e, err := DecodeEpisode(b)
			if err != nil {
				return nil, err
			}
			return nil, l.Add(ctx, e)
		case "update":
			s, err := l.Update(ctx)
			if err != nil {
				return nil, err
			}
			return EncodeStats(s)
		case "latest":
			p, err := l.Latest(ctx)
			if err != nil {
				return nil, err
			}
			return EncodeParams(p)
		}
		return nil, fmt.Errorf("%w: learner has no method %.40q", ErrWire, what)
	})
}

// Learner calls the session's learner. Parameters above the payload limit do
// not fit in a reply: publish those by PutParams.
func Learner(c *Conn, session string) policy.Learner { return learner{c, session} }

type learner struct {
	c       *Conn
	session string
}

func (x learner) Add(ctx context.Context, e policy.Episode) error {
	b, err := EncodeEpisode(e)
	if err != nil {
		return err
	}
	_, err = x.c.callPort(ctx, x.session, "learner.add", b, callLimit, true)
	return err
}

func (x learner) Update(ctx context.Context) (policy.Stats, error) {
	b, err := x.c.callPort(ctx, x.session, "learner.update", nil, updateLimit, true)
	if err != nil {
		return policy.Stats{}, err
	}
	return DecodeStats(b)
}

func (x learner) Latest(ctx context.Context) (policy.Params, error) {
	b, err := x.c.callPort(ctx, x.session, "learner.latest", nil, callLimit, true)
	if err != nil {
		return policy.Params{}, err
	}
	return DecodeParams(b)
}

func (c *Conn) callPort(ctx context.Context, session, port string, b []byte, limit time.Duration, patient bool) ([]byte, error) {
	if err := checkName("session", session); err != nil {
		return nil, err
	}
	return c.call(ctx, subject(session, "call."+port), b, limit, patient)
}

func (c *Conn) servePort(ctx context.Context, session, port string, workers int, patient bool, h handler) (func(), error) {
	if err := checkName("session", session); err != nil {
		return nil, err
	}
	return c.serve(ctx, subject(session, "call."+port), workers, patient, h)
}

// serveOne serves what has state, so that only one process may: it asks first
// who does. Two that ask in the same instant share a queue group, so that still
// only one of them answers each call.
func (c *Conn) serveOne(ctx context.Context, session, port string, patient bool, h handler) (func(), error) {
	if err := checkName("session", session); err != nil {
		return nil, err
	}
	who := subject(session, "who."+firstToken(port))
	ask, cancel := context.WithTimeout(ctx, whoLimit)
	defer cancel()
	peer, err := c.call(ask, who, nil, whoLimit, false)
	switch {
	case err == nil:
		return nil, fmt.Errorf("%w: session %s has its %s at %s; stop that, or use another session", ErrTaken, session, firstToken(port), peer)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("bus: serve %s: %w", port, ctx.Err())
	case !errors.Is(err, ErrNoService) && !errors.Is(err, context.DeadlineExceeded):
		return nil, err
	}
	name, err := c.serve(ctx, who, 1, false, func(context.Context, string, []byte) ([]byte, error) { return []byte(c.name), nil })
	if err != nil {
		return nil, err
	}
	calls, err := c.servePort(ctx, session, port, 1, patient, h)
	if err != nil {
		name()
		return nil, err
	}
	return func() { calls(); name() }, nil
}

func firstToken(s string) string {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i]
		}
	}
	return s
}
