package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// deepest is how far merged and aliased nodes are followed, which may contain themselves.
const deepest = 100

// misfits finds what the decoder takes and none of it should: a list that is shorter than an
// array would leave the rest at 0 (as a workspace's floor), a longer one panics, and a fraction
// would be cut off a whole number.
type misfits struct {
	anchors map[string]ast.Node
}

// misfit is an error that names what of n, the value of key, does not fit into a t.
func misfit(key string, n ast.Node, t reflect.Type) error {
	if n == nil {
		return nil
	}
	m := misfits{anchors: map[string]ast.Node{}}
	ast.Walk(m, n)
	return m.of(key, n, t, 0)
}

// Visit collects anchors.
func (m misfits) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		m.anchors[a.Name.GetToken().Value] = a.Value
	}
	return m
}

func (m misfits) of(key string, n ast.Node, t reflect.Type, depth int) error {
	if n == nil || depth > deepest {
		return nil
	}
	switch v := n.(type) {
	case *ast.AnchorNode:
		return m.of(key, v.Value, t, depth+1)
	case *ast.AliasNode:
		return m.of(key, m.anchors[v.Value.GetToken().Value], t, depth+1)
	case *ast.TagNode:
		return m.of(key, v.Value, t, depth+1)
	}
	var err error
	switch t.Kind() {
	case reflect.Pointer:
		return m.of(key, n, t.Elem(), depth)
	case reflect.Struct:
		return m.group(key, n, t, depth)
	case reflect.Slice, reflect.Array:
		return m.list(key, n, t, depth)
	case reflect.Int, reflect.Uint64:
		if !whole(n) {
			err = fmt.Errorf("%s does not take %q: want %s", key, n.String(), kindOf(t))
		}
	}
	return err
}

func (m misfits) group(key string, n ast.Node, t reflect.Type, depth int) error {
	values, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	for i := values.MapRange(); i.Next(); {
		if i.Key().IsMergeKey() {
			if err := m.merged(key, i.Value(), t, depth+1); err != nil {
				return err
			}
			continue
		}
		word := i.Key().GetToken().Value
		for j := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(j).Tag.Get("yaml"), ","); name == word {
				if err := m.of(strings.TrimPrefix(key+"."+word, "."), i.Value(), t.Field(j).Type, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// merged looks at what << names, one group or several.
func (m misfits) merged(key string, n ast.Node, t reflect.Type, depth int) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return m.of(key, n, t, depth)
	}
	for _, v := range list.Values {
		if err := m.of(key, v, t, depth); err != nil {
			return err
		}
	}
	return nil
}

func (m misfits) list(key string, n ast.Node, t reflect.Type, depth int) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil
	}
	if t.Kind() == reflect.Array && len(list.Values) != t.Len() {
		return fmt.Errorf("%s does not take %q: want %s", key, n.String(), kindOf(t))
	}
	for i, v := range list.Values {
		if t.Kind() == reflect.Array && v.Type() == ast.NullType {
			return fmt.Errorf("%s does not take %q: want %s", key, n.String(), kindOf(t))
		}
		if err := m.of(fmt.Sprintf("%s[%d]", key, i), v, t.Elem(), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// whole is false of a number that has a fraction or no size; what is no number is not its matter.
func whole(n ast.Node) bool {
	x := 0.0
	switch v := n.(type) {
	case *ast.FloatNode:
		x = v.Value
	case *ast.InfinityNode:
		x = v.Value
	case *ast.StringNode: // as 1e4
		var err error
		if x, err = strconv.ParseFloat(v.Value, 64); err != nil {
			return true
		}
	}
	return x == math.Trunc(x) && x >= math.MinInt64 && !math.IsInf(x, 0)
}
