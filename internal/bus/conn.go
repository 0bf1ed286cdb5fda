package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	neturl "net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// A peer whose cable was pulled is noticed after pingEvery*(maxPings+1).
	// The protocol's default of 2 min would leave an arm without its learner.
	pingEvery = 5 * time.Second
	maxPings  = 2
	// dialLimit bounds one attempt to connect.
	dialLimit = 3 * time.Second
)

// Conn is a connection to a server. It reconnects for ever, and what is core
// NATS fails at once in between: stale pixels are of no use. Methods are safe
// for use by several goroutines.
type Conn struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	log  *slog.Logger
	name string
	max  int // payload limit until a server told its own

	gone chan struct{} // closed by the library after its last callback
	once sync.Once
}

// Dial connects to the server at url, as nats://host:4222; several are joined
// by commas.
func Dial(ctx context.Context, url string, o Options) (*Conn, error) {
	return dial(ctx, url, o.defaults())
}

func dial(ctx context.Context, at string, o Options, extra ...nats.Option) (*Conn, error) {
	url := bare(at) // for errors and logs
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("bus: dial %s: %w", url, err)
	}
	limit := dialLimit
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	c := &Conn{log: o.Log, name: o.Name, max: o.MaxPayload, gone: make(chan struct{})}
	opts := append([]nats.Option{
		nats.Name(o.Name),
		nats.Timeout(limit),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, 200*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(maxPings),
		nats.RetryOnFailedConnect(o.Await),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				o.Log.Warn("bus: disconnected", "url", url, "err", err)
			}
		}),
		nats.ConnectHandler(func(*nats.Conn) { o.Log.Info("bus: connected", "url", url) }),
		nats.ReconnectHandler(func(*nats.Conn) { o.Log.Info("bus: reconnected", "url", url) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subj := ""
			if s != nil {
				subj = s.Subject
			}
			o.Log.Warn("bus: asynchronous error", "subject", subj, "err", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.gone) }),
	}, extra...)
	switch {
	case o.Token != "":
		opts = append(opts, nats.Token(o.Token))
	case o.User != "":
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	nc, err := nats.Connect(at, opts...)
	if err != nil {
		if odd := (*neturl.Error)(nil); errors.As(err, &odd) { // it repeats all of the URL
			err = errors.New("want nats://HOST:PORT")
		}
		return nil, fmt.Errorf("bus: dial %s: %w; is a server running there, and are user, password or token right?", url, err)
	}
	c.nc = nc
	if c.js, err = jetstream.New(nc); err != nil {
		c.Close()
		return nil, fmt.Errorf("bus: dial %s: %w", url, err)
	}
	return c, nil
}

// bare are URLs without user, password or token.
func bare(urls string) string {
	all := strings.Split(urls, ",")
	for i, u := range all {
		if scheme, rest, ok := strings.Cut(u, "://"); ok {
			all[i] = scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
		} else {
			all[i] = u[strings.LastIndex(u, "@")+1:]
		}
	}
	return strings.Join(all, ",")
}

// Name is how this connection is called in errors, logs and heartbeats.
func (c *Conn) Name() string { return c.name }

// Connected reports whether the server is reachable just now.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

// Close ends the connection, and returns when its goroutines are gone.
func (c *Conn) Close() {
	c.once.Do(func() {
		if c.nc.IsConnected() {
			// What was published is on its way; a server that does not answer is
			// not worth more waiting.
			if err := c.nc.FlushTimeout(time.Second); err != nil {
				c.log.Warn("bus: close: last messages may be lost", "err", err)
			}
		}
		c.nc.Close()
		<-c.gone
	})
}

// payload is the largest message that the server takes, bytes.
func (c *Conn) payload() int {
	if n := c.nc.MaxPayload(); n > 0 {
		return int(n)
	}
	return c.max
}

// checkStored is checkSize of n bytes for a stream, with headers.
func (c *Conn) checkStored(what string, n int) error {
	n += headRoom
	if err := c.checkSize(what, n); err != nil || n <= maxStored {
		return err
	}
	return fmt.Errorf("%w: %s of %d bytes, limit %d, which no server stores more than in a message; make it smaller, as an episode by robot.horizon", ErrLarge, what, n, maxStored)
}

// checkSize refuses what the server would refuse.
func (c *Conn) checkSize(what string, n int) error {
	if limit := c.payload(); n > limit {
		return fmt.Errorf("%w: %s of %d bytes, limit %d; raise the server's max_payload, as by rapport broker --max-payload", ErrLarge, what, n, limit)
	}
	return nil
}
