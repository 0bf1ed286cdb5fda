package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// Practised is what practice ended with.
type Practised struct {
	Forward, Backward Result
	Resets            int // by a person
}

// mateOf is the session that undoes the session of this name.
func mateOf(name string) string { return name + "-back" }

// WayBack is the session of c that undoes its task.
func WayBack(c config.Config) config.Config {
	c.Robot.Way, c.Name = "backward", mateOf(c.Name)
	c.Seed++ // its demonstrations are others
	if from := c.Session.From; from != "" {
		c.Session.From = mateOf(filepath.Clean(from))
		c.Demos.Filter = "" // the list is of the other's demonstrations
	}
	return c
}

// PracticeOf is the configuration of the practice whose first session is called name, as
// its folder has it, with what stands above.
func PracticeOf(out, name string, environ, sets []string) (config.Config, error) {
	dir := filepath.Join(out, name)
	if _, err := os.Stat(filepath.Join(dir, database)); err != nil {
		return config.Config{}, fmt.Errorf("wire: there is no practice %s in %s; name another, or begin one with: rapport practice", name, out)
	}
	c, err := configOf(dir, environ, sets)
	if err != nil {
		return c, err
	}
	if first := leads(name, c); first != name {
		return c, fmt.Errorf("wire: %s is not the first session of a practice; go on with it by: %s", dir, GoOn(dir))
	}
	c.Out, c.Name = out, name
	return c, nil
}

// Practice runs two sessions in turns on one arm: the task, and as NAME-back the
// task undone. An episode begins where the last one of the other left things, so
// that nobody needs to put them back; only after practice.reminder episodes in a
// row without success a person does (RoboFuME, Yang et al. 2023, arXiv:2310.15145).
// Each learns from its own demonstrations, reward and episodes, and ends with
// evaluation and report of its own.
//
// With again, both go on where they were, from a scene that a person put back.
func Practice(ctx context.Context, cfg config.Config, again bool, o Options) (res Practised, err error) {
	if !cfg.HasWayBack() {
		return res, fmt.Errorf("wire: the task %s has no way back; want robot.task stack, almonds, spatula or cover, as rapport practice --set robot.task=stack", cfg.Robot.Task)
	}
	if cfg.Name == "" {
		if cfg.Name, err = freeName(cfg.Out, cfg.Robot.Task); err != nil {
			return res, err
		}
	}
	f, b := cfg, WayBack(cfg)
	f.Robot.Way = "forward"
	f.Practice.Mate, b.Practice.Mate = b.Name, f.Name
	err = f.Validate()
	if err == nil {
		err = b.Validate() // else it would say the same again
	}
	if err != nil {
		return res, err
	}
	if !again {
		if err := beginsWell(ctx, f, b); err != nil {
			return res, err
		}
	}
	p := &practice{now: o.Now, shown: make(chan struct{}), turn: nobodys, moved: make(chan struct{})}
	if cfg.Practice.Hours > 0 {
		p.until = o.Now().Add(time.Duration(cfg.Practice.Hours * float64(time.Hour)))
	}
	begin := Create
	if again {
		begin = Reopen
	}
	first, err := begin(ctx, f, o)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, first.Close()) }()
	second, err := mate(ctx, first, b, again, o)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, second.store.Close()) }()
	first.practice, second.practice = p, p
	for _, s := range []*Session{first, second} {
		ps, err := s.store.Metric(ctx, "episode", "resets")
		if err != nil {
			return res, err
		}
		for _, m := range ps {
			p.resets = max(p.resets, int(m.Value))
		}
	}
	both, ctx := errgroup.WithContext(ctx)
	for s, r := range map[*Session]*Result{first: &res.Forward, second: &res.Backward} {
		both.Go(func() (err error) {
			if s == second { // which tells what it does by the first
				select {
				case <-p.shown:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			*r, err = s.Run(ctx)
			return err
		})
	}
	err = both.Wait()
	if p.quiet != nil {
		p.quiet()
	}
	res.Resets = p.resets
	return res, err
}

// beginsWell refuses, before there is a folder of either, what one of two new sessions
// that practise together cannot begin from. Demonstrations, policy and who tells success
// are of one way, so that each begins from a session of its own.
func beginsWell(ctx context.Context, f, b config.Config) error {
	if f.Session.From == "" && classified(f) {
		return errors.New("wire: reward.kagi.sparse is classifier, and each way wants one of its own: practise with reward.kagi.sparse=none first, mark frames of NAME and of NAME-back and train in both (rapport reward classifier collect, then train), and begin from the first: --set session.from=runs/NAME --set reward.kagi.sparse=classifier")
	}
	if byClicks(f) { // practices that were begun so go on
		return errors.New("wire: reward.kagi.source is clicks, but practice goes there and back, and one plan is clicked; want task, whose plans are of both ways, or auto")
	}
	if err := errors.Join(alike(f), founding(f), searchable(f), readable(f), reviewed(ctx, f)); err != nil {
		return err
	}
	if err := errors.Join(alike(b), founding(b), readable(b)); err != nil {
		return fmt.Errorf("wire: the way back begins from %s, which comes with the other by rapport practice, or by rapport run --set robot.task=%s --set robot.way=backward --set name=%s: %w", b.Session.From, b.Robot.Task, filepath.Base(b.Session.From), err)
	}
	return nil
}

// paired refuses to go on with one of two sessions that practise together.
func (s *Session) paired() error {
	if leads(s.name, s.cfg) == "" || s.practice != nil {
		return nil
	}
	return fmt.Errorf("wire: %s practises with %s, and neither goes on alone; go on with: %s", s.name, s.cfg.Practice.Mate, GoOn(s.Dir()))
}

// leads names the first session of the practice that a session is one of, none if it
// practises with no other.
func leads(name string, c config.Config) string {
	if c.Practice.Mate == "" || wayOf(c) == tabletop.Backward {
		return c.Practice.Mate
	}
	return name
}

// armOn is under whose name the session's arm is on the bus: the first's, of two that
// practise together, since a page shows and drives one.
func (s *Session) armOn() string { return cmp.Or(leads(s.name, s.cfg), s.name) }

// mate is a session that shares another's bus and desk, since there is one arm to
// stop.
func mate(ctx context.Context, first *Session, cfg config.Config, again bool, o Options) (*Session, error) {
	dir := filepath.Join(cfg.Out, cfg.Name)
	st, cfg, err := openFolder(ctx, dir, cfg, again)
	if err != nil {
		return nil, err
	}
	s := guestOf(cfg.Name, first.conn, st, cfg, o)
	s.desk = first.desk
	s.tell = func(stage string, done, total int, note string) { first.tell("back: "+stage, done, total, note) }
	return s, nil
}
