package foxglove

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// The messages, with the fields that Foxglove documents for them.

type stamp struct {
	Sec  int64 `json:"sec"`
	Nsec int64 `json:"nsec"`
}

func stampOf(t time.Time) stamp { return stamp{t.Unix(), int64(t.Nanosecond())} }

type vector struct {
	X *float64 `json:"x"`
	Y *float64 `json:"y"`
	Z *float64 `json:"z"`
}

type quaternion struct {
	X *float64 `json:"x"`
	Y *float64 `json:"y"`
	Z *float64 `json:"z"`
	W *float64 `json:"w"`
}

type pose struct {
	Position    vector     `json:"position"`
	Orientation quaternion `json:"orientation"`
}

type poseInFrame struct {
	Timestamp stamp  `json:"timestamp"`
	FrameID   string `json:"frame_id"`
	Pose      pose   `json:"pose"`
}

type joint struct {
	Name     string   `json:"name"`
	Position *float64 `json:"position,omitempty"`
	Velocity *float64 `json:"velocity,omitempty"`
}

type jointStates struct {
	Timestamp stamp   `json:"timestamp"`
	Joints    []joint `json:"joints"`
}

type image struct {
	Timestamp stamp  `json:"timestamp"`
	FrameID   string `json:"frame_id"`
	Data      []byte `json:"data"`
	Format    string `json:"format"`
}

type point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

type colour struct {
	R float64 `json:"r"`
	G float64 `json:"g"`
	B float64 `json:"b"`
	A float64 `json:"a"`
}

type circle struct {
	Timestamp stamp   `json:"timestamp"`
	Position  point   `json:"position"`
	Diameter  float64 `json:"diameter"`
	Thickness float64 `json:"thickness"`
	Fill      colour  `json:"fill_color"`
	Outline   colour  `json:"outline_color"`
}

type text struct {
	Timestamp  stamp   `json:"timestamp"`
	Position   point   `json:"position"`
	Text       string  `json:"text"`
	Size       float64 `json:"font_size"`
	Colour     colour  `json:"text_color"`
	Background colour  `json:"background_color"`
}

// lines are of no message; readers want them in its schema.
type lines struct {
	Timestamp stamp    `json:"timestamp"`
	Type      int      `json:"type"`
	Points    []point  `json:"points"`
	Outline   colour   `json:"outline_color"`
	Outlines  []colour `json:"outline_colors"`
	Fill      colour   `json:"fill_color"`
	Thickness float64  `json:"thickness"`
}

type annotations struct {
	Timestamp stamp    `json:"timestamp"`
	Circles   []circle `json:"circles"`
	Points    []lines  `json:"points"`
	Texts     []text   `json:"texts"`
}

// Ours.

type wrench struct {
	Timestamp stamp  `json:"timestamp"`
	FrameID   string `json:"frame_id"`
	Force     vector `json:"force"`  // N
	Torque    vector `json:"torque"` // N m
}

type command struct {
	Timestamp stamp       `json:"timestamp"`
	Delta     [6]*float64 `json:"delta"` // m and rad, base frame
	Grip      *float64    `json:"grip"`  // 0 closed .. 1 open
	By        string      `json:"by"`
	Version   uint64      `json:"version"`
}

type reward struct {
	Timestamp stamp    `json:"timestamp"`
	Step      int      `json:"step"`
	Reward    *float64 `json:"reward"`
	Return    *float64 `json:"return"` // so far
	Expert    string   `json:"expert"`
	Matched   int      `json:"matched"`
}

// schema is a message's JSON Schema, made of its type.
type schema struct {
	name string
	of   any
}

var schemas = []schema{
	{"foxglove.CompressedImage", image{}},
	{"foxglove.ImageAnnotations", annotations{}},
	{"foxglove.JointStates", jointStates{}},
	{"foxglove.PoseInFrame", poseInFrame{}},
	{"rapport.Wrench", wrench{}},
	{"rapport.Command", command{}},
	{"rapport.Reward", reward{}},
}

func schemaID(name string) uint16 {
	for i, s := range schemas {
		if s.name == name {
			return uint16(i + 1)
		}
	}
	panic("foxglove: message without a schema")
}

func (s schema) text() string {
	m := describe(reflect.TypeOf(s.of))
	m["title"] = s.name
	b, err := json.Marshal(m)
	if err != nil {
		panic("foxglove: schema that is no JSON") // types of this package alone
	}
	return string(b)
}

// describe is the JSON Schema of a type of this package.
func describe(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.Struct:
		m := map[string]any{"type": "object"}
		if t == reflect.TypeFor[stamp]() {
			// The title is how Foxglove knows a time.
			m["title"] = "time"
		}
		fields := map[string]any{}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields[name] = describe(f.Type)
		}
		m["properties"] = fields
		return m
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": "array", "items": describe(t.Elem())}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	}
	return map[string]any{"type": "integer"}
}
