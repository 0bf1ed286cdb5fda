package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// take decodes a session's file. What it says wrong is told all at once, with lines, and taken
// out of f, so that the rest of it counts.
func (c *Config) take(name string, f *ast.File) error {
	first := decodeFile(f, c)
	if first == nil {
		return nil
	}
	m := mistakes{leaves: map[string]reflect.Type{}, groups: map[string]bool{}}
	for _, l := range leaves(reflect.ValueOf(c).Elem(), "") {
		m.leaves[l.key] = l.value.Type()
		for i, r := range l.key {
			if r == '.' {
				m.groups[l.key[:i]] = true
			}
		}
	}
	for _, doc := range f.Docs {
		m.walk(doc.Body, "")
	}
	if len(m.found) == 0 {
		return fmt.Errorf("config: %s: %w", name, first)
	}
	errs := make([]error, len(m.found))
	for i, e := range m.found {
		errs[i] = fmt.Errorf("config: %s: %w", name, e)
	}
	if err := decodeFile(f, c); err != nil {
		errs = append(errs, fmt.Errorf("config: %s: %w", name, err))
	}
	return errors.Join(errs...)
}

// mistakes are what a file says that no Config takes.
type mistakes struct {
	leaves map[string]reflect.Type // by key
	groups map[string]bool         // of keys
	found  []error
}

// prune takes out of a group what out says of each word in it. What else it may hold, as a merged
// group, stays.
func prune(n ast.Node, out func(word string, v *ast.MappingValueNode) bool) {
	group, ok := n.(*ast.MappingNode)
	if !ok {
		return
	}
	group.Values = slices.DeleteFunc(group.Values, func(v *ast.MappingValueNode) bool {
		return !v.Key.IsMergeKey() && out(v.Key.GetToken().Value, v)
	})
}

// walk takes out of what stands below the group at, "" that of all, what is wrong.
func (m *mistakes) walk(n ast.Node, at string) {
	prune(n, func(word string, v *ast.MappingValueNode) bool {
		err := m.check(at+word, v.Value)
		if group, rest, dotted := strings.Cut(word, "."); dotted {
			err = fmt.Errorf("%s%s: in a file, keys nest, as %s: {%s: VALUE}", at, word, group, rest)
		}
		if err != nil {
			m.found = append(m.found, fmt.Errorf("line %d: %w", v.Key.GetToken().Position.Line, err))
		}
		return err != nil
	})
}

// check says what is wrong with a key, and walks on below a group.
func (m *mistakes) check(key string, value ast.Node) error {
	of, ok := m.leaves[key]
	switch elsewhere := value.Type() == ast.AnchorType || value.Type() == ast.AliasType; {
	case !ok && !m.groups[key]:
		return fmt.Errorf("there is no key %s%s", key, hint(key))
	case elsewhere:
		return nil
	case m.groups[key] && value.Type() != ast.MappingType && value.Type() != ast.NullType:
		return fmt.Errorf("%s does not take %q: it is a group of keys, as %s: {KEY: VALUE}", key, value.String(), key)
	case m.groups[key]:
		m.walk(value, key+".")
		return nil
	}
	if err := misfit(key, value, of); err != nil {
		return err
	}
	err := fill(value, reflect.New(of).Interface())
	switch {
	case err == nil:
		return nil
	case of.Kind() == reflect.Slice: // what is wrong is in an item
		return fmt.Errorf("%s: %w", key, err)
	}
	return fmt.Errorf("%s does not take %q: want %s", key, value.String(), kindOf(of))
}
