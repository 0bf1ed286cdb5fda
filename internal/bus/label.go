package bus

import (
	"context"

	"github.com/rapport-rl/rapport/reward/label"
)

// labelKind is the kind of the journal's entries that are labels.
const labelKind = "label"

// Book is the labels in a session's journal, for whoever joins it. The process
// that owns the session's folder copies them into its database.
type Book struct {
	conn    *Conn
	session string
}

var _ label.Book = (*Book)(nil)

// Book returns the labels of a session.
func (c *Conn) Book(session string) *Book { return &Book{c, session} }

// Append returns once the server has stored the label. After an error it may be
// stored or not: append the same label again, which changes nothing where it is.
// The server tells added for 24 hours; reading never gives an id twice.
func (b *Book) Append(ctx context.Context, l label.Label) (added bool, err error) {
	data, err := label.Encode(l)
	if err != nil {
		return false, err
	}
	ack, err := b.conn.append(ctx, b.session, labelKind, l.ID, data)
	if err != nil {
		return false, err
	}
	return !ack.Duplicate, nil
}

// Labels returns the labels in the journal's order, each id once.
func (b *Book) Labels(ctx context.Context) ([]label.Label, error) {
	var out []label.Label
	_, err := b.Each(ctx, 1, false, func(l label.Label) error { out = append(out, l); return nil })
	return out, err
}

// Each calls fn for each label from a place of the journal on, as Replay does, and
// returns the place after the last entry that it has seen. An id is given once in a
// call. Entries that hold no label are counted and logged, and left out.
func (b *Book) Each(ctx context.Context, from uint64, follow bool, fn func(label.Label) error) (next uint64, err error) {
	seen := map[string]bool{}
	next = max(from, 1)
	bad := 0
	err = b.conn.Replay(ctx, b.session, from, follow, func(e Entry) error {
		if e.Kind == labelKind {
			l, err := label.DecodeEntry(e.ID, e.Stamp, e.Data)
			switch {
			case err != nil:
				if bad++; bad <= maxBad {
					b.conn.log.Warn("bus: journal: no label", "place", e.Seq, "id", e.ID, "err", err)
				}
			case !seen[l.ID]:
				seen[l.ID] = true
				if err := fn(l); err != nil {
					return err
				}
			}
		}
		next = e.Seq + 1
		return nil
	})
	if err == nil && bad > maxBad && !follow {
		b.conn.log.Warn("bus: journal: entries that are no labels", "count", bad)
	}
	return next, err
}

// maxBad is how many bad entries are told one by one.
const maxBad = 3
