package ros

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/tcpros"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// How long is waited. A node on a LAN answers in milliseconds.
const (
	callTime   = 5 * time.Second        // for a master or a peer to answer
	listTime   = 2 * time.Second        // for the master to say who publishes a topic
	peerTime   = time.Second            // for a peer to say that it is alive
	answerTime = 200 * time.Millisecond // for a node that ends to send what it has answered
	pollTime   = time.Second            // between looks whether the master still knows us
	retryTime  = 200 * time.Millisecond // before a broken connection is tried again
	shakeTime  = 5 * time.Second        // for both headers of a connection
	writeTime  = 5 * time.Second        // for one message; who takes longer is cut off
	closeTime  = time.Second            // for the master to hear that we go
)

// Node is a member of a ROS graph. Its methods may be called from anywhere.
type Node struct {
	name   string
	space  string
	master string // URI
	host   string
	api    string // own XML-RPC address
	log    *slog.Logger

	ctx    context.Context // ends when the node is closed
	stop   context.CancelFunc
	crew   sync.WaitGroup
	killed chan struct{}
	once   sync.Once // closes killed
	ended  chan struct{}
	end    sync.Once

	rpc    *http.Server
	data   net.Listener
	clock  clock
	mu     sync.Mutex
	subs   map[string][]*subscription // by topic
	pubs   map[string]*publication
	srvs   map[string]*provider
	conns  map[net.Conn]struct{} // all data connections, to cut on Close
	closed bool

	closing    atomic.Bool // Close has begun, so that what breaks is no news
	registered atomic.Bool // the master took something once
}

// Open makes a node and waits for the master until ctx ends.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{
		master: cfg.Master, host: cfg.Host, log: cfg.Log,
		killed: make(chan struct{}), ended: make(chan struct{}),
		subs: map[string][]*subscription{}, pubs: map[string]*publication{}, srvs: map[string]*provider{},
		conns: map[net.Conn]struct{}{},
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	var out *outlet
	if cfg.Rosout {
		h := newRosout(n, n.log.Handler())
		n.log, out = slog.New(h), h.out
	}
	if cfg.Name == "" {
		cfg.Name = "rapport"
	}
	if !named(cfg.Name) {
		return nil, fmt.Errorf("ros: %q is no name for a node; use letters, digits and _, a letter first", cfg.Name)
	}
	if n.master == "" {
		n.master = MasterURI()
	}
	addr, err := address(n.master)
	if err != nil {
		return nil, err
	}
	n.master = "http://" + addr + "/"
	n.space = clean(os.Getenv("ROS_NAMESPACE"))
	var suffix [4]byte
	_, _ = rand.Read(suffix[:]) // never fails
	n.name = clean(n.space + "/" + cfg.Name + "_" + hex.EncodeToString(suffix[:]))
	if err := n.awaitMaster(ctx); err != nil {
		return nil, err
	}
	if n.host == "" {
		if n.host, err = hostTowards(addr); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", bindTo(n.host))
	if err != nil {
		return nil, fmt.Errorf("ros: %w", err)
	}
	if n.data, err = net.Listen("tcp", bindTo(n.host)); err != nil {
		return nil, errors.Join(fmt.Errorf("ros: %w", err), l.Close())
	}
	n.api = fmt.Sprintf("http://%s/", net.JoinHostPort(n.host, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.rpc = &http.Server{Handler: xmlrpc.Handler(n.slave), ReadHeaderTimeout: callTime}
	n.crew.Go(func() { _ = n.rpc.Serve(l) }) // ends by Close
	n.crew.Go(n.accept)
	if err := n.lookAtClock(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if out != nil {
		if err := out.open(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	n.crew.Go(n.keep)
	return n, nil
}

// awaitMaster returns once a master answers.
func (n *Node) awaitMaster(ctx context.Context) error {
	for told := false; ; told = true {
		once, cancel := context.WithTimeout(ctx, callTime)
		_, err := n.ask(once, "getPid")
		cancel()
		if err == nil {
			return nil
		}
		if !told {
			n.log.Warn("ros: waiting for the master", "uri", n.master, "err", err)
		}
		if wait(ctx, retryTime) != nil {
			return fmt.Errorf("ros: no master at %s: %w; start roscore or set ROS_MASTER_URI", n.master, err)
		}
	}
}

// wait sleeps for d unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Name is the node's full name with its suffix.
func (n *Node) Name() string { return n.name }

// Master is the URI of the node's master.
func (n *Node) Master() string { return n.master }

// Done is closed when somebody killed the node (rosnode kill, or another
// master's order). It closes itself then.
func (n *Node) Done() <-chan struct{} { return n.killed }

// Close takes the node out of the graph. It returns in about a second even if
// the master hangs, and must not be called from a callback.
func (n *Node) Close() error {
	n.end.Do(func() {
		defer close(n.ended)
		n.closing.Store(true)
		n.farewell()
		n.mu.Lock()
		n.closed = true
		for c := range n.conns {
			_ = c.Close() // wakes its reader
		}
		n.mu.Unlock()
		n.stop()
		// Whoever told the node to end has its answer yet to come.
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		_ = n.rpc.Shutdown(ctx) // what takes longer is cut off
		cancel()
		_ = n.rpc.Close()
		_ = n.data.Close()
		n.crew.Wait()
	})
	<-n.ended
	return nil
}

// spawn runs f as one whom Close waits for; false once the node is closed.
// A subscription's or publication's lock may be held, never the node's.
func (n *Node) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.crew.Go(f)
	}
	return !n.closed
}

// farewell tells the master that the node goes while subscribers get what
// waits for them, both within closeTime.
func (n *Node) farewell() {
	ctx, cancel := context.WithTimeout(n.ctx, closeTime)
	defer cancel()
	n.mu.Lock()
	var pubs []*publication
	for _, p := range n.pubs {
		pubs = append(pubs, p)
	}
	n.mu.Unlock()
	var crew sync.WaitGroup
	crew.Go(func() { n.unregisterAll(ctx) })
	for _, p := range pubs {
		crew.Go(func() { p.flush(ctx) })
	}
	crew.Wait()
}

// hold keeps c for Close to cut; false when the node is closed already.
func (n *Node) hold(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = c.Close()
		return false
	}
	n.conns[c] = struct{}{}
	return true
}

func (n *Node) release(c net.Conn) {
	_ = c.Close()
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
}

// accept takes connections of subscribers and of service clients.
func (n *Node) accept() {
	for {
		c, err := n.data.Accept()
		if err != nil {
			if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			n.log.Warn("ros: accept", "err", err) // out of file descriptors, most likely
			if wait(n.ctx, retryTime) != nil {
				return
			}
			continue
		}
		if !n.hold(c) {
			return
		}
		n.crew.Go(func() {
			defer n.release(c)
			n.greet(c)
		})
	}
}

// greet reads who connected and serves it until it goes.
func (n *Node) greet(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(shakeTime))
	h, err := tcpros.ReadHeader(c)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			n.log.Debug("ros: connection without a header", "from", c.RemoteAddr().String(), "err", err)
		}
		return
	}
	if _, ok := h["service"]; ok {
		n.serveCaller(c, h)
		return
	}
	n.serveSubscriber(c, h)
}

// refuse tells the other side why it is not served.
func (n *Node) refuse(c net.Conn, h tcpros.Header, err error) {
	n.log.Error("ros: refused a connection", "peer", h["callerid"], "err", err)
	_ = tcpros.WriteHeader(c, tcpros.Header{"error": err.Error()})
}
