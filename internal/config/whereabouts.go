package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// whereabouts are the keys by which a session is found and reached: without a name it is called
// by its task.
var whereabouts = []string{"name", "out", "robot.task", "bus."}

// Whereabouts reads the keys by which a session is found and reached, for who acknowledges its
// fault or watches it: nothing else of the file and of environ need be known or fit. What sets
// say is mended where it is typed, and must.
func Whereabouts(file string, environ, sets []string) (Config, error) {
	c := Default()
	var wrong error
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return c, fmt.Errorf("config: %w", err)
		}
		f, err := parser.ParseBytes(b, 0)
		if err != nil {
			return c, fmt.Errorf("config: %s: %w", file, err)
		}
		for _, doc := range f.Docs {
			strip(doc.Body, "")
		}
		wrong = c.take(file, f)
	}
	environ = slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return !slices.ContainsFunc(Keys(), func(k string) bool { return Covers(whereabouts, k) && EnvName(k) == name })
	})
	err := c.override(environ, sets)
	c.Bus.split()
	var p problems
	c.where(&p)
	return c, errors.Join(wrong, err, errors.Join(p...))
}

// strip takes out of what stands below the group at, "" that of all, what are no whereabouts.
func strip(n ast.Node, at string) {
	prune(n, func(word string, v *ast.MappingValueNode) bool {
		key := at + word
		if !slices.ContainsFunc(whereabouts, func(w string) bool { return strings.HasPrefix(w, key+".") }) {
			return !Covers(whereabouts, key) || !slices.Contains(Keys(), key)
		}
		strip(v.Value, key+".")
		return false
	})
}
