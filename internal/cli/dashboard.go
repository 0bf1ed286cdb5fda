package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
	"github.com/rapport-rl/rapport/internal/wire"
)

// defaultPage is where a page is served that says no more.
const defaultPage = "127.0.0.1:8080"

func (a *app) dashboardCmd() *cobra.Command {
	d := drivers{a: a}
	listen := defaultPage
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Show a session in a browser, stop its arm and drive it",
		Long: `Show a session in a browser: cameras, state, rewards, the learner's numbers, the
guard. The page stops the arm (also with the space bar), acknowledges its faults
and drives it with a gamepad; another asks people about its episodes (rapport label). The printed URL holds a token, without which nobody
sees or stops anything.

Without --nats it is the session that runs on this machine. The page ends with
Ctrl-C; the session goes on.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.keeps(same) // the session goes on
			ctx := cmd.Context()
			c, err := a.finds()
			if err != nil {
				return err
			}
			at := bus.Address{Session: d.session, URL: d.url, User: c.Bus.User, Password: c.Bus.Password}
			dir := ""
			switch {
			case d.url == "":
				if dir, at, err = d.desk(c); err != nil {
					return err
				}
			case at.Session == "":
				at.Session = wire.SessionName(c)
			}
			return a.follow(ctx, &d, at, dir, listen)
		},
	}
	d.flags(cmd)
	cmd.Flags().StringVar(&listen, "listen", listen, "address; port 0 picks a free one; beyond loopback the token crosses the network unencrypted")
	return cmd
}

// follow shows the session in dir, wherever it goes on, until ctx ends.
func (a *app) follow(ctx context.Context, d *drivers, at bus.Address, dir, listen string) error {
	for told := ""; ctx.Err() == nil; {
		conn, err := d.dial(ctx, at)
		if err != nil && told != "" { // it ended as soon as it went on
			a.log.Warn("dashboard: the session is not reached", "err", err)
			at = movedFrom(ctx, dir, bus.Address{})
			continue
		}
		if err != nil {
			return err
		}
		w, err := a.page(conn, at.Session, dir, listen)
		if err == nil {
			if w.URL() != told {
				told = w.URL()
				err = a.where(w)
			}
			if err == nil {
				listen = w.Addr() // for good, also where any was to do
				at = movedFrom(ctx, dir, at)
			}
			w.Close()
		}
		conn.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// movedEvery is how often is looked whether a session went on elsewhere.
const movedEvery = time.Second

// movedFrom waits until who drives the session in dir is to be reached in another way, and
// returns which: a session that went on after a stop has another port. Without a folder, and
// where nobody goes on, it waits until ctx ends.
func movedFrom(ctx context.Context, dir string, at bus.Address) bus.Address {
	tick := time.NewTicker(movedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return at
		case <-tick.C:
		}
		if dir == "" {
			continue
		}
		if now, err := bus.ReadAddress(dir); err != nil || now == at {
			continue
		}
		if now, err := driver(dir); err == nil {
			return now
		}
	}
}

// serve shows a session until what it returns is closed, and prints where.
func (a *app) serve(conn *bus.Conn, session, dir, listen string) (*web.Server, error) {
	w, err := a.page(conn, session, dir, listen)
	if err != nil {
		return nil, err
	}
	if err := a.where(w); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// where prints where a page is.
func (a *app) where(w *web.Server) error { return a.opens(w, "dashboard  ", w.URL()) }

// opens prints a link of a page under a name, and below it those for other machines.
func (a *app) opens(w *web.Server, name, link string) error {
	text := name + link + "\n"
	for _, l := range w.Elsewhere(link) {
		text += fmt.Sprintf("%-*s%s\n", len(name), "elsewhere ", l)
	}
	_, err := fmt.Fprint(a.stdout, text)
	return err
}

// token is that of a session's pages; where its folder takes none, one for this time.
func (a *app) token(dir string) string {
	t, err := web.Token(dir)
	if err != nil {
		a.log.Warn("the page's link will be another one the next time", "err", err)
	}
	return t
}

// page shows a session until what it returns is closed. Without its folder its episodes
// cannot be labelled, nor its plan clicked.
func (a *app) page(conn *bus.Conn, session, dir, listen string) (_ *web.Server, err error) {
	o := web.Options{Conn: conn, Session: session, Listen: listen, Log: a.log}
	o.Labels, o.NoLabels = labels(conn, session, dir)
	if dir != "" {
		o.Token = a.token(dir)
		if o.Clicks, err = wire.ClicksIn(dir); err != nil { // its arm can be stopped all the same
			a.log.Warn("dashboard: no plan can be clicked", "err", err)
		}
	}
	return web.Start(o)
}
