package ros

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

// ErrRemote is what a service's provider answers instead of a response.
type ErrRemote struct{ Service, Text string }

// Error implements error.
func (e *ErrRemote) Error() string { return "ros: " + e.Service + " refuses: " + e.Text }

// Call calls a service and waits for its answer until ctx ends. The request is
// sent once at most: after an error it may have been carried out or not,
// unless the error is ErrNoService, ErrKind or an *ErrRemote.
func Call[Req, Res any](ctx context.Context, n *Node, service string, req *Req) (*Res, error) {
	kind, err := tcpros.ServiceOf[Req, Res]()
	if err != nil {
		return nil, err
	}
	b, err := tcpros.Append(nil, req)
	if err != nil {
		return nil, err
	}
	name := n.Resolve(service)
	b, err = n.call(ctx, name, kind, b)
	if err != nil {
		return nil, err
	}
	res := new(Res)
	if err := tcpros.Decode(b, res); err != nil {
		return nil, fmt.Errorf("ros: the answer of %s: %w", name, err)
	}
	return res, nil
}

func (n *Node) call(ctx context.Context, name string, kind tcpros.Kind, req []byte) ([]byte, error) {
	addr, err := n.lookUp(ctx, name)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoService, name, err)
	}
	if !n.hold(c) {
		return nil, ErrClosed
	}
	defer n.release(c)
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	fail := func(what string, err error) error {
		if ctx.Err() != nil {
			err = ctx.Err()
		} else if n.ctx.Err() != nil {
			err = ErrClosed
		}
		return fmt.Errorf("ros: %s: %s: %w", name, what, err)
	}
	err = tcpros.WriteHeader(c, tcpros.Header{"callerid": n.name, "service": name, "md5sum": kind.MD5, "type": kind.Type})
	if err != nil {
		return nil, fail("header", err)
	}
	r := bufio.NewReader(c)
	h, err := tcpros.ReadHeader(r)
	if err != nil {
		return nil, fail("header", err)
	}
	if text, bad := h["error"]; bad {
		if ofKind(text) {
			return nil, fmt.Errorf("%w: %s", ErrKind, text)
		}
		return nil, fmt.Errorf("%w: %s", ErrNoService, text)
	}
	if sum := h["md5sum"]; sum != "" && sum != "*" && sum != kind.MD5 {
		return nil, fmt.Errorf("%w: service %s is %s with checksum %s there, and %s with %s here", ErrKind, name, h["type"], sum, kind.Type, kind.MD5)
	}
	if err := tcpros.WriteFrame(c, req); err != nil {
		return nil, fail("request", err)
	}
	ok, err := r.ReadByte()
	if err != nil {
		return nil, fail("waiting for the answer", err)
	}
	b, err := tcpros.ReadFrame(r)
	if ok == 0 {
		return nil, &ErrRemote{name, string(b)} // some providers close without a text
	}
	if err != nil {
		return nil, fail("answer", err)
	}
	return b, nil
}

// lookUp is where a service is served.
func (n *Node) lookUp(ctx context.Context, name string) (string, error) {
	v, err := n.ask(ctx, "lookupService", name)
	var said *ErrMaster
	if errors.As(err, &said) {
		return "", fmt.Errorf("%w: %s", ErrNoService, name)
	}
	if err != nil {
		return "", err
	}
	uri, _ := v.(string)
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "rosrpc" {
		return "", fmt.Errorf("ros: %s is served at %q, which is no rosrpc address", name, uri)
	}
	return u.Host, nil
}

// WaitService returns once a service is registered.
func (n *Node) WaitService(ctx context.Context, service string) error {
	var last error // of a look that the end of the wait did not cut off
	for {
		_, err := n.lookUp(ctx, n.Resolve(service))
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if wait(ctx, retryTime) != nil {
			return last
		}
	}
}

// provider is a service of this node.
type provider struct {
	n    *Node
	name string
	kind tcpros.Kind
	req  string // the types of both messages
	res  string
	do   func(req []byte) ([]byte, error)
}

// Serve provides a service. Each client is served on its own goroutine, so f
// may run several times at once; its error reaches the client as text.
func Serve[Req, Res any](n *Node, service string, f func(*Req) (*Res, error)) (io.Closer, error) {
	kind, err := tcpros.ServiceOf[Req, Res]()
	if err != nil {
		return nil, err
	}
	p := &provider{n: n, name: n.Resolve(service), kind: kind, req: kind.Type + "Request", res: kind.Type + "Response"}
	p.do = func(b []byte) ([]byte, error) {
		req := new(Req)
		if err := tcpros.Decode(b, req); err != nil {
			return nil, err
		}
		res, err := f(req)
		if err != nil {
			return nil, err
		}
		if res == nil {
			res = new(Res)
		}
		return tcpros.Append(nil, res)
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, ErrClosed
	}
	if n.srvs[p.name] != nil {
		n.mu.Unlock()
		return nil, fmt.Errorf("ros: %s is served already", p.name)
	}
	n.srvs[p.name] = p
	n.mu.Unlock()
	if _, err := n.register("registerService", p.name, n.serviceURI()); err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("ros: serve %s: %w", p.name, err)
	}
	return p, nil
}

// dataAddress is the host and the port that others connect to.
func (n *Node) dataAddress() (string, int) {
	return n.host, n.data.Addr().(*net.TCPAddr).Port
}

func (n *Node) serviceURI() string {
	host, port := n.dataAddress()
	return "rosrpc://" + net.JoinHostPort(host, fmt.Sprint(port))
}

// serveCaller answers a service client until it goes.
func (n *Node) serveCaller(c net.Conn, h tcpros.Header) {
	name := clean(h["service"])
	n.mu.Lock()
	p := n.srvs[name]
	n.mu.Unlock()
	if p == nil {
		n.refuse(c, h, fmt.Errorf("service [%s] is not served here", name))
		return
	}
	if sum := h["md5sum"]; sum != "*" && sum != p.kind.MD5 {
		n.refuse(c, h, fmt.Errorf("client [%s] wants service [%s] to have md5sum [%s], but it has [%s] of %s",
			h["callerid"], name, sum, p.kind.MD5, p.kind.Type))
		return
	}
	err := tcpros.WriteHeader(c, tcpros.Header{
		"callerid": n.name, "md5sum": p.kind.MD5, "type": p.kind.Type, "request_type": p.req, "response_type": p.res,
	})
	if err != nil || h["probe"] == "1" {
		return
	}
	r := bufio.NewReader(c)
	for again := true; again; again = h["persistent"] == "1" {
		_ = c.SetDeadline(time.Time{})
		req, err := tcpros.ReadFrame(r)
		if err != nil {
			return // the client went
		}
		res, err := p.do(req)
		b := []byte{1}
		if err != nil {
			n.log.Warn("ros: a service call failed", "service", name, "client", h["callerid"], "err", err)
			b[0], res = 0, []byte(err.Error())
		}
		_ = c.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := c.Write(b); err != nil {
			return
		}
		if err := tcpros.WriteFrame(c, res); err != nil {
			return
		}
	}
}

// Close ends the service. Calls that run are answered still.
func (p *provider) Close() error {
	n := p.n
	n.mu.Lock()
	was := n.srvs[p.name] == p
	if was {
		delete(n.srvs, p.name)
	}
	gone := n.closed
	n.mu.Unlock()
	if !was || gone {
		return nil
	}
	ctx, cancel := n.parting()
	defer cancel()
	if _, err := n.ask(ctx, "unregisterService", p.name, n.serviceURI()); err != nil && n.ctx.Err() == nil {
		n.log.Warn("ros: the master was not told of the end of a service", "service", p.name, "err", err)
	}
	return nil
}
