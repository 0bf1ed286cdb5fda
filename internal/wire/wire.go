// Package wire is the only place that builds ports: it reads a configuration
// and puts backend, guard, extractor, scorer, policy and learner together, in
// one process or in several.
//
//	s, err := wire.Create(ctx, cfg, wire.Options{Tell: bar, Log: log})
//	defer s.Close()
//	result, err := s.Run(ctx)
//
// It alone has the simulator's truth at hand, and gives it to simulated people
// and to evaluation (docs/adr/0002).
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
)

// Progress is told that done of total parts of a stage are done. It may be
// called by any goroutine.
type Progress func(stage string, done, total int, note string)

// Options are what a session needs beside its configuration.
type Options struct {
	Tell Progress
	Log  *slog.Logger
	// Now is the clock for the report's durations alone.
	Now func() time.Time
}

// Session is one fine-tuning session in this process, on disk.
type Session struct {
	cfg   config.Config
	name  string
	store *store.Session
	bus   *bus.Server
	tell  Progress
	log   *slog.Logger
	now   func() time.Time
}

// Result is what a session ends with.
type Result struct {
	Dir, Report   string
	Before, After report.Share
}

// Create begins a new session in a folder of its own below cfg.Out.
func Create(ctx context.Context, cfg config.Config, o Options) (*Session, error) {
	name := cfg.Name
	if name == "" {
		var err error
		if name, err = freeName(cfg.Out, cfg.Robot.Task); err != nil {
			return nil, err
		}
	}
	resolved, err := cfg.YAML()
	if err != nil {
		return nil, err
	}
	st, err := store.Create(filepath.Join(cfg.Out, name), resolved)
	if err != nil {
		return nil, err
	}
	return begin(ctx, cfg, name, st, o)
}

// Resume goes on with a session: the one called name or, if it is empty, the
// newest below out. environ and sets override its configuration, as when it
// was created.
func Resume(ctx context.Context, out, name string, environ, sets []string, o Options) (*Session, error) {
	if name == "" {
		var err error
		if name, err = newest(out); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(out, name)
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(filepath.Join(dir, "config.yaml"), environ, sets)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return begin(ctx, cfg, name, st, o)
}

func begin(ctx context.Context, cfg config.Config, name string, st *store.Session, o Options) (*Session, error) {
	s := &Session{cfg: cfg, name: name, store: st, tell: o.Tell, log: o.Log, now: o.Now}
	var err error
	s.bus, err = bus.Start(ctx, bus.Options{
		StoreDir: filepath.Join(st.Dir(), "nats"), Listen: cfg.Bus.Listen,
		User: cfg.Bus.User, Password: cfg.Bus.Password, Log: o.Log,
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

// Close ends the bus and releases the folder.
func (s *Session) Close() error {
	s.bus.Close()
	return s.store.Close()
}

// Dir is the session's folder.
func (s *Session) Dir() string { return s.store.Dir() }

// DropCheckpoint forgets the newest checkpoint of a kind, where it is damaged.
func (s *Session) DropCheckpoint(ctx context.Context, kind string) error {
	return s.store.DropCheckpoint(ctx, kind)
}

// numbered matches names as group-001.
var numbered = regexp.MustCompile(`-(\d+)$`)

// freeName is the task with the number after the largest in use.
func freeName(out, task string) (string, error) {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("wire: sessions in %s: %w", out, err)
	}
	top := 0
	for _, e := range entries {
		if m := numbered.FindStringSubmatch(e.Name()); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil {
				top = max(top, n)
			}
		}
	}
	return fmt.Sprintf("%s-%03d", task, top+1), nil
}

// newest is the session below out that was created last.
func newest(out string) (string, error) {
	entries, err := os.ReadDir(out)
	if err != nil {
		return "", fmt.Errorf("wire: no session to resume: %w", err)
	}
	var name string
	var when time.Time
	for _, e := range entries {
		st, err := os.Stat(filepath.Join(out, e.Name(), "config.yaml"))
		if err == nil && (name == "" || st.ModTime().After(when)) {
			name, when = e.Name(), st.ModTime()
		}
	}
	if name == "" {
		return "", fmt.Errorf("wire: no session to resume in %s; begin one with: rapport run", out)
	}
	return name, nil
}
