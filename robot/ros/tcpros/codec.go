package tcpros

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/bluenviron/goroslib/v2/pkg/msg"
)

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
)

// meta says whether a struct's field carries a name or constants and no data.
func meta(f reflect.StructField) bool {
	return f.Anonymous && (f.Type == reflect.TypeFor[msg.Package]() || f.Type == reflect.TypeFor[msg.Name]() || f.Type == reflect.TypeFor[msg.Definitions]())
}

// Append writes m, a pointer to a message, after b. A time before 1970 is
// written as zero, ROS's "no time".
func Append(b []byte, m any) ([]byte, error) {
	v := reflect.ValueOf(m)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("tcpros: %T is not a pointer to a message", m)
	}
	return appendTo(b, v.Elem())
}

func appendTo(b []byte, v reflect.Value) ([]byte, error) {
	le := binary.LittleEndian
	var err error
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case reflect.Int8:
		return append(b, byte(v.Int())), nil
	case reflect.Uint8:
		return append(b, byte(v.Uint())), nil
	case reflect.Int16:
		return le.AppendUint16(b, uint16(v.Int())), nil
	case reflect.Uint16:
		return le.AppendUint16(b, uint16(v.Uint())), nil
	case reflect.Int32:
		return le.AppendUint32(b, uint32(v.Int())), nil
	case reflect.Uint32:
		return le.AppendUint32(b, uint32(v.Uint())), nil
	case reflect.Int64:
		if v.Type() == durationType {
			s := v.Int() / 1e9
			if ns := v.Int() % 1e9; ns < 0 {
				return le.AppendUint32(le.AppendUint32(b, uint32(s-1)), uint32(ns+1e9)), nil
			}
			return le.AppendUint32(le.AppendUint32(b, uint32(s)), uint32(v.Int()%1e9)), nil
		}
		return le.AppendUint64(b, uint64(v.Int())), nil
	case reflect.Uint64:
		return le.AppendUint64(b, v.Uint()), nil
	case reflect.Float32:
		return le.AppendUint32(b, math.Float32bits(float32(v.Float()))), nil
	case reflect.Float64:
		return le.AppendUint64(b, math.Float64bits(v.Float())), nil
	case reflect.String:
		return append(le.AppendUint32(b, uint32(v.Len())), v.String()...), nil
	case reflect.Slice:
		b = le.AppendUint32(b, uint32(v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...), nil
		}
		if f, ok := v.Interface().([]float64); ok {
			for _, x := range f {
				b = le.AppendUint64(b, math.Float64bits(x))
			}
			return b, nil
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			if b, err = appendTo(b, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return b, nil
	case reflect.Struct:
		if v.Type() == timeType {
			s, ns := stampOf(v.Interface().(time.Time))
			return le.AppendUint32(le.AppendUint32(b, s), ns), nil
		}
		for i := range v.NumField() {
			if meta(v.Type().Field(i)) {
				continue
			}
			if b, err = appendTo(b, v.Field(i)); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, fmt.Errorf("tcpros: no ROS message has a field of type %s", v.Type())
}

func stampOf(t time.Time) (s, ns uint32) {
	if t.Unix() < 0 || t.Unix() > math.MaxUint32 {
		return 0, 0
	}
	return uint32(t.Unix()), uint32(t.Nanosecond())
}

var errShort = errors.New("tcpros: the message ends early")

// Decode reads payload into m, a pointer to a message, and fails unless all of
// it was read. Slices of bytes alias payload, which is m's from then on. Times
// are in UTC; ROS's zero becomes time.Time{}.
func Decode(payload []byte, m any) error {
	v := reflect.ValueOf(m)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("tcpros: %T is not a pointer to a message", m)
	}
	rest, err := decode(payload, v.Elem())
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("tcpros: %d bytes left after a %s", len(rest), v.Elem().Type())
	}
	return err
}

func decode(b []byte, v reflect.Value) ([]byte, error) {
	le := binary.LittleEndian
	switch v.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Uint8:
		if len(b) < 1 {
			return nil, errShort
		}
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(b[0] != 0)
		case reflect.Int8:
			v.SetInt(int64(int8(b[0])))
		default:
			v.SetUint(uint64(b[0]))
		}
		return b[1:], nil
	case reflect.Int16, reflect.Uint16:
		if len(b) < 2 {
			return nil, errShort
		}
		if v.Kind() == reflect.Int16 {
			v.SetInt(int64(int16(le.Uint16(b))))
		} else {
			v.SetUint(uint64(le.Uint16(b)))
		}
		return b[2:], nil
	case reflect.Int32, reflect.Uint32, reflect.Float32:
		if len(b) < 4 {
			return nil, errShort
		}
		switch x := le.Uint32(b); v.Kind() {
		case reflect.Int32:
			v.SetInt(int64(int32(x)))
		case reflect.Uint32:
			v.SetUint(uint64(x))
		default:
			v.SetFloat(float64(math.Float32frombits(x)))
		}
		return b[4:], nil
	case reflect.Int64, reflect.Uint64, reflect.Float64:
		if len(b) < 8 {
			return nil, errShort
		}
		switch x := le.Uint64(b); {
		case v.Type() == durationType:
			v.SetInt(int64(int32(le.Uint32(b)))*1e9 + int64(int32(le.Uint32(b[4:]))))
		case v.Kind() == reflect.Int64:
			v.SetInt(int64(x))
		case v.Kind() == reflect.Uint64:
			v.SetUint(x)
		default:
			v.SetFloat(math.Float64frombits(x))
		}
		return b[8:], nil
	case reflect.String:
		n, b, err := count(b, 1)
		if err != nil {
			return nil, err
		}
		v.SetString(string(b[:n]))
		return b[n:], nil
	case reflect.Slice:
		return decodeSlice(b, v)
	case reflect.Array:
		var err error
		for i := range v.Len() {
			if b, err = decode(b, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return b, nil
	case reflect.Struct:
		if v.Type() == timeType {
			if len(b) < 8 {
				return nil, errShort
			}
			t := time.Time{}
			if s, ns := le.Uint32(b), le.Uint32(b[4:]); s != 0 || ns != 0 {
				t = time.Unix(int64(s), int64(ns)).UTC()
			}
			v.Set(reflect.ValueOf(t))
			return b[8:], nil
		}
		var err error
		for i := range v.NumField() {
			if meta(v.Type().Field(i)) {
				continue
			}
			if b, err = decode(b, v.Field(i)); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, fmt.Errorf("tcpros: no ROS message has a field of type %s", v.Type())
}

func decodeSlice(b []byte, v reflect.Value) ([]byte, error) {
	elem := v.Type().Elem()
	n, b, err := count(b, least(elem))
	if err != nil {
		return nil, err
	}
	if elem.Kind() == reflect.Uint8 {
		v.SetBytes(b[:n:n])
		return b[n:], nil
	}
	s := reflect.MakeSlice(v.Type(), n, n)
	if f, ok := s.Interface().([]float64); ok {
		for i := range f {
			f[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
		b = b[8*n:]
	} else {
		for i := range n {
			if b, err = decode(b, s.Index(i)); err != nil {
				return nil, err
			}
		}
	}
	v.Set(s)
	return b, nil
}

// count reads how many elements follow, each of at least size bytes.
func count(b []byte, size int) (int, []byte, error) {
	if len(b) < 4 {
		return 0, nil, errShort
	}
	n := int(binary.LittleEndian.Uint32(b))
	if b = b[4:]; n > len(b)/max(size, 1) {
		return 0, nil, fmt.Errorf("tcpros: %d elements announced where %d bytes are left", n, len(b))
	}
	return n, b, nil
}

// least is the fewest bytes that a value of the type takes, at least one for
// a slice's elements, so that a length cannot ask for more than arrived.
func least(t reflect.Type) int {
	switch t.Kind() {
	case reflect.String, reflect.Slice:
		return 4
	case reflect.Array:
		return t.Len() * least(t.Elem())
	case reflect.Struct:
		if t == timeType {
			return 8
		}
		n := 0
		for i := range t.NumField() {
			if !meta(t.Field(i)) {
				n += least(t.Field(i).Type)
			}
		}
		return n
	}
	return int(t.Size())
}
