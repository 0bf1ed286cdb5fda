package ros

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bluenviron/goroslib/v2/pkg/msgs/rosgraph_msgs"
)

// rosoutTopic is where the nodes of a graph log; rosout gathers it, rqt_console shows
// it and rosbag record -a keeps it.
const rosoutTopic = "/rosout"

// outlet publishes what a node warns of on /rosout, latched as rospy's nodes do, so
// that who comes later is told the last of it.
type outlet struct {
	n     *Node
	pub   atomic.Pointer[Publisher[rosgraph_msgs.Log]] // nil until it is advertised
	plain atomic.Bool                                  // without the list of topics

	mu  sync.Mutex
	buf bytes.Buffer
}

// rosout is the handler of a node's log.
type rosout struct {
	out  *outlet
	next slog.Handler
	text slog.Handler // writes attributes into out.buf
}

// newRosout puts an outlet behind a handler.
func newRosout(n *Node, next slog.Handler) *rosout {
	o := &outlet{n: n}
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}
	return &rosout{out: o, next: next, text: slog.NewTextHandler(&o.buf, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: drop})}
}

// open advertises the topic.
func (o *outlet) open(ctx context.Context) error {
	var off bool // as rospy and roscpp ask
	if err := o.n.param(ctx, "/rosout_disable_topics_generation", &off); err != nil && !errors.Is(err, ErrNoParam) {
		return err
	}
	o.plain.Store(off)
	p, err := Advertise[rosgraph_msgs.Log](o.n, rosoutTopic, true)
	if err != nil {
		return fmt.Errorf("ros: the node's log: %w", err)
	}
	o.pub.Store(p)
	return nil
}

func (h *rosout) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.out.pub.Load() != nil || h.next.Enabled(ctx, l)
}

func (h *rosout) Handle(ctx context.Context, r slog.Record) error {
	var err error
	if r.Level >= slog.LevelWarn {
		if p := h.out.pub.Load(); p != nil {
			err = h.publish(ctx, p, r)
		}
	}
	if h.next.Enabled(ctx, r.Level) {
		err = errors.Join(err, h.next.Handle(ctx, r))
	}
	return err
}

func (h *rosout) publish(ctx context.Context, p *Publisher[rosgraph_msgs.Log], r slog.Record) error {
	o := h.out
	o.mu.Lock()
	o.buf.Reset()
	err := h.text.Handle(ctx, r)
	said := strings.TrimSpace(r.Message + " " + o.buf.String())
	o.mu.Unlock()
	if err != nil {
		return err
	}
	m := rosgraph_msgs.Log{Level: rosgraph_msgs.Log_WARN, Name: o.n.name, Msg: said}
	m.Header.Stamp = o.n.Now()
	if r.Level >= slog.LevelError {
		m.Level = rosgraph_msgs.Log_ERROR
	}
	if r.PC != 0 {
		f, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
		m.File, m.Function, m.Line = f.File[strings.LastIndexByte(f.File, '/')+1:], f.Function, uint32(f.Line)
	}
	if !o.plain.Load() {
		m.Topics = o.n.topics()
	}
	p.Publish(&m)
	return nil
}

func (h *rosout) WithAttrs(as []slog.Attr) slog.Handler {
	return &rosout{out: h.out, next: h.next.WithAttrs(as), text: h.text.WithAttrs(as)}
}

func (h *rosout) WithGroup(name string) slog.Handler {
	return &rosout{out: h.out, next: h.next.WithGroup(name), text: h.text.WithGroup(name)}
}

// topics lists what the node publishes and subscribes.
func (n *Node) topics() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]bool{}
	for t := range n.pubs {
		all[t] = true
	}
	for t := range n.subs {
		all[t] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// Log is the node's log, for what is built on the node: with Config.Rosout, warnings
// and errors of it go to /rosout too.
func (n *Node) Log() *slog.Logger { return n.log }
