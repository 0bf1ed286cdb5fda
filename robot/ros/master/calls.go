package master

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// reply is the triple that ROS answers: 1 for success, 0 for a failure, -1
// for an error of the caller; a text; a value.
func reply(code int, text string, v any) []any { return []any{code, text, v} }

func fine(text string, v any) []any  { return reply(1, text, v) }
func wrong(v any, text string) []any { return reply(-1, text, v) }
func list[T any](v []T) []any        { return slices.Collect(anyOf(slices.Values(v))) }
func kindsOf(kinds map[string]string) []any {
	out := []any{}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, []any{k, kinds[k]})
	}
	return out
}

func anyOf[T any](seq func(func(T) bool)) func(func(any) bool) {
	return func(yield func(any) bool) {
		seq(func(v T) bool { return yield(v) })
	}
}

// method is one call: the kinds of its arguments after the caller's name
// ("s" for text, "v" for anything), and what it does.
type method struct {
	args string
	do   func(m *Master, caller string, s []string, v any) []any
}

var methods = map[string]method{
	"getPid": {"", func(*Master, string, []string, any) []any { return fine("", os.Getpid()) }},
	"getUri": {"", func(m *Master, _ string, _ []string, _ any) []any { return fine("", m.uri) }},
	"shutdown": {"s", func(*Master, string, []string, any) []any {
		return reply(0, "this master ends with its process", 0)
	}},
	"registerPublisher": {"sss", func(m *Master, caller string, s []string, _ any) []any {
		t := m.register(caller, s[2], s[0])
		if s[1] != "*" || t.kind == "" {
			t.kind = s[1]
		}
		t.pubs = add(t.pubs, peer{caller, s[2]})
		m.tellSubscribers(s[0], t)
		return fine("registered as a publisher", apis(t.subs))
	}},
	"registerSubscriber": {"sss", func(m *Master, caller string, s []string, _ any) []any {
		t := m.register(caller, s[2], s[0])
		if t.kind == "" || t.kind == "*" {
			t.kind = s[1]
		}
		t.subs = add(t.subs, peer{caller, s[2]})
		return fine("registered as a subscriber", apis(t.pubs))
	}},
	"unregisterPublisher": {"ss", func(m *Master, caller string, s []string, _ any) []any {
		t := m.topics[clean(s[0])]
		if t == nil || !remove(&t.pubs, peer{caller, s[1]}) {
			return fine(caller+" does not publish "+s[0], 0)
		}
		m.tellSubscribers(s[0], t)
		m.forget(caller)
		return fine("unregistered", 1)
	}},
	"unregisterSubscriber": {"ss", func(m *Master, caller string, s []string, _ any) []any {
		t := m.topics[clean(s[0])]
		if t == nil || !remove(&t.subs, peer{caller, s[1]}) {
			return fine(caller+" does not subscribe to "+s[0], 0)
		}
		m.forget(caller)
		return fine("unregistered", 1)
	}},
	"registerService": {"sss", func(m *Master, caller string, s []string, _ any) []any {
		m.arrive(caller, s[2])
		m.services[clean(s[0])] = service{caller, s[1]}
		return fine("registered the service", 1)
	}},
	"unregisterService": {"ss", func(m *Master, caller string, s []string, _ any) []any {
		if m.services[clean(s[0])] != (service{caller, s[1]}) {
			return fine(caller+" does not serve "+s[0], 0)
		}
		delete(m.services, clean(s[0]))
		m.forget(caller)
		return fine("unregistered", 1)
	}},
	"lookupNode": {"s", func(m *Master, _ string, s []string, _ any) []any {
		if api, ok := m.nodes[clean(s[0])]; ok {
			return fine("", api)
		}
		return wrong("", "unknown node ["+s[0]+"]")
	}},
	"lookupService": {"s", func(m *Master, caller string, s []string, _ any) []any {
		if srv, ok := m.services[resolve(s[0], caller)]; ok {
			return fine("", srv.api)
		}
		return wrong("", "no provider for ["+s[0]+"]")
	}},
	"getPublishedTopics": {"s", func(m *Master, _ string, s []string, _ any) []any {
		kinds := map[string]string{}
		for name, t := range m.topics {
			if len(t.pubs) > 0 && (clean(s[0]) == "/" || strings.HasPrefix(name, clean(s[0])+"/")) {
				kinds[name] = t.kind
			}
		}
		return fine("", kindsOf(kinds))
	}},
	"getTopicTypes": {"", func(m *Master, _ string, _ []string, _ any) []any {
		kinds := map[string]string{}
		for name, t := range m.topics {
			kinds[name] = t.kind
		}
		return fine("", kindsOf(kinds))
	}},
	"getSystemState": {"", func(m *Master, _ string, _ []string, _ any) []any {
		pubs, subs, srvs := []any{}, []any{}, []any{}
		for _, name := range slices.Sorted(maps.Keys(m.topics)) {
			if t := m.topics[name]; len(t.pubs) > 0 {
				pubs = append(pubs, []any{name, names(t.pubs)})
			}
			if t := m.topics[name]; len(t.subs) > 0 {
				subs = append(subs, []any{name, names(t.subs)})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(m.services)) {
			srvs = append(srvs, []any{name, []any{m.services[name].peer}})
		}
		return fine("", []any{pubs, subs, srvs})
	}},
	"getParam": {"s", func(m *Master, caller string, s []string, _ any) []any {
		if v, ok := get(m.params, resolve(s[0], caller)); ok {
			return fine(resolve(s[0], caller), v)
		}
		return wrong(0, "Parameter ["+resolve(s[0], caller)+"] is not set")
	}},
	"setParam": {"sv", func(m *Master, caller string, s []string, v any) []any {
		key := resolve(s[0], caller)
		if key != "/" {
			m.params = with(m.params, path(key), v)
		} else if root, ok := v.(map[string]any); ok {
			m.params = root
		} else {
			return wrong(0, "the root of all parameters must be a dictionary")
		}
		m.tellWatchers(key)
		return fine("parameter "+key+" set", 0)
	}},
	"deleteParam": {"s", func(m *Master, caller string, s []string, _ any) []any {
		key := resolve(s[0], caller)
		if _, ok := get(m.params, key); !ok || key == "/" {
			return wrong(0, "parameter ["+key+"] is not set")
		}
		m.params = without(m.params, path(key))
		m.tellWatchers(key)
		return fine("parameter "+key+" deleted", 0)
	}},
	// The key as text: clients read it from there.
	"hasParam": {"s", func(m *Master, caller string, s []string, _ any) []any {
		key := resolve(s[0], caller)
		_, ok := get(m.params, key)
		return fine(key, ok)
	}},
	"searchParam": {"s", func(m *Master, caller string, s []string, _ any) []any {
		if key, ok := search(m.params, caller, s[0]); ok {
			return fine("found", key)
		}
		return wrong("", "Cannot find parameter ["+s[0]+"] in an upwards search")
	}},
	"getParamNames": {"", func(m *Master, _ string, _ []string, _ any) []any {
		return fine("", list(leaves("", m.params)))
	}},
	"subscribeParam": {"ss", func(m *Master, caller string, s []string, _ any) []any {
		key := resolve(s[1], caller)
		m.arrive(caller, s[0])
		if m.watchers[key] == nil {
			m.watchers[key] = map[string]string{}
		}
		m.watchers[key][caller] = s[0]
		return fine("subscribed to "+key, m.paramOrEmpty(key))
	}},
	"unsubscribeParam": {"ss", func(m *Master, caller string, s []string, _ any) []any {
		key := resolve(s[1], caller)
		if m.watchers[key][caller] != s[0] || s[0] == "" {
			return fine(caller+" does not watch "+key, 0)
		}
		delete(m.watchers[key], caller)
		m.forget(caller)
		return fine("unsubscribed", 1)
	}},
}

// serve answers one XML-RPC call.
func (m *Master) serve(_ context.Context, name string, args []any) (any, error) {
	switch name {
	case "system.multicall":
		return m.multicall(args)
	case "system.listMethods":
		return append(list(slices.Sorted(maps.Keys(methods))), "system.multicall", "system.listMethods"), nil
	}
	c, ok := methods[name]
	if !ok {
		return nil, fmt.Errorf("master: no method %q", name)
	}
	if len(args) != 1+len(c.args) {
		return wrong(0, fmt.Sprintf("%s takes %d arguments, not %d", name, 1+len(c.args), len(args))), nil
	}
	caller, ok := args[0].(string)
	if !ok {
		return wrong(0, name+": the caller's name must be text"), nil
	}
	var texts []string
	var v any
	for i, kind := range c.args {
		s, ok := args[1+i].(string)
		switch {
		case kind == 'v':
			v = args[1+i]
		case !ok:
			return wrong(0, fmt.Sprintf("%s: argument %d must be text", name, 1+i)), nil
		default:
			texts = append(texts, s)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.do(m, clean(caller), texts, v), nil
}

// multicall answers several calls in one, each result in a list of its own.
func (m *Master) multicall(args []any) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("master: system.multicall takes one list")
	}
	calls, ok := args[0].([]any)
	if !ok {
		return nil, fmt.Errorf("master: system.multicall takes a list")
	}
	out := []any{}
	for _, c := range calls {
		one, _ := c.(map[string]any)
		name, _ := one["methodName"].(string)
		params, _ := one["params"].([]any)
		var v any
		err := fmt.Errorf("master: no multicall within a multicall")
		if name != "system.multicall" {
			v, err = m.serve(context.Background(), name, params)
		}
		if err != nil {
			out = append(out, map[string]any{"faultCode": 1, "faultString": err.Error()})
			continue
		}
		out = append(out, []any{v})
	}
	return out, nil
}
