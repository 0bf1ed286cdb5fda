package master

import (
	"maps"
	"slices"
	"strings"
)

// path splits a name such as /a/b/ into its parts.
func path(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// clean is a name in its one form: /a/b, or / for the root.
func clean(name string) string { return "/" + strings.Join(path(name), "/") }

// resolve is a parameter's full name as its caller writes it.
func resolve(name, caller string) string {
	switch {
	case strings.HasPrefix(name, "/"):
		return clean(name)
	case strings.HasPrefix(name, "~"):
		return clean(caller + "/" + name[1:])
	}
	p := path(caller)
	return clean(strings.Join(p[:max(len(p)-1, 0)], "/") + "/" + name)
}

// get is the value at key in the tree below root.
func get(root map[string]any, key string) (any, bool) {
	var v any = root
	for _, k := range path(key) {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[k]; !ok {
			return nil, false
		}
	}
	return v, true
}

// with is a tree like root in which key holds v. What changes is copied, so
// that trees handed out before stay as they were.
func with(root map[string]any, key []string, v any) map[string]any {
	m := maps.Clone(root)
	if m == nil {
		m = map[string]any{}
	}
	if len(key) == 1 {
		m[key[0]] = v
		return m
	}
	below, _ := m[key[0]].(map[string]any) // a value in the way gives way to a namespace
	m[key[0]] = with(below, key[1:], v)
	return m
}

// without is a tree like root which lacks key.
func without(root map[string]any, key []string) map[string]any {
	m := maps.Clone(root)
	if len(key) == 1 {
		delete(m, key[0])
		return m
	}
	if below, ok := m[key[0]].(map[string]any); ok {
		m[key[0]] = without(below, key[1:])
	}
	return m
}

// leaves lists the full names of everything that is not a namespace.
func leaves(prefix string, v any) []any {
	m, ok := v.(map[string]any)
	if !ok {
		return []any{prefix}
	}
	var names []any
	for _, k := range slices.Sorted(maps.Keys(m)) {
		names = append(names, leaves(prefix+"/"+k, m[k])...)
	}
	return names
}

// search finds key from the caller's namespace upwards; of a name with
// slashes only the first part must exist.
func search(root map[string]any, caller, key string) (string, bool) {
	if strings.HasPrefix(key, "/") {
		_, ok := get(root, key)
		return clean(key), ok
	}
	k := path(key)
	if len(k) == 0 {
		return "", false
	}
	for ns := path(caller); ; ns = ns[:len(ns)-1] {
		if _, ok := get(root, strings.Join(append(slices.Clone(ns), k[0]), "/")); ok {
			return clean(strings.Join(append(slices.Clone(ns), k...), "/")), true
		}
		if len(ns) == 0 {
			return "", false
		}
	}
}
