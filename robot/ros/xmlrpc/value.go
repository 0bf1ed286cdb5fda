// Package xmlrpc is the remote procedure call that ROS 1 nodes and their
// master speak: XML over HTTP, with every kind of value that parameters have.
//
// Values are nil, bool, int, float64, string, []byte, time.Time, []any and
// map[string]any. What arrives is bounded in size, depth and number of
// values, since anybody on the network may send it. No proxy is asked.
//
//	v, err := xmlrpc.Call(ctx, "http://127.0.0.1:11311", "getPid", "/me")
package xmlrpc

import (
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// stamp is XML-RPC's form of dateTime.iso8601, which has no zone.
const stamp = "20060102T15:04:05"

// appendValue writes v as an element <value>.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("xmlrpc: a value nested deeper than %d", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		return append(b, "<value><nil/></value>"...), nil
	case []byte:
		b = append(b, "<value><base64>"...)
		b = base64.StdEncoding.AppendEncode(b, v)
		return append(b, "</base64></value>"...), nil
	case time.Time:
		b = append(b, "<value><dateTime.iso8601>"...)
		b = v.AppendFormat(b, stamp)
		return append(b, "</dateTime.iso8601></value>"...), nil
	}
	r := reflect.ValueOf(v)
	var err error
	switch r.Kind() {
	case reflect.Bool:
		b = append(b, "<value><boolean>0</boolean></value>"...)
		if r.Bool() {
			b[len(b)-len("0</boolean></value>")] = '1'
		}
		return b, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(b, r.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return appendInt(b, int64(min(r.Uint(), math.MaxInt64)))
	case reflect.Float32, reflect.Float64:
		b = append(b, "<value><double>"...)
		b = strconv.AppendFloat(b, r.Float(), 'g', -1, 64)
		return append(b, "</double></value>"...), nil
	case reflect.String:
		b = append(b, "<value><string>"...)
		if b, err = appendText(b, r.String()); err != nil {
			return nil, err
		}
		return append(b, "</string></value>"...), nil
	case reflect.Slice, reflect.Array:
		b = append(b, "<value><array><data>"...)
		for i := range r.Len() {
			if b, err = appendValue(b, r.Index(i).Interface(), depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, "</data></array></value>"...), nil
	case reflect.Map:
		if r.Type().Key().Kind() != reflect.String {
			break
		}
		keys := r.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
		b = append(b, "<value><struct>"...)
		for _, k := range keys {
			b = append(b, "<member><name>"...)
			if b, err = appendText(b, k.String()); err != nil {
				return nil, err
			}
			b = append(b, "</name>"...)
			if b, err = appendValue(b, r.MapIndex(k).Interface(), depth+1); err != nil {
				return nil, err
			}
			b = append(b, "</member>"...)
		}
		return append(b, "</struct></value>"...), nil
	case reflect.Pointer:
		if r.IsNil() {
			return append(b, "<value><nil/></value>"...), nil
		}
		return appendValue(b, r.Elem().Interface(), depth+1)
	}
	return nil, fmt.Errorf("xmlrpc: cannot send a %T; use bool, int, float64, string, []byte, a list or a map by string", v)
}

func appendInt(b []byte, i int64) ([]byte, error) {
	if i < math.MinInt32 || i > math.MaxInt32 {
		return nil, fmt.Errorf("xmlrpc: %d does not fit the 32 bits of its integers; send a float64 or a string", i)
	}
	b = append(b, "<value><int>"...)
	b = strconv.AppendInt(b, i, 10)
	return append(b, "</int></value>"...), nil
}

// appendText escapes s. Only the entities that C++ nodes know are used, but
// for the carriage return, which XML would otherwise turn into a newline.
func appendText(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("xmlrpc: the text %q is not UTF-8; send it as []byte", s)
	}
	for _, r := range s {
		switch {
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '\r':
			b = append(b, "&#13;"...)
		case r < ' ' && r != '\t' && r != '\n', r == 0xFFFE, r == 0xFFFF:
			return nil, fmt.Errorf("xmlrpc: XML cannot hold the character %U; send the text as []byte", r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b, nil
}
