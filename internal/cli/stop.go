package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/wire"
)

// stopSignal stops the arm of a process without a bus.
const stopSignal = syscall.SIGUSR1

// stops brings a reason for each stopSignal, until end is called.
func stops() (reasons <-chan string, end func()) {
	in, out := make(chan os.Signal, 4), make(chan string, 4)
	done := make(chan struct{})
	signal.Notify(in, stopSignal)
	go func() {
		defer close(out)
		for {
			select {
			case <-in:
				select {
				case out <- "signal USR1":
				default: // four reasons are on their way
				}
			case <-done:
				return
			}
		}
	}()
	return out, func() { signal.Stop(in); close(done) }
}

// drivers are the ways to who drives a session's arm.
type drivers struct {
	a       *app
	url     string // --nats
	session string // --session
}

func (d *drivers) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.url, "nats", "", "URL of the session's NATS server, for a session on another machine")
	cmd.Flags().StringVar(&d.session, "session", "", "the session: its folder or, with --nats, its name; empty: the one that runs here, or with --nats every one")
}

// folder is that of the session, the newest with a living driver if none is named.
func (d *drivers) folder(c config.Config) (string, error) {
	if d.session != "" {
		for _, dir := range d.named(c) {
			if _, err := os.Stat(filepath.Join(dir, "session.db")); err == nil {
				return dir, nil
			}
		}
		return "", usageError{fmt.Errorf("%s is neither a session's folder nor the name of one in %s", d.session, c.Out)}
	}
	if c.Name != "" {
		return filepath.Join(c.Out, c.Name), nil
	}
	entries, err := os.ReadDir(c.Out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	var best string
	var when time.Time
	for _, e := range entries {
		dir := filepath.Join(c.Out, e.Name())
		if _, err := driver(dir); err != nil {
			continue
		}
		if st, err := os.Stat(filepath.Join(dir, "bus.json")); err == nil && (best == "" || st.ModTime().After(when)) {
			best, when = dir, st.ModTime()
		}
	}
	if best == "" {
		return wire.Newest(c.Out)
	}
	return best, nil
}

// driver is the address of the process that drives the session in dir, ErrNone if
// none does. The lock tells it: a killed process leaves its address, and its
// number may be another's by now, whom no signal must reach.
func driver(dir string) (bus.Address, error) {
	at, err := bus.ReadAddress(dir)
	if err != nil {
		return at, err
	}
	used, err := store.InUse(dir)
	if err != nil {
		return at, err
	}
	if !used || !at.Alive() {
		return at, fmt.Errorf("%w: process that drives the session in %s; the one that did, %d, is gone, and its arm keeps its last target", bus.ErrNone, dir, at.PID)
	}
	return at, nil
}

// desk is driver for who acts on the arm: of two sessions that practise together, that of
// the first, in whose folder it is then, and of one in several processes its actor's.
func desk(dir string) (string, bus.Address, error) {
	dir = wire.Leading(dir)
	at, err := driver(dir)
	if !errors.Is(err, bus.ErrNone) {
		return dir, at, err
	}
	if actor := wire.Acting(dir); actor != "" {
		there, err := driver(actor)
		if !errors.Is(err, bus.ErrNone) || at.PID == 0 { // a learner has no arm, and no address
			return actor, there, err
		}
	}
	return dir, at, fmt.Errorf("%w; go on with: %s", err, wire.GoOn(dir))
}

// desk is that of the session.
func (d *drivers) desk(c config.Config) (string, bus.Address, error) {
	dir, err := d.folder(c)
	if err == nil {
		return desk(dir)
	}
	if d.session != "" {
		for _, dir := range d.named(c) {
			if wire.Acting(dir) != "" {
				return desk(dir)
			}
		}
	}
	return "", bus.Address{}, err
}

// named are the folders that --session may mean.
func (d *drivers) named(c config.Config) []string {
	return []string{d.session, filepath.Join(c.Out, d.session)}
}

// bookAt is driver for who labels the session in dir, and the name that its labels have on the bus:
// the second of two that practise together is on the first's.
func bookAt(dir string) (at bus.Address, name string, err error) {
	first := wire.Leading(dir)
	if at, err = driver(first); err != nil || first == dir {
		return at, at.Session, err
	}
	used, err := store.InUse(dir)
	if err == nil && !used {
		err = fmt.Errorf("%w: process that has the session in %s open", bus.ErrNone, dir)
	}
	return at, filepath.Base(filepath.Clean(dir)), err
}

// dial connects to the session of an address.
func (d *drivers) dial(ctx context.Context, at bus.Address) (*bus.Conn, error) {
	o := at.Options()
	o.Log = d.a.log
	return bus.Dial(ctx, at.URL, o)
}

// who is the person at this terminal.
func who() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// stopLimit bounds a stop: each session's arm is asked beside the others', and connecting to a bus
// that does not answer takes 3 s of it, before the process is signalled.
const stopLimit = 5 * time.Second

func (a *app) stopCmd() *cobra.Command {
	d := drivers{a: a}
	var why, by string
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Hold the arm now, until somebody acknowledges",
		Long: `Hold the arm now. The session goes on waiting, with the arm held, until
somebody who has seen it acknowledges: rapport fault ack.

Without --session and --nats it is every session of yours that runs on this
machine, whichever folder it was begun in; should a bus not answer, its process
gets the signal USR1, which does the same. A mistake in the configuration is
told and hinders no stop. This is no emergency stop: that is the arm's own, and
cuts its power.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), stopLimit)
			defer cancel()
			c, err := anyhow(a.load)
			if err != nil {
				fmt.Fprintf(a.stderr, "rapport: %v\nrapport: this hinders no stop, which goes by what could be read\n", err)
			}
			s := bus.Stop{Who: by, Why: why}
			if d.url != "" {
				return a.stopFar(ctx, d, c, s)
			}
			return a.stopHere(ctx, d, c, s)
		},
	}
	d.flags(cmd)
	cmd.Flags().Lookup("session").Usage = "the session: its folder or, with --nats, its name; empty: every one that runs here, or with --nats there"
	cmd.Flags().StringVar(&why, "why", "rapport stop", "the reason, which is kept")
	cmd.Flags().StringVar(&by, "by", who(), "your name, which is kept")
	return cmd
}

// anyhow reads a configuration, the defaults where reading it breaks: a stop goes on, and what it
// held is acknowledged.
func anyhow(load func() (config.Config, error)) (c config.Config, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = config.Default(), fmt.Errorf("the configuration cannot be read: %v", r)
		}
	}()
	return load()
}

func (a *app) stopFar(ctx context.Context, d drivers, c config.Config, s bus.Stop) error {
	began := time.Now()
	conn, err := d.dial(ctx, bus.Address{URL: d.url, User: c.Bus.User, Password: c.Bus.Password})
	if err != nil {
		return fmt.Errorf("%w; stop at the arm, or signal its process: kill -USR1 PID", err)
	}
	defer conn.Close()
	dialled := time.Since(began)
	if d.session != "" {
		r, err := conn.Stop(ctx, d.session, s)
		if err != nil {
			return fmt.Errorf("%w; stop at the arm", err)
		}
		return a.say(stopped(r, dialled, far(r)))
	}
	all, err := conn.StopAll(ctx, s)
	for _, r := range all {
		err = errors.Join(err, a.say(stopped(r, dialled, far(r))))
	}
	return err
}

// far is how the session that was stopped over the network is named.
func far(r bus.Stopped) string { return "--nats URL --session " + r.Session }

// stopHere stops the session that is named, or every one of this user that lives on this machine.
func (a *app) stopHere(ctx context.Context, d drivers, c config.Config, s bus.Stop) error {
	name := cmp.Or(d.session, c.Name)
	if name == "" {
		done, err := a.stopLiving(ctx, d, c.Out, "", s)
		if done == 0 {
			err = errors.Join(err, a.noneStopped(c.Out))
		}
		return err
	}
	dir, at, err := d.desk(c)
	if err != nil {
		// Its actor may keep its folder elsewhere.
		done, e := a.stopLiving(ctx, d, c.Out, name, s)
		switch none := dir == "" || errors.Is(err, bus.ErrNone) && at.PID == 0; {
		case done == 0:
			return errors.Join(e, fmt.Errorf("no arm was stopped, and if one moves, stop at the arm: %w", err))
		case none:
			return e
		}
		return errors.Join(e, fmt.Errorf("what was stopped is only called so; if the arm of the one that is named moves, stop at the arm: %w", err))
	}
	said, err := d.stop(ctx, dir, at, s)
	if err != nil {
		return err
	}
	return a.say(said)
}

// stop holds the arm of the session in dir by its bus or, if that does not answer, by a signal.
func (d *drivers) stop(ctx context.Context, dir string, at bus.Address, s bus.Stop) (said string, err error) {
	began := time.Now()
	conn, err := d.dial(ctx, at)
	if err == nil {
		defer conn.Close()
		dialled := time.Since(began)
		var r bus.Stopped
		if r, err = conn.Stop(ctx, at.Session, s); err == nil {
			return stopped(r, dialled, "--session "+wire.Quoted(dir)), nil
		}
	}
	if e := syscall.Kill(at.PID, stopSignal); e != nil {
		return "", fmt.Errorf("%s: %w; nor does process %d take a signal: %w; stop at the arm", dir, err, at.PID, e)
	}
	return fmt.Sprintf("%s: the bus does not answer (%v); process %d was signalled to hold the arm: look at it\n", dir, err, at.PID), nil
}

func (a *app) say(what string) error {
	_, err := io.WriteString(a.stdout, what)
	return err
}

// stopped tells what became of a stop of the session that of names.
func stopped(r bus.Stopped, dialled time.Duration, of string) string {
	what := "held"
	switch {
	case r.Idle:
		what = "no arm moves in this stage; the next one is held from its first command"
	case !r.Held:
		what = "STOPPED, BUT NO TICK OF THE ARM HAS CONFIRMED IT YET: look at it"
	case r.Already:
		what = "held already"
	}
	others := ""
	if r.Already {
		others = ", and so each that rapport fault lists as open"
	}
	return fmt.Sprintf("%s: %s\n  fault %d: %s, %s\n  from request to hold at most %.1f ms: held %.1f ms after it came to the arm's process, then stored and answered (connecting took %.1f ms before)\n  when the arm may move again: rapport fault ack %d --by NAME %s%s\n",
		r.Session, what, r.Fault.ID, r.Fault.Cause, r.Fault.Detail, ms(r.Took), ms(r.Hold), ms(dialled), r.Fault.ID, of, others)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
