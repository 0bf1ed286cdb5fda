package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/reward"
)

// Learn is the learner's process: it owns the session's folder, prepares,
// publishes what the others need, learns from the queue of episodes, and ends
// the session with evaluation and report. Started again after its death it goes
// on with what its folder holds.
//
// An episode is acknowledged once it is in the folder for good and learned
// from; one that comes again is known by its id. Parameters that are published
// as version n+1 have learned from n episodes.
func Learn(ctx context.Context, c config.Config, o Options) (res Result, err error) {
	if c.Session.Realign > 0 {
		return res, fmt.Errorf("wire: session.realign is %d, but the reward is another process's here; want 0, or the session in one process: rapport run", c.Session.Realign)
	}
	r, err := join(ctx, c, "learner", o)
	if err != nil {
		return res, err
	}
	defer r.close()
	if err := errors.Join(r.checkFresh(o), r.checkOver()); err != nil {
		return res, r.end(err)
	}
	if err := r.alone(); err != nil {
		return res, r.end(err)
	}
	if dir := filepath.Join(c.Out, r.name); o.Drop != "" {
		if _, err := os.Stat(filepath.Join(dir, database)); err != nil {
			return res, fmt.Errorf("wire: there is no session in %s whose checkpoint %s could be forgotten; start the learner without --drop-checkpoint", dir, o.Drop)
		}
	}
	s, err := openOrCreate(r.ctx, r.name, r.conn, c, o)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	res.Dir, s.served = s.Dir(), true
	if o.Drop != "" {
		if err := s.DropCheckpoint(r.ctx, o.Drop); err != nil {
			return res, err
		}
	}
	began := s.now()
	quiet, err := s.shows("learner")
	if err != nil {
		return res, err
	}
	defer quiet()
	if err := s.introduce(r.ctx); err != nil {
		return res, r.end(err)
	}
	r.wg.Go(func() { s.stayKnown(r.ctx) })
	settle, err := s.mirror(r.ctx)
	if err != nil {
		return res, r.end(err)
	}
	defer settle()
	run, err := s.plan(r.ctx)
	if err != nil {
		return res, r.end(err)
	}
	p, err := s.prepare(run)
	if err != nil {
		return res, r.end(err)
	}
	if run, err = s.telling(run); err != nil {
		return res, r.end(err)
	}
	if run, err = s.searching(run); err != nil {
		return res, r.end(err)
	}
	if err := s.publish(run, p); err != nil {
		return res, r.end(err)
	}
	before, err := s.judge(run, "before", p, p.clone)
	if err != nil {
		return res, r.end(err)
	}
	s.show.share("before", share(before))
	tuned, err := s.consume(run, p)
	if err != nil {
		return res, r.end(err)
	}
	after, err := s.judge(run, "after", p, tuned)
	if err != nil {
		return res, r.end(err)
	}
	res.Before, res.After, res.Learner = share(before), share(after), s.cfg.Learner
	s.show.share("after", res.After)
	if res.Report, err = s.report(run, p, tuned, before, after, s.now().Sub(began)); err != nil {
		return res, r.end(err)
	}
	return res, s.announce(ctx, res)
}

// checkFresh refuses to begin a session whose name the server knows already:
// what another folder's encoder saw and its policy did must not be mixed with
// this one's. Of a new one it refuses what session.from does not have.
func (r *role) checkFresh(o Options) error {
	dir := filepath.Join(r.cfg.Out, r.name)
	if _, err := os.Stat(filepath.Join(dir, database)); err == nil {
		return nil
	}
	if err := errors.Join(alike(r.cfg), founding(r.cfg), searchable(r.cfg), planned(r.cfg), reviewed(r.ctx, r.cfg), equipped(r.ctx, r.cfg, o)); err != nil {
		return err
	}
	for _, sub := range []string{"", subEncoder, subReward} {
		p, err := r.conn.LatestParams(r.ctx, r.name+sub)
		if errors.Is(err, bus.ErrNone) {
			continue
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("wire: the server knows session %s already (%s%s, version %d), but %s is not its folder; run the learner where its folder is, or begin another session with another name, as --set name=%s-2",
			r.name, r.name, sub, p.Version, dir, r.name)
	}
	return nil
}

// alone refuses to begin beside another learner, which the server may know nothing else of while
// it prepares.
func (r *role) alone() error {
	peers, err := r.conn.WatchPeers(r.name, gone, nil)
	if err != nil {
		return err
	}
	defer peers.Close()
	return r.sole(peers)
}

// checkOver refuses more episodes of a session that was announced to be over: the others
// end as soon as they join it, and the learner would wait for ever.
func (r *role) checkOver() error {
	isOver, err := r.ended(r.ctx)
	dir := filepath.Join(r.cfg.Out, r.name)
	if _, none := os.Stat(filepath.Join(dir, database)); err != nil || !isOver || none != nil {
		return err
	}
	st, err := store.Open(dir)
	if err != nil {
		return err
	}
	rows, err := st.Episodes(r.ctx, policy.Online)
	if err = errors.Join(err, st.Close()); err != nil || len(rows) >= r.cfg.Session.Episodes {
		return err
	}
	return fmt.Errorf("wire: session %s is over, with %d episodes, and session.episodes is %d now, but its other processes end at once; go on in one: %s --set session.episodes=%d --set bus.url=",
		r.name, len(rows), r.cfg.Session.Episodes, GoOn(dir), r.cfg.Session.Episodes)
}

// database is the file by which a session's folder is known.
const database = "session.db"

// openOrCreate opens a process's folder, which must have begun as c configures
// it, or makes it.
func openOrCreate(ctx context.Context, name string, conn *bus.Conn, c config.Config, o Options) (*Session, error) {
	dir := filepath.Join(c.Out, name)
	st, c, err := openFolder(ctx, dir, c, there(filepath.Join(dir, database)))
	if err != nil {
		return nil, err
	}
	return guestOf(name, conn, st, c, o), nil
}

// founded makes the folder of a session.
func founded(dir string, c config.Config) (st *store.Session, err error) {
	err = keepConfig(rooted(c), func(b []byte) (err error) {
		st, err = store.Create(dir, b)
		return err
	})
	if err == nil {
		if err = keepFiles(st, c); err != nil {
			return nil, errors.Join(err, st.Close())
		}
	}
	if errors.Is(err, store.ErrTaken) {
		err = fmt.Errorf("wire: %s holds a session already; go on with it by %s, or choose another name", dir, GoOn(dir))
	}
	return st, err
}

// openFolder makes the folder of a session or, again, opens it, which must have begun as c configures it:
// how it goes on is what it keeps, by names from whatever folder.
func openFolder(ctx context.Context, dir string, c config.Config, again bool) (*store.Session, config.Config, error) {
	if !again {
		st, err := founded(dir, c)
		return st, c, err
	}
	if err := fineTunes(dir); err != nil {
		return nil, c, err
	}
	st, err := store.Open(dir)
	if err != nil {
		return nil, c, err
	}
	c, err = agree(ctx, st, func(string) (config.Config, error) { return c, nil })
	if err != nil {
		return nil, c, errors.Join(err, st.Close())
	}
	return st, c, nil
}

// guestOf is a session on a bus that is another's to close.
func guestOf(name string, conn *bus.Conn, st *store.Session, c config.Config, o Options) *Session {
	st.Lossless(c.Session.Lossless)
	return &Session{cfg: c, name: name, store: st, conn: conn, hang: func() {}, tell: o.Tell, log: o.Log, now: o.Now, after: o.After, ticks: o.Tick, vlm: o.VLM, eye: o.Judge, endpoint: o.Endpoint}
}

// publish puts encoder and reward where perception and scorer look, and where the actor
// does a classifier that tells success and a critic that is searched by. A reward that was
// aligned anew since is a newer version: who serves the older one swaps.
func (s *Session) publish(ctx context.Context, p parts) error {
	if x, ok := p.eyes.(interface{ Encode() ([]byte, error) }); ok {
		b, err := x.Encode()
		if err != nil {
			return err
		}
		if err := s.publishNewest(ctx, "the encoder", subEncoder, b); err != nil {
			return err
		}
	}
	b, err := json.Marshal(p.taste)
	if err != nil {
		return fmt.Errorf("wire: reward: %w", err)
	}
	if err := s.publishNewest(ctx, "the reward", subReward, b); err != nil {
		return err
	}
	if err := s.publishClassifier(ctx); err != nil {
		return err
	}
	return s.publishCritic(ctx)
}

// shared is a learner that the queue and the served port drive in turn.
type shared struct {
	mu sync.Mutex
	l  policy.Keeper
}

func (s *shared) Add(ctx context.Context, e policy.Episode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l.Add(ctx, e)
}

func (s *shared) Update(ctx context.Context) (policy.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l.Update(ctx)
}

func (s *shared) Latest(ctx context.Context) (policy.Params, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l.Latest(ctx)
}

// Count is of a learner that counts, and nothing of another.
func (s *shared) Count() (n buffer.Count) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.l.(counting); ok {
		n = c.Count()
	}
	return n
}

// consume learns from the queue until the session's episodes are done.
func (s *Session) consume(ctx context.Context, p parts) (_ policy.Params, err error) {
	l, n, err := s.learner(ctx, p)
	if err != nil {
		return policy.Params{}, err
	}
	defer func() { err = errors.Join(err, closeKeeper(l)) }()
	both := &shared{l: l}
	stop, err := bus.ServeLearner(ctx, s.conn, s.name, both)
	if err != nil {
		return policy.Params{}, err
	}
	defer stop()
	metrics, err := bus.NewFeed(s.conn, s.name, bus.MetricTopic("learner"), depth)
	if err != nil {
		return policy.Params{}, err
	}
	defer metrics.Close()
	put := func() (policy.Params, error) {
		latest, err := both.Latest(ctx)
		if err != nil {
			return latest, err
		}
		latest.Version = uint64(n) + 1
		return latest, s.put(ctx, "", latest)
	}
	if _, err := put(); err != nil {
		return policy.Params{}, err
	}
	total := s.cfg.Session.Episodes
	if err := s.earlier(ctx); err != nil {
		return policy.Params{}, err
	}
	s.tell("learn", n, total, "")
	if n < total {
		queue, end := context.WithCancel(ctx)
		defer end()
		var fatal atomic.Pointer[error]
		var told sync.Once
		// The folder is this process's alone, and so is the queue.
		consumer := bus.Consumer{Conn: s.conn, Session: s.name, Durable: "learner", Sole: true}
		err := consumer.Run(queue, func(ctx context.Context, e policy.Episode) error {
			if n >= total {
				end()
				return errDone
			}
			err := s.learnFrom(ctx, both, &n, e, p.scorer, metrics)
			if err == nil {
				_, err = put()
			}
			switch {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, bus.ErrReject) && consumer.Waited():
				told.Do(func() {
					s.log.Warn("wire: episodes that waited have the numbers of other ones, as where the server lost its store and an actor in a new folder went on; they are kept with the dead letters, and none is learned from")
				})
			default:
				if errors.Is(err, bus.ErrReject) {
					err = fmt.Errorf("%w; %s", err, renumbered)
				}
				fatal.Store(&err)
				end()
			}
			if err == nil && n >= total {
				// The acknowledgement goes out before the queue is left.
				defer end()
			}
			return err
		})
		if e := fatal.Load(); e != nil {
			err = *e
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return policy.Params{}, err
		}
	}
	if err := s.saveLearner(ctx, l, n); err != nil {
		return policy.Params{}, err
	}
	return put()
}

// errDone refuses episodes beyond the session's; they stay in the queue.
var errDone = errors.New("wire: the session has its episodes")

// renumbered is what to do where another episode than the stored one has its number.
const renumbered = "an actor in a new folder numbers its episodes anew where the server lost its store; end that actor, go on with the folder of the one before, and start the learner again, which puts aside what waits of that actor"

// repeated says whether an episode whose id is stored is the stored one, as where it was handed over
// again. Another one is not learned from: of a server that lost its store an actor in a new folder
// learns no numbers that are free.
func (s *Session) repeated(e policy.Episode) error {
	was, err := s.store.Episode(e.ID)
	if err != nil || slices.Equal(was.Applied, e.Applied) && slices.Equal(was.Version, e.Version) {
		return err
	}
	return fmt.Errorf("wire: %w: another episode than the one that came is %s in %s", bus.ErrReject, e.ID, s.Dir())
}

// learnFrom stores an episode, counts it once, and learns.
func (s *Session) learnFrom(ctx context.Context, l *shared, n *int, e policy.Episode, by reward.Scorer, metrics *bus.Feed[policy.Stats]) error {
	added, err := s.store.AddEpisode(ctx, e)
	if err != nil {
		return err
	}
	if !added {
		return s.repeated(e)
	}
	// One that was queued before the reward was aligned anew has the older one's rewards; a
	// restarted learner rates all of them.
	es := []policy.Episode{e}
	if err := s.rescore(ctx, by, es); err != nil {
		return err
	}
	e = es[0]
	// The order of one process: learn from those before, then take this one, so
	// that a restarted learner replays to the same bits.
	st, err := l.Update(ctx)
	if err != nil {
		return err
	}
	if err := l.Add(ctx, e); err != nil {
		return err
	}
	*n++
	if err := errors.Join(s.tally(ctx, *n-1, e, st), s.countHuman(ctx, *n-1, l)); err != nil {
		return err
	}
	metrics.Publish(st)
	s.tell("learn", *n, s.cfg.Session.Episodes, fmt.Sprintf("return %.2f", e.Return()))
	if *n%s.cfg.Session.Checkpoint != 0 {
		return nil
	}
	return s.saveLearner(ctx, l.l, *n)
}
