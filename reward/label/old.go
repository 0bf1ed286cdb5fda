package label

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// FromNames is the n-th triplet, from 0, as sessions kept it before this format:
// {"anchor": ..., "better": ..., "worse": ...}, names of episodes. Which was on the
// left is not known; here the better one.
func FromNames(n int, annotator string, stamp time.Time, data []byte) (Label, error) {
	var said struct{ Anchor, Better, Worse string }
	if err := json.Unmarshal(data, &said); err != nil {
		return Label{}, fmt.Errorf("label: old triplet %d: %w", n, err)
	}
	id := fmt.Sprintf("triplet-%06d", n) // which is what the journal called it
	l := Label{
		ID: id, Annotator: annotator, Stamp: stamp, Choice: Left,
		Query: Query{ID: id, Kind: Triplet, Clips: []Clip{{Episode: said.Anchor}, {Episode: said.Better}, {Episode: said.Worse}}},
	}
	return l, l.Validate()
}

// oldID is the n of an ID that FromNames gave.
func oldID(id string) (n int, ok bool) {
	rest, ok := strings.CutPrefix(id, "triplet-")
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscanf(rest, "%06d", &n)
	return n, err == nil && id == fmt.Sprintf("triplet-%06d", n)
}

// DecodeEntry reads a label from a journal's entry: as Encode wrote it or, with
// an id of before this format, the names of a triplet.
func DecodeEntry(id string, stamp time.Time, data []byte) (Label, error) {
	l, err := Decode(data)
	if err == nil || !strings.Contains(string(data), `"anchor"`) {
		return l, err
	}
	if n, ok := oldID(id); ok {
		return FromNames(n, "simulated", stamp, data)
	}
	return l, err
}
