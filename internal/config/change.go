package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Change is a key whose value differs between two configurations; the values
// are in YAML, as --set takes them.
type Change struct{ Key, Was, Is string }

func (c Change) String() string { return fmt.Sprintf("%s is %s, was %s", c.Key, c.Is, c.Was) }

// Changes lists the keys of c that was has other values for, in the order of
// the struct tree.
func (c Config) Changes(was Config) []Change {
	now, then := leaves(reflect.ValueOf(c), ""), leaves(reflect.ValueOf(was), "")
	var out []Change
	for i, l := range now {
		if a, b := l.value.Interface(), then[i].value.Interface(); !reflect.DeepEqual(a, b) {
			out = append(out, Change{l.key, flow(b), flow(a)})
		}
	}
	return out
}

// Covers says whether a key is among keys, or in a group of theirs, which ends in a dot.
func Covers(keys []string, key string) bool {
	return slices.ContainsFunc(keys, func(k string) bool {
		return key == k || strings.HasSuffix(k, ".") && strings.HasPrefix(key, k)
	})
}

// flow writes a value as YAML on one line.
func flow(v any) string {
	b, err := yaml.MarshalWithOptions(v, yaml.Flow(true))
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(string(b))
}
