package xmlrpc

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Bounds on what arrives. A robot's description, the largest parameter known,
// has some hundred kilobytes.
const (
	maxBody   = 32 << 20
	maxDepth  = 64
	maxValues = 1 << 20
)

type decoder struct {
	xml    *xml.Decoder
	values int
}

func newDecoder(body []byte) *decoder {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.CharsetReader = func(charset string, r io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "utf-8", "us-ascii", "ascii":
			return r, nil
		}
		return nil, fmt.Errorf("the text is in %s; send UTF-8", charset)
	}
	return &decoder{xml: d}
}

// next is the next start or end of an element; text between is dropped, and
// must be blank.
func (d *decoder) next() (name string, start bool, err error) {
	for {
		t, err := d.xml.Token()
		if err != nil {
			return "", false, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t.Name.Local, true, nil
		case xml.EndElement:
			return t.Name.Local, false, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return "", false, fmt.Errorf("text %.40q where an element belongs", t)
			}
		}
	}
}

func (d *decoder) open(want string) error {
	name, start, err := d.next()
	if err == nil && (!start || name != want) {
		err = fmt.Errorf("element %s where <%s> belongs", name, want)
	}
	return err
}

func (d *decoder) close(want string) error {
	name, start, err := d.next()
	if err == nil && (start || name != want) {
		err = fmt.Errorf("element %s where </%s> belongs", name, want)
	}
	return err
}

// text is what stands until the end of the element that was opened.
func (d *decoder) text() (string, error) {
	var s strings.Builder
	for {
		t, err := d.xml.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			s.Write(t)
		case xml.EndElement:
			return s.String(), nil
		case xml.StartElement:
			return "", fmt.Errorf("element <%s> within text", t.Name.Local)
		}
	}
}

// value reads the inside of <value>, which is open, and its end.
func (d *decoder) value(depth int) (any, error) {
	if d.values++; d.values > maxValues {
		return nil, fmt.Errorf("more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("values nested deeper than %d", maxDepth)
	}
	var s strings.Builder // <value>text</value> is a string as well
	for {
		t, err := d.xml.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.CharData:
			s.Write(t)
		case xml.EndElement:
			return s.String(), nil
		case xml.StartElement:
			if strings.TrimSpace(s.String()) != "" {
				return nil, fmt.Errorf("text before <%s>", t.Name.Local)
			}
			v, err := d.typed(t.Name.Local, depth)
			if err != nil {
				return nil, err
			}
			return v, d.close("value")
		}
	}
}

// typed reads the inside of <kind> and its end.
func (d *decoder) typed(kind string, depth int) (any, error) {
	switch kind {
	case "array":
		return d.array(depth)
	case "struct":
		return d.members(depth)
	}
	s, err := d.text()
	if err != nil || kind == "string" {
		return s, err
	}
	s = strings.TrimSpace(s)
	switch kind {
	case "nil":
		return nil, nil
	case "boolean":
		switch s {
		case "0", "false":
			return false, nil
		case "1", "true":
			return true, nil
		}
		return nil, fmt.Errorf("boolean %.40q", s)
	case "int", "i4", "i8", "i2", "i1":
		i, err := strconv.ParseInt(s, 10, 64)
		return int(i), err
	case "double", "float":
		f, err := strconv.ParseFloat(s, 64)
		if errors.Is(err, strconv.ErrRange) {
			err = nil // infinite, as Python has it
		}
		return f, err
	case "dateTime.iso8601":
		return time.Parse(stamp, s)
	case "base64":
		return base64.StdEncoding.DecodeString(strings.Map(func(r rune) rune {
			if r <= ' ' {
				return -1
			}
			return r
		}, s))
	}
	return nil, fmt.Errorf("values of kind <%s> are not known", kind)
}

func (d *decoder) array(depth int) (any, error) {
	if err := d.open("data"); err != nil {
		return nil, err
	}
	list := []any{}
	for {
		name, start, err := d.next()
		switch {
		case err != nil:
			return nil, err
		case !start:
			return list, d.close("array")
		case name != "value":
			return nil, fmt.Errorf("element <%s> in an array", name)
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

func (d *decoder) members(depth int) (any, error) {
	m := map[string]any{}
	for {
		name, start, err := d.next()
		switch {
		case err != nil:
			return nil, err
		case !start:
			return m, nil
		case name != "member":
			return nil, fmt.Errorf("element <%s> in a struct", name)
		}
		if err := d.open("name"); err != nil {
			return nil, err
		}
		key, err := d.text()
		if err != nil {
			return nil, err
		}
		if err := d.open("value"); err != nil {
			return nil, err
		}
		if m[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
		if err := d.close("member"); err != nil {
			return nil, err
		}
	}
}

// params reads <params> up to its end; it may be absent.
func (d *decoder) params(until string) ([]any, error) {
	args := []any{}
	name, start, err := d.next()
	switch {
	case err != nil:
		return nil, err
	case !start && name == until:
		return args, nil
	case !start || name != "params":
		return nil, fmt.Errorf("element %s where <params> belongs", name)
	}
	for {
		name, start, err := d.next()
		switch {
		case err != nil:
			return nil, err
		case !start:
			return args, d.close(until)
		case name != "param":
			return nil, fmt.Errorf("element <%s> among parameters", name)
		}
		if err := d.open("value"); err != nil {
			return nil, err
		}
		v, err := d.value(0)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
		if err := d.close("param"); err != nil {
			return nil, err
		}
	}
}

// DecodeCall reads a call's method and arguments.
func DecodeCall(body []byte) (method string, args []any, err error) {
	defer func() { err = wrap("call", err) }()
	d := newDecoder(body)
	if err := d.open("methodCall"); err != nil {
		return "", nil, err
	}
	if err := d.open("methodName"); err != nil {
		return "", nil, err
	}
	if method, err = d.text(); err != nil {
		return "", nil, err
	}
	args, err = d.params("methodCall")
	return strings.TrimSpace(method), args, err
}

// DecodeResponse reads an answer: its value, or the *Fault that it tells.
func DecodeResponse(body []byte) (v any, err error) {
	defer func() { err = wrap("response", err) }()
	d := newDecoder(body)
	if err := d.open("methodResponse"); err != nil {
		return nil, err
	}
	name, start, err := d.next()
	if err != nil {
		return nil, err
	}
	switch {
	case start && name == "fault":
		if err := d.open("value"); err != nil {
			return nil, err
		}
		v, err := d.value(0)
		if err != nil {
			return nil, err
		}
		m, _ := v.(map[string]any)
		f := &Fault{}
		f.Code, _ = m["faultCode"].(int)
		f.Text, _ = m["faultString"].(string)
		return nil, f
	case start && name == "params":
		if err := d.open("param"); err != nil {
			return nil, err
		}
		if err := d.open("value"); err != nil {
			return nil, err
		}
		return d.value(0)
	}
	return nil, fmt.Errorf("element %s where <params> belongs", name)
}

func wrap(what string, err error) error {
	var f *Fault
	if err == nil || errors.As(err, &f) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("xmlrpc: %s: %w", what, err)
}
