package vlm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// schema is the part of JSON Schema that prompts use: what strict endpoints know.
type schema struct {
	Type       string             `json:"type"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Additional *bool              `json:"additionalProperties"`
	Items      *schema            `json:"items"`
	MinItems   *int               `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	Enum       []any              `json:"enum"`
	About      string             `json:"description"`
}

// compile reads a schema. Words that nobody would check are refused, lest they seem
// to be checked.
func compile(b json.RawMessage) (*schema, error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var s schema
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("vlm: Schema: %w", err)
	}
	return &s, s.known("$")
}

func (s *schema) known(at string) error {
	switch s.Type {
	case "object", "array", "string", "number", "integer", "boolean":
	default:
		return fmt.Errorf("vlm: Schema: %s has type %q, want object, array, string, number, integer or boolean", at, s.Type)
	}
	for name, p := range s.Properties {
		if p == nil {
			return fmt.Errorf("vlm: Schema: %s.%s is null", at, name)
		}
		if err := p.known(at + "." + name); err != nil {
			return err
		}
	}
	if s.Items != nil {
		return s.Items.known(at + "[]")
	}
	return nil
}

// check says where an answer leaves the schema.
func (s *schema) check(b []byte) error {
	if s == nil {
		return nil
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	return s.fits("$", v)
}

func (s *schema) fits(at string, v any) error {
	if len(s.Enum) > 0 && !slices.Contains(scalars(s.Enum), scalar(v)) {
		return fmt.Errorf("%s is %s, want one of %s", at, scalar(v), strings.Join(scalars(s.Enum), ", "))
	}
	switch v := v.(type) {
	case map[string]any:
		if s.Type == "object" {
			return s.object(at, v)
		}
	case []any:
		if s.Type == "array" {
			return s.array(at, v)
		}
	case float64:
		if s.Type == "number" || s.Type == "integer" && v == float64(int64(v)) {
			if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
				return fmt.Errorf("%s is %v, which is out of bounds", at, v)
			}
			return nil
		}
	case string:
		if s.Type == "string" {
			return nil
		}
	case bool:
		if s.Type == "boolean" {
			return nil
		}
	}
	return fmt.Errorf("%s is %s, want a value of type %s", at, scalar(v), s.Type)
}

func (s *schema) object(at string, v map[string]any) error {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s lacks %q", at, name)
		}
	}
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	sort.Strings(names) // the first fault is the same each time
	for _, name := range names {
		p, ok := s.Properties[name]
		if !ok {
			if s.Additional != nil && !*s.Additional {
				return fmt.Errorf("%s has %q, which is not asked for", at, name)
			}
			continue
		}
		if err := p.fits(at+"."+name, v[name]); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) array(at string, v []any) error {
	if s.MinItems != nil && len(v) < *s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
		return fmt.Errorf("%s has %d items, which is out of bounds", at, len(v))
	}
	if s.Items == nil {
		return nil
	}
	for i, x := range v {
		if err := s.Items.fits(fmt.Sprintf("%s[%d]", at, i), x); err != nil {
			return err
		}
	}
	return nil
}

// scalar is v in JSON, in short.
func scalar(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	default:
		b, err := json.Marshal(v)
		if err != nil || len(b) > 80 {
			return "a long value"
		}
		return string(b)
	}
}

func scalars(vs []any) []string {
	s := make([]string, len(vs))
	for i, v := range vs {
		s[i] = scalar(v)
	}
	return s
}
