package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/label"
)

// inheritLabels copies what people said in the earlier session. What that did online has the names
// that this session's own episodes will have, and is told from them; what was compared of it is
// kept, since the reward is aligned anew by it. The IDs of what was said of it are its own, too: IDs
// follow from what a question shows, and what is asked here of episodes of the same names is new.
func (s *Session) inheritLabels(ctx context.Context, earlier *store.Session) error {
	its, err := lengths(ctx, earlier, policy.Online)
	if err != nil {
		return err
	}
	said, err := earlier.Labels(ctx)
	if err != nil {
		return err
	}
	of := ofEarlier(earlier, said)
	own, err := s.store.Labels(ctx)
	if err != nil {
		return err
	}
	theirs := ofTheirs(said, own, its, of)
	tried, lost, why := map[string]bool{}, 0, error(nil)
	for _, l := range said {
		l.Query.Clips = slices.Clone(l.Query.Clips)
		for i, c := range l.Query.Clips {
			name := c.Episode
			if _, ok := its[name]; ok {
				name += of
				l.Query.Clips[i].Episode = name
			}
			if tried[name] {
				continue
			}
			tried[name] = true
			gone, err := s.keepCompared(earlier, c.Episode, name)
			if err != nil {
				return err
			}
			if gone != nil {
				lost, why = lost+1, cmp.Or(why, gone)
			}
		}
		if theirs[cmp.Or(l.Retracts, l.ID)] {
			l.ID += of
			if l.Query.ID != "" {
				l.Query.ID += of
			}
			if l.Retracts != "" {
				l.Retracts += of
			}
		}
		if _, err := s.Book().Append(ctx, l); err != nil {
			return err
		}
	}
	if lost > 0 {
		s.log.Warn("wire: session.from: of what people compared there, episodes are gone or damaged: no reward is aligned anew by what was said of these", "of", earlier.Dir(), "episodes", lost, "first", why)
	}
	return nil
}

// ofTheirs are the IDs of those of the labels said in an earlier session that are about its, its online
// episodes, which of names here. One that own, this session's, has under its ID already is of a
// preparation of before IDs were renamed, and stays that one.
func ofTheirs(said, own []label.Label, its map[string]int, of string) map[string]bool {
	ids := map[string]bool{}
	for _, l := range said {
		if l.Retracts == "" {
			ids[l.ID] = slices.ContainsFunc(l.Query.Clips, func(c label.Clip) bool { _, ok := its[c.Episode]; return ok })
		}
	}
	for _, l := range own {
		if slices.ContainsFunc(l.Query.Clips, func(c label.Clip) bool { return strings.HasSuffix(c.Episode, of) }) {
			delete(ids, l.ID)
		}
	}
	return ids
}

// inheritMarks copies how far the earlier session's reward was aligned by it.
func (s *Session) inheritMarks(ctx context.Context, earlier *store.Session) error {
	for _, mark := range []string{markAnswers, markRealigned} {
		its, err := earlier.Marked(ctx, mark)
		if err != nil {
			return err
		}
		// Prepared again, a session has its own.
		if own, err := s.store.Marked(ctx, mark); err != nil || its == "" || own != "" {
			if err != nil {
				return err
			}
			continue
		}
		if err := s.store.Mark(ctx, mark, its); err != nil {
			return err
		}
	}
	return nil
}

// keepCompared keeps an episode of an earlier session that is none of this one under a name. One
// that is not there any more is told by the alignment that wants it; why one that the earlier
// session counts cannot be read is gone, since nothing but such an alignment wants it.
func (s *Session) keepCompared(earlier *store.Session, id, name string) (gone, err error) {
	if _, err := s.store.Episode(name); !errors.Is(err, store.ErrNone) {
		return nil, err
	}
	if _, err := s.store.Kept(name); !errors.Is(err, store.ErrNone) {
		return nil, err
	}
	e, err := earlier.Episode(id)
	if errors.Is(err, store.ErrNone) {
		e, err = earlier.Kept(id) // of one that is earlier still
	}
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, nil
	case errors.Is(err, store.ErrCorrupt):
		return err, nil
	case err != nil:
		return nil, fmt.Errorf("wire: session.from: %s: %w", s.cfg.Session.From, err)
	}
	return nil, s.store.Keep(name, e)
}

// ofEarlier ends the names of an earlier session's online episodes in the labels of those that
// began from it: by its folder's name, numbered where said, its labels, is already about episodes of
// a session still earlier whose folder has that name too.
func ofEarlier(earlier *store.Session, said []label.Label) string {
	folder := " of " + filepath.Base(earlier.Dir())
	for of, n := folder, 2; ; of, n = fmt.Sprintf("%s-%d", folder, n), n+1 {
		if !slices.ContainsFunc(said, func(l label.Label) bool {
			return slices.ContainsFunc(l.Query.Clips, func(c label.Clip) bool { return strings.HasSuffix(c.Episode, of) })
		}) {
			return of
		}
	}
}
