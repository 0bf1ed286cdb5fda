package ros

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

// maxWaiting bounds what waits for one slow subscriber; the oldest is dropped
// and the newest always kept. A camera's image is larger, so of images only
// the newest waits; of an arm's states, a hundred.
const maxWaiting = 256 << 10

// Publisher publishes messages of one type.
type Publisher[T any] struct{ p *publication }

// publication is a topic that the node publishes.
type publication struct {
	n     *Node
	topic string
	kind  tcpros.Kind
	latch bool

	mu      sync.Mutex
	subs    map[*subscriber]struct{}
	last    []byte // what latecomers get where it latches
	closed  bool
	changed chan struct{} // made by who waits for a subscriber
}

// subscriber is a connection and what waits to be written to it.
type subscriber struct {
	conn    net.Conn
	peer    string
	queue   [][]byte
	waiting int           // bytes in queue
	wake    chan struct{} // of one: something was queued, or the end came
	done    chan struct{} // closed when all is written
}

// Advertise makes a topic known. A latched topic gives its last message to
// subscribers that come later.
func Advertise[T any](n *Node, topic string, latch bool) (*Publisher[T], error) {
	kind, err := tcpros.KindOf[T]()
	if err != nil {
		return nil, err
	}
	return advertise[T](n, topic, kind, latch)
}

func advertise[T any](n *Node, topic string, kind tcpros.Kind, latch bool) (*Publisher[T], error) {
	p := &publication{n: n, topic: n.Resolve(topic), kind: kind, latch: latch, subs: map[*subscriber]struct{}{}}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, ErrClosed
	}
	if n.pubs[p.topic] != nil {
		n.mu.Unlock()
		return nil, fmt.Errorf("ros: %s is advertised already; share its Publisher", p.topic)
	}
	n.pubs[p.topic] = p
	n.mu.Unlock()
	if _, err := n.register("registerPublisher", p.topic, kind.Type); err != nil {
		_ = p.close()
		return nil, fmt.Errorf("ros: advertise %s: %w", p.topic, err)
	}
	return &Publisher[T]{p}, nil
}

// Publish sends m to all who subscribe. m is encoded before it returns and
// may then be changed. It never waits: who reads too slowly misses the oldest
// messages. It panics if m is nil.
func (p *Publisher[T]) Publish(m *T) {
	p.p.mu.Lock()
	idle := len(p.p.subs) == 0 && !p.p.latch
	p.p.mu.Unlock()
	if idle {
		return
	}
	b, err := tcpros.Append(make([]byte, 4, 512), m)
	if err != nil {
		panic("ros: Publish of a nil message") // T was checked by Advertise
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	p.p.send(b)
}

func (p *publication) send(frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.latch {
		p.last = frame
	}
	for s := range p.subs {
		s.put(frame)
	}
}

// put queues a frame. The publication's lock is held.
func (s *subscriber) put(frame []byte) {
	s.queue = append(s.queue, frame)
	s.waiting += len(frame)
	for s.waiting > maxWaiting && len(s.queue) > 1 {
		s.waiting -= len(s.queue[0])
		s.queue[0] = nil
		s.queue = s.queue[1:]
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// serveSubscriber writes a topic to who asked for it, until one of them goes.
func (n *Node) serveSubscriber(c net.Conn, h tcpros.Header) {
	topic := clean(h["topic"])
	n.mu.Lock()
	p := n.pubs[topic]
	n.mu.Unlock()
	if p == nil {
		n.refuse(c, h, fmt.Errorf("[%s] is not published here", topic))
		return
	}
	if sum := h["md5sum"]; sum != "*" && sum != p.kind.MD5 {
		n.refuse(c, h, fmt.Errorf("client [%s] wants topic [%s] to have datatype/md5sum [%s/%s], but our version has [%s/%s]",
			h["callerid"], topic, h["type"], sum, p.kind.Type, p.kind.MD5))
		return
	}
	s := &subscriber{conn: c, peer: h["callerid"], wake: make(chan struct{}, 1), done: make(chan struct{})}
	defer close(s.done)
	// It counts before it hears so: what is published then waits for it.
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.subs[s] = struct{}{}
	if p.last != nil {
		s.put(p.last)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.drop(s)
		p.mu.Unlock()
	}()
	err := tcpros.WriteHeader(c, tcpros.Header{
		"callerid": n.name, "topic": topic, "type": p.kind.Type, "md5sum": p.kind.MD5,
		"message_definition": p.kind.Definition, "latching": strconv.Itoa(map[bool]int{true: 1}[p.latch]),
	})
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	p.mu.Lock()
	p.wakeWaiters()
	p.mu.Unlock()
	n.crew.Go(func() { // a subscriber says nothing more: its end is all that can be read
		_, _ = io.Copy(io.Discard, c)
		p.mu.Lock()
		p.drop(s)
		p.mu.Unlock()
		_ = c.Close()
	})
	p.write(s)
}

// drop takes a subscriber out and ends its writer. The lock is held.
func (p *publication) drop(s *subscriber) {
	if _, ok := p.subs[s]; !ok {
		return
	}
	delete(p.subs, s)
	s.queue = nil
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write writes what is queued until the subscriber is dropped, or the
// publication is closed and nothing waits.
func (p *publication) write(s *subscriber) {
	for range s.wake {
		for {
			p.mu.Lock()
			_, live := p.subs[s]
			if !live || len(s.queue) == 0 {
				end := !live || p.closed
				p.mu.Unlock()
				if end {
					return
				}
				break
			}
			frame := s.queue[0]
			s.queue[0] = nil
			s.queue = s.queue[1:]
			s.waiting -= len(frame)
			p.mu.Unlock()
			_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
			if _, err := s.conn.Write(frame); err != nil {
				if !p.n.closing.Load() {
					p.n.log.Warn("ros: subscriber lost", "topic", p.topic, "peer", s.peer, "err", err)
				}
				return
			}
		}
	}
}

func (p *publication) wakeWaiters() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// Subscribers counts who is connected.
func (p *Publisher[T]) Subscribers() int {
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	return len(p.p.subs)
}

// WaitSubscriber returns once somebody subscribes: what is published before
// reaches nobody.
func (p *Publisher[T]) WaitSubscriber(ctx context.Context) error { return p.p.waitSubscriber(ctx) }

func (p *publication) waitSubscriber(ctx context.Context) error {
	for {
		p.mu.Lock()
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed, have, closed := p.changed, len(p.subs) > 0, p.closed
		p.mu.Unlock()
		if have {
			return nil
		}
		if closed {
			return ErrClosed
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ros: nobody subscribes to %s: %w", p.topic, ctx.Err())
		case <-p.n.ctx.Done():
			return ErrClosed
		case <-changed:
		}
	}
}

func (p *publication) peers() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for s := range p.subs {
		out = append(out, s.peer)
	}
	return out
}

// Cut has the end of each connection that is there now discard what the other side did not take yet,
// which the kernel would go on sending, for a quarter of an hour, after Close.
func (p *Publisher[T]) Cut() {
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	for s := range p.p.subs {
		if c, ok := s.conn.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
		}
	}
}

// Close writes what waits, for a second at most, and ends the topic.
func (p *Publisher[T]) Close() error { return p.p.close() }

func (p *publication) close() error {
	ctx, cancel := context.WithTimeout(p.n.ctx, closeTime)
	ours := p.flush(ctx)
	cancel()
	if !ours {
		return nil
	}
	p.n.mu.Lock()
	delete(p.n.pubs, p.topic)
	gone := p.n.closed
	p.n.mu.Unlock()
	if gone {
		return nil
	}
	ctx, cancel = p.n.parting()
	defer cancel()
	if _, err := p.n.ask(ctx, "unregisterPublisher", p.topic, p.n.api); err != nil && p.n.ctx.Err() == nil {
		p.n.log.Warn("ros: the master was not told of the end of a topic", "topic", p.topic, "err", err)
	}
	return nil
}

// flush ends the topic for its subscribers and waits until each has what was
// queued, or ctx ends; false if it was ended before.
func (p *publication) flush(ctx context.Context) bool {
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.wakeWaiters()
	var subs []*subscriber
	for s := range p.subs {
		subs = append(subs, s)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	p.mu.Unlock()
	for _, s := range subs {
		select {
		case <-s.done:
		case <-ctx.Done():
		}
		_ = s.conn.Close()
	}
	return !was
}
