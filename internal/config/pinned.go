package config

import (
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// defining are keys that others' defaults go by.
var defining = []string{"robot.kind", "robot.world", "robot.task", "robot.embodiment", "reward.kind", "reward.kagi.sparse", "policy.diffusion.process", "learner.kind"}

// Pinned lists the keys to which file, of which Load made c, gives their general defaults where
// c's task or reward has others, Was: as a file does that keeps all that rapport config prints
// and names another task later.
func (c Config) Pinned(file string, environ, sets []string) []Change {
	said, d := namedIn(file), Default()
	if len(said) == 0 {
		return nil
	}
	sets = slices.Clone(sets)
	for _, l := range c.Changes(d) { // what the file says otherwise, others go by as well
		if slices.Contains(defining, l.Key) {
			sets = append(sets, l.Key+"="+l.Is)
		}
	}
	own, err := load("", environ, sets, func(Config) error { return nil })
	if err != nil {
		return nil
	}
	other := c.Changes(d)
	return slices.DeleteFunc(c.Changes(own), func(ch Change) bool {
		return !slices.Contains(said, ch.Key) || slices.ContainsFunc(other, func(o Change) bool { return o.Key == ch.Key })
	})
}

// Named lists the keys that file (none if empty), environ or sets give a value, as Load takes them.
func Named(file string, environ, sets []string) []string {
	keys := namedIn(file)
	given := func(name string) bool {
		return slices.ContainsFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	}
	for _, k := range Keys() {
		if given(EnvName(k)) {
			keys = append(keys, k)
		}
	}
	for _, s := range sets {
		key, _, _ := strings.Cut(s, "=")
		keys = append(keys, key)
	}
	return keys
}

// namedIn are the keys that a file gives a value; none if Load has told that it cannot be read.
func namedIn(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil
	}
	return namedBy(said(f), "")
}

// namedBy are the keys of a file below the group at, "" that of all, that it gives a value.
func namedBy(n ast.Node, at string) (keys []string) {
	group, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	for i := group.MapRange(); i.Next(); {
		key := at + i.Key().GetToken().Value
		if i.Value().Type() != ast.NullType {
			keys = append(keys, key)
		}
		keys = append(keys, namedBy(i.Value(), key+".")...)
	}
	return keys
}
