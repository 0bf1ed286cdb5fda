package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SaveCheckpoint stores data under a kind and a version; the same version again
// replaces it. The file is whole and durable before the database names it.
func (s *Session) SaveCheckpoint(ctx context.Context, kind string, version uint64, data []byte) error {
	if !safe.MatchString(kind) {
		return fmt.Errorf("store: checkpoint kind %q is no file name", kind)
	}
	sum := sha256.Sum256(data)
	// The name holds the sum, so that a replaced version never has a moment in
	// which the database names a file of other content.
	name := fmt.Sprintf("%s-%08d-%s.bin", kind, version, hex.EncodeToString(sum[:4]))
	if err := writeFile(filepath.Join(s.dir, "checkpoints", name), data); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, `INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (kind, version) DO UPDATE SET file = excluded.file, size = excluded.size, sha256 = excluded.sha256`,
		kind, int64(version), name, len(data), hex.EncodeToString(sum[:]))
	if err != nil {
		return s.fault("store checkpoint "+name, err)
	}
	return nil
}

// LatestCheckpoint returns the newest checkpoint of a kind. ErrNone says that
// there is none; ErrCorrupt that its file is damaged, with the version to fall
// back to, which DropCheckpoint does.
func (s *Session) LatestCheckpoint(ctx context.Context, kind string) (version uint64, data []byte, err error) {
	return s.CheckpointBefore(ctx, kind, math.MaxInt64)
}

// CheckpointBefore is LatestCheckpoint of those whose version is below beyond.
func (s *Session) CheckpointBefore(ctx context.Context, kind string, beyond uint64) (version uint64, data []byte, err error) {
	var v, size int64
	var name, want string
	err = s.db.QueryRowContext(ctx, "SELECT version, file, size, sha256 FROM checkpoints WHERE kind = ? AND version < ? ORDER BY version DESC LIMIT 1", kind, int64(beyond)).Scan(&v, &name, &size, &want)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, fmt.Errorf("%w: checkpoint of kind %s in %s", ErrNone, kind, s.dir)
	}
	if err != nil {
		return 0, nil, s.fault("look for a checkpoint", err)
	}
	path := filepath.Join(s.dir, "checkpoints", name)
	data, err = os.ReadFile(path)
	if err == nil {
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) == want {
			return uint64(v), data, nil
		}
		err = fmt.Errorf("%d bytes that are not the %d that were written", len(data), size)
	}
	var before sql.NullInt64
	if e := s.db.QueryRowContext(ctx, "SELECT max(version) FROM checkpoints WHERE kind = ? AND version < ?", kind, v).Scan(&before); e != nil {
		return uint64(v), nil, s.fault("look for a checkpoint", e)
	}
	d := &Damage{Path: path, Version: uint64(v), Err: err, Remedy: fmt.Sprintf("make it anew with --resume --drop-checkpoint %s", kind)}
	if before.Valid {
		d.Remedy = fmt.Sprintf("version %d is before it: go on from there with --resume --drop-checkpoint %s", before.Int64, kind)
	}
	return uint64(v), nil, d
}

// Damage is the ErrCorrupt of a checkpoint.
type Damage struct {
	Path    string // of its file
	Version uint64
	Err     error  // what is wrong with it
	Remedy  string // that of a session; whoever goes on otherwise says another
}

func (d *Damage) Error() string {
	return fmt.Sprintf("%v: %s: %v; %s", ErrCorrupt, d.Path, d.Err, d.Remedy)
}

// Unwrap says that it is an ErrCorrupt, and why.
func (d *Damage) Unwrap() []error { return []error{ErrCorrupt, d.Err} }

// HasCheckpoint says, without opening it, whether the session in dir has files of
// checkpoints of a kind.
func HasCheckpoint(dir, kind string) (bool, error) {
	fs, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	return slices.ContainsFunc(fs, func(f os.DirEntry) bool { return strings.HasPrefix(f.Name(), kind+"-") }), nil
}

// CheckpointSum is the SHA-256 of the newest checkpoint of a kind in hexadecimal.
// ErrNone says that there is none.
func (s *Session) CheckpointSum(ctx context.Context, kind string) (string, error) {
	var sum string
	err := s.db.QueryRowContext(ctx, "SELECT sha256 FROM checkpoints WHERE kind = ? ORDER BY version DESC LIMIT 1", kind).Scan(&sum)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("%w: checkpoint of kind %s in %s", ErrNone, kind, s.dir)
	}
	if err != nil {
		return "", s.fault("look for a checkpoint", err)
	}
	return sum, nil
}

// Checkpoint returns the checkpoint of a kind whose SHA-256 in hexadecimal is sum, of whatever
// version. ErrNone says that it is not kept whole.
func (s *Session) Checkpoint(ctx context.Context, kind, sum string) ([]byte, error) {
	var name string
	err := s.db.QueryRowContext(ctx, "SELECT file FROM checkpoints WHERE kind = ? AND sha256 = ? LIMIT 1", kind, sum).Scan(&name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, s.fault("look for a checkpoint", err)
	}
	if err == nil {
		data, err := os.ReadFile(filepath.Join(s.dir, "checkpoints", name))
		if got := sha256.Sum256(data); err == nil && hex.EncodeToString(got[:]) == sum {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%w: checkpoint of kind %s and SHA-256 %.12s in %s", ErrNone, kind, sum, s.dir)
}

// DropCheckpoint forgets the newest checkpoint of a kind; its file stays.
func (s *Session) DropCheckpoint(ctx context.Context, kind string) error {
	res, err := s.db.ExecContext(ctx, "DELETE FROM checkpoints WHERE kind = ?1 AND version = (SELECT max(version) FROM checkpoints WHERE kind = ?1)", kind)
	if err != nil {
		return s.fault("drop a checkpoint", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(fmt.Errorf("%w: checkpoint of kind %s in %s", ErrNone, kind, s.dir), err)
	}
	return nil
}

// ForgetCheckpoints forgets those of a kind beyond a version, which it does not read; their files stay.
func (s *Session) ForgetCheckpoints(ctx context.Context, kind string, beyond uint64) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM checkpoints WHERE kind = ? AND version > ?", kind, int64(beyond)); err != nil {
		return s.fault("forget checkpoints", err)
	}
	return nil
}

// PruneCheckpoints keeps the newest keep of a kind.
func (s *Session) PruneCheckpoints(ctx context.Context, kind string, keep int) error {
	rows, err := s.db.QueryContext(ctx, "SELECT version, file FROM checkpoints WHERE kind = ? ORDER BY version DESC LIMIT -1 OFFSET ?", kind, keep)
	if err != nil {
		return s.fault("list checkpoints", err)
	}
	type old struct {
		version int64
		file    string
	}
	var gone []old
	for rows.Next() {
		var o old
		if err = rows.Scan(&o.version, &o.file); err != nil {
			break
		}
		gone = append(gone, o)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return s.fault("list checkpoints", err)
	}
	for _, o := range gone {
		if _, err := s.db.ExecContext(ctx, "DELETE FROM checkpoints WHERE kind = ? AND version = ?", kind, o.version); err != nil {
			return s.fault("forget a checkpoint", err)
		}
		if err := ignoreGone(os.Remove(filepath.Join(s.dir, "checkpoints", o.file))); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}
