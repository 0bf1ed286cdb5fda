package wire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/reward"
)

// ahead is how many episodes the actor may collect beyond those that the policy
// has learned from, while the learner lives: older data is of less use, and the
// queue stays short.
const ahead = 4

// gone is for how long a learner is silent before it counts as gone; the bus
// alone would say so after 1.5 s, and a restart takes longer.
const gone = 3 * time.Second

// retryAfter is the wait before an extractor or a scorer that went away is asked
// again.
const retryAfter = 500 * time.Millisecond

// ackedAfter is how long an acknowledgement may take, of an episode that was just sent or learned
// from.
const ackedAfter = 20 * time.Millisecond

// actorMark counts the episodes that the actor began, so that no id is used
// twice, restarts included.
const actorMark = "episodes begun"

// actorKind is the kind of the journal's entries that number actors' folders,
// and lifeSpan how many episodes are numbered in one: the largest
// session.episodes.
const (
	actorKind = "actor"
	lifeSpan  = 10_000_000
)

// Act is the actor's process: it drives the arm with the newest policy, has the
// frames and the rewards computed by the session's services, and hands labelled
// episodes to the queue. What no server took yet lies in a spool in its folder.
func Act(ctx context.Context, c config.Config, o Options) (err error) {
	r, err := guest(ctx, c, "actor", o)
	if err != nil {
		return err
	}
	defer r.close()
	if r.over() {
		return nil
	}
	if gateMode(c) == "require" {
		return errors.New("wire: guard.gate is require, but an actor gets its parameters over the bus and cannot tell which of them passed a dry run; take one process (rapport run), or guard.gate=warn")
	}
	s, err := openOrCreate(r.ctx, r.name+ofActor, r.conn, c, o)
	if err != nil {
		return err
	}
	s.name = r.name // what it shows on the bus is the session's
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.sit(ctx, "actor", bus.Address{URL: c.Bus.URL, User: c.Bus.User, Password: c.Bus.Password}, o); err != nil {
		return err
	}

	quiet, err := s.shows("actor")
	if err != nil {
		return err
	}
	defer quiet()
	if err := s.desk.adopt(r.ctx); err != nil {
		return err
	}
	peers, err := r.conn.WatchPeers(r.name, gone, nil)
	if err != nil {
		return err
	}
	defer peers.Close()
	if err := r.sole(peers); err != nil {
		return r.end(err)
	}
	if err := s.stays(r); err != nil {
		return r.end(err)
	}
	spool, err := bus.NewPublisher(r.conn, r.name, filepath.Join(s.Dir(), "spool"))
	if err != nil {
		return err
	}
	defer spool.Close()

	d := &driver{s: s, r: r, spool: spool, peers: peers, fresh: make(chan struct{}, 1)}
	r.wg.Go(func() {
		if err := r.conn.WatchParams(r.ctx, r.name, d.take); err != nil {
			o.Log.Error("wire: parameters come no more", "err", err)
		}
	})
	if byWaypoints(c) && c.Reward.KAGI.Source == "auto" { // an endpoint here, or none, changes nothing
		f, err := r.met(r.ctx)
		if err != nil {
			return r.end(err)
		}
		s.cfg.Reward.KAGI.Source = cmp.Or(f.Waypoints, "auto")
	}
	acts, err := s.plan(r.ctx)
	if err != nil {
		return r.end(err)
	}
	if acts, err = r.hearClassifier(acts); err != nil {
		return r.end(err)
	}
	if acts, err = r.hearCritic(acts, s.now); err != nil {
		return r.end(err)
	}
	return r.end(d.run(acts))
}

// lookAbout is for how long an actor or a learner looks for another one: three heartbeats.
const lookAbout = time.Second

// sole refuses to be beside another of r's role, which came first: two actors would number and
// queue episodes of one session, two learners prepare it. One that was killed beats no more,
// but for its last one that may still be on its way.
func (r *role) sole(peers *bus.Peers) error {
	select {
	case <-r.o.After(lookAbout):
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	var mine uint64
	all := peers.List()
	for _, p := range all {
		if p.Role == r.what && p.Name == r.conn.Name() {
			mine = p.Seq
		}
	}
	for _, p := range all {
		older := p.Seq > mine || p.Seq == mine && p.Name < r.conn.Name()
		if p.Role == r.what && p.Name != r.conn.Name() && p.Alive && p.Heard > 1 && older {
			return fmt.Errorf("wire: session %s has %s already, %s; end that one first, or begin another session with another name, as --set name=%s-2", r.name, map[string]string{"actor": "an actor", "learner": "a learner"}[r.what], p.Name, r.name)
		}
	}
	return nil
}

// stays refuses a folder of another session of that name: the episodes that it holds would
// be learned from as if they were this one's. It waits for the learner, which knows.
func (s *Session) stays(r *role) error {
	mine, err := s.store.Marked(r.ctx, markID)
	if err != nil || mine == "" {
		return err
	}
	f, err := r.met(r.ctx)
	if err == nil && f.ID != "" && f.ID != mine {
		err = fmt.Errorf("wire: %s is an actor's folder of another session that was called %s; move it away or remove it, or take another, as --set out=%s-2", s.Dir(), r.name, filepath.Dir(s.Dir()))
	}
	return err
}

// settles keeps of which session the folder is, unless it is known.
func (s *Session) settles(ctx context.Context, r *role) error {
	mine, err := s.store.Marked(ctx, markID)
	if err != nil || mine != "" {
		return err
	}
	f, err := r.facts(ctx)
	if errors.Is(err, bus.ErrNone) || err == nil && f.ID == "" {
		return nil // a learner of before sessions had ids
	}
	if err != nil {
		return err
	}
	return s.store.Mark(ctx, markID, f.ID)
}

// driver is the actor's loop.
type driver struct {
	s     *Session
	r     *role
	spool *bus.Publisher
	peers *bus.Peers
	fresh chan struct{} // parameters came

	waiting int // episodes that waited for the learner when this was last known
	eyes    beholder
	scorer  reward.Scorer
	fitted  bool // the server takes the session's episodes
	found   searches

	mu     sync.Mutex
	params policy.Params
}

func (d *driver) take(p policy.Params) {
	d.mu.Lock()
	d.params = p
	d.mu.Unlock()
	select {
	case d.fresh <- struct{}{}:
	default:
	}
}

func (d *driver) newest() policy.Params {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.params
}

// learned is how many episodes the newest policy has learned from.
func (d *driver) learned() int { return int(d.newest().Version) - 1 }

// total is how many episodes the session is to have: the learner, which ends it, says.
func (d *driver) total() int {
	if n := d.r.episodes.Load(); n > 0 {
		return int(n)
	}
	return d.s.cfg.Session.Episodes
}

// first is the number of the episode to go on with. An actor that begins in a
// new folder, as on another machine, numbers its episodes where no other folder
// does, since the queue drops ids that it knows.
func (d *driver) first(ctx context.Context) (int, error) {
	begun, err := d.s.store.Marked(ctx, actorMark)
	if err != nil {
		return 0, err
	}
	if begun != "" {
		n, err := strconv.Atoi(begun)
		if err != nil {
			return 0, fmt.Errorf("wire: %s: mark %q: %w", d.s.Dir(), actorMark, err)
		}
		return n, nil
	}
	folders, err := d.folders(ctx)
	if err != nil {
		return 0, err
	}
	me, err := json.Marshal(d.r.conn.Name())
	if err != nil {
		return 0, fmt.Errorf("wire: name of the connection: %w", err)
	}
	for k := len(folders); ; k++ {
		// Of two actors that append the same id, the journal keeps the first.
		id := fmt.Sprintf("folder-%d", k)
		if _, err := d.r.conn.Append(ctx, d.r.name, actorKind, id, me); err != nil {
			return 0, err
		}
		if folders, err = d.folders(ctx); err != nil {
			return 0, err
		}
		if folders[id] == string(me) {
			n := k * lifeSpan
			return n, d.s.store.Mark(ctx, actorMark, strconv.Itoa(n))
		}
	}
}

// folders reads in the journal which actor made which of the session's folders.
func (d *driver) folders(ctx context.Context) (map[string]string, error) {
	m := make(map[string]string)
	return m, d.r.conn.Replay(ctx, d.r.name, 1, false, func(e bus.Entry) error {
		if e.Kind == actorKind {
			m[e.ID] = string(e.Data)
		}
		return nil
	})
}

// repeat hands the last stored episode to the queue again: an actor that was
// killed may have stored, but not queued it. The queue takes an id once.
func (d *driver) repeat(ctx context.Context) error {
	rows, err := d.s.store.Episodes(ctx, policy.Online)
	if err != nil || len(rows) == 0 {
		return err
	}
	last, err := d.s.store.Episode(rows[len(rows)-1].ID)
	if err != nil {
		return err
	}
	return d.spool.Publish(ctx, last)
}

func (d *driver) run(ctx context.Context) (err error) {
	next, err := d.first(ctx)
	if err != nil {
		return err
	}
	if err := d.repeat(ctx); err != nil {
		return err
	}
	d.s.tell("waiting for the learner", 0, 1, "")
	for d.newest().Data == nil {
		select {
		case <-d.fresh:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := d.r.accords(ctx); err != nil { // known by now, since the learner puts it before parameters
		return err
	}
	if err := d.s.settles(ctx, d.r); err != nil {
		return err
	}
	v, chunks, err := viewOf(d.newest())
	if err != nil {
		return err
	}
	a, done, err := d.s.ownArm(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	pi, err := newPlayer(ctx, d.s.cfg, v, chunks, true)
	if err != nil {
		return err
	}
	t, err := d.s.newTracks(ctx, a)
	if err != nil {
		return err
	}
	defer t.close()
	d.eyes.Extractor, d.scorer = bus.Extractor(d.r.conn, d.r.name), bus.Scorer(d.r.conn, d.r.name)
	t.actor = &loop.Actor{Backend: a.guard, Extractor: &d.eyes, Track: a.track, Tell: tellerOf(ctx), Policy: pi,
		Horizon: d.s.cfg.Robot.Horizon, Watch: d.watch(t), Override: t.override, Over: overOf(d.s.cfg, a)}
	for ; ; next++ {
		if err := d.wait(ctx); err != nil {
			return err
		}
		if err := d.s.store.Mark(ctx, actorMark, strconv.Itoa(next+1)); err != nil {
			return err
		}
		if err := d.episode(ctx, t, pi, next); err != nil {
			return err
		}
	}
}

// wait returns when the next episode may begin: the learner is not too far
// behind or, while it is gone, the session is to go on without it. The arm gets
// no command meanwhile, so it holds still.
func (d *driver) wait(ctx context.Context) error {
	next := ackedAfter
	for looks := 1; ; looks++ {
		ok, err := d.may(ctx, looks)
		if ok || err != nil {
			return err
		}
		select {
		case <-d.fresh:
			next = ackedAfter
		case <-d.s.after(next):
			next = retryAfter
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// may says whether the next episode may begin, asked so often.
func (d *driver) may(ctx context.Context, looks int) (bool, error) {
	total := d.total()
	if d.learned() >= total {
		return false, nil
	}
	n, err := d.spool.Waiting(ctx)
	if err != nil {
		n = max(d.waiting, d.spool.Pending()) // the server is away: what is sent meanwhile lies in the spool
	}
	d.waiting = n
	if d.peers.Alive("learner") {
		if n >= ahead && looks > 2 {
			d.s.tell("waits for the learner", d.learned(), total, fmt.Sprintf("%d episodes are queued", n))
		}
		return n < ahead, ctx.Err()
	}
	rows, err := d.s.store.Episodes(ctx, policy.Online)
	if err != nil {
		return false, err
	}
	if d.s.cfg.Session.Orphan == "hold" {
		d.s.tell("hold", len(rows), total, "the learner is gone")
		return false, nil
	}
	// Of what an actor in another folder did, these rows do not tell, but what was learned and
	// what waits do: one of which may be one episode, which is acknowledged once it is learned.
	return max(len(rows), d.learned()+max(0, n-1)) < total, ctx.Err()
}

// episode collects, labels, stores and publishes the n-th episode; while perception is
// away it waits to begin anew, with the arm held.
func (d *driver) episode(ctx context.Context, t *tracks, pi player, n int) error {
	tries := uint64(0) // that the policy ended by a fault
	begin := func() {
		pi.Begin(uint64(n) + tries<<32)
		t.arm.next = n
	}
	for {
		p := d.newest()
		if err := t.actor.Load(p); err != nil {
			return err
		}
		begin()
		ep, err := d.s.desk.again(ctx, func() (policy.Episode, error) {
			ep, err := t.actor.Episode(ctx, episodeID(n), uint64(n))
			if drivenTo(err) {
				tries++ // another exploration: a simulated arm would do the same again
			}
			return ep, err
		}, func() error {
			begin()
			return t.abort()
		})
		if err != nil && transient(err) && ctx.Err() == nil {
			if err := errors.Join(t.abort(), d.anew(ctx, n, err)); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			err = d.score(ctx, n, &ep)
		}
		if err != nil {
			return errors.Join(err, t.abort())
		}
		ep.Seed = draw(d.s.cfg.Seed, online, n)
		if err := t.finish(ep.Rewards, ep.Terminal); err != nil {
			return err
		}
		if _, err := d.s.store.AddEpisode(ctx, ep); err != nil {
			return err
		}
		known := d.found.metrics(pi, d.s.log)
		if real(d.s.cfg) {
			known = append(known, t.arm.pace()...)
		}
		if len(known) > 0 {
			if err := d.s.store.AddMetrics(ctx, "episode", uint64(n), known); err != nil {
				return err
			}
		}
		if err := d.spool.Publish(ctx, ep); err != nil {
			return err
		}
		d.s.tell("act", n%lifeSpan+1, d.total(), fmt.Sprintf("policy of %d episodes", p.Version-1))
		return nil
	}
}
