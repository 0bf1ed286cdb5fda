package ros

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// ErrMaster is what the master, or another node, says against a call.
type ErrMaster struct{ Method, Text string }

// Error implements error.
func (e *ErrMaster) Error() string { return "ros: " + e.Method + ": " + e.Text }

// triple takes a ROS answer apart: its text and its value.
func triple(method string, v any, err error) (string, any, error) {
	if err != nil {
		return "", nil, fmt.Errorf("ros: %w", err)
	}
	t, ok := v.([]any)
	if !ok || len(t) != 3 {
		return "", nil, fmt.Errorf("ros: %s: the answer %.80v is no triple of code, text and value", method, v)
	}
	code, ok := t[0].(int)
	text, _ := t[1].(string)
	if !ok || code != 1 {
		return "", nil, &ErrMaster{method, text}
	}
	return text, t[2], nil
}

// ask calls the master.
func (n *Node) ask(ctx context.Context, method string, args ...any) (any, error) {
	v, err := xmlrpc.Call(ctx, n.master, method, append([]any{n.name}, args...)...)
	_, v, err = triple(method, v, err)
	return v, err
}

// brief is a context for one call, which ends with the node.
func (n *Node) brief() (context.Context, context.CancelFunc) {
	return context.WithTimeout(n.ctx, callTime)
}

// parting is a context for telling the master of an end. The node may end meanwhile, and does not
// tell of what is not its any more.
func (n *Node) parting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(n.ctx), closeTime)
}

// register tells the master of something.
func (n *Node) register(method string, args ...any) (any, error) {
	ctx, cancel := n.brief()
	defer cancel()
	v, err := n.ask(ctx, method, append(args, n.api)...)
	if err == nil {
		n.registered.Store(true)
	}
	return v, err
}

// known says whether the master should know this node.
func (n *Node) known() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.registered.Load() && !n.closing.Load() && len(n.pubs)+len(n.subs)+len(n.srvs) > 0
}

// keep registers everything anew once the master no longer knows this node,
// because it was started again.
func (n *Node) keep() {
	for lost := false; wait(n.ctx, pollTime) == nil; {
		ctx, cancel := n.brief()
		v, err := n.ask(ctx, "lookupNode", n.name)
		cancel()
		var said *ErrMaster
		switch {
		case n.ctx.Err() != nil:
			return
		case errors.As(err, &said) || err == nil && v != n.api:
			if n.known() {
				n.log.Warn("ros: the master no longer knows this node; registering again", "uri", n.master)
				n.registerAll()
			}
			lost = false
		case err != nil && !lost:
			n.log.Error("ros: the master does not answer; topics keep flowing, new ones are not found", "uri", n.master, "err", err)
			lost = true
		case err == nil && lost:
			n.log.Info("ros: the master answers again", "uri", n.master)
			lost = false
		}
		if err == nil {
			ctx, cancel := n.brief()
			_ = n.lookAtClock(ctx) // tried again in a second
			cancel()
		}
	}
}

func (n *Node) registerAll() {
	n.mu.Lock()
	var pubs []*publication
	for _, p := range n.pubs {
		pubs = append(pubs, p)
	}
	subs := map[string]*subscription{}
	for topic, s := range n.subs {
		subs[topic] = s[0]
	}
	var srvs []*provider
	for _, s := range n.srvs {
		srvs = append(srvs, s)
	}
	n.mu.Unlock()
	for _, p := range pubs {
		if _, err := n.register("registerPublisher", p.topic, p.kind.Type); err != nil {
			n.log.Warn("ros: registering again", "topic", p.topic, "err", err)
		}
	}
	for topic, s := range subs {
		v, err := n.register("registerSubscriber", topic, s.kind.Type)
		if err != nil {
			n.log.Warn("ros: registering again", "topic", topic, "err", err)
			continue
		}
		n.publishers(topic, v)
	}
	for _, s := range srvs {
		if _, err := n.register("registerService", s.name, n.serviceURI()); err != nil {
			n.log.Warn("ros: registering again", "service", s.name, "err", err)
		}
	}
}

// unregisterAll tells the master that the node goes.
func (n *Node) unregisterAll(ctx context.Context) {
	n.mu.Lock()
	var calls []any
	add := func(method string, args ...any) {
		calls = append(calls, map[string]any{"methodName": method, "params": append([]any{n.name}, args...)})
	}
	for topic := range n.subs {
		add("unregisterSubscriber", topic, n.api)
	}
	for topic := range n.pubs {
		add("unregisterPublisher", topic, n.api)
	}
	for name := range n.srvs {
		add("unregisterService", name, n.serviceURI())
	}
	n.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	if _, err := xmlrpc.Call(ctx, n.master, "system.multicall", calls); err != nil {
		n.log.Warn("ros: the master was not told that the node goes", "err", err)
	}
}

// Topic is a topic that somebody publishes.
type Topic struct{ Name, Type string }

// Topics lists what is published, by name.
func (n *Node) Topics(ctx context.Context) ([]Topic, error) {
	v, err := n.ask(ctx, "getPublishedTopics", "")
	if err != nil {
		return nil, err
	}
	all, _ := v.([]any)
	var out []Topic
	for _, one := range all {
		p, _ := one.([]any)
		if len(p) != 2 {
			return nil, fmt.Errorf("ros: getPublishedTopics: %.80v is not a name and a type", one)
		}
		name, _ := p[0].(string)
		kind, _ := p[1].(string)
		out = append(out, Topic{name, kind})
	}
	slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Publishers names the other nodes that publish a topic, as NAME at URI: those that are alive, and
// those that are silent, which nobody knows of, with why: a machine that is off does not answer, nor
// does a node that hangs, that a firewall is before, or whose name this machine does not know. What
// the master still lists of one whose machine says that it is gone is left out. The master may take
// two seconds, the nodes one more.
func (n *Node) Publishers(ctx context.Context, topic string) (alive, silent []string, err error) {
	topic = n.Resolve(topic)
	brief, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	names, err := n.listed(brief, []string{topic})
	if err != nil {
		return nil, nil, err
	}
	peers, err := n.peers(brief, names[topic])
	if err != nil {
		return nil, nil, err
	}
	var crew sync.WaitGroup
	for i := range peers {
		crew.Go(func() { peers[i].ask(ctx, n.name) })
	}
	crew.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	known, near := sync.OnceValue(func() []net.IP { return n.advertised(ctx) }), sync.OnceValue(func() bool { return n.near(ctx) })
	for _, p := range peers {
		if p.err == nil {
			alive = append(alive, p.name)
		} else if !p.gone(known, near) {
			silent = append(silent, p.silence())
		}
	}
	return alive, silent, nil
}

// Doubled names, of those of the topics that several other nodes publish, these, as NAME at URI: those
// that are alive, and those that are silent, which may publish it, too, as Publishers tells them. One
// that is alive counts only if it says itself that it publishes the topic: what the master still lists
// of one that is gone, at an address that another has taken since, is none.
func (n *Node) Doubled(ctx context.Context, topics ...string) (alive, silent map[string][]string, err error) {
	full := make([]string, len(topics))
	for i, t := range topics {
		full[i] = n.Resolve(t)
	}
	brief, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	names, err := n.listed(brief, full)
	if err != nil {
		return nil, nil, err
	}
	of := map[string][]peer{}
	for topic, some := range names {
		if len(some) < 2 {
			continue
		}
		if of[topic], err = n.peers(brief, some); err != nil {
			return nil, nil, err
		}
	}
	var mu sync.Mutex
	says := map[string]map[string]string{} // names by topic and URI, which is one node's alone
	mute := map[string]map[string]string{} // likewise
	known, near := sync.OnceValue(func() []net.IP { return n.advertised(ctx) }), sync.OnceValue(func() bool { return n.near(ctx) })
	var crew sync.WaitGroup
	for topic, peers := range of {
		at, not := map[string]string{}, map[string]string{}
		says[topic], mute[topic] = at, not
		for _, p := range peers {
			crew.Go(func() {
				publishes := p.publishes(ctx, n.name, topic)
				unknown := p.err != nil && !p.gone(known, near)
				mu.Lock()
				defer mu.Unlock()
				if publishes {
					at[p.uri] = p.name
				} else if unknown {
					not[p.uri] = p.silence()
				}
			})
		}
	}
	crew.Wait()
	alive, silent = map[string][]string{}, map[string][]string{}
	for topic, at := range says {
		if len(at)+len(mute[topic]) < 2 {
			continue
		}
		if alive[topic] = slices.Sorted(maps.Values(at)); len(mute[topic]) > 0 {
			silent[topic] = slices.Sorted(maps.Values(mute[topic]))
		}
	}
	return alive, silent, ctx.Err()
}

// listed are the names of the other nodes that the master lists as publishers of topics.
func (n *Node) listed(ctx context.Context, topics []string) (map[string][]any, error) {
	v, err := n.ask(ctx, "getSystemState")
	if err != nil {
		return nil, err
	}
	kinds, _ := v.([]any)
	if len(kinds) != 3 {
		return nil, fmt.Errorf("ros: getSystemState: %.80v is not publishers, subscribers and services", v)
	}
	all, _ := kinds[0].([]any)
	out := map[string][]any{}
	for _, one := range all {
		p, _ := one.([]any)
		if len(p) != 2 {
			continue
		}
		if topic, _ := p[0].(string); slices.Contains(topics, topic) {
			names, _ := p[1].([]any)
			out[topic] = slices.DeleteFunc(slices.Clone(names), func(name any) bool { return name == n.name })
		}
	}
	return out, nil
}

// peers are the nodes of these names. Who went meanwhile is left out.
func (n *Node) peers(ctx context.Context, names []any) ([]peer, error) {
	var peers []peer
	for _, name := range names {
		v, err := n.ask(ctx, "lookupNode", name)
		var unknown *ErrMaster
		if errors.As(err, &unknown) {
			continue
		}
		if err != nil {
			return nil, err
		}
		uri, _ := v.(string)
		peers = append(peers, peer{name: fmt.Sprintf("%v at %s", name, uri), uri: uri})
	}
	return peers, nil
}

// slave answers the calls that a node must answer.
func (n *Node) slave(_ context.Context, method string, args []any) (any, error) {
	text := func(i int) string {
		if i < len(args) {
			s, _ := args[i].(string)
			return s
		}
		return ""
	}
	fine := func(v any) (any, error) { return []any{1, "", v}, nil }
	switch method {
	case "getPid":
		return fine(os.Getpid())
	case "getMasterUri":
		return fine(n.master)
	case "getBusStats":
		return fine([]any{[]any{}, []any{}, []any{}})
	case "getBusInfo":
		return fine(n.busInfo())
	case "getSubscriptions", "getPublications":
		return fine(n.kinds(method == "getPublications"))
	case "paramUpdate":
		return fine(0)
	case "publisherUpdate":
		if len(args) == 3 {
			n.publishers(clean(text(1)), args[2])
		}
		return fine(0)
	case "requestTopic":
		n.mu.Lock()
		_, ok := n.pubs[clean(text(1))]
		n.mu.Unlock()
		if !ok {
			return []any{0, "[" + text(1) + "] is not published here", 0}, nil
		}
		host, port := n.dataAddress()
		return []any{1, "ready", []any{"TCPROS", host, port}}, nil
	case "shutdown":
		n.log.Warn("ros: the node was told to end", "by", text(0), "why", text(1))
		n.once.Do(func() {
			close(n.killed)
			go n.Close() // ends on its own; Close of the owner waits for it
		})
		return fine(0)
	}
	return nil, fmt.Errorf("ros: nodes have no method %q", method)
}

// kinds lists the node's topics with their types.
func (n *Node) kinds(published bool) []any {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := []any{}
	if published {
		for topic, p := range n.pubs {
			out = append(out, []any{topic, p.kind.Type})
		}
		return out
	}
	for topic, s := range n.subs {
		out = append(out, []any{topic, s[0].kind.Type})
	}
	return out
}

// busInfo lists the node's connections as rosnode info shows them.
func (n *Node) busInfo() []any {
	n.mu.Lock()
	var pubs []*publication
	for _, p := range n.pubs {
		pubs = append(pubs, p)
	}
	var subs []*subscription
	for _, s := range n.subs {
		subs = append(subs, s...)
	}
	n.mu.Unlock()
	out := []any{}
	row := func(peer, direction, topic string) {
		out = append(out, []any{len(out) + 1, peer, direction, "TCPROS", topic, true})
	}
	for _, p := range pubs {
		for _, peer := range p.peers() {
			row(peer, "o", p.topic)
		}
	}
	for _, s := range subs {
		for _, peer := range s.peers() {
			row(peer, "i", s.topic)
		}
	}
	return out
}

// Now is the wall clock or, where /use_sim_time is set, the newest /clock
// (the zero time before the first).
func (n *Node) Now() time.Time {
	if n.clock.simulated.Load() {
		if t := n.clock.now.Load(); t != nil {
			return *t
		}
		return time.Time{}
	}
	return time.Now()
}
