package ros

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/tcpros"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// subscription follows every publisher of a topic. Whoever publishes is read
// without a pause, so that nothing old waits in a socket.
type subscription struct {
	n     *Node
	topic string
	kind  tcpros.Kind
	take  func(uri string, h tcpros.Header, payload []byte) error // of a publisher
	tell  func()                                                  // something about the links changed; nil to not hear of it

	mu     sync.Mutex
	listed map[string]bool // publishers that the master names
	links  map[string]*link
	met    uint64 // connections so far
	closed bool
}

// link is one publisher that is followed until it is gone and not listed.
type link struct {
	conn net.Conn // nil while not connected
	peer string
	at   time.Time // of its last message
	err  error     // why it does not work, where trying again will not help
}

// subscribe registers a subscription and begins to follow its publishers.
func (n *Node) subscribe(topic string, kind tcpros.Kind, tell func(), take func(string, tcpros.Header, []byte) error) (*subscription, error) {
	s := &subscription{
		n: n, topic: n.Resolve(topic), kind: kind, take: take, tell: tell,
		listed: map[string]bool{}, links: map[string]*link{},
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, ErrClosed
	}
	n.subs[s.topic] = append(n.subs[s.topic], s)
	n.mu.Unlock()
	v, err := n.register("registerSubscriber", s.topic, kind.Type)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ros: subscribe to %s: %w", s.topic, err), s.Close())
	}
	s.update(v)
	return s, nil
}

// publishers hears from the master who publishes a topic.
func (n *Node) publishers(topic string, uris any) {
	n.mu.Lock()
	subs := append([]*subscription(nil), n.subs[topic]...)
	n.mu.Unlock()
	for _, s := range subs {
		s.update(uris)
	}
}

// update takes a list of publishers. Links that work are kept even if the
// master does not name them: one that was just started knows nobody yet, and
// who stops publishing closes the connection.
func (s *subscription) update(uris any) {
	all, _ := uris.([]any)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.listed)
	for _, u := range all {
		uri, ok := u.(string)
		if !ok || s.closed {
			continue
		}
		s.listed[uri] = true
		if l := (&link{}); s.links[uri] == nil && s.n.spawn(func() { s.follow(uri, l) }) {
			s.links[uri] = l
		}
	}
}

// follow reads from one publisher, and again when the connection breaks.
func (s *subscription) follow(uri string, l *link) {
	last := ""
	for pause := retryTime; ; {
		start := time.Now()
		err := s.read(uri, l)
		s.mu.Lock()
		met := l.peer != ""
		l.conn, l.err, l.peer = nil, nil, ""
		if errors.Is(err, ErrKind) {
			l.err, pause = err, 5*time.Second
		} else if time.Since(start) > time.Minute {
			pause = retryTime
		}
		gone := s.closed || s.n.closing.Load() || !s.listed[uri]
		if gone {
			delete(s.links, uri)
		}
		s.mu.Unlock()
		if s.tell != nil {
			s.tell()
		}
		if gone {
			return
		}
		if text := fmt.Sprint(err); text != last {
			last = text
			switch {
			case errors.Is(err, ErrKind):
				s.n.log.Error("ros: cannot subscribe", "topic", s.topic, "publisher", uri, "err", err)
			case met:
				s.n.log.Warn("ros: publisher lost; trying again", "topic", s.topic, "publisher", uri, "err", err)
			default:
				s.n.log.Warn("ros: publisher not reached; trying again", "topic", s.topic, "publisher", uri, "err", err)
			}
		}
		if wait(s.n.ctx, pause) != nil {
			s.mu.Lock()
			delete(s.links, uri)
			s.mu.Unlock()
			return
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// read connects to a publisher and takes its messages until that fails.
func (s *subscription) read(uri string, l *link) error {
	ctx, cancel := s.n.brief()
	defer cancel()
	addr, err := s.request(ctx, uri)
	if err != nil {
		return err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("ros: %w", err)
	}
	if !s.n.hold(c) {
		return ErrClosed
	}
	defer s.n.release(c)
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	_ = c.SetDeadline(time.Now().Add(shakeTime))
	err = tcpros.WriteHeader(c, tcpros.Header{
		"callerid": s.n.name, "topic": s.topic, "type": s.kind.Type, "md5sum": s.kind.MD5,
		"message_definition": s.kind.Definition, "tcp_nodelay": "1",
	})
	if err != nil {
		return fmt.Errorf("ros: %w", err)
	}
	r := bufio.NewReaderSize(c, 64<<10)
	h, err := tcpros.ReadHeader(r)
	if err != nil {
		return err
	}
	if err := s.agree(h); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	l.conn, l.peer, l.err = c, h["callerid"], nil
	s.met++
	s.mu.Unlock()
	if s.tell != nil {
		s.tell()
	}
	for {
		b, err := tcpros.ReadFrame(r)
		if err != nil {
			return fmt.Errorf("ros: %w", err)
		}
		s.mu.Lock()
		closed := s.closed
		l.at = time.Now()
		s.mu.Unlock()
		if closed {
			return ErrClosed
		}
		if err := s.take(uri, h, b); err != nil {
			return fmt.Errorf("ros: a message of %s on %s: %w", s.n.peerName(h), s.topic, err)
		}
	}
}

func (n *Node) peerName(h tcpros.Header) string {
	if name := h["callerid"]; name != "" {
		return name
	}
	return "a node without a name"
}

// request asks a publisher for the address of its data.
func (s *subscription) request(ctx context.Context, uri string) (string, error) {
	v, err := xmlrpc.Call(ctx, uri, "requestTopic", s.n.name, s.topic, []any{[]any{"TCPROS"}})
	_, v, err = triple("requestTopic", v, err)
	if err != nil {
		return "", err
	}
	if p, ok := v.([]any); ok && len(p) == 3 && p[0] == "TCPROS" {
		host, _ := p[1].(string)
		if port, ok := p[2].(int); ok {
			return net.JoinHostPort(host, fmt.Sprint(port)), nil
		}
	}
	return "", fmt.Errorf("ros: %s offers %.80v instead of TCPROS", uri, v)
}

// agree compares the publisher's type with ours.
func (s *subscription) agree(h tcpros.Header) error {
	if text, bad := h["error"]; bad {
		if ofKind(text) {
			return fmt.Errorf("%w: %s", ErrKind, text)
		}
		return fmt.Errorf("ros: %s: %s", s.topic, text)
	}
	if s.kind.MD5 != "*" && h["md5sum"] != s.kind.MD5 {
		return fmt.Errorf("%w: %s is %s with checksum %s at %s, and %s with %s here",
			ErrKind, s.topic, h["type"], h["md5sum"], s.n.peerName(h), s.kind.Type, s.kind.MD5)
	}
	return nil
}

// ofKind says whether a refusal is about types: the texts of rospy, roscpp and
// this package name a datatype or a checksum then.
func ofKind(text string) bool {
	return strings.Contains(text, "md5") || strings.Contains(text, "type")
}

// state says how many publishers are connected and, if none, whether one has
// another type.
func (s *subscription) state() (connected int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		if l.conn != nil {
			connected++
		} else if l.err != nil {
			err = l.err
		}
	}
	if connected > 0 || s.closed {
		err = nil
	}
	return connected, err
}

func (s *subscription) peers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, l := range s.links {
		if l.conn != nil {
			out = append(out, l.peer)
		}
	}
	return out
}

// linked are the URIs of the publishers that are connected.
func (s *subscription) linked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for uri, l := range s.links {
		if l.conn != nil {
			out = append(out, uri)
		}
	}
	slices.Sort(out)
	return out
}

// heard names the publishers that are connected and sent something within d.
func (s *subscription) heard(d time.Duration) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, l := range s.links {
		if l.conn != nil && time.Since(l.at) <= d && !slices.Contains(out, l.peer) {
			out = append(out, l.peer)
		}
	}
	slices.Sort(out)
	return out
}

// Close ends the subscription. A callback that runs may still finish, so that
// a callback may close its own subscription.
func (s *subscription) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	for _, l := range s.links {
		if l.conn != nil {
			_ = l.conn.Close() // wakes its reader
		}
	}
	s.mu.Unlock()
	if was {
		return nil
	}
	n := s.n
	n.mu.Lock()
	var rest []*subscription
	for _, o := range n.subs[s.topic] {
		if o != s {
			rest = append(rest, o)
		}
	}
	n.subs[s.topic] = rest
	if len(rest) == 0 {
		delete(n.subs, s.topic)
	}
	last := len(rest) == 0 && !n.closed
	n.mu.Unlock()
	if s.tell != nil {
		s.tell()
	}
	if !last {
		return nil
	}
	ctx, cancel := n.parting()
	defer cancel()
	if _, err := n.ask(ctx, "unregisterSubscriber", s.topic, n.api); err != nil && n.ctx.Err() == nil {
		n.log.Warn("ros: the master was not told of the end of a subscription", "topic", s.topic, "err", err)
	}
	return nil
}
