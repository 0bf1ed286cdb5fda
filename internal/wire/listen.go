package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/ros"
)

// RecordConfig says which topics are recorded where to.
type RecordConfig struct {
	Topics      []string // as the master knows them
	All         bool     // whatever is published, also later
	Out         string   // .mcap or .bag, which must not be there yet
	Master      string   // URI; "": ROS_MASTER_URI
	Compression string   // of chunks; "": none for .bag, zstd for .mcap
	// Queue is how many bytes may wait for the disk before messages are dropped; 0:
	// 256 MiB, some seconds of two cameras.
	Queue int64
}

// Recorded is what was recorded.
type Recorded struct {
	Messages int64
	Bytes    int64            // of the messages
	Dropped  int64            // since the disk did not keep up
	Topics   map[string]int64 // messages by topic
	Silent   []string         // topics that were named, of which nothing came
}

// The times of a recording.
const (
	flushEvery = time.Second // what a killed recorder loses at most
	lookEvery  = time.Second // for new topics
)

// defaultQueue is RecordConfig.Queue where it is 0.
const defaultQueue = 256 << 20

// RecordTopics records what a ROS 1 graph says until ctx ends, or the disk is full. A
// recorder that dies leaves Out.active, which every reader here takes, without the
// last second.
func RecordTopics(ctx context.Context, rc RecordConfig, o Options) (out Recorded, err error) {
	if rc.All == (len(rc.Topics) > 0) {
		return out, errors.New("wire: record: name topics, or take all")
	}
	// Before the graph is troubled.
	w, err := bag.Create(rc.Out, bag.WriteOptions{Compression: rc.Compression, Profile: "ros1"})
	if err != nil {
		return out, err
	}
	node, err := ros.Open(ctx, ros.Config{Master: rc.Master, Name: "rapport_record", Log: o.Log})
	if err != nil {
		return out, errors.Join(err, w.Abort(), os.Remove(rc.Out+".active"))
	}
	if err := awaitClock(ctx, node, o); err != nil {
		return out, errors.Join(fmt.Errorf("wire: record: %w", err), node.Close(), w.Abort(), os.Remove(rc.Out+".active"))
	}
	if rc.Queue == 0 {
		rc.Queue = defaultQueue
	}
	ear := &ear{node: node, limit: rc.Queue, ready: make(chan struct{}, 1), subs: map[string]io.Closer{}}
	l := listener{rc: rc, o: o, ear: ear, w: w, byKey: map[string]*bag.Connection{}, out: &out}
	out.Topics = map[string]int64{}
	err = l.run(ctx)
	// Nothing comes any more; what waits is written.
	err = errors.Join(err, ear.close(), node.Close())
	if !l.broken {
		err = errors.Join(err, l.drain())
	}
	out.Dropped = ear.dropped.Load()
	switch {
	case l.broken:
		return out, errors.Join(err, w.Abort())
	case err != nil && out.Messages == 0:
		return out, errors.Join(err, w.Abort(), os.Remove(rc.Out+".active"))
	case err != nil: // of the graph; the disk takes what came until then, and its index
		if e := w.Close(); e != nil {
			return out, errors.Join(err, e)
		}
		return out, fmt.Errorf("%w; what was recorded until then is whole, in %s", err, rc.Out)
	}
	for _, t := range rc.Topics {
		if out.Topics[node.Resolve(t)] == 0 {
			out.Silent = append(out.Silent, t)
		}
	}
	return out, w.Close()
}

// clockTime is how long a recording waits for /clock before it says so.
const clockTime = 3 * time.Second

// awaitClock waits for the clock until ctx ends, since no message has a time without: a simulator or a
// bag may be started later.
func awaitClock(ctx context.Context, node *ros.Node, o Options) error {
	brief, cancel := context.WithTimeout(ctx, clockTime)
	defer cancel()
	err := node.AwaitClock(brief)
	if errors.Is(err, ros.ErrNoClock) && ctx.Err() == nil {
		o.Tell("record", 0, 0, "nothing is recorded before the first /clock: /use_sim_time is set; start what publishes it, or rosparam set /use_sim_time false")
		err = node.AwaitClock(ctx)
	}
	if ctx.Err() != nil && err != nil {
		return ros.ErrNoClock
	}
	return err
}

// ear takes messages from the graph, and holds them until the disk takes them.
type ear struct {
	node    *ros.Node
	limit   int64
	ready   chan struct{}
	dropped atomic.Int64

	mu   sync.Mutex
	wait []ros.Raw
	size int64
	subs map[string]io.Closer
}

// hear is called for every message.
func (e *ear) hear(m ros.Raw) {
	e.mu.Lock()
	if e.size+int64(len(m.Payload)) > e.limit && len(e.wait) > 0 {
		e.mu.Unlock()
		e.dropped.Add(1)
		return
	}
	e.wait = append(e.wait, m)
	e.size += int64(len(m.Payload))
	e.mu.Unlock()
	select {
	case e.ready <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (e *ear) take() []ros.Raw {
	e.mu.Lock()
	defer e.mu.Unlock()
	ms := e.wait
	e.wait, e.size = nil, 0
	return ms
}

// subscribe listens to a topic, once.
func (e *ear) subscribe(topic string) error {
	if _, ok := e.subs[topic]; ok {
		return nil
	}
	s, err := ros.SubscribeRaw(e.node, topic, e.hear)
	if err != nil {
		return fmt.Errorf("wire: record %s: %w", topic, err)
	}
	e.subs[topic] = s
	return nil
}

func (e *ear) close() error { return ros.CloseAll(slices.Collect(maps.Values(e.subs))) }

// listener writes what the ear hears.
type listener struct {
	rc    RecordConfig
	o     Options
	ear   *ear
	w     *bag.Writer
	byKey map[string]*bag.Connection // by all that tells publishers apart
	out   *Recorded
	// broken says that a write failed.
	broken bool
}

func (l *listener) run(ctx context.Context) error {
	if err := l.look(ctx); err != nil {
		return err
	}
	flush, look := l.o.After(flushEvery), l.o.After(lookEvery)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.ear.node.Done():
			return errors.New("wire: record: somebody shut this node down (rosnode kill, or another node of its name)")
		case <-l.ear.ready:
			if err := l.drain(); err != nil {
				return err
			}
		case <-flush:
			if err := l.w.Flush(); err != nil {
				return l.full(err)
			}
			l.o.Tell("record", 0, 0, l.note())
			flush = l.o.After(flushEvery)
		case <-look:
			if err := l.look(ctx); err != nil {
				return err
			}
			look = l.o.After(lookEvery)
		}
	}
}

func (l *listener) note() string {
	s := fmt.Sprintf("%d messages of %d topics, %d MB", l.out.Messages, len(l.out.Topics), l.out.Bytes>>20)
	if n := l.ear.dropped.Load(); n > 0 {
		s += fmt.Sprintf(", %d DROPPED", n)
	}
	return s
}

// look subscribes to what is wanted and not yet heard.
func (l *listener) look(ctx context.Context) error {
	for _, t := range l.rc.Topics {
		if err := l.ear.subscribe(t); err != nil {
			return err
		}
	}
	if !l.rc.All {
		return nil
	}
	ts, err := l.ear.node.Topics(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.o.Log.Warn("wire: record: the master does not answer; going on with the topics that are known", "err", err)
		}
		return nil
	}
	for _, t := range ts {
		if err := l.ear.subscribe(t.Name); err != nil {
			return err
		}
	}
	return nil
}

// drain writes what waits.
func (l *listener) drain() error {
	for _, r := range l.ear.take() {
		if r.At.IsZero() { // set since the recording began
			return l.full(ros.ErrNoClock)
		}
		m := bag.Message{Topic: r.Topic, Type: r.Type, Time: r.At, Conn: l.conn(&r), Data: r.Payload}
		if err := l.w.Write(&m); err != nil {
			return l.full(err)
		}
		l.out.Messages++
		l.out.Bytes += int64(len(r.Payload))
		l.out.Topics[r.Topic]++
	}
	return nil
}

// full says what to do.
func (l *listener) full(err error) error {
	l.broken = true
	remedy := ""
	if disk := (*fs.PathError)(nil); errors.As(err, &disk) {
		remedy = "free space or choose another disk: "
	}
	return fmt.Errorf("wire: record: %w; %swhat was recorded until now is in %s.active", err, remedy, l.rc.Out)
}

// conn is the connection of a message, the same one for the same publisher.
func (l *listener) conn(r *ros.Raw) *bag.Connection {
	c := bag.Connection{Topic: r.Topic, Type: r.Type, MD5: r.MD5, Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte(r.Definition), Caller: r.Publisher, Latching: r.Latched}
	key := strings.Join([]string{c.Topic, c.Type, c.MD5, c.Caller, fmt.Sprint(c.Latching)}, "\x00")
	if have, ok := l.byKey[key]; ok {
		return have
	}
	l.byKey[key] = &c
	return &c
}
