package label

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxLine bounds one label in a file, bytes: a ranking of a thousand clips fits.
const maxLine = 1 << 20

// Encode writes a label as one line of JSON, without the newline.
func Encode(l Label) ([]byte, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(l)
	if err == nil && !utf8.ValidString(l.words()) {
		err = errors.New("a name that is not UTF-8")
	}
	if err != nil {
		return nil, fmt.Errorf("label: %s: %w", l.ID, err)
	}
	return b, nil
}

// words are the strings of l that may hold anything.
func (l Label) words() string {
	var b bytes.Buffer
	for _, s := range []string{l.ID, l.Annotator, l.Retracts, l.Query.ID, l.Query.Why} {
		b.WriteString(s)
		b.WriteByte(' ') // so that no two halves make a whole letter
	}
	for _, c := range l.Query.Clips {
		b.WriteString(c.Episode + " ")
		for _, s := range c.Cameras {
			b.WriteString(s + " ")
		}
	}
	for _, s := range l.Tags {
		b.WriteString(s + " ")
	}
	return b.String()
}

// Decode reads what Encode wrote. A field that a label does not have is an
// error, and so is a label that Validate refuses.
func Decode(b []byte) (Label, error) {
	var l Label
	if !utf8.Valid(b) {
		return l, errors.New("label: not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return Label{}, fmt.Errorf("label: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Label{}, errors.New("label: more than one value")
	}
	if err := l.Validate(); err != nil {
		return Label{}, err
	}
	l.Stamp = l.Stamp.UTC()
	if y := l.Stamp.Year(); y < 0 || y > 9999 {
		return Label{}, fmt.Errorf("label: %s: answered in the year %d", l.ID, y)
	}
	// What may be left out is nil if it is empty, as Encode leaves it out.
	l.Tags, l.Marks = whole(l.Tags), whole(l.Marks)
	for i := range l.Query.Clips {
		c := &l.Query.Clips[i]
		c.Cameras = whole(c.Cameras)
	}
	return l, nil
}

func whole[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// Write writes labels as JSON lines.
func Write(w io.Writer, ls []Label) error {
	buf := bufio.NewWriter(w)
	for _, l := range ls {
		b, err := Encode(l)
		if err != nil {
			return err
		}
		buf.Write(b)
		buf.WriteByte('\n')
	}
	if err := buf.Flush(); err != nil { // which keeps the first error
		return fmt.Errorf("label: %w", err)
	}
	return nil
}

// Read reads JSON lines until their end. Empty lines are skipped; the first bad
// one ends it with an error that names its number.
func Read(r io.Reader) ([]Label, error) {
	var ls []Label
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	n := 0
	for sc.Scan() {
		n++
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		l, err := Decode(sc.Bytes())
		if err != nil {
			return ls, fmt.Errorf("line %d: %w", n, err)
		}
		ls = append(ls, l)
	}
	if err := sc.Err(); err != nil {
		return ls, fmt.Errorf("label: after line %d: %w", n, err)
	}
	return ls, nil
}
