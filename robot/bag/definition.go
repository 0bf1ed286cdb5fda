package bag

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// kind is the type of a field or of an array's elements.
type kind uint8

const (
	kBool kind = iota
	kInt8
	kUint8
	kInt16
	kUint16
	kInt32
	kUint32
	kInt64
	kUint64
	kFloat32
	kFloat64
	kTime
	kDuration
	kString
	kWString
	kMessage
)

// widths are the bytes of each kind; 0 if that is not fixed.
var widths = [...]int{kBool: 1, kInt8: 1, kUint8: 1, kInt16: 2, kUint16: 2, kInt32: 4, kUint32: 4, kInt64: 8, kUint64: 8, kFloat32: 4, kFloat64: 8, kTime: 8, kDuration: 8, kString: 0, kWString: 0, kMessage: 0}

var kinds = map[string]kind{
	"bool": kBool, "int8": kInt8, "uint8": kUint8, "int16": kInt16, "uint16": kUint16, "int32": kInt32, "uint32": kUint32,
	"int64": kInt64, "uint64": kUint64, "float32": kFloat32, "float64": kFloat64, "time": kTime, "duration": kDuration,
	"string": kString, "wstring": kWString, "char": kUint8, "byte": kInt8,
}

// field is one field of a message.
type field struct {
	name  string
	text  string // the type as written
	base  string // of it, without array
	kind  kind
	msg   *layout // of kMessage
	array int     // elements; 0 none, sequence if their number is in the message
	fixed int64   // bytes in ROS 1; -1 if that varies
}

const sequence = -1

// layout is a message's definition.
type layout struct {
	name      string
	fields    []field
	constants []constant
	state     int   // of resolving: 0 not begun, 1 under way, 2 done
	fixed     int64 // as of field
	steps     int   // fields that a walk visits
	md5       string
}

type constant struct{ typ, name, value string }

// Bounds of definitions: the largest of public ones have a tenth of it.
const (
	maxDefinition = 4 << 20
	maxSteps      = 1 << 16
	maxFixed      = 1 << 40
	maxArray      = 1 << 24 // elements of fixed arrays
	maxDepth      = 64      // of types in types
)

// parseDefinition reads a message's definition followed by those of nested
// types, each after a line of "=" and one of "MSG: package/Type"
// (wiki.ros.org/msg; docs.ros.org, "Interfaces", for ROS 2).
func parseDefinition(name string, text []byte, ros2 bool) (*layout, error) {
	if len(text) > maxDefinition {
		return nil, fmt.Errorf("bag: definition of %s: %d bytes, at most %d are read", name, len(text), maxDefinition)
	}
	p := parser{ros2: ros2, types: map[string]*layout{}}
	root := &layout{name: plainType(name)}
	p.types[root.name] = root
	cur := root
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if len(line) >= 20 && strings.Trim(line, "=") == "" {
			cur = nil
			continue
		}
		if rest, ok := strings.CutPrefix(line, "MSG:"); ok && cur == nil {
			cur = &layout{name: plainType(strings.TrimSpace(rest))}
			if p.types[cur.name] == nil {
				p.types[cur.name] = cur
			} // else what was said first counts
			continue
		}
		if cur == nil {
			if line == "" {
				continue
			}
			return nil, fmt.Errorf("bag: definition of %s: line %d: %.60q where MSG: should be", name, n+1, line)
		}
		if err := p.line(cur, line); err != nil {
			return nil, fmt.Errorf("bag: definition of %s: line %d: %w", name, n+1, err)
		}
	}
	if err := p.resolve(root); err != nil {
		return nil, fmt.Errorf("bag: definition of %s: %w", name, err)
	}
	return root, nil
}

// plainType makes "package/Type" of ROS 2's "package/msg/Type".
func plainType(name string) string {
	if a, b, ok := strings.Cut(name, "/msg/"); ok {
		return a + "/" + b
	}
	return name
}

type parser struct {
	ros2  bool
	depth int
	types map[string]*layout
}

// line reads one field or constant.
func (p *parser) line(m *layout, line string) error {
	whole := line
	if i := strings.IndexByte(line, '#'); i >= 0 {
		line = strings.TrimSpace(line[:i])
	}
	if line == "" {
		return nil
	}
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return fmt.Errorf("%.60q has no name", line)
	}
	typ, rest := line[:i], strings.TrimSpace(line[i:])
	if eq := strings.IndexByte(rest, '='); eq >= 0 && !strings.Contains(rest[:eq], "<") && !strings.ContainsAny(rest[:eq], `"'[`) {
		name, value := strings.TrimSpace(rest[:eq]), strings.TrimSpace(rest[eq+1:])
		if !p.ros2 && typ == "string" { // there "#" is text
			_, value, _ = strings.Cut(whole, "=")
			value = strings.TrimSpace(value)
		}
		m.constants = append(m.constants, constant{typ, name, value})
		return nil
	}
	name := rest
	if i := strings.IndexAny(rest, " \t"); i >= 0 {
		if !p.ros2 {
			return fmt.Errorf("%.60q after the name", rest[i:])
		}
		name = rest[:i] // what follows is a default
	}
	f := field{name: name, text: typ}
	base := typ
	if i := strings.IndexByte(typ, '['); i >= 0 {
		if !strings.HasSuffix(typ, "]") {
			return fmt.Errorf("type %.60q has no end", typ)
		}
		base = typ[:i]
		switch n := typ[i+1 : len(typ)-1]; {
		case n == "" || strings.HasPrefix(n, "<="):
			f.array = sequence
		default:
			k, err := strconv.ParseInt(n, 10, 32)
			if err != nil || k < 1 || k > maxArray {
				return fmt.Errorf("type %.60q: no number of elements", typ)
			}
			f.array = int(k)
		}
	}
	if i := strings.Index(base, "<="); i >= 0 {
		base = base[:i]
	}
	f.base = base
	m.fields = append(m.fields, f)
	return nil
}

// find returns the type that a message calls name.
func (p *parser) find(name, within string) *layout {
	name = plainType(name)
	if name == "Header" && p.types["std_msgs/Header"] != nil {
		return p.types["std_msgs/Header"]
	}
	if m := p.types[name]; m != nil {
		return m
	}
	if pkg, _, ok := strings.Cut(within, "/"); ok && !strings.Contains(name, "/") {
		return p.types[pkg+"/"+name]
	}
	return nil
}

func (p *parser) resolve(m *layout) error {
	switch m.state {
	case 1:
		return fmt.Errorf("%s holds itself", m.name)
	case 2:
		return nil
	}
	if p.depth++; p.depth > maxDepth {
		return fmt.Errorf("types in types, more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	m.state = 1
	if p.ros2 && len(m.fields) == 0 {
		// What IDL puts into a message that has nothing.
		m.fields = append(m.fields, field{name: "structure_needs_at_least_one_member", text: "uint8", base: "uint8"})
	}
	var sum strings.Builder
	for _, c := range m.constants {
		fmt.Fprintf(&sum, "%s %s=%s\n", c.typ, c.name, c.value)
	}
	for i := range m.fields {
		f := &m.fields[i]
		k, builtin := kinds[f.base]
		switch plain := plainType(f.base); {
		case builtin:
			if f.kind = k; p.ros2 && f.base == "byte" {
				f.kind = kUint8
			}
			fmt.Fprintf(&sum, "%s %s\n", f.text, f.name)
			m.steps++
			f.fixed = int64(widths[f.kind])
			if f.fixed == 0 {
				f.fixed = -1
			}
		case p.ros2 && plain == "builtin_interfaces/Time":
			f.kind, f.fixed = kTime, 8
			m.steps++
		case p.ros2 && plain == "builtin_interfaces/Duration":
			f.kind, f.fixed = kDuration, 8
			m.steps++
		default:
			if f.msg = p.find(f.base, m.name); f.msg == nil {
				return fmt.Errorf("%s.%s is a %s: %w", m.name, f.name, f.base, errNoType)
			}
			if err := p.resolve(f.msg); err != nil {
				return err
			}
			f.kind, f.fixed = kMessage, f.msg.fixed
			fmt.Fprintf(&sum, "%s %s\n", f.msg.md5, f.name)
			m.steps += 1 + f.msg.steps
		}
		if f.array == sequence {
			f.fixed = -1
		} else if f.array > 0 && f.fixed > 0 {
			f.fixed = min(f.fixed*int64(f.array), maxFixed)
		}
		if m.fixed >= 0 && f.fixed >= 0 {
			m.fixed = min(m.fixed+f.fixed, maxFixed)
		} else {
			m.fixed = -1
		}
		if m.steps > maxSteps {
			return fmt.Errorf("%s has more than %d fields", m.name, maxSteps)
		}
	}
	h := md5.Sum([]byte(strings.TrimSpace(sum.String())))
	m.md5 = hex.EncodeToString(h[:])
	m.state = 2
	return nil
}

var errNoType = errors.New("which has no definition here")

// MD5 returns the checksum by which ROS 1 tells versions of a type apart, of its
// definition with those of nested types.
func MD5(typ string, definition []byte) (string, error) {
	m, err := parseDefinition(typ, definition, false)
	if err != nil {
		return "", err
	}
	return m.md5, nil
}
