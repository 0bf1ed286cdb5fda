package cli

import (
	"fmt"

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
			ctx := cmd.Context()
			c, err := a.load()
			if err != nil {
				return err
			}
			at := bus.Address{Session: d.session, URL: d.url, User: c.Bus.User, Password: c.Bus.Password}
			dir := ""
			switch {
			case d.url == "":
				if dir, err = d.folder(c); err != nil {
					return err
				}
				if dir, at, err = desk(dir); err != nil {
					return err
				}
			case at.Session == "":
				at.Session = wire.SessionName(c)
			}
			conn, err := d.dial(ctx, at)
			if err != nil {
				return err
			}
			defer conn.Close()
			w, err := a.serve(conn, at.Session, dir, listen)
			if err != nil {
				return err
			}
			defer w.Close()
			<-ctx.Done()
			return nil
		},
	}
	d.flags(cmd)
	cmd.Flags().StringVar(&listen, "listen", listen, "address; port 0 picks a free one; beyond loopback the token crosses the network unencrypted")
	return cmd
}

// serve shows a session until what it returns is closed, and prints where. Without its
// folder its episodes cannot be labelled, nor its plan clicked.
func (a *app) serve(conn *bus.Conn, session, dir, listen string) (_ *web.Server, err error) {
	o := web.Options{Conn: conn, Session: session, Listen: listen, Log: a.log}
	o.Labels, o.NoLabels = labels(conn, session, dir)
	if dir != "" {
		if o.Clicks, err = wire.ClicksIn(dir); err != nil { // its arm can be stopped all the same
			a.log.Warn("dashboard: no plan can be clicked", "err", err)
		}
	}
	w, err := web.Start(o)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(a.stdout, "dashboard  %s\n", w.URL()); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}
