package tcpros

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"

	"github.com/bluenviron/goroslib/v2/pkg/msgproc"
)

// Kind is what ROS knows of a message: its type (package/Name), the checksum
// of its definition, and the definition with those of what it contains.
type Kind struct{ Type, MD5, Definition string }

// Any is the kind of a subscriber that takes whatever comes.
var Any = Kind{Type: "*", MD5: "*"}

// KindOf is the kind of the message type T.
func KindOf[T any]() (Kind, error) {
	var zero T
	if reflect.TypeFor[T]().Kind() != reflect.Struct {
		return Kind{}, fmt.Errorf("tcpros: %T is not a message; messages are structs", zero)
	}
	if err := checkType(reflect.TypeFor[T]()); err != nil {
		return Kind{}, err
	}
	var k Kind
	var err error
	if k.Type, err = msgproc.Type(zero); err != nil {
		return Kind{}, fmt.Errorf("tcpros: %T: %w", zero, err)
	}
	if k.MD5, err = msgproc.MD5(zero); err != nil {
		return Kind{}, fmt.Errorf("tcpros: %T: %w", zero, err)
	}
	if k.Definition, err = msgproc.Definition(zero); err != nil {
		return Kind{}, fmt.Errorf("tcpros: %T: %w", zero, err)
	}
	k.Definition = strings.TrimRight(k.Definition, "\n") + "\n"
	return k, nil
}

// checkType finds fields that would panic when they are written.
func checkType(t reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		if !meta(f) && !f.IsExported() {
			return fmt.Errorf("tcpros: field %s of message %s is not exported", f.Name, t)
		}
		e := f.Type
		for e.Kind() == reflect.Slice || e.Kind() == reflect.Array {
			e = e.Elem()
		}
		if e.Kind() == reflect.Struct && e != timeType {
			if err := checkType(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// ServiceOf is the kind of a service, of its request's type and checksums of
// both. A request is called NameReq or NameRequest.
func ServiceOf[Req, Res any]() (Kind, error) {
	req, err := KindOf[Req]()
	if err != nil {
		return Kind{}, err
	}
	if _, err := KindOf[Res](); err != nil {
		return Kind{}, err
	}
	var q Req
	var s Res
	text, err := msgproc.Text(q)
	if err != nil {
		return Kind{}, fmt.Errorf("tcpros: %T: %w", q, err)
	}
	more, err := msgproc.Text(s)
	if err != nil {
		return Kind{}, fmt.Errorf("tcpros: %T: %w", s, err)
	}
	sum := md5.Sum([]byte(text + more))
	name := strings.TrimSuffix(strings.TrimSuffix(req.Type, "Req"), "Request")
	return Kind{Type: name, MD5: hex.EncodeToString(sum[:])}, nil
}
