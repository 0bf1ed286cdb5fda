package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/vlm"
)

// serveCmds are the processes of a session that spans several.
func (a *app) serveCmds() []*cobra.Command {
	return []*cobra.Command{
		a.brokerCmd(),
		a.roleCmd("learner", "Prepare a session, learn from the queue of episodes, evaluate and report", wire.Learn),
		a.roleCmd("perception", "Serve the session's encoder", guest(wire.ServePerception)),
		a.roleCmd("scorer", "Serve the session's reward", guest(wire.ServeScorer)),
		a.roleCmd("actor", "Drive the arm with the newest policy and queue the episodes", guest(wire.Act)),
	}
}

// play takes part in a session and returns its result, if it is the learner.
type play func(context.Context, config.Config, wire.Options) (wire.Result, error)

func guest(f func(context.Context, config.Config, wire.Options) error) play {
	return func(ctx context.Context, c config.Config, o wire.Options) (wire.Result, error) {
		return wire.Result{}, f(ctx, c, o)
	}
}

func (a *app) roleCmd(name, short string, f play) *cobra.Command {
	var url, drop string
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Long: short + `.

A session of several processes is one each of rapport broker, learner,
perception, scorer and actor, with the same configuration; --nats names the
broker. The session is called by its name or, without one, by its task. Each
process may be killed and started again; all end when the session is over.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := droppable(drop); err != nil {
				return err
			}
			if url != "" {
				a.sets = append(a.sets, "bus.url="+url)
			}
			c, err := a.load()
			if err != nil {
				return err
			}
			if c.Bus.URL == "" {
				return usageError{fmt.Errorf("no NATS server is named; start one with rapport broker and name it with --nats nats://127.0.0.1:4222")}
			}
			a.keeps(same)
			bars := newProgress(a.stderr)
			defer bars.close()
			o, end := a.driving(bars)
			o.Drop = drop
			defer end()
			res, err := f(cmd.Context(), c, o)
			if err != nil || res.Report == "" {
				return err
			}
			bars.close()
			return a.print(res)
		},
	}
	cmd.Flags().StringVar(&url, "nats", "", "URL of the session's NATS server, as nats://127.0.0.1:4222")
	if name == "learner" {
		cmd.Flags().StringVar(&drop, "drop-checkpoint", "", "forget the newest checkpoint of a kind ("+strings.Join(wire.Kinds(), ", ")+") first, where it is damaged")
	}
	return cmd
}

// options are what sessions need of this process.
func (a *app) options(bars *progress) wire.Options {
	return wire.Options{Tell: bars.step, Log: a.log, Now: time.Now, After: time.After, Tick: ticks, PID: os.Getpid(), Living: a.living(), VLM: a.vlm(), Judge: a.judge(), Endpoint: vlm.FromEnv(a.getenv).String()}
}

// driving are options for what drives an arm, which the signal holds until end.
func (a *app) driving(bars *progress) (o wire.Options, end func()) {
	o = a.options(bars)
	o.Stops, end = stops()
	return o, end
}

// ticks is time.NewTicker.
func ticks(every time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// print tells a session's result.
func (a *app) print(res wire.Result) error {
	path, err := filepath.Abs(res.Report)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(a.stdout)
	fmt.Fprintf(w, "\nsuccess before  %v\nsuccess after   %v\n\nreport   %s\nsession  %s\n", res.Before, res.After, path, res.Dir)
	if res.Worse() {
		fmt.Fprintf(w, "\nworse    success fell by more than chance may. What was cloned is kept,\n"+
			"             rapport eval %[1]s --policy cloned\n"+
			"             rapport policy export %[1]s --policy cloned --onnx cloned.onnx\n", wire.Quoted(res.Dir))
		// IQL does not go on from a clone that draws chunks.
		if l := res.Learner; l.Kind != "diffusion" && (l.Kind != "iql" || !l.IQL.Decay) {
			fmt.Fprintf(w, "         and may be fine-tuned anew by what stays near to what was done (docs/iql.md),\n"+
				"             rapport run -c %s --set %s --set %s --set learner.kind=iql --set learner.iql.decay=true\n",
				wire.Quoted(filepath.Join(res.Dir, "config.yaml")), wire.Quoted("name="+filepath.Base(res.Dir)+"-iql"), wire.Quoted("session.from="+res.Dir))
		}
	}
	return w.Flush()
}

func (a *app) brokerCmd() *cobra.Command {
	var listen, dir string
	var payload int
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run the NATS server of a session that spans several processes",
		Long: `Run a NATS server with JetStream on a file store, which carries a session of
several processes. Any other NATS server from 2.10 on with JetStream does too.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			srv, err := bus.Start(cmd.Context(), bus.Options{StoreDir: dir, Listen: listen, User: c.Bus.User, Password: c.Bus.Password, MaxPayload: payload, Log: a.log})
			if err != nil {
				return err
			}
			defer srv.Close()
			fmt.Fprintln(a.stdout, srv.URL())
			<-cmd.Context().Done()
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:4222", "address; port 0 picks a free one; beyond loopback, bus.user and bus.password are needed")
	cmd.Flags().StringVar(&dir, "store", "runs/broker", "folder of the streams")
	cmd.Flags().IntVar(&payload, "max-payload", bus.MaxPayload, "bytes of the largest message, which bounds an episode: 1048576 (1 MiB) to 33554432 (32 MiB)")
	return cmd
}
