package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) faultCmd() *cobra.Command {
	d := drivers{a: a}
	list := func(cmd *cobra.Command, _ []string) error { return a.listFaults(cmd.Context(), d) }
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "List the faults of a session, or acknowledge one",
		Long: `A latched fault holds the arm until somebody who has seen it acknowledges, in
the session that runs and in every later one of the same folder.`,
		Args: noArgs,
		RunE: list,
	}
	cmd.PersistentFlags().StringVar(&d.url, "nats", "", "URL of the session's NATS server, for a session on another machine")
	cmd.PersistentFlags().StringVar(&d.session, "session", "", "the session: its folder or, with --nats, its name; empty: the newest here")
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "List the faults of a session, the newest first", Args: noArgs, RunE: list})
	cmd.AddCommand(&cobra.Command{
		Use: "show ID", Short: "Print the state that caused a fault and the two seconds before, as JSON", Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error { return a.showFault(cmd.Context(), d, args[0]) },
	})
	var by, note string
	ack := &cobra.Command{
		Use: "ack ID", Short: "Acknowledge a fault, having looked at the arm", Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if by == "" {
				return usageError{errors.New("a fault is acknowledged by somebody: give your name with --by NAME")}
			}
			return a.ackFault(cmd.Context(), d, args[0], by, note)
		},
	}
	ack.Flags().StringVar(&by, "by", "", "your name, which is kept")
	ack.Flags().StringVar(&note, "note", "", "what you found, which is kept")
	cmd.AddCommand(ack)
	return cmd
}

// oneID wants the number of a fault.
func oneID(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return usageError{fmt.Errorf("%w: the number of a fault, as rapport fault lists it", err)}
	}
	if _, err := strconv.ParseInt(args[0], 10, 64); err != nil {
		return usageError{fmt.Errorf("%q is no number of a fault; list them with: rapport fault", args[0])}
	}
	return nil
}

// faults are the faults of one session: over the bus where a process drives it,
// else in its folder.
type faults struct {
	conn *bus.Conn
	name string
	desk *wire.Cold
}

func (d *drivers) open(ctx context.Context) (*faults, error) {
	c, err := d.a.finds()
	if err != nil {
		return nil, err
	}
	if d.url != "" {
		name := d.session
		if name == "" {
			name = wire.SessionName(c)
		}
		conn, err := d.dial(ctx, bus.Address{URL: d.url, User: c.Bus.User, Password: c.Bus.Password})
		return &faults{conn: conn, name: name}, err
	}
	return d.openHere(ctx, c)
}

func (d *drivers) openHere(ctx context.Context, c config.Config) (*faults, error) {
	dir, at, err := d.desk(c)
	if err == nil {
		conn, err := d.dial(ctx, at)
		return &faults{conn: conn, name: at.Session}, err
	}
	if dir == "" || !errors.Is(err, bus.ErrNone) {
		return nil, err
	}
	cold, err := wire.OpenCold(dir, time.Now)
	return &faults{desk: cold, name: dir}, err
}

func (f *faults) list(ctx context.Context) ([]bus.Fault, error) {
	if f.conn != nil {
		return f.conn.Faults(ctx, f.name)
	}
	return f.desk.Faults(ctx)
}

func (f *faults) ack(ctx context.Context, a bus.Acknowledge) (bus.Acknowledged, error) {
	if f.conn != nil {
		return f.conn.Acknowledge(ctx, f.name, a)
	}
	return f.desk.Acknowledge(ctx, a)
}

func (f *faults) close() error {
	if f.conn != nil {
		f.conn.Close()
		return nil
	}
	return f.desk.Close()
}

func (a *app) listFaults(ctx context.Context, d drivers) (err error) {
	f, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	all, err := f.list(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err = fmt.Fprintf(a.stdout, "%s: no faults\n", f.name)
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tWHEN\tEPISODE\tCAUSE\tDETAIL\tACKNOWLEDGED")
	for _, l := range all {
		seen := "no"
		if !l.Open {
			seen = fmt.Sprintf("by %s at %s", l.By, clock(l.Cleared))
			if l.Note != "" {
				seen += ": " + l.Note
			}
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", l.ID, clock(l.At), l.Episode, l.Cause, l.Detail, seen)
	}
	return w.Flush()
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func (a *app) showFault(ctx context.Context, d drivers, id string) (err error) {
	c, err := a.finds()
	if err != nil {
		return err
	}
	if d.url != "" {
		return usageError{errors.New("what came before a fault is in the session's folder; look there, without --nats")}
	}
	dir, _, err := d.desk(c) // where rapport fault lists it
	if err != nil && (dir == "" || !errors.Is(err, bus.ErrNone)) {
		return err
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return usageError{err}
	}
	b, err := wire.FaultReport(ctx, dir, n)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", b)
	return err
}

func (a *app) ackFault(ctx context.Context, d drivers, id, by, note string) (err error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return usageError{err}
	}
	f, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if a.misread && d.session == "" { // a misspelt name is none, and another arm would move
		return usageError{fmt.Errorf("with these mistakes nobody knows which session is meant: acknowledge with --session FOLDER, or its name with --nats; without, it would be that of %s", f.name)}
	}
	r, err := f.ack(ctx, bus.Acknowledge{Fault: n, Who: by, Note: note})
	if err != nil {
		return err
	}
	next := "the arm may move again"
	if r.Left > 0 {
		next = fmt.Sprintf("%d still open: rapport fault", r.Left)
	}
	_, err = fmt.Fprintf(a.stdout, "%s: fault %d (%s: %s) acknowledged by %s; %s\n", f.name, r.Fault.ID, r.Fault.Cause, r.Fault.Detail, r.Fault.By, next)
	return err
}
