package master

import (
	"slices"
	"strings"
)

func apis(ps []peer) []any {
	out := []any{}
	for _, p := range ps {
		out = append(out, p.api)
	}
	return out
}

func names(ps []peer) []any {
	out := []any{}
	for _, p := range ps {
		out = append(out, p.node)
	}
	return out
}

// add puts p last unless it is there.
func add(ps []peer, p peer) []peer {
	if slices.Contains(ps, p) {
		return ps
	}
	return append(ps, p)
}

func remove(ps *[]peer, p peer) bool {
	i := slices.Index(*ps, p)
	if i >= 0 {
		*ps = slices.Delete(*ps, i, i+1)
	}
	return i >= 0
}

// arrive notes where a node is reached. A node of the same name elsewhere is
// told to end, and what it registered is forgotten.
func (m *Master) arrive(node, api string) {
	old, ok := m.nodes[node]
	m.nodes[node] = api
	if !ok || old == api {
		return
	}
	m.drop(node, old)
	m.out.send(old, "shutdown", "/master", "["+node+"] Reason: new node registered with same name")
}

// register is the topic that a node comes to take part in.
func (m *Master) register(node, api, name string) *topic {
	m.arrive(node, api)
	t := m.topics[clean(name)]
	if t == nil {
		t = &topic{}
		m.topics[clean(name)] = t
	}
	return t
}

// drop forgets what a node registered from an address.
func (m *Master) drop(node, api string) {
	for name, t := range m.topics {
		remove(&t.subs, peer{node, api})
		if remove(&t.pubs, peer{node, api}) {
			m.tellSubscribers(name, t)
		}
	}
	for name, s := range m.services {
		if s.peer == node {
			delete(m.services, name)
		}
	}
	for _, w := range m.watchers {
		if w[node] == api {
			delete(w, node)
		}
	}
}

// forget removes a node that has nothing registered any more.
func (m *Master) forget(node string) {
	for _, t := range m.topics {
		is := func(p peer) bool { return p.node == node }
		if slices.ContainsFunc(t.pubs, is) || slices.ContainsFunc(t.subs, is) {
			return
		}
	}
	for _, s := range m.services {
		if s.peer == node {
			return
		}
	}
	for _, w := range m.watchers {
		if _, ok := w[node]; ok {
			return
		}
	}
	delete(m.nodes, node)
}

func (m *Master) tellSubscribers(name string, t *topic) {
	for _, s := range t.subs {
		m.out.send(s.api, "publisherUpdate", "/master", clean(name), apis(t.pubs))
	}
}

func (m *Master) paramOrEmpty(key string) any {
	if v, ok := get(m.params, key); ok {
		return v
	}
	return map[string]any{} // how ROS says that it is not set
}

// tellWatchers tells those who watch key, something above or something below.
func (m *Master) tellWatchers(key string) {
	for watched, nodes := range m.watchers {
		about := watched
		switch {
		case watched == key, strings.HasPrefix(watched, key+"/"), key == "/":
		case strings.HasPrefix(key, watched+"/"), watched == "/":
			about = key
		default:
			continue
		}
		for _, api := range nodes {
			m.out.send(api, "paramUpdate", "/master", about, m.paramOrEmpty(about))
		}
	}
}
