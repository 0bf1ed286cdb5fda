package cli

import (
	"context"
	"errors"
	"fmt"
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
		for _, dir := range []string{d.session, filepath.Join(c.Out, d.session)} {
			if _, err := os.Stat(filepath.Join(dir, "session.db")); err == nil {
				return dir, nil
			}
		}
		return "", usageError{fmt.Errorf("--session %s is neither a session's folder nor the name of one in %s", d.session, c.Out)}
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
// the first, in whose folder it is then.
func desk(dir string) (string, bus.Address, error) {
	dir = wire.Leading(dir)
	at, err := driver(dir)
	if errors.Is(err, bus.ErrNone) {
		err = fmt.Errorf("%w; go on with: %s", err, wire.GoOn(dir))
	}
	return dir, at, err
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

func (a *app) stopCmd() *cobra.Command {
	d := drivers{a: a}
	var why, by string
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Hold the arm now, until somebody acknowledges",
		Long: `Hold the arm now. The session goes on waiting, with the arm held, until
somebody who has seen it acknowledges: rapport fault ack.

Without --nats it is the session that runs on this machine; should its bus not
answer, its process gets the signal USR1, which does the same. This is no
emergency stop: that is the arm's own, and cuts its power.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			c, err := a.load()
			if err != nil {
				return err
			}
			s := bus.Stop{Who: by, Why: why}
			if d.url != "" {
				return a.stopFar(ctx, d, c, s)
			}
			return a.stopHere(ctx, d, c, s)
		},
	}
	d.flags(cmd)
	cmd.Flags().StringVar(&why, "why", "rapport stop", "the reason, which is kept")
	cmd.Flags().StringVar(&by, "by", who(), "your name, which is kept")
	return cmd
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
		return a.tellStopped(r, dialled)
	}
	all, err := conn.StopAll(ctx, s)
	for _, r := range all {
		err = errors.Join(err, a.tellStopped(r, dialled))
	}
	return err
}

func (a *app) stopHere(ctx context.Context, d drivers, c config.Config, s bus.Stop) error {
	dir, err := d.folder(c)
	if err != nil {
		return err
	}
	_, at, err := desk(dir)
	if err != nil {
		return err
	}
	began := time.Now()
	conn, err := d.dial(ctx, at)
	var r bus.Stopped
	var dialled time.Duration
	if err == nil {
		defer conn.Close()
		dialled = time.Since(began)
		r, err = conn.Stop(ctx, at.Session, s)
	}
	if err == nil {
		return a.tellStopped(r, dialled)
	}
	if e := syscall.Kill(at.PID, stopSignal); e != nil {
		return fmt.Errorf("%w; nor does process %d take a signal: %w; stop at the arm", err, at.PID, e)
	}
	_, err = fmt.Fprintf(a.stdout, "the bus does not answer (%v); process %d was signalled to hold the arm: look at it\n", err, at.PID)
	return err
}

// tellStopped prints what became of a stop.
func (a *app) tellStopped(r bus.Stopped, dialled time.Duration) error {
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
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n  fault %d: %s, %s\n  from request to hold at most %.1f ms: held %.1f ms after it came to the arm's process, then stored and answered (connecting took %.1f ms before)\n  when the arm may move again: rapport fault ack %d --by NAME%s\n",
		r.Session, what, r.Fault.ID, r.Fault.Cause, r.Fault.Detail, ms(r.Took), ms(r.Hold), ms(dialled), r.Fault.ID, others)
	return err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
