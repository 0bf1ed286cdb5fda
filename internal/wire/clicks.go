package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

// clickEvery is how often a session that waits for a plan looks for one.
const clickEvery = 200 * time.Millisecond

// byClicks says whether an operator clicks the plan of a session while it runs.
func byClicks(c config.Config) bool {
	return keyed(c) && c.Reward.KAGI.Source == "clicks" && c.Reward.KAGI.Plan == ""
}

// ClicksIn is where pictures and plan of the session in a folder lie; "" if its plan
// is not clicked.
func ClicksIn(dir string) (click.Folder, error) {
	c, err := asBegun(dir)
	if err != nil || !byClicks(c) {
		return "", err
	}
	return clicksIn(dir), nil
}

func clicksIn(dir string) click.Folder { return click.Folder(filepath.Join(dir, "clicks")) }

// withClicks is a session's configuration with the file of its own clicked plan.
func withClicks(c config.Config, dir string) config.Config {
	if byClicks(c) {
		c.Reward.KAGI.Plan = clicksIn(dir).PlanFile()
	}
	return c
}

// ClickAt says where there is a page to click on, for the words that ask for it.
func (s *Session) ClickAt(page string) { s.page = page }

// Clicks is the folder of the plan that an operator clicks in this session; "" if
// nobody does.
func (s *Session) Clicks() click.Folder {
	if f := clicksIn(s.Dir()); keyed(s.cfg) && s.cfg.Reward.KAGI.Plan == f.PlanFile() {
		return f
	}
	return ""
}

// clicker has an operator's plan, and asks for one where it is wanted.
type clicker struct {
	folder click.Folder
	task   string
	box    kagi.Box
	near   float64  // the reward's tolerance, m
	unpaid bool     // nothing is by the waypoints
	names  []string // nil: any points
	after  func(time.Duration) <-chan time.Time
	tell   func(words string, done int) // done: 1 once a plan is there

	mu sync.Mutex // held while one reset waits; others wait with it
}

type clickerKey struct{}

// clickerOf is nil where nobody is to be asked.
func clickerOf(ctx context.Context) *clicker {
	k, _ := ctx.Value(clickerKey{}).(*clicker)
	return k
}

// plan is the last plan or, if one is wanted, what an operator clicks on this reset's
// pictures. No command is sent meanwhile, so the arm stands still, and its guard takes
// stops.
func (k *clicker) plan(ctx context.Context, cams []keypoint.Camera, obs robot.Observation) (kagi.Plan, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wanted, err := k.folder.Wanted()
	if err != nil {
		return kagi.Plan{}, err
	}
	if wanted {
		if err := k.ask(ctx, cams, obs); err != nil {
			return kagi.Plan{}, err
		}
	}
	return k.folder.Plan()
}

func (k *clicker) ask(ctx context.Context, cams []keypoint.Camera, obs robot.Observation) error {
	if k.after == nil {
		return errors.New("wire: reward.kagi.source is clicks, but this program has no clock to wait by; name a clicked file in reward.kagi.plan")
	}
	sc := click.Scene{Task: k.task, Hand: obs.State.EE.P, Box: k.box, Tolerance: k.near, Unpaid: k.unpaid, Names: k.names}
	var frames []robot.Frame
	for _, c := range cams {
		f, err := frameOf(obs.Frames, c.Name)
		if err != nil {
			return err
		}
		sc.Cameras, frames = append(sc.Cameras, c.At(obs.State.EE)), append(frames, f)
	}
	if err := k.folder.Show(sc, frames); err != nil {
		return err
	}
	k.tell("the arm stands still until points and waypoints are clicked", 0)
	for {
		waits, err := k.folder.Waits()
		if err != nil {
			return err
		}
		if !waits {
			k.tell("the plan is in "+k.folder.PlanFile(), 1)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-k.after(clickEvery):
		}
	}
}

// clicked begins a session whose plan is clicked: it waits for the first plan, and
// returns the context under which an operator is asked for others.
func (s *Session) clicked(ctx context.Context) (context.Context, error) {
	b := s.cfg.Guard.Workspace
	k := &clicker{folder: s.Clicks(), task: s.cfg.Robot.Task, box: kagi.Box{Min: b.Min, Max: b.Max}, near: s.cfg.Reward.KAGI.Tolerance, unpaid: unpaid(s.cfg), after: s.after}
	k.tell = func(words string, done int) {
		at := ""
		switch {
		case done != 0:
		case s.page != "":
			at = " at " + s.page
		default:
			at = " on the page of: rapport dashboard"
		}
		s.log.Warn("waypoints: "+words+at, "folder", string(k.folder))
		// The page's address holds its token, which is for who sits here, not for all who
		// listen on the bus; the dashboard has a link of its own.
		s.tell("clicks", done, 1, words)
	}
	wanted, err := k.folder.Wanted()
	if err != nil {
		return ctx, err
	}
	_, err = k.folder.Plan()
	first := errors.Is(err, click.ErrNone)
	if err != nil && !first {
		return ctx, err
	}
	see := func() {
		if s.cfg.Policy.Keys {
			k.names = append([]string{}, seenKeys(s.cfg)...)
		}
	}
	if !first {
		see() // what was learned sees the points of the earlier plan
	} else if from := s.cfg.Session.From; from != "" && s.cfg.Policy.Keys {
		was, err := asBegun(from)
		if err != nil {
			return ctx, fmt.Errorf("wire: session.from: %w", err)
		}
		k.names = append([]string{}, seenKeys(withClicks(was, from))...)
	}
	if wanted {
		if err := k.first(ctx, s.cfg, s.log); err != nil {
			return ctx, err
		}
	}
	see()
	return context.WithValue(ctx, clickerKey{}, k), nil
}

// first asks for a plan on the first online episode's reset, before anything needs one.
func (k *clicker) first(ctx context.Context, c config.Config, log *slog.Logger) (err error) {
	c.Reward.Kind, c.Reward.Sees = "rapl", "features" // follows no points yet
	a, err := openArm(ctx, c, online, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	d := deskOf(ctx)
	if err := d.hears(ctx); err != nil {
		return err
	}
	detach, err := d.attach(ctx, a)
	defer detach()
	if err != nil {
		return err
	}
	obs, err := a.guard.Reset(ctx)
	for fault := (*guard.Fault)(nil); d != nil && errors.As(err, &fault); {
		if err := d.wait(ctx); err != nil {
			return err
		}
		obs, err = a.guard.Reset(ctx)
	}
	if err != nil {
		return err
	}
	cams, err := a.cameras(c)
	if err != nil {
		return err
	}
	marks, err := newLandmarks(c, a.full)
	if err != nil {
		return err
	}
	if err := marks.correct(ctx, cams); err != nil {
		return err
	}
	_, err = k.plan(ctx, cams, obs)
	return err
}

// ClickPlan waits until a plan of the configured arm's first reset is clicked, without
// a session.
func ClickPlan(ctx context.Context, c config.Config, f click.Folder, o Options) error {
	if _, err := f.Plan(); err == nil {
		if err := f.Again(); err != nil { // the folder is used again
			return err
		}
	}
	b := c.Guard.Workspace
	k := &clicker{folder: f, task: c.Robot.Task, box: kagi.Box{Min: b.Min, Max: b.Max}, near: c.Reward.KAGI.Tolerance, unpaid: unpaid(c), after: o.After,
		tell: func(words string, done int) { o.Tell("clicks", done, 1, words) }}
	return k.first(ctx, c, o.Log)
}
