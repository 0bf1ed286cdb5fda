package vlm

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"github.com/rapport-rl/rapport/robot"
)

// question is a prompt as it is sent.
type question struct {
	system, text string
	schema       []byte
	images       []picture
	turn         int
	key          string // of the cache
}

type picture struct{ name, url string }

// render encodes the images and says in words what the schema says, for endpoints
// that ignore it.
func (c *Client) render(p Prompt) (question, error) {
	if p.Text == "" {
		return question{}, errors.New("vlm: the prompt has no Text")
	}
	q := question{system: p.System, text: p.Text, schema: p.Schema, turn: p.Turn}
	if len(p.Schema) > 0 {
		q.text += "\n\nAnswer with one JSON object and nothing else. Its JSON schema is:\n" + string(p.Schema)
	}
	h := sha256.New()
	put := func(b []byte) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	put([]byte("rapport vlm 1"))
	put([]byte(c.cfg.Model))
	put([]byte(q.system))
	put([]byte(q.text))
	put(q.schema)
	put(binary.LittleEndian.AppendUint64(nil, uint64(p.Turn)))
	for _, m := range p.Images {
		b, err := encode(m.Frame)
		if err != nil {
			return q, err
		}
		q.images = append(q.images, picture{m.Name, "data:image/png;base64," + base64.StdEncoding.EncodeToString(b)})
		put([]byte(m.Name))
		put(binary.LittleEndian.AppendUint64(nil, uint64(m.Frame.W)))
		put(m.Frame.Pix)
	}
	q.key = hex.EncodeToString(h.Sum(nil))
	return q, nil
}

// encode makes a PNG of a BGR8 frame: nothing of thin lines and labels is lost.
func encode(f robot.Frame) ([]byte, error) {
	if f.W <= 0 || f.H <= 0 || len(f.Pix) != 3*f.W*f.H {
		return nil, fmt.Errorf("vlm: image of camera %q: %d bytes, want 3*%d*%d of BGR", f.Camera, len(f.Pix), f.W, f.H)
	}
	m := image.NewRGBA(image.Rect(0, 0, f.W, f.H))
	for i := range f.W * f.H {
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = f.Pix[3*i+2], f.Pix[3*i+1], f.Pix[3*i], 255
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return nil, fmt.Errorf("vlm: %w", err)
	}
	return b.Bytes(), nil
}

// JSON finds the JSON value of a model's reply: the whole reply or, of what comes after the
// thoughts of one that reasons, the last object that is complete, fenced or not; without one,
// the last array. Drafts come before answers.
func JSON(reply string) ([]byte, error) {
	s := strings.TrimSpace(reply)
	if s == "" {
		return nil, errors.New("the reply is empty")
	}
	if json.Valid([]byte(s)) {
		return []byte(s), nil
	}
	const thought = "</think>"
	if i := strings.LastIndex(s, thought); i >= 0 {
		s = s[i+len(thought):]
	}
	var object, array json.RawMessage
	for {
		i := strings.IndexAny(s, "{[")
		if i < 0 {
			break
		}
		s = s[i:]
		var v json.RawMessage
		d := json.NewDecoder(strings.NewReader(s))
		switch err := d.Decode(&v); {
		case err != nil: // a bracket of its words
			s = s[1:]
			continue
		case v[0] == '{':
			object = v
		default:
			array = v
		}
		s = s[d.InputOffset():]
	}
	switch {
	case object != nil:
		return object, nil
	case array != nil:
		return array, nil
	}
	return nil, errors.New("the reply has no JSON in it")
}

// recall reads a kept answer. One that was damaged is asked for again.
func (c *Client) recall(key string) ([]byte, bool) {
	if c.cfg.Cache == "" {
		return nil, false
	}
	b, err := os.ReadFile(filepath.Join(c.cfg.Cache, key+".json"))
	if err != nil || !json.Valid(b) {
		return nil, false
	}
	return b, true
}

// keep writes an answer, whole or not at all.
func (c *Client) keep(key string, b []byte) error {
	if c.cfg.Cache == "" {
		return nil
	}
	if err := os.MkdirAll(c.cfg.Cache, 0o755); err != nil {
		return fmt.Errorf("vlm: cache: %w", err)
	}
	f, err := os.CreateTemp(c.cfg.Cache, "new-*")
	if err != nil {
		return fmt.Errorf("vlm: cache: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.cfg.Cache, key+".json"))
	}
	if err != nil {
		return fmt.Errorf("vlm: cache: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
