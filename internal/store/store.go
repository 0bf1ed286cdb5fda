// Package store is what a session keeps on disk, below runs/NAME/:
//
//	config.yaml        the configuration as resolved
//	session.db         SQLite: episodes, labels, metrics, checkpoints, faults with who acknowledged them, dry runs, marks
//	episodes/ID.mcap   one recording an episode
//	earlier/NAME.mcap  what labels tell of an earlier session's episodes, without frames
//	checkpoints/       parameters, encoders, learners; each with its SHA-256 in session.db
//
// What a call has returned for is on disk: a process killed later loses nothing
// of it, and an episode is counted once however often it is added.
//
//	s, err := store.Create("runs/group-001", yaml)
//	defer s.Close()
//	added, err := s.AddEpisode(ctx, episode)
//	err = s.SaveCheckpoint(ctx, "learner", 40, data)
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"modernc.org/sqlite" // and the driver "sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/rapport-rl/rapport/internal/flock"
)

// version of the tables; a file of another version is refused.
const version = 1

// schema creates the tables.
const schema = `
CREATE TABLE episodes (
	id TEXT PRIMARY KEY, seq INTEGER NOT NULL, origin INTEGER NOT NULL, seed TEXT NOT NULL,
	steps INTEGER NOT NULL, return REAL, terminal INTEGER NOT NULL, file TEXT NOT NULL
);
CREATE TABLE metrics (series TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY (series, name, step)) WITHOUT ROWID;
CREATE TABLE checkpoints (
	kind TEXT NOT NULL, version INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
	PRIMARY KEY (kind, version)
) WITHOUT ROWID;
CREATE TABLE faults (n INTEGER PRIMARY KEY AUTOINCREMENT, stamp_ns INTEGER NOT NULL, episode TEXT NOT NULL, cause TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

var (
	// ErrInUse says that another process writes the session.
	ErrInUse = errors.New("store: the session is in use by another process; end that one, or choose another name")
	// ErrCorrupt says that a file is not what was written.
	ErrCorrupt = errors.New("store: damaged file")
	// ErrNone says that there is nothing of what was asked for.
	ErrNone = errors.New("store: there is none")
)

// Session is an open session folder. Methods are safe for several goroutines.
type Session struct {
	dir  string
	db   *sql.DB
	lock *os.File

	mu       sync.Mutex
	recorded map[string]bool // ids of the files that this process began
	made     [2]string       // as Made was told
	lossless bool
}

// Lossless has the frames of episodes kept bit for bit from now on.
func (s *Session) Lossless(yes bool) {
	s.mu.Lock()
	s.lossless = yes
	s.mu.Unlock()
}

// Made says which encoder and which reward make the features and rewards of the
// episodes that are stored from now on, by the sums of what was loaded.
func (s *Session) Made(encoder, reward string) {
	s.mu.Lock()
	s.made = [2]string{encoder, reward}
	s.mu.Unlock()
}

// ErrTaken says that a folder holds a session.
var ErrTaken = errors.New("session.db is there")

// Create makes a session folder, which must not hold a session yet, nor what one left
// (ErrLost), with the configuration as resolved. If it fails, no folder is left that was
// not there.
func Create(dir string, config []byte) (_ *Session, err error) {
	taken := func() error {
		if _, err := os.Stat(filepath.Join(dir, "session.db")); err != nil {
			return nil
		}
		return fmt.Errorf("store: %s holds a session already (%w); go on with it, or choose another name", dir, ErrTaken)
	}
	if err := taken(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	made := os.Mkdir(dir, 0o755) == nil
	for _, d := range []string{dir, filepath.Join(dir, "episodes"), filepath.Join(dir, "checkpoints")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	lock, err := hold(dir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(taken(), Lost(dir)); err != nil { // between the look and the lock
		return nil, errors.Join(err, flock.Release(lock))
	}
	defer func() {
		if err != nil && made {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := writeFile(filepath.Join(dir, "config.yaml"), config); err != nil {
		return nil, errors.Join(err, flock.Release(lock))
	}
	s, err := open(dir, lock)
	if err != nil {
		return nil, err
	}
	_, err = s.db.Exec(fmt.Sprintf("BEGIN; %s %s PRAGMA user_version = %d; COMMIT;", schema, later+preferences, version))
	if err != nil {
		return nil, errors.Join(s.fault("create session.db", err), s.Close())
	}
	return s, nil
}

// Open opens an existing session folder for going on.
func Open(dir string) (*Session, error) {
	if err := Lost(dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "session.db")); err != nil {
		return nil, fmt.Errorf("store: %s holds no session: %w", dir, err)
	}
	if err := emptied(dir); err != nil { // before SQLite writes a header into it
		return nil, err
	}
	lock, err := hold(dir)
	if err != nil {
		return nil, err
	}
	s, err := open(dir, lock)
	if err != nil {
		return nil, err
	}
	var v int
	err = s.db.QueryRow("PRAGMA user_version").Scan(&v)
	switch {
	case err != nil && !damaged(err):
		err = s.fault("read session.db", err)
	case err != nil:
		err = fmt.Errorf("%w: %s: %w; bring the file back from a copy, or begin a session anew", ErrCorrupt, filepath.Join(dir, "session.db"), err)
	case v == 0:
		if err = hollow(dir); err != nil {
			break
		}
		err = fmt.Errorf("store: %s: session.db was never finished: its creator died; remove the folder and begin anew", dir)
	case v != version:
		err = fmt.Errorf("store: %s: session.db is of version %d, this program reads %d: another version of rapport made it; use that one", dir, v, version)
	default:
		if _, err = s.db.Exec(later + preferences); err != nil {
			err = s.fault("add tables to session.db", err)
		} else {
			err = s.convertLabels(context.Background())
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// damaged says whether SQLite finds fault with the file, and not with the disk.
func damaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff // the rest says where
	return code == lib.SQLITE_CORRUPT || code == lib.SQLITE_NOTADB
}

// hold takes the session's lock. The kernel drops it with the process, however
// that ends.
func hold(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("store: %w; a session is locked while anybody reads it, too: copy %s to where you may write", err, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := flock.Try(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrInUse), lock.Close())
	}
	return lock, nil
}

// InUse reports whether a process has the session in dir open. Unlike a process's
// number, the lock cannot be somebody else's by now.
func InUse(dir string) (bool, error) {
	lock, err := hold(dir)
	if errors.Is(err, ErrInUse) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, flock.Release(lock)
}

func open(dir string, lock *os.File) (*Session, error) {
	db, err := connect(dir, "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, errors.Join(err, flock.Release(lock))
	}
	return &Session{dir: dir, db: db, lock: lock, recorded: map[string]bool{}}, nil
}

// connect opens the database of a session in SQLite's way that query tells.
func connect(dir, query string) (*sql.DB, error) {
	path := filepath.Join(dir, "session.db")
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	// Folders may have #, ? or % in their names.
	uri := url.URL{Scheme: "file", Path: abs, RawQuery: query}
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer; a second connection would only wait
	return db, nil
}

// Close releases the session.
func (s *Session) Close() error {
	return errors.Join(s.db.Close(), flock.Release(s.lock))
}

// Dir is the session's folder.
func (s *Session) Dir() string { return s.dir }

// Config returns the configuration that the session was created with.
func (s *Session) Config() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "config.yaml"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return b, nil
}

// fault names the session and what a user can do.
func (s *Session) fault(what string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("store: %s: %s: %w", s.dir, what, err)
	}
	return fmt.Errorf("store: %s: %s: %w; free space or mend the disk, what was stored before is kept", s.dir, what, err)
}

// Mark sets a named value, as how far the session is.
func (s *Session) Mark(ctx context.Context, name, value string) error {
	_, err := s.db.ExecContext(ctx, "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	if err != nil {
		return s.fault("mark "+name, err)
	}
	return nil
}

// Marked returns a named value, "" if it was never set.
func (s *Session) Marked(ctx context.Context, name string) (string, error) {
	var v string
	err := s.db.QueryRowContext(ctx, "SELECT value FROM marks WHERE name = ?", name).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", s.fault("read mark "+name, err)
	}
	return v, nil
}

// Put writes a file into the session's folder, as the report: whole, or not at
// all.
func (s *Session) Put(name string, data []byte) error {
	if !safe.MatchString(name) {
		return fmt.Errorf("store: %q is no file name", name)
	}
	return writeFile(filepath.Join(s.dir, name), data)
}

// writeFile writes a file so that it is either whole or not there.
func writeFile(path string, data []byte) error {
	tmp := path + ".part"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("store: %s: %w; free space or choose another folder", path, errors.Join(err, ignoreGone(os.Remove(tmp))))
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
