package ros

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

// Latest is the newest message of a topic.
type Latest[T any] struct {
	n   *Node
	sub *subscription

	mu      sync.Mutex
	m       *T
	seq     uint64
	at      time.Time
	from    string // URI of who sent m
	closed  bool
	changed chan struct{} // made by who waits, closed by what happens
}

// Watch keeps a topic's newest message and drops the others, so that a slow
// consumer sees the present.
func Watch[T any](n *Node, topic string) (*Latest[T], error) {
	kind, err := tcpros.KindOf[T]()
	if err != nil {
		return nil, err
	}
	l := &Latest[T]{n: n}
	l.sub, err = n.subscribe(topic, kind, l.wake, func(uri string, _ tcpros.Header, payload []byte) error {
		m := new(T)
		if err := tcpros.Decode(payload, m); err != nil {
			return err
		}
		l.mu.Lock()
		l.m, l.at, l.from = m, n.Now(), uri
		l.seq++
		l.mu.Unlock()
		l.wake()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Latest[T]) wake() {
	l.mu.Lock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	l.mu.Unlock()
}

// Get is the newest message, how many have come, and when it came by the
// node's clock; nil before the first. The message is read-only.
func (l *Latest[T]) Get() (m *T, seq uint64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m, l.seq, l.at
}

// From is Get, with the URI of the node that sent the message: a process's own, also by a connection
// that was made anew.
func (l *Latest[T]) From() (m *T, seq uint64, at time.Time, uri string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m, l.seq, l.at, l.from
}

// Wait returns the newest message once it is newer than the one counted
// after. It fails at once with ErrKind when all who publish have another type
// of message.
func (l *Latest[T]) Wait(ctx context.Context, after uint64) (m *T, seq uint64, at time.Time, err error) {
	for {
		l.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed, closed := l.changed, l.closed
		m, seq, at = l.m, l.seq, l.at
		l.mu.Unlock()
		if seq > after {
			return m, seq, at, nil
		}
		if closed {
			return m, seq, at, ErrClosed
		}
		if err := l.Err(); err != nil {
			return m, seq, at, err
		}
		select {
		case <-ctx.Done():
			return m, seq, at, ctx.Err()
		case <-l.n.ctx.Done():
			return m, seq, at, ErrClosed
		case <-changed:
		}
	}
}

// Err is ErrKind when somebody publishes another type of message under this
// topic and nobody ours.
func (l *Latest[T]) Err() error {
	_, err := l.sub.state()
	return err
}

// Publishers counts who is connected.
func (l *Latest[T]) Publishers() int {
	connected, _ := l.sub.state()
	return connected
}

// Met counts the connections to publishers so far: it rises where one was started again.
func (l *Latest[T]) Met() uint64 {
	l.sub.mu.Lock()
	defer l.sub.mu.Unlock()
	return l.sub.met
}

// Linked are the URIs of the publishers that are connected, also of those that are silent.
func (l *Latest[T]) Linked() []string { return l.sub.linked() }

// Heard names the publishers that are connected and sent something within d of real time: who
// reads the newest message of several does not know whose it is.
func (l *Latest[T]) Heard(d time.Duration) []string { return l.sub.heard(d) }

// Close ends the watch. The last message stays.
func (l *Latest[T]) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake()
	return l.sub.Close()
}

// Subscribe calls f with every message, from a goroutine for each publisher;
// f must be quick, since the next message waits for it. Messages are f's.
func Subscribe[T any](n *Node, topic string, f func(*T)) (io.Closer, error) {
	return subscribe(n, topic, nil, f)
}

// Subscription is one whose publishers can be waited for.
type Subscription struct{ s *subscription }

// Close ends the subscription.
func (s *Subscription) Close() error { return s.s.Close() }

// WaitPublisher returns once somebody who publishes is connected. It fails at once with
// ErrKind when all who publish have another type of message.
func (s *Subscription) WaitPublisher(ctx context.Context) error {
	for {
		connected, err := s.s.state()
		if connected > 0 || err != nil {
			return err
		}
		select {
		case <-s.s.n.ctx.Done():
			return ErrClosed
		default:
		}
		if err := wait(ctx, lookTime); err != nil {
			s.s.mu.Lock()
			uris := slices.Sorted(maps.Keys(s.s.listed))
			s.s.mu.Unlock()
			if len(uris) > 0 {
				return fmt.Errorf("ros: who publishes %s (%s) is not reached, at %s (ROS_IP, or a firewall?): %w", s.s.topic, s.s.kind.Type, strings.Join(uris, ", "), err)
			}
			return fmt.Errorf("ros: nobody publishes %s (%s): %w", s.s.topic, s.s.kind.Type, err)
		}
	}
}

// lookTime is between two looks for a publisher.
const lookTime = 20 * time.Millisecond

// SubscribeFrom is Subscribe for who has to tell publishers apart: f is called with the
// name of the node, too.
func SubscribeFrom[T any](n *Node, topic string, f func(publisher string, m *T)) (*Subscription, error) {
	kind, err := tcpros.KindOf[T]()
	if err != nil {
		return nil, err
	}
	s, err := n.subscribe(topic, kind, nil, func(_ string, h tcpros.Header, payload []byte) error {
		m := new(T)
		if err := tcpros.Decode(payload, m); err != nil {
			return err
		}
		f(h["callerid"], m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Subscription{s}, nil
}

func subscribe[T any](n *Node, topic string, tell func(), f func(*T)) (*subscription, error) {
	kind, err := tcpros.KindOf[T]()
	if err != nil {
		return nil, err
	}
	return subscribeAs(n, topic, kind, tell, f)
}

func subscribeAs[T any](n *Node, topic string, kind tcpros.Kind, tell func(), f func(*T)) (*subscription, error) {
	return n.subscribe(topic, kind, tell, func(_ string, _ tcpros.Header, payload []byte) error {
		m := new(T)
		if err := tcpros.Decode(payload, m); err != nil {
			return err
		}
		f(m)
		return nil
	})
}

// Raw is a message of any type as it came.
type Raw struct {
	Topic, Type, MD5, Definition string
	Publisher                    string // the node's name
	Latched                      bool
	At                           time.Time // arrival by the node's clock
	Payload                      []byte    // without the length before it; the receiver's own
}

// SubscribeRaw calls f with every message of a topic, whatever its type.
func SubscribeRaw(n *Node, topic string, f func(Raw)) (io.Closer, error) {
	name := n.Resolve(topic)
	return n.subscribe(topic, tcpros.Any, nil, func(_ string, h tcpros.Header, payload []byte) error {
		f(Raw{
			Topic: name, Type: h["type"], MD5: h["md5sum"], Definition: h["message_definition"],
			Publisher: h["callerid"], Latched: h["latching"] == "1", At: n.Now(), Payload: payload,
		})
		return nil
	})
}
