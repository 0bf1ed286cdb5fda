package bag

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Damage is what is not whole in a recording, and what was lost with it.
type Damage struct {
	Chunks   int   // that are lost, or not whole
	Bytes    int64 // of the file that were skipped
	Messages int64 // lost, as far as the index or the chunks tell
	// Unknown says that more messages may be lost than Messages, since nothing
	// tells how many there were.
	Unknown    bool
	Truncated  bool    // the file ends before its end
	Unindexed  bool    // the recorder died before it wrote the index
	Disordered int64   // messages that came before an earlier one; see docs/bags.md
	Ranges     []Range // of time from which messages are lost, sorted and apart
	Notes      []string
}

// Range is a stretch of time, both ends included.
type Range struct{ From, To time.Time }

// Bounds of what is kept of damage, which a broken file could make grow.
const (
	maxRanges = 256
	maxNotes  = 20
)

// Lost says that messages were lost, or may have been.
func (d Damage) Lost() bool { return d.Messages > 0 || d.Unknown }

// None says that nothing is amiss.
func (d Damage) None() bool {
	return d.Chunks == 0 && d.Bytes == 0 && d.Disordered == 0 && !d.Lost() && !d.Truncated && !d.Unindexed
}

func (d Damage) String() string {
	if d.None() {
		return "none"
	}
	var s []string
	if d.Unindexed {
		s = append(s, "no index")
	}
	if d.Truncated {
		s = append(s, "truncated")
	}
	if d.Chunks > 0 {
		s = append(s, several(int64(d.Chunks), "damaged chunk"))
	}
	if d.Bytes > 0 {
		s = append(s, several(d.Bytes, "byte")+" skipped")
	}
	switch {
	case d.Unknown && d.Messages > 0:
		s = append(s, "at least "+several(d.Messages, "message")+" lost")
	case d.Unknown:
		s = append(s, "an unknown number of messages lost")
	default:
		s = append(s, several(d.Messages, "message")+" lost")
	}
	if d.Disordered > 0 {
		s = append(s, several(d.Disordered, "message")+" out of order")
	}
	return strings.Join(s, ", ")
}

func several(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// note keeps what is worth telling a person.
func (d *Damage) note(format string, args ...any) {
	if len(d.Notes) < maxNotes {
		d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
	} else if len(d.Notes) == maxNotes {
		d.Notes = append(d.Notes, "and so on")
	}
}

// during adds a stretch of time from which messages are lost.
func (d *Damage) during(from, to time.Time) {
	if from.IsZero() || to.Before(from) {
		return
	}
	d.Ranges = append(d.Ranges, Range{from, to})
	slices.SortFunc(d.Ranges, func(a, b Range) int { return a.From.Compare(b.From) })
	merged := d.Ranges[:1]
	for _, r := range d.Ranges[1:] {
		if last := &merged[len(merged)-1]; !r.From.After(last.To) {
			if r.To.After(last.To) {
				last.To = r.To
			}
		} else {
			merged = append(merged, r)
		}
	}
	d.Ranges = merged
	if len(d.Ranges) > maxRanges { // then coarser is better than incomplete
		d.Ranges[maxRanges-1].To = d.Ranges[len(d.Ranges)-1].To
		d.Ranges = d.Ranges[:maxRanges]
	}
}

func (d Damage) clone() Damage {
	d.Ranges, d.Notes = slices.Clone(d.Ranges), slices.Clone(d.Notes)
	return d
}
