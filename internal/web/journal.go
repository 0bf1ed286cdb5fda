package web

import (
	"context"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/reward/label"
)

// Journal is the labels of a session on the bus, of which only the new ones are
// read each time.
type Journal struct {
	book *bus.Book

	mu   sync.Mutex // held while reading, so that no entry is read twice
	ls   []label.Label
	next uint64
	seen map[string]bool
}

var _ label.Book = (*Journal)(nil)

// NewJournal reads a session's labels by a connection, which outlives it.
func NewJournal(c *bus.Conn, session string) *Journal {
	return &Journal{book: c.Book(session), next: 1, seen: map[string]bool{}}
}

// Append stores a label. One whose ID is there already changes nothing.
func (j *Journal) Append(ctx context.Context, l label.Label) (added bool, err error) {
	return j.book.Append(ctx, l)
}

// Labels returns all labels, in the journal's order.
func (j *Journal) Labels(ctx context.Context) ([]label.Label, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	next, err := j.book.Each(ctx, j.next, false, func(l label.Label) error {
		if !j.seen[l.ID] {
			j.seen[l.ID] = true
			j.ls = append(j.ls, l)
		}
		return nil
	})
	if err != nil {
		return nil, err // what was read is read again, and told apart by its ID
	}
	j.next = next
	return slices.Clip(j.ls), nil
}
