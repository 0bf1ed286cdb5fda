// Package master is a ROS 1 master with its parameter server, so that a robot
// of ROS 1 needs no Python installation: names of topics and services, who
// publishes and serves them, and parameters of every kind.
//
// What roscore does beyond that, gathering /rosout, is left out. Times do not
// enter; a peer that does not answer delays only what is meant for itself.
//
//	m, err := master.Start("127.0.0.1:11311")
//	defer m.Close()
//	os.Setenv("ROS_MASTER_URI", m.URI())
package master

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// Release is the ROS that the master says it is, for tools that ask.
const Release = "noetic"

// Master is a running master.
type Master struct {
	uri    string
	server *http.Server
	out    *outbox
	done   chan struct{}

	mu       sync.Mutex
	nodes    map[string]string // node to its XML-RPC address
	topics   map[string]*topic
	services map[string]service
	params   map[string]any
	watchers map[string]map[string]string // parameter to node to address
}

// topic holds who publishes and who subscribes, in order of registration.
type topic struct {
	kind string // package/Name, or *
	pubs []peer
	subs []peer
}

type peer struct{ node, api string }

type service struct{ peer, api string }

// Start listens on addr, such as "127.0.0.1:11311" or ":0" for any free port.
// The master's name towards others is ROS_HOSTNAME or ROS_IP, else addr's
// host, else the machine's name.
func Start(addr string) (*Master, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("master: %w; does another master run there?", err)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("master: %w", err), l.Close())
	}
	for _, name := range []string{os.Getenv("ROS_IP"), os.Getenv("ROS_HOSTNAME")} {
		if name != "" {
			host = name
		}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "localhost"
		}
	}
	m := &Master{
		uri:      fmt.Sprintf("http://%s/", net.JoinHostPort(host, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))),
		out:      newOutbox(),
		done:     make(chan struct{}),
		nodes:    map[string]string{},
		topics:   map[string]*topic{},
		services: map[string]service{},
		watchers: map[string]map[string]string{},
		params: map[string]any{
			"run_id": runID(), "rosdistro": Release + "\n", "rosversion": "1.16.0\n",
		},
	}
	m.server = &http.Server{Handler: xmlrpc.Handler(m.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(m.done)
		_ = m.server.Serve(l) // ends by Close
	}()
	return m, nil
}

// runID is a random UUID, which roslaunch compares between processes.
func runID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// URI is what ROS_MASTER_URI should be.
func (m *Master) URI() string { return m.uri }

// Close ends the master. Nodes keep the connections that they have.
func (m *Master) Close() error {
	err := m.server.Close()
	<-m.done
	m.out.close()
	return err
}

// outbox tells nodes what changed: in order for each node, and without
// waiting for any of them.
type outbox struct {
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	queues map[string][]call // by address; present while a sender runs
	crew   sync.WaitGroup
}

type call struct {
	method string
	args   []any
}

func newOutbox() *outbox {
	ctx, stop := context.WithCancel(context.Background())
	return &outbox{ctx: ctx, stop: stop, queues: map[string][]call{}}
}

// maxQueue bounds what waits for a node that hangs; the oldest goes.
const maxQueue = 1024

func (o *outbox) send(api, method string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ctx.Err() != nil {
		return
	}
	q, busy := o.queues[api]
	if q = append(q, call{method, args}); len(q) > maxQueue {
		q = q[1:]
	}
	o.queues[api] = q
	if !busy {
		o.crew.Go(func() { o.deliver(api) })
	}
}

func (o *outbox) deliver(api string) {
	for {
		o.mu.Lock()
		q := o.queues[api]
		if len(q) == 0 || o.ctx.Err() != nil {
			delete(o.queues, api)
			o.mu.Unlock()
			return
		}
		next := q[0]
		o.queues[api] = q[1:]
		o.mu.Unlock()
		ctx, cancel := context.WithTimeout(o.ctx, 5*time.Second)
		_, _ = xmlrpc.Call(ctx, api, next.method, next.args...) // a dead node hears nothing; rosnode cleanup removes it
		cancel()
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	o.stop()
	o.mu.Unlock()
	o.crew.Wait()
}
