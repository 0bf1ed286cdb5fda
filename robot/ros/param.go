package ros

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// Param reads a parameter into what into points to: bool, integer, float
// (which takes whole numbers), string, []byte, time.Time, a slice, an array of
// just that length, a map by string, a struct (by `ros` tags or lower-case
// names), or any. It fails with ErrNoParam where the parameter is not set.
func (n *Node) Param(name string, into any) error {
	ctx, cancel := n.brief()
	defer cancel()
	return n.param(ctx, n.Resolve(name), into)
}

func (n *Node) param(ctx context.Context, name string, into any) error {
	dst := reflect.ValueOf(into)
	if dst.Kind() != reflect.Pointer || dst.IsNil() {
		return fmt.Errorf("ros: parameter %s: %T is not a pointer", name, into)
	}
	v, err := n.ask(ctx, "getParam", name)
	var said *ErrMaster
	if errors.As(err, &said) {
		return fmt.Errorf("%w: %s", ErrNoParam, name)
	}
	if err != nil {
		return err
	}
	fresh := reflect.New(dst.Type().Elem()).Elem() // into stays as it is where the parameter does not fit
	fresh.Set(dst.Elem())
	if err := assign(fresh, v); err != nil {
		return fmt.Errorf("ros: parameter %s: %w", name, err)
	}
	dst.Elem().Set(fresh)
	return nil
}

// SetParam sets a parameter to v, of the kinds that Param reads but for
// structs. A map sets a whole namespace.
func (n *Node) SetParam(name string, v any) error {
	ctx, cancel := n.brief()
	defer cancel()
	_, err := n.ask(ctx, "setParam", n.Resolve(name), v)
	return err
}

// DeleteParam removes a parameter.
func (n *Node) DeleteParam(name string) error {
	ctx, cancel := n.brief()
	defer cancel()
	_, err := n.ask(ctx, "deleteParam", n.Resolve(name))
	var said *ErrMaster
	if errors.As(err, &said) {
		return fmt.Errorf("%w: %s", ErrNoParam, n.Resolve(name))
	}
	return err
}

// SearchParam finds a parameter in the node's namespace or above it.
func (n *Node) SearchParam(name string) (string, error) {
	ctx, cancel := n.brief()
	defer cancel()
	v, err := xmlrpc.Call(ctx, n.master, "searchParam", n.name, name)
	_, v, err = triple("searchParam", v, err)
	var said *ErrMaster
	if errors.As(err, &said) {
		return "", fmt.Errorf("%w: %s", ErrNoParam, name)
	}
	s, _ := v.(string)
	return s, err
}

func assign(dst reflect.Value, v any) error {
	misfit := fmt.Errorf("%.60v is a %T, not a %s", v, v, dst.Type())
	if v == nil {
		dst.SetZero()
		return nil
	}
	if src := reflect.ValueOf(v); src.Type().AssignableTo(dst.Type()) {
		dst.Set(src)
		return nil
	}
	switch dst.Kind() {
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			dst.SetBool(b)
			return nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if i, ok := v.(int); ok && !dst.OverflowInt(int64(i)) {
			dst.SetInt(int64(i))
			return nil
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if i, ok := v.(int); ok && i >= 0 && !dst.OverflowUint(uint64(i)) {
			dst.SetUint(uint64(i))
			return nil
		}
	case reflect.Float32, reflect.Float64:
		switch x := v.(type) {
		case float64:
			dst.SetFloat(x)
			return nil
		case int:
			dst.SetFloat(float64(x))
			return nil
		}
	case reflect.String:
		if s, ok := v.(string); ok {
			dst.SetString(s)
			return nil
		}
	case reflect.Slice, reflect.Array:
		l, ok := v.([]any)
		if !ok {
			return misfit
		}
		if dst.Kind() == reflect.Slice {
			dst.Set(reflect.MakeSlice(dst.Type(), len(l), len(l)))
		} else if dst.Len() != len(l) {
			return fmt.Errorf("a list of %d, not of %d", len(l), dst.Len())
		}
		for i, x := range l {
			if err := assign(dst.Index(i), x); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case reflect.Map:
		m, ok := v.(map[string]any)
		if !ok || dst.Type().Key().Kind() != reflect.String {
			return misfit
		}
		dst.Set(reflect.MakeMap(dst.Type()))
		for k, x := range m {
			e := reflect.New(dst.Type().Elem()).Elem()
			if err := assign(e, x); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
			dst.SetMapIndex(reflect.ValueOf(k).Convert(dst.Type().Key()), e)
		}
		return nil
	case reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			return misfit
		}
		for i := range dst.NumField() {
			f := dst.Type().Field(i)
			name := f.Tag.Get("ros")
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			if x, ok := m[name]; ok && f.IsExported() {
				if err := assign(dst.Field(i), x); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		return nil
	}
	return misfit
}
