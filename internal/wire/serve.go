package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
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
	subSuccess = "-success" // what tells it, where a classifier does
	subCritic  = "-critic"  // what policy.diffusion.sampler searches by
	subConfig  = "-config"  // the session's configuration, which the others' must be
	subFacts   = "-facts"   // what else they must know of it
	nameLimit  = 64         // letters of a session's name on the bus, docs/bus.md
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
	what string // as learner
	name string
	conn *bus.Conn
	onnx string // SHA-256 of the frozen backbone that it loads; empty for none
	plan string // and of the plan
	// segmenter is that of the network that finds what a model is offered marks on.
	segmenter string
	o         Options
	// episodes is the learner's session.episodes; 0 until it told its configuration.
	episodes atomic.Int64
	id       atomic.Pointer[string] // the session's, nil until its learner told it
	// ctx ends when the session is over, or the caller's ctx does.
	ctx  context.Context
	quit context.CancelCauseFunc

	stops []func()
	wg    sync.WaitGroup
}

// join connects to the server of cfg, which must be named, and plays a role.
func join(ctx context.Context, c config.Config, what string, o Options) (*role, error) {
	if pixels(c) {
		return nil, fmt.Errorf("wire: policy.sees is pixels, but frames do not reach a learner over the bus yet; use features, or one process: rapport run")
	}
	if c.Reward.Kind == "truth" {
		return nil, errNoTruth
	}
	if byJudge(c) {
		return nil, errors.New("wire: reward.kagi.sparse is judge, which needs the frames of demonstrations and the arm in one process; use rapport run, or reward.kagi.sparse classifier or none")
	}
	if byClicks(c) {
		first := "click a plan first (rapport clicks) and name its file in reward.kagi.plan"
		if real(c) { // which rapport clicks refuses
			first = "begin it in one process (rapport run), click there, and name runs/NAME/clicks/plan.json in reward.kagi.plan"
		}
		return nil, errors.New("wire: reward.kagi.source is clicks, whose page is of one process; " + first)
	}
	if logged(c) {
		return nil, errors.New("wire: robot.kind is bag, which one process learns from; use rapport run")
	}
	if c.Bus.URL == "" {
		return nil, errors.New("wire: no NATS server is named; start one with rapport broker and name it with --nats nats://HOST:PORT")
	}
	r := &role{cfg: c, what: what, name: SessionName(c), o: o}
	if limit := nameLimit - len(subEncoder); len(r.name) > limit {
		return nil, fmt.Errorf("wire: name %s has %d letters; a session of several processes may have %d", r.name, len(r.name), limit)
	}
	conn, hang, err := connect(ctx, c, "", o)
	if err != nil {
		return nil, err
	}
	r.conn = conn
	r.stops = append(r.stops, hang)
	r.ctx, r.quit = context.WithCancelCause(ctx)
	r.stops = append(r.stops, func() { r.quit(nil) })
	stop, err := conn.Beat(r.ctx, r.name, what, beatEvery)
	if err != nil {
		r.close()
		return nil, err
	}
	r.stops = append(r.stops, stop)
	return r, nil
}

// guest joins a session that a learner begins and ends: r.ctx ends with it, where the
// learner is configured otherwise, and where it is another session's.
func guest(ctx context.Context, c config.Config, what string, o Options) (*role, error) {
	r, err := join(ctx, c, what, o)
	if err != nil {
		return nil, err
	}
	isOver, err := r.ended(ctx)
	if err != nil {
		r.close()
		return nil, err
	}
	if isOver {
		o.Log.Warn("wire: this session is over; a new one needs another name, or a broker with another store", "session", r.name)
		r.quit(errOver)
		return r, nil
	}
	if what == "perception" && c.Encoder.Kind == "onnx" {
		r.onnx, err = fileSum("encoder.onnx", c.Encoder.ONNX)
	}
	if f := c.Reward.KAGI.Plan; what == "actor" && keyed(c) && f != "" {
		r.plan, err = fileSum(keyPlan, f)
		err = mislaid(keyPlan, "FILE", err)
	}
	if f := c.Reward.KAGI.Segmenter; what == "actor" && err == nil && f != "" && byWaypoints(c) {
		r.segmenter, err = fileSum(keySegmenter, f)
		err = mislaid(keySegmenter, "FILE", err)
	}
	if err == nil {
		err = r.accords(ctx)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	r.watch(subConfig, func(b []byte) error { return errors.Join(r.fits(b), r.sees(r.ctx)) }) // of a learner that begins later
	r.watch(subFacts, r.stands)
	r.wg.Go(func() {
		err := r.conn.Replay(r.ctx, r.name, 1, true, func(e bus.Entry) error {
			if isEnd(e) {
				r.quit(errOver)
			}
			return nil
		})
		if err != nil && r.ctx.Err() == nil {
			r.quit(err)
		}
	})
	return r, nil
}

// watch ends r where what the learner published, or publishes yet, does not pass.
func (r *role) watch(sub string, pass func([]byte) error) {
	r.wg.Go(func() {
		err := r.conn.WatchParams(r.ctx, r.name+sub, func(p policy.Params) {
			if err := pass(p.Data); err != nil {
				r.quit(err)
			}
		})
		if err != nil && r.ctx.Err() == nil {
			r.quit(err)
		}
	})
}

func isEnd(e bus.Entry) bool { return e.Kind == journalKind && e.ID == overID }

// ended reads in the journal whether the session is over.
func (r *role) ended(ctx context.Context) (bool, error) {
	over := false
	err := r.conn.Replay(ctx, r.name, 1, false, func(e bus.Entry) error {
		over = over || isEnd(e)
		return nil
	})
	return over, err
}

// over says whether r ended because the session did.
func (r *role) over() bool { return errors.Is(context.Cause(r.ctx), errOver) }

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
	r, err := guest(ctx, c, "perception", o)
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
	r, err := guest(ctx, c, "scorer", o)
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
	if err := r.await(sub, take); err != nil || r.ctx.Err() != nil {
		return r.end(err)
	}
	return r.serve(begin)
}

// await takes each version of an artifact, and returns after the first, or when r.ctx ends.
func (r *role) await(sub string, take func([]byte) error) error {
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
		return err
	case <-r.ctx.Done():
		return nil
	}
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
func (s *Session) announce(ctx context.Context, res Result) error {
	b, err := json.Marshal(map[string]string{"before": res.Before.String(), "after": res.After.String()})
	if err != nil {
		return fmt.Errorf("wire: result: %w", err)
	}
	return s.insist(ctx, "tell the others that the session is over", func() error {
		_, err := s.conn.Append(ctx, s.name, journalKind, overID, b)
		return err
	})
}

// insist does what needs the server until it succeeds or waiting cannot help.
func (s *Session) insist(ctx context.Context, what string, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		for _, e := range []error{bus.ErrOlder, bus.ErrLarge, bus.ErrWire, bus.ErrClosed} {
			if errors.Is(err, e) {
				return err
			}
		}
		s.log.Warn("wire: trying again to "+what, "err", err)
		select {
		case <-s.after(retryAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// put publishes parameters, of the session or of its sub-session.
func (s *Session) put(ctx context.Context, sub string, p policy.Params) error {
	err := s.insist(ctx, "publish parameters", func() error { return s.conn.PutParams(ctx, s.name+sub, p) })
	if err == nil {
		s.published.note(sub, p)
	}
	return err
}

// published is what a process published last of the session and its sub-sessions.
type published struct {
	mu sync.Mutex
	by map[string]policy.Params
}

func (d *published) note(sub string, p policy.Params) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = make(map[string]policy.Params)
	}
	d.by[sub] = p
}

func (d *published) all() map[string]policy.Params {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.by)
}

// repeat publishes again what s published, to a server that lost it. Versions stay, since there
// are watchers that know them.
func (s *Session) repeat(ctx context.Context) error {
	for sub, p := range s.published.all() {
		if sub == subFacts || sub == subConfig {
			continue // see introduce
		}
		err := s.insist(ctx, "publish parameters again", func() error { return s.conn.PutParams(ctx, s.name+sub, p) })
		if err != nil && !errors.Is(err, bus.ErrOlder) { // the learner has put a newer one
			return err
		}
	}
	return nil
}

// publishNewest puts what an actor wants under a sub-session. A session that goes on with
// another one has it as the next version.
func (s *Session) publishNewest(ctx context.Context, what, sub string, b []byte) error {
	p := policy.Params{Version: 1, Data: b}
	err := s.insist(ctx, "publish "+what, func() error {
		was, err := s.conn.LatestParams(ctx, s.name+sub)
		switch {
		case errors.Is(err, bus.ErrNone):
			p.Version = 1
		case err != nil:
			return err
		case bytes.Equal(was.Data, b):
			p = was
			return nil
		default:
			p.Version = was.Version + 1
		}
		return s.conn.PutParams(ctx, s.name+sub, p)
	})
	if err == nil {
		s.published.note(sub, p)
	}
	return err
}
