package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
)

// preferences are the labels of the session: what people said can be added to and
// never changed, by whichever program opens the file. An id that is there already
// is ignored, even where the statement says to replace.
const preferences = `
CREATE TABLE IF NOT EXISTS preferences (
	n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, annotator TEXT NOT NULL, stamp_ns INTEGER NOT NULL, data TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS preferences_once BEFORE INSERT ON preferences
	WHEN EXISTS (SELECT 1 FROM preferences WHERE id = NEW.id OR n = NEW.n) BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER IF NOT EXISTS preferences_fixed BEFORE UPDATE ON preferences BEGIN SELECT RAISE(ABORT, 'a label is never changed'); END;
CREATE TRIGGER IF NOT EXISTS preferences_kept BEFORE DELETE ON preferences BEGIN SELECT RAISE(ABORT, 'a label is never deleted'); END;
`

// A session is the label.Book of what was said in it.
var _ label.Book = (*Session)(nil)

// Append stores a label. One whose id is there already changes nothing.
func (s *Session) Append(ctx context.Context, l label.Label) (added bool, err error) {
	return s.appendLabel(ctx, s.db, l)
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (s *Session) appendLabel(ctx context.Context, db execer, l label.Label) (bool, error) {
	b, err := label.Encode(l)
	if err != nil {
		return false, err
	}
	// The columns beside data are for whoever looks into the file.
	res, err := db.ExecContext(ctx, "INSERT INTO preferences (id, kind, annotator, stamp_ns, data) VALUES (?, ?, ?, ?, ?)", l.ID, kindOf(l), l.Annotator, nanos(l.Stamp), string(b))
	var rows int64
	if err == nil {
		rows, err = res.RowsAffected()
	}
	if err != nil {
		return false, s.fault("store a label", err)
	}
	return rows > 0, nil
}

func kindOf(l label.Label) string {
	if l.Retracts != "" {
		return "retraction"
	}
	return string(l.Query.Kind)
}

// Labels returns the labels of the session in the order in which they were
// appended, retracted ones too.
func (s *Session) Labels(ctx context.Context) ([]label.Label, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT n, data FROM preferences ORDER BY n")
	if err != nil {
		return nil, s.fault("read labels", err)
	}
	defer rows.Close()
	var out []label.Label
	for rows.Next() {
		var n int64
		var data string
		if err := rows.Scan(&n, &data); err != nil {
			return nil, s.fault("read labels", err)
		}
		l, err := label.Decode([]byte(data))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: label in row %d of preferences: %w", ErrCorrupt, s.dir, n, err)
		}
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fault("read labels", err)
	}
	return out, nil
}

// convertLabels takes over the triplets of sessions of before there were
// preferences. Their table stays as it is.
func (s *Session) convertLabels(ctx context.Context) error {
	var name string
	err := s.db.QueryRowContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'labels'").Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return s.fault("look for labels", err)
	}
	old, err := s.oldLabels(ctx)
	if err != nil || len(old) == 0 {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.fault("take over labels", err)
	}
	for _, l := range old {
		if _, err := s.appendLabel(ctx, tx, l); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil {
		return s.fault("take over labels", err)
	}
	return nil
}

func (s *Session) oldLabels(ctx context.Context) ([]label.Label, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT stamp_ns, annotator, data FROM labels WHERE kind = 'triplet' ORDER BY n")
	if err != nil {
		return nil, s.fault("read labels", err)
	}
	defer rows.Close()
	var out []label.Label
	for rows.Next() {
		var ns int64
		var who, data string
		if err := rows.Scan(&ns, &who, &data); err != nil {
			return nil, s.fault("read labels", err)
		}
		l, err := label.FromNames(len(out), who, time.Unix(0, ns).UTC(), []byte(data))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: labels: %w", ErrCorrupt, s.dir, err)
		}
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fault("read labels", err)
	}
	return out, nil
}

// HasLabel says whether a label of an id is there.
func (s *Session) HasLabel(ctx context.Context, id string) (bool, error) {
	var n int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM preferences WHERE id = ?", id).Scan(&n); err != nil {
		return false, s.fault("look for a label", err)
	}
	return n > 0, nil
}
