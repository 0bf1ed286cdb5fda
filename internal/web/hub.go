package web

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// frameEvery is the least time between two pictures of a camera: eyes need no
// more, and turning raw pixels into JPEGs costs time that a session may need.
const frameEvery = 66 * time.Millisecond

// roles are those that say something of their work or numbers.
var roles = [...]string{"run", "learner", "actor"}

// last is the newest of a kind, when it came by this process's clock, and how
// many came. Stamps are the backend's clock, which in simulation is another.
type last[T any] struct {
	v  T
	at time.Time
	n  uint64
}

func (l *last[T]) set(v T) { *l = last[T]{v, time.Now(), l.n + 1} }

// hub listens to a session and holds the newest of each kind. What comes while
// nobody looks costs next to nothing.
type hub struct {
	conn    *bus.Conn
	session string
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	peers   *bus.Peers
	looking atomic.Int64 // browsers

	mu      sync.Mutex
	status  last[bus.Status]
	state   last[robot.State]
	rewards last[[]float64]
	summary [len(roles)]last[bus.Summary]
	metrics [len(roles)]last[policy.Stats]
	names   []string // of the cameras, in their order
	views   map[string]*last[bus.View]
	bye     chan struct{} // closed when the session, as one process, has said that it ends
}

func newHub(c *bus.Conn, session string, log *slog.Logger) (*hub, error) {
	h := &hub{conn: c, session: session, log: log, views: make(map[string]*last[bus.View]), bye: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	errs := []error{
		listen(h, bus.StatusTopic(), func(v bus.Status) { h.status.set(v) }),
		listen(h, bus.StateTopic(), func(v robot.State) { h.state.set(v) }),
		listen(h, bus.RewardTopic(), func(v []float64) { h.rewards.set(v) }),
	}
	for i, role := range roles {
		errs = append(errs,
			listen(h, bus.SummaryTopic(role), func(v bus.Summary) { h.told(i, v) }),
			listen(h, bus.MetricTopic(role), func(v policy.Stats) { h.metrics[i].set(v) }))
	}
	var err error
	h.peers, err = c.WatchPeers(session, 0, nil)
	if err := errors.Join(append(errs, err)...); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// listen sets the newest of a topic, with h.mu held.
func listen[T any](h *hub, t bus.Topic[T], set func(T)) error {
	tap, err := bus.NewTap(h.conn, h.session, t, 1)
	if err != nil {
		return err
	}
	h.wg.Go(func() {
		defer tap.Close()
		for {
			v, err := tap.Next(h.ctx)
			if h.ctx.Err() != nil {
				return
			}
			if errors.Is(err, bus.ErrWire) {
				continue // the tap counts what is malformed
			}
			if err != nil {
				h.log.Warn("web: telemetry ends", "topic", t.Name, "err", err)
				return
			}
			h.mu.Lock()
			set(v)
			h.mu.Unlock()
		}
	})
	return nil
}

// told takes a summary, and opens the cameras that it names.
func (h *hub) told(i int, v bus.Summary) {
	if v.Bye && roles[i] == "run" && !h.summary[i].v.Bye {
		close(h.bye)
	} else if !v.Bye && h.summary[i].v.Bye {
		h.bye = make(chan struct{}) // it goes on
	}
	h.summary[i].set(v)
	for _, name := range v.Cameras {
		if slices.Contains(h.names, name) || len(h.names) >= maxCameras {
			continue
		}
		if err := h.look(name); err != nil {
			h.log.Warn("web: camera is not shown", "camera", name, "err", err)
		}
		// Noted in any case, so that it is tried once.
		h.names = append(h.names, name)
	}
}

// maxCameras bounds what strangers on the bus can make the page open.
const maxCameras = 16

// look receives a camera. What comes is noted at once, with when it came, but made
// a picture at eyes' pace and only while somebody looks: who comes late must not
// take the last message for a new one.
func (h *hub) look(name string) error {
	raw := bus.Topic[[]byte]{Name: bus.ViewTopic(name).Name, Decode: func(b []byte) ([]byte, error) { return b, nil }}
	var newest last[[]byte]
	if err := listen(h, raw, func(b []byte) { newest.set(b) }); err != nil {
		return err
	}
	l := new(last[bus.View])
	h.views[name] = l
	h.wg.Go(func() {
		tick := time.NewTicker(frameEvery)
		defer tick.Stop()
		for {
			select {
			case <-h.ctx.Done():
				return
			case <-tick.C:
			}
			if h.looking.Load() == 0 {
				continue
			}
			h.mu.Lock()
			from, done := newest, l.n
			h.mu.Unlock()
			if from.n == done {
				continue
			}
			v, err := bus.DecodeView(from.v)
			h.mu.Lock()
			if l.n = from.n; err == nil { // what is malformed is passed over
				v.Camera = name
				l.v, l.at = v, from.at
			}
			h.mu.Unlock()
		}
	})
	return nil
}

// finish returns when the session's last word came, or after limit.
func (h *hub) finish(limit time.Duration) {
	h.mu.Lock()
	said, bye := h.summary[0].n > 0, h.bye
	h.mu.Unlock()
	if !said {
		return
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-bye:
	case <-late.C:
	}
}

func (h *hub) close() {
	h.cancel()
	h.wg.Wait()
	if h.peers != nil {
		h.peers.Close()
	}
}
