package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/web"
	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
)

func (a *app) labelCmd() *cobra.Command {
	d := drivers{a: a}
	var o ask.Options
	listen := defaultPage
	kind := string(label.Pair)
	var bags, topics []string
	var seed uint64
	cmd := &cobra.Command{
		Use:   "label [SESSION]",
		Short: "Ask people about a session's episodes, in a browser",
		Long: `Ask people about the episodes of a session, in a browser: which of two clips is
better, which of two is more like a third, in which order some are, which
stretches of one are good or bad. The printed URL holds a token, without which
nobody sees or says anything.

SESSION is a folder, as runs/group-001, or a name in it; without one it is the
session that runs on this machine, else the newest. Answers go to the session's
labels: over its bus while it runs, else into its folder. With --nats they go to
the bus there, while the pictures are SESSION's, here. Rewards learn from answers
about the session's own episodes alone: what is said of --bag is for rapport
label export.

The dashboard of a running session has the same page (docs/labelling.md).`,
		Example: `  rapport label runs/group-001 --annotator ann
  rapport label runs/group-001 --kind triplet --camera front --ask 50
  rapport label runs/group-001 --bag monday.bag --map front=/camera/color/image_raw`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := atMostOne(cmd, args); err != nil {
				return err
			}
			if len(args) == 1 {
				if d.session != "" {
					return usageError{errors.New("the session is named twice: as an argument and by --session")}
				}
				d.session = args[0]
			}
			c, err := a.finds()
			if err != nil {
				return err
			}
			dir, err := d.pictured(c)
			if err != nil {
				return err
			}
			o.Kind = label.Kind(kind)
			o.Source = rand.NewPCG(seed, 0)
			m, err := topicMap(topics, false)
			if err != nil {
				return usageError{err}
			}
			clips, err := wire.NewClips(dir, bags, m)
			if err != nil {
				return err
			}
			if len(bags) > 0 {
				fmt.Fprintf(a.stderr, "note: no reward of %s learns from what is said of --bag, which is kept to be exported; label a session over these recordings (robot.kind=bag) for that\n", dir)
			}
			if err := clips.Films(o.Cameras, m); err != nil {
				return usageError{err}
			}
			o.Reels = clips
			o.Ways = ways(clips, seed)
			a.keeps(same)
			return a.label(cmd.Context(), &d, c, dir, listen, o)
		},
	}
	d.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&listen, "listen", listen, "address; port 0 picks a free one; beyond loopback the token crosses the network unencrypted")
	f.StringVar(&kind, "kind", kind, "what to ask first: pair, triplet, ranking or segments")
	f.StringVar(&o.Annotator, "annotator", "", "who answers; empty: the page asks")
	f.IntVar(&o.Ask, "ask", 150, "how many answers of a kind are asked for of each person")
	f.IntVar(&o.Shared, "shared", 4, "put each so-manieth question to everybody, so that there is agreement to measure; 1: all of them")
	f.IntVar(&o.Clips, "clips", 4, "clips of a ranking")
	f.IntVar(&o.Steps, "steps", 0, "steps of a clip, cut from an episode by chance; 0: whole episodes")
	f.StringArrayVar(&o.Cameras, "camera", nil, "a camera to show; may be repeated; none: all")
	f.StringArrayVar(&bags, "bag", nil, "a recording beside the session's episodes (.bag, .mcap, rosbag2); may be repeated")
	f.StringArrayVar(&topics, "map", nil, "a camera of the bags and its topic, as front=/camera/color/image_raw; may be repeated")
	f.StringVar(&o.Way, "query", ask.Random, "which question is next: a random one, that whose answer is expected to teach most, or what was found best so far beside something new: random, information or root")
	f.Uint64Var(&seed, "seed", 1, "what questions are drawn by")
	cmd.AddCommand(a.labelFileCmds()...)
	return cmd
}

// pictured is the folder of the session whose pictures are shown.
func (d *drivers) pictured(c config.Config) (string, error) {
	dir, err := d.folder(c)
	if err != nil {
		return "", err
	}
	if !wire.SessionAt(dir) {
		return "", usageError{fmt.Errorf("%s holds no session; name one, as runs/group-001", dir)}
	}
	return filepath.Clean(dir), nil
}

// label serves the page until ctx ends.
func (a *app) label(ctx context.Context, d *drivers, c config.Config, dir, listen string, o ask.Options) error {
	w := web.Options{Session: filepath.Base(dir), Listen: listen, Token: a.token(dir), Log: a.log}
	at, name, err := bookAt(dir)
	live := err == nil
	o.Session = w.Session
	if d.url != "" {
		at, live = bus.Address{Session: w.Session, URL: d.url, User: c.Bus.User, Password: c.Bus.Password}, true
	}
	if live {
		if w.Conn, err = d.dial(ctx, at); err != nil {
			return err
		}
		defer w.Conn.Close()
		w.Session = at.Session
		if d.url == "" {
			o.Session = name
		}
	}
	if d.url != "" {
		o.Book = web.NewJournal(w.Conn, at.Session)
	} else {
		b := &foundBook{d: d, dir: dir}
		defer b.close()
		o.Book, w.Arm = b, b.arm
	}
	if _, err := o.Book.Labels(ctx); err != nil {
		return err
	}
	if w.Labels, err = ask.New(o); err != nil {
		return usageError{err}
	}
	s, err := web.Start(w)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := a.opens(s, "label      ", s.LabelURL()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// ways are those of finding questions beside chance.
func ways(c *wire.Clips, seed uint64) map[string]ask.Way {
	return map[string]ask.Way{"information": {Choose: wire.NewInformed(c, rand.NewPCG(seed, 1)).Choose}, "root": {Root: query.Root}}
}

// labels is the desk of a session's dashboard, or why there is none.
func labels(conn *bus.Conn, session, dir string) (*ask.Desk, string) {
	if dir == "" {
		return nil, "the episodes are not on this machine; run rapport label SESSION --nats URL where the session's folder is"
	}
	reels, err := wire.NewClips(dir, nil, nil)
	if err == nil {
		var d *ask.Desk
		if d, err = ask.New(ask.Options{Session: session, Book: web.NewJournal(conn, session), Reels: reels, Ways: ways(reels, 1), Source: rand.NewPCG(1, 0)}); err == nil {
			return d, ""
		}
	}
	return nil, err.Error()
}

const (
	// busyFor is how long a session's folder may be locked by who is not on a bus:
	// another labelling page, for an instant, or a session that is beginning.
	busyFor   = 3 * time.Second
	busyEvery = 20 * time.Millisecond
)

// foundBook is the labels of a session wherever they are kept at the moment: over
// the bus while somebody drives it, else in its folder.
type foundBook struct {
	d   *drivers
	dir string

	mu   sync.Mutex
	at   bus.Address // of conn
	conn *bus.Conn
	book label.Book
}

func (b *foundBook) Append(ctx context.Context, l label.Label) (added bool, err error) {
	err = b.use(ctx, func(k label.Book) error {
		added, err = k.Append(ctx, l)
		return err
	})
	return added, err
}

func (b *foundBook) Labels(ctx context.Context) (ls []label.Label, err error) {
	err = b.use(ctx, func(k label.Book) error {
		ls, err = k.Labels(ctx)
		return err
	})
	return ls, err
}

func (b *foundBook) use(ctx context.Context, f func(label.Book) error) error {
	for end := time.Now().Add(busyFor); ; {
		k, err := b.find(ctx)
		if err == nil {
			err = f(k)
		}
		if !errors.Is(err, store.ErrInUse) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w; or, if it has a bus elsewhere, name that by --nats", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(busyEvery):
		}
	}
}

func (b *foundBook) find(ctx context.Context) (label.Book, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, name, err := bookAt(b.dir)
	if err != nil {
		b.hang()
		return wire.ColdBook(b.dir), nil
	}
	if b.conn == nil || at != b.at {
		b.hang()
		conn, err := b.d.dial(ctx, at)
		if err != nil {
			return nil, err
		}
		b.at, b.conn, b.book = at, conn, web.NewJournal(conn, name)
	}
	return b.book, nil
}

// arm is where the session's arm is driven at the moment, if it is.
func (b *foundBook) arm(ctx context.Context) (*bus.Conn, string) {
	if _, err := b.find(ctx); err != nil {
		b.d.a.log.Debug("label: the session's bus", "err", err)
		return nil, ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn, b.at.Session
}

func (b *foundBook) hang() {
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
}

func (b *foundBook) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hang()
}
