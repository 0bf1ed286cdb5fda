package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/label"
)

// Book is the labels of a session in the process that owns its folder: in the
// journal, where others append and read, and in the folder's database, which a
// finished session is read by. Methods are safe for several goroutines.
type Book struct {
	store *store.Session
	bus   *bus.Book
	log   *slog.Logger
	close func() error
}

var _ label.Book = (*Book)(nil)

// Book returns the session's labels.
func (s *Session) Book() *Book {
	if s.conn == nil { // without a bus there is no journal
		return &Book{store: s.store, log: s.log, close: func() error { return nil }}
	}
	return &Book{store: s.store, bus: s.conn.Book(s.name), log: s.log, close: func() error { return nil }}
}

// OpenBook opens the labels of a session that no process drives, and brings folder
// and journal to the same ones. A journal on another machine's server is left for
// the session's next run.
func OpenBook(ctx context.Context, dir string, o Options) (*Book, error) {
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	b := &Book{store: st, log: o.Log, close: st.Close}
	c, err := asBegun(dir)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	streams := filepath.Join(dir, "nats")
	if _, err := os.Stat(streams); c.Bus.URL != "" || errors.Is(err, os.ErrNotExist) {
		return b, nil
	}
	srv, err := bus.Start(ctx, bus.Options{StoreDir: streams, Log: o.Log})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	b.bus = srv.Conn().Book(filepath.Base(dir))
	b.close = func() error { srv.Close(); return st.Close() }
	if _, err := b.reconcile(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// Close releases what OpenBook opened.
func (b *Book) Close() error { return b.close() }

// Append stores a label in the journal and then in the folder. Where a process dies
// in between, its next life copies it.
func (b *Book) Append(ctx context.Context, l label.Label) (added bool, err error) {
	if b.bus == nil {
		return b.store.Append(ctx, l)
	}
	known, err := b.store.HasLabel(ctx, l.ID)
	if err != nil || known {
		return false, err
	}
	if added, err = b.bus.Append(ctx, l); err != nil {
		return false, err
	}
	if !added {
		// Another process was first, with the same or with other words: those count.
		_, err := b.bus.Each(ctx, 1, false, func(said label.Label) error {
			if said.ID != l.ID {
				return nil
			}
			l = said
			return errFound
		})
		if err != nil && !errors.Is(err, errFound) {
			return false, err
		}
	}
	_, err = b.store.Append(ctx, l)
	return added, err
}

var errFound = errors.New("wire: found")

// Labels are those of the folder.
func (b *Book) Labels(ctx context.Context) ([]label.Label, error) { return b.store.Labels(ctx) }

// lengths are the steps of a session's episodes of some origins, by their id.
func lengths(ctx context.Context, st *store.Session, of ...policy.Origin) (map[string]int, error) {
	steps := map[string]int{}
	for _, o := range of {
		rows, err := st.Episodes(ctx, o)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			steps[r.ID] = r.Steps
		}
	}
	return steps, nil
}

// heard are the labels of the session, less those about steps that an episode of its own
// does not have, as a file made by hand may tell of: nothing could be learned from them,
// and a session must not end by them. It says so, once each.
func (s *Session) heard(ctx context.Context) ([]label.Label, error) {
	all, err := s.store.Labels(ctx)
	if err != nil {
		return nil, err
	}
	steps, err := lengths(ctx, s.store, policy.Demo, policy.Online)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(l label.Label) bool {
		why := ""
		beyond := func(episode string, from, to int) {
			if T, ok := steps[episode]; ok && (from < 0 || from >= T || to > T) {
				why = fmt.Sprintf("steps %d to %d of %s, which has %d", from, to, episode, T)
			}
		}
		for _, c := range l.Query.Clips {
			beyond(c.Episode, c.From, c.To)
		}
		for _, m := range l.Marks {
			beyond(l.Query.Clips[0].Episode, m.From, m.To)
		}
		if why == "" {
			return false
		}
		if _, told := s.deaf.LoadOrStore(l.ID, true); !told {
			s.log.Warn("wire: a label is left out: nothing can be learned about steps that an episode does not have", "id", l.ID, "annotator", l.Annotator, "about", why)
		}
		return true
	}), nil
}

// reconcile brings folder and journal to the same labels: what others appended
// while no process owned the folder, and what was said where there was no journal.
// It returns the place in the journal from which to follow.
func (b *Book) reconcile(ctx context.Context) (next uint64, err error) {
	own, err := b.store.Labels(ctx)
	if err != nil {
		return 0, err
	}
	have := make(map[string]label.Label, len(own))
	for _, l := range own {
		have[l.ID] = l
	}
	told := map[string]bool{}
	next, err = b.bus.Each(ctx, 1, false, func(l label.Label) error {
		told[l.ID] = true
		mine, ok := have[l.ID]
		if !ok {
			_, err := b.store.Append(ctx, l)
			return err
		}
		if !sameWords(mine, l) {
			b.log.Warn("wire: the journal has another label of this id; the folder keeps its own", "id", l.ID, "annotator", l.Annotator, "own", mine.Annotator)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, l := range own {
		if !told[l.ID] {
			if _, err := b.bus.Append(ctx, l); err != nil {
				return 0, err
			}
		}
	}
	return next, nil
}

// mirror reconciles, and from then on copies what others append to the journal
// until settle is called, which takes what came last.
func (s *Session) mirror(ctx context.Context) (settle func(), _ error) {
	b := s.Book()
	next, err := b.reconcile(ctx)
	if err != nil {
		return nil, fmt.Errorf("wire: labels: %w", err)
	}
	follow, quit := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			var err error
			next, err = b.bus.Each(follow, next, true, func(l label.Label) error {
				added, err := b.store.Append(follow, l)
				if added {
					s.log.Info("wire: a label", "id", l.ID, "annotator", l.Annotator)
				}
				return err
			})
			if err == nil || follow.Err() != nil {
				return
			}
			s.log.Error("wire: a label stays in the journal alone for now", "place", next, "err", err)
			if s.after == nil {
				return
			}
			select {
			case <-s.after(copyAgain):
			case <-follow.Done():
				return
			}
		}
	})
	return func() {
		quit()
		wg.Wait()
		// After an interrupt too, for who reads the folder next; without a server the
		// next life does it.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
		defer cancel()
		_, err := b.bus.Each(last, next, false, func(l label.Label) error {
			_, err := b.store.Append(last, l)
			return err
		})
		if err != nil {
			s.log.Warn("wire: the last labels are in the journal alone until the session is gone on with", "err", err)
		}
	}, nil
}

// copyAgain is the wait before a label that could not be stored is tried again.
const copyAgain = 10 * time.Second

// settleLimit bounds the wait for a server that went away.
const settleLimit = time.Second

// sameWords says whether two labels say the same, whenever it was.
func sameWords(a, b label.Label) bool {
	a.Stamp = b.Stamp
	x, err := label.Encode(a)
	if err != nil {
		return false
	}
	y, err := label.Encode(b)
	return err == nil && bytes.Equal(x, y)
}
