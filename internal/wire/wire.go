// Package wire is the only place that builds ports: it reads a configuration
// and puts backend, guard, extractor, scorer, policy and learner together, in
// one process or in several.
//
//	s, err := wire.Create(ctx, cfg, wire.Options{Tell: bar, Log: log})
//	defer s.Close()
//	result, err := s.Run(ctx)
//
// It alone has the simulator's truth at hand, and gives it to simulated people
// and to evaluation (docs/adr/0002).
package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
)

// Progress is told that done of total parts of a stage are done. It may be
// called by any goroutine.
type Progress func(stage string, done, total int, note string)

// Options are what a session needs beside its configuration.
type Options struct {
	Tell Progress
	Log  *slog.Logger
	// Now is the clock for the report's durations alone.
	Now func() time.Time
	// After is time.After, for waiting between tries in a session of several
	// processes.
	After func(time.Duration) <-chan time.Time
	// Tick is time.NewTicker, for what watches an arm on real time.
	Tick func(time.Duration) (ticks <-chan time.Time, stop func())
	// Stops brings reasons to stop the arm from beside the bus, as from a signal;
	// nil brings none.
	Stops <-chan string
	// VLM is the vision-language model that writes waypoints, see reward.kagi; nil: none.
	VLM func(cache string) (kagi.Model, error)
	// Judge is the model that tells success, see reward.kagi.sparse, with its name; nil: none.
	Judge func() (judge.Model, string, error)
	// Endpoint is who both ask, as "gpt-4o at api.openai.com", for people to read.
	Endpoint string
	// PID is the process's number, which the session's folder tells to whoever
	// wants to stop it.
	PID int
	// Living is where a session that is driven is noted, for rapport stop; nil: nowhere.
	Living bus.Living
	// Drop is a kind of checkpoint whose newest Learn forgets first, where it is damaged; "": none.
	Drop string
}

// Session is one fine-tuning session in this process, on disk.
type Session struct {
	cfg   config.Config
	name  string
	store *store.Session
	conn  *bus.Conn
	vlm   func(cache string) (kagi.Model, error) // nil: none
	eye   func() (judge.Model, string, error)    // a judge's; nil: none
	// endpoint is who both ask, "" where that is not told.
	endpoint string
	// planner asks the first; nil until a plan was settled, or without one.
	planner *planner
	page    string       // where a plan is clicked, see ClickAt
	hang    func()       // closes the bus
	desk    *desk        // where people stop the arm; nil for who drives none
	rise    func() error // closes the desk
	tell    Progress
	log     *slog.Logger
	now     func() time.Time
	after   func(time.Duration) <-chan time.Time
	ticks   func(time.Duration) (<-chan time.Time, func())
	// truth tells how an online episode truly ended, for the report alone; nil
	// asks the world. Tests scramble it, to show that nothing learns from it.
	truth func(a *arm) bool
	show  *show    // nil without a screen's feed
	watch *sentry  // over the reward; nil until the first episode
	deaf  sync.Map // labels that were told to be left out, by id
	// practice is nil but for a session that practises with another one.
	practice *practice
	// served says that this is a learner's process, beside others.
	served    bool
	published published
}

// Result is what a session ends with.
type Result struct {
	Dir, Report   string
	Before, After report.Share
	Learner       config.Learner
}

// Worse says whether the fine-tuned policy does less than the cloned one, by intervals that
// are apart.
func (r Result) Worse() bool { return worse(r.Before, r.After) }

// Create begins a new session in a folder of its own below cfg.Out. If it cannot
// begin, no folder is left.
func Create(ctx context.Context, cfg config.Config, o Options) (*Session, error) {
	if err := trunked(cfg); err != nil {
		return nil, err
	}
	if err := errors.Join(alike(cfg), founding(cfg), searchable(cfg), readable(cfg), reviewed(ctx, cfg), backed(cfg), understood(cfg), equipped(ctx, cfg, o)); err != nil {
		return nil, err
	}
	if err := masters(ctx, cfg, o); err != nil {
		return nil, err
	}
	if f := cfg.Reward.KAGI.Cameras; f != "" && keyed(cfg) && !real(cfg) {
		o.Log.Warn("reward.kagi.cameras is for an arm over ROS and is not read: a simulation knows its own cameras", "file", f)
	}
	if logged(cfg) {
		var err error
		if cfg, err = resolved(cfg); err != nil {
			return nil, err
		}
	}
	name := cfg.Name
	if name == "" {
		var err error
		if name, err = freeName(cfg.Out, cfg.Robot.Task); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(cfg.Out, name)
	_, missing := os.Stat(dir)
	st, err := founded(dir, cfg)
	if err != nil {
		return nil, err
	}
	s, err := begin(ctx, cfg, name, st, o)
	if err != nil && errors.Is(missing, os.ErrNotExist) {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return s, err
}

func begin(ctx context.Context, cfg config.Config, name string, st *store.Session, o Options) (*Session, error) {
	cfg = withClicks(cfg, st.Dir())
	s := &Session{cfg: cfg, name: name, store: st, tell: o.Tell, log: o.Log, now: o.Now, after: o.After, ticks: o.Tick, vlm: o.VLM, eye: o.Judge, endpoint: o.Endpoint}
	st.Lossless(cfg.Session.Lossless)
	var err error
	var at bus.Address
	if s.conn, s.hang, at, err = reach(ctx, cfg, filepath.Join(st.Dir(), "nats"), o); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := s.sit(ctx, "run", at, o); err != nil {
		s.hang()
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

// sit opens the desk of a process that drives an arm, and leaves in its folder
// how to reach it.
func (s *Session) sit(ctx context.Context, role string, at bus.Address, o Options) error {
	if err := checkFaults(ctx, s.store); err != nil {
		return err
	}
	d, err := newDesk(s, role)
	if err != nil {
		return err
	}
	at.Session, at.PID = s.name, o.PID
	remove, err := bus.WriteAddress(s.Dir(), at)
	if err != nil {
		return errors.Join(err, d.close())
	}
	leave := func() error { return nil }
	if len(o.Living) > 0 {
		if l, err := o.Living.Enter(s.Dir()); err == nil {
			leave = l
		} else {
			s.log.Warn("wire: from another folder, rapport stop finds this session by --session alone", "err", err)
		}
	}
	ctx, quit := context.WithCancel(context.WithoutCancel(ctx))
	if o.Stops != nil {
		d.wg.Go(func() { d.listen(ctx, "this machine", o.Stops) })
	}
	if real(s.cfg) {
		d.hearStops(ctx, s.cfg)
	}
	s.desk = d
	tell := s.tell
	s.tell = func(stage string, done, total int, note string) {
		tell(stage, done, total, note)
		d.stage(stage, done, total, note)
	}
	s.rise = func() error {
		quit()
		return errors.Join(d.close(), leave(), remove())
	}
	return nil
}

// reach is connect for who drives an arm: an embedded server without a listener
// of the user's listens for this user alone, so that the arm can be stopped.
func reach(ctx context.Context, cfg config.Config, dir string, o Options) (*bus.Conn, func(), bus.Address, error) {
	at := bus.Address{URL: cfg.Bus.URL, User: cfg.Bus.User, Password: cfg.Bus.Password}
	if cfg.Bus.URL != "" {
		c, hang, err := connect(ctx, cfg, dir, o)
		return c, hang, at, err
	}
	bo := bus.Options{StoreDir: dir, Listen: cfg.Bus.Listen, User: cfg.Bus.User, Password: cfg.Bus.Password, Log: o.Log}
	if bo.Listen == "" {
		bo.Listen = "127.0.0.1:0"
		if bo.User == "" {
			bo.Token = rand.Text()
		}
	}
	at.Token = bo.Token
	srv, err := bus.Start(ctx, bo)
	if err != nil {
		return nil, nil, at, err
	}
	at.URL = srv.URL()
	return srv.Conn(), srv.Close, at, nil
}

// connect joins the server that cfg names, or starts one in this process that
// keeps its streams in dir.
func connect(ctx context.Context, cfg config.Config, dir string, o Options) (*bus.Conn, func(), error) {
	bo := bus.Options{User: cfg.Bus.User, Password: cfg.Bus.Password, Log: o.Log}
	if cfg.Bus.URL != "" {
		c, err := bus.Dial(ctx, cfg.Bus.URL, bo)
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	}
	bo.StoreDir, bo.Listen = dir, cfg.Bus.Listen
	srv, err := bus.Start(ctx, bo)
	if err != nil {
		return nil, nil, err
	}
	return srv.Conn(), srv.Close, nil
}

// Close ends the bus and releases the folder.
func (s *Session) Close() error {
	var err error
	if s.rise != nil {
		err = s.rise()
	}
	if s.planner != nil {
		err = errors.Join(err, s.planner.free())
	}
	s.hang()
	return errors.Join(err, s.store.Close())
}

// Bus is the session's connection and its name there.
func (s *Session) Bus() (*bus.Conn, string) { return s.conn, s.name }

// Dir is the session's folder.
func (s *Session) Dir() string { return s.store.Dir() }

// Kinds are the kinds of checkpoints.
func Kinds() []string {
	return []string{kindEncoder, kindReward, kindPolicy, kindLearner, kindTuned}
}

// DropCheckpoint forgets the newest checkpoint of a kind, where it is damaged.
// What the preparation makes is then made again, from the same seeds; of a reward that was
// aligned anew the one before it counts.
func (s *Session) DropCheckpoint(ctx context.Context, kind string) error {
	since, err := s.since(ctx, kind)
	if err != nil {
		return err
	}
	if kind == kindLearner || kind == kindTuned || since {
		return s.store.DropCheckpoint(ctx, kind)
	}
	done, err := s.store.Marked(ctx, "prepared")
	if err != nil {
		return err
	}
	again := s.cfg.Session.From != "" && done != ""
	if again {
		if err := s.store.Mark(ctx, markAgain, "yes"); err != nil {
			return err
		}
	}
	// First, since a process that dies in between only prepares once more.
	if err := s.store.Mark(ctx, "prepared", ""); err != nil {
		return err
	}
	if err := s.store.DropCheckpoint(ctx, kind); err != nil || !again || kind != kindReward {
		return err
	}
	// One that is left serves without the earlier session, which need not be there any more,
	// unless the preparation has made another person's of it.
	t, err := s.newestTaste(ctx)
	if errors.Is(err, store.ErrNone) || err == nil && t.kind() == s.cfg.Reward.Kind && t.Person != s.cfg.Reward.Person {
		return nil
	}
	return s.store.Mark(ctx, "prepared", done) // who reads it tells if it is damaged, too
}

// freeName is the task with the number after the largest that a session of its has, as group-002
// beside group-001 and reach-003.
func freeName(out, task string) (string, error) {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("wire: sessions in %s: %w", out, err)
	}
	top := 0
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), task+"-"); ok {
			digits, _, _ := strings.Cut(rest, "-") // group-001-back belongs to group-001
			if n, err := strconv.Atoi(digits); err == nil {
				top = max(top, n)
			}
		}
	}
	return fmt.Sprintf("%s-%03d", task, top+1), nil
}

// created is when the session in dir was. Its lock is made then and never written; the configuration
// is, when what a session is gone on with is kept. A copy may lack the lock, and get one later.
func created(dir string) (at time.Time, err error) {
	st, err := os.Stat(filepath.Join(dir, "config.yaml"))
	if err != nil {
		return at, err
	}
	at = st.ModTime()
	if st, err := os.Stat(filepath.Join(dir, "lock")); err == nil && st.ModTime().Before(at) {
		at = st.ModTime()
	}
	return at, nil
}

// ofActor ends the name of the folder that the actor of a session of several processes keeps.
const ofActor = "-actor"

// actorOf is the session whose actor keeps dir; "" where dir is a session's own.
func actorOf(dir string) string {
	of, ok := strings.CutSuffix(filepath.Base(filepath.Clean(dir)), ofActor)
	if !ok {
		return ""
	}
	// Somebody may call his session so; the name of it is in its own configuration.
	if c, err := asBegun(dir); err != nil || c.Bus.URL == "" || SessionName(c) != of {
		return ""
	}
	return of
}

// Acting is the folder that the actor of the session in dir keeps beside it, "" if there is none;
// the session's own may be on another machine.
func Acting(dir string) string {
	dir = filepath.Clean(dir)
	if actor := dir + ofActor; actorOf(actor) == filepath.Base(dir) {
		return actor
	}
	return ""
}

// newest is the session below out that was created last. What an actor keeps is none.
func newest(out string) (string, error) {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("wire: look for the newest session: %w", err)
	}
	var name string
	var when time.Time
	for _, e := range entries {
		dir := filepath.Join(out, e.Name())
		at, err := created(dir)
		if err == nil && (name == "" || at.After(when)) && actorOf(dir) == "" {
			name, when = e.Name(), at
		}
	}
	if name == "" {
		return "", fmt.Errorf("wire: there is no session in %s; begin one with: rapport run", out)
	}
	return name, nil
}
