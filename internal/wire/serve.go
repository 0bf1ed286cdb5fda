package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
)

// A session of several processes has one each of broker, learner, perception,
// scorer and actor. The learner owns the session's folder, prepares, and
// publishes what the others need under sub-sessions of these names.
const (
	subEncoder = "-encoder"
	subReward  = "-reward"
)

// journalKind and overID mark the session's end in its journal.
const (
	journalKind = "session"
	overID      = "over"
)

// beatEvery is how often a process says that it lives; the bus takes it for gone
// after 1.5 s.
const beatEvery = 300 * time.Millisecond

// SessionName is the name that the processes of a session share.
func SessionName(c config.Config) string {
	if c.Name != "" {
		return c.Name
	}
	return c.Robot.Task
}

// role is one process of a session.
type role struct {
	cfg  config.Config
	name string
	conn *bus.Conn
	o    Options
	// ctx ends when the session is over, or the caller's ctx does.
	ctx  context.Context
	over func() bool

	stops []func()
	wg    sync.WaitGroup
}

// join connects to the server of cfg, which must be named, and plays a role
// until the session is over.
func join(ctx context.Context, c config.Config, what string, o Options) (*role, error) {
	if c.Bus.URL == "" {
		return nil, errors.New("wire: no NATS server is named; start one with rapport broker and name it with --nats nats://HOST:PORT")
	}
	r := &role{cfg: c, name: SessionName(c), o: o}
	conn, hang, err := connect(ctx, c, "", o)
	if err != nil {
		return nil, err
	}
	r.conn = conn
	r.stops = append(r.stops, hang)
	done, end := context.WithCancelCause(ctx)
	r.ctx = done
	r.stops = append(r.stops, func() { end(nil) })
	r.over = func() bool { return errors.Is(context.Cause(done), errOver) }
	r.wg.Go(func() {
		err := conn.Replay(done, r.name, 1, true, func(e bus.Entry) error {
			if e.Kind == journalKind && e.ID == overID {
				end(errOver)
			}
			return nil
		})
		if err != nil && done.Err() == nil {
			end(err)
		}
	})
	stop, err := conn.Beat(done, r.name, what, beatEvery)
	if err != nil {
		r.close()
		return nil, err
	}
	r.stops = append(r.stops, stop)
	return r, nil
}

// errOver is the cause of a role's end when the session is over.
var errOver = errors.New("wire: the session is over")

// close ends everything that join began, the connection last.
func (r *role) close() {
	for i := len(r.stops) - 1; i >= 1; i-- {
		r.stops[i]()
	}
	r.wg.Wait()
	r.stops[0]()
}

// end is what a role returns with: nil when the session is over.
func (r *role) end(err error) error {
	if r.over() {
		return nil
	}
	if cause := context.Cause(r.ctx); cause != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return cause
	}
	return err
}

// ServePerception serves the session's encoder until the session is over.
func ServePerception(ctx context.Context, c config.Config, o Options) error {
	r, err := join(ctx, c, "perception", o)
	if err != nil {
		return err
	}
	defer r.close()
	if c.Encoder.Kind == "onnx" {
		x, err := openONNX(c)
		if err != nil {
			return err
		}
		return r.serve(func() (func(), error) { return bus.ServeExtractor(r.ctx, r.conn, r.name, x) })
	}
	var now swap[perception.Extractor]
	return r.follow(subEncoder, func(b []byte) error {
		x, err := encoder.Decode(b)
		if err != nil {
			return err
		}
		now.set(x)
		return nil
	}, func() (func(), error) { return bus.ServeExtractor(r.ctx, r.conn, r.name, extractor{&now}) })
}

// ServeScorer serves the session's reward until the session is over.
func ServeScorer(ctx context.Context, c config.Config, o Options) error {
	r, err := join(ctx, c, "scorer", o)
	if err != nil {
		return err
	}
	defer r.close()
	var now swap[reward.Scorer]
	return r.follow(subReward, func(b []byte) error {
		t, err := decodeTaste(b)
		if err != nil {
			return err
		}
		s, err := t.scorer()
		if err != nil {
			return err
		}
		now.set(s)
		return nil
	}, func() (func(), error) { return bus.ServeScorer(r.ctx, r.conn, r.name, scorer{&now}) })
}

// serve runs a service until the session is over.
func (r *role) serve(begin func() (stop func(), err error)) error {
	stop, err := begin()
	if err != nil {
		return err
	}
	defer stop()
	r.o.Tell("serving "+r.name, 1, 1, "")
	<-r.ctx.Done()
	return r.end(nil)
}

// follow takes each version of an artifact, and serves from the first on.
func (r *role) follow(sub string, take func([]byte) error, begin func() (stop func(), err error)) error {
	r.o.Tell("waiting for the learner", 0, 1, "")
	first := make(chan error, 1)
	r.wg.Go(func() {
		err := r.conn.WatchParams(r.ctx, r.name+sub, func(p policy.Params) {
			err := take(p.Data)
			if err != nil {
				r.o.Log.Error("wire: artifact is not usable; the version before goes on", "session", r.name+sub, "version", p.Version, "err", err)
			}
			select {
			case first <- err:
			default:
			}
		})
		if err != nil {
			select {
			case first <- err:
			default:
			}
		}
	})
	select {
	case err := <-first:
		if err != nil {
			return r.end(err)
		}
	case <-r.ctx.Done():
		return r.end(nil)
	}
	return r.serve(begin)
}

// swap is a part that is replaced while it serves.
type swap[T any] struct {
	mu   sync.RWMutex
	part T
}

func (n *swap[T]) set(v T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.part = v
}

func (n *swap[T]) get() T {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.part
}

type extractor struct{ now *swap[perception.Extractor] }

func (x extractor) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	return x.now.get().Extract(ctx, fs)
}

type scorer struct{ now *swap[reward.Scorer] }

func (s scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	return s.now.get().Score(ctx, dst, traj)
}

// announce says in the journal that the session is over.
func announce(ctx context.Context, c *bus.Conn, session string, res Result) error {
	b, err := json.Marshal(map[string]string{"before": res.Before.String(), "after": res.After.String()})
	if err == nil {
		_, err = c.Append(ctx, session, journalKind, overID, b)
	}
	if err != nil {
		return fmt.Errorf("wire: tell the others that the session is over: %w", err)
	}
	return nil
}
