package ros

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// peer is a node that was asked whether it is alive.
type peer struct {
	name, uri string // name as NAME at URI
	err       error
}

// ask has p say that it is alive.
func (p *peer) ask(ctx context.Context, caller string) {
	ctx, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	if _, p.err = xmlrpc.Call(ctx, p.uri, "getPid", caller); p.err != nil && ctx.Err() != nil {
		p.err = ctx.Err() // one address of its host may have refused, but not all did
	}
}

// publishes says whether p answers that it publishes a topic; err is why there is no answer.
func (p *peer) publishes(ctx context.Context, caller, topic string) bool {
	ctx, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	v, err := xmlrpc.Call(ctx, p.uri, "getPublications", caller)
	if p.err = err; err != nil && ctx.Err() != nil {
		p.err = ctx.Err()
	}
	var none *url.Error
	if !errors.As(p.err, &none) && !errors.Is(p.err, context.DeadlineExceeded) {
		p.err = nil // something answers there
	}
	_, v, err = triple("getPublications", v, err)
	all, _ := v.([]any)
	return err == nil && slices.ContainsFunc(all, func(one any) bool {
		t, _ := one.([]any)
		return len(t) > 0 && t[0] == topic
	})
}

// gone says whether p's machine says that nobody is there any more. If that machine is this one, by
// none of the addresses that known tells, the master must be, too: localhost, and some networks of
// containers, are everybody's own.
func (p *peer) gone(known func() []net.IP, near func() bool) bool {
	var at *net.OpError
	if !errors.Is(p.err, syscall.ECONNREFUSED) || !errors.As(p.err, &at) {
		return false
	}
	a, ok := at.Addr.(*net.TCPAddr)
	return ok && (!ours(a.IP) || slices.ContainsFunc(known(), a.IP.Equal) || near())
}

// silence is p's name, with why nobody knows of it.
func (p *peer) silence() string {
	why := p.err
	if errors.Is(why, context.DeadlineExceeded) {
		return p.name
	}
	var u *url.Error
	if errors.As(why, &u) { // the rest repeats the name
		why = u.Err
	}
	return p.name + " (" + why.Error() + ")"
}

// advertised are the addresses by which other machines reach this node.
func (n *Node) advertised(ctx context.Context) []net.IP {
	ips, err := lookup(ctx, n.host)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(ips, func(ip net.IP) bool { return ip.IsLoopback() || ip.IsUnspecified() })
}

// near says whether the master runs on this machine.
func (n *Node) near(ctx context.Context) bool {
	host, _, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(n.master, "http://"), "/"))
	if err != nil {
		return false
	}
	ips, err := lookup(ctx, host)
	return err == nil && !slices.ContainsFunc(ips, func(ip net.IP) bool { return !ours(ip) })
}

func lookup(ctx context.Context, host string) ([]net.IP, error) {
	ctx, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	return net.DefaultResolver.LookupIP(ctx, "ip", host)
}

// ours says whether an address is this machine's.
func ours(ip net.IP) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		if in, ok := a.(*net.IPNet); ok && in.IP.Equal(ip) {
			return true
		}
	}
	return err != nil // nobody knows
}
