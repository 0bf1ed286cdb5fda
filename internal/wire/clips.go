package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// ColdBook is the labels of a session that no process works on. The session is
// opened for each call and closed again, so that it can go on at any moment;
// errors are store.ErrInUse then.
func ColdBook(dir string) label.Book { return coldBook(dir) }

type coldBook string

func (b coldBook) Append(ctx context.Context, l label.Label) (added bool, err error) {
	err = b.with(func(st *store.Session) error {
		added, err = st.Append(ctx, l)
		return err
	})
	return added, err
}

func (b coldBook) Labels(ctx context.Context) (ls []label.Label, err error) {
	err = b.with(func(st *store.Session) error {
		ls, err = st.Labels(ctx)
		return err
	})
	return ls, err
}

func (b coldBook) with(f func(*store.Session) error) (err error) {
	st, err := store.Open(string(b))
	if err != nil {
		return err
	}
	return errors.Join(f(st), st.Close())
}

// Clips are the episodes that people are shown: those of a session's folder, be it
// in use or not, and recordings of others.
type Clips struct {
	dir  string
	more map[string]beside
	ids  []string // of more, in their order
}

// beside is a recording that is no part of the session.
type beside struct {
	reel
	ours bool // an episode's file
}

// maxShown is how many steps a recording may have that is shown whole, 20 minutes:
// the browser holds it in memory.
const maxShown = 12000

// NewClips finds the recordings beside a session's folder; topics names those of
// cameras, as ReplayConfig.Map does.
func NewClips(dir string, recordings []string, topics map[string]string) (*Clips, error) {
	c := &Clips{dir: dir, more: map[string]beside{}}
	for _, path := range recordings {
		st, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("wire: label: %w", err)
		case st.IsDir() && SessionAt(path):
			return nil, fmt.Errorf("wire: label: %s is a session: its labels are its own; label it by itself", path)
		}
		r := beside{ours: IsEpisode(path)}
		if r.ours {
			r.reel = episodeReel(path)
		} else if r.reel, err = bagReel(path, ReplayConfig{Map: topics}); err != nil {
			return nil, err
		}
		if _, err := os.Stat(c.file(r.id)); err == nil || c.more[r.id].file != "" {
			return nil, fmt.Errorf("wire: label: %s would be called %s, as another episode is; rename it", path, r.id)
		}
		c.more[r.id] = r
		c.ids = append(c.ids, r.id)
	}
	return c, nil
}

// Films refuses cameras that neither the session nor topics, as NewClips was told, has. Of
// recordings whose topics nobody named it is not known before they are shown.
func (c *Clips) Films(cameras []string, topics map[string]string) error {
	if len(cameras) == 0 || len(c.ids) > 0 && len(topics) == 0 {
		return nil
	}
	of, err := asBegun(c.dir)
	if err != nil {
		return err
	}
	var has []string
	for _, cam := range of.Robot.Cameras {
		has = append(has, cam.Name)
	}
	has = append(has, slices.Sorted(maps.Keys(topics))...)
	for _, name := range cameras {
		if !slices.Contains(has, name) {
			return fmt.Errorf("--camera is %q; %s has %s", name, c.dir, strings.Join(has, ", "))
		}
	}
	return nil
}

func (c *Clips) file(id string) string { return filepath.Join(c.dir, "episodes", id+".mcap") }

// Episodes lists those of the session that are whole, the oldest of a kind first,
// then the recordings.
func (c *Clips) Episodes(context.Context) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(c.dir, "episodes", "*.mcap"))
	if err != nil {
		return nil, fmt.Errorf("wire: label: %w", err)
	}
	slices.Sort(files)
	var ids []string
	for _, f := range files {
		ids = append(ids, strings.TrimSuffix(filepath.Base(f), ".mcap"))
	}
	return append(ids, c.ids...), nil
}

// Frames returns the frames of an episode, of each observation: as they were
// recorded or, of a recording of somebody else, as JPEGs. A camera that has sent
// nothing since the observation before has none.
func (c *Clips) Frames(ctx context.Context, id string) ([][]record.Encoded, error) {
	r, more := c.more[id]
	if !more {
		r = beside{reel: reel{file: c.file(id)}, ours: true}
	}
	if r.ours {
		rec, frames, err := record.ReadEncoded(r.file)
		if err != nil && len(rec.Ticks) == 0 {
			return nil, fmt.Errorf("wire: label: %w", err)
		}
		return frames, nil
	}
	f, err := r.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("wire: label: %w", err)
	}
	var out [][]record.Encoded
	last := map[string]uint64{}
	err = f.Each(ctx, func(t record.Tick) error {
		if len(out) == maxShown {
			return fmt.Errorf("wire: label: %s has more than %d steps; cut it, or label clips of an episode each", r.file, maxShown)
		}
		var row []record.Encoded
		for _, fr := range t.Frames {
			if seq, ok := last[fr.Camera]; ok && seq == fr.Seq {
				continue
			}
			last[fr.Camera] = fr.Seq
			e, err := encoded(fr)
			if err != nil {
				return err
			}
			row = append(row, e)
		}
		out = append(out, row)
		return nil
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return out, nil
}

// encoded makes a JPEG of a frame, of the quality that recordings have.
func encoded(f robot.Frame) (record.Encoded, error) {
	img := image.NewRGBA(image.Rect(0, 0, f.W, f.H))
	for i, j := 0, 0; j+2 < len(f.Pix) && i+3 < len(img.Pix); i, j = i+4, j+3 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = f.Pix[j+2], f.Pix[j+1], f.Pix[j], 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		return record.Encoded{}, fmt.Errorf("wire: label: camera %s: %w", f.Camera, err)
	}
	return record.Encoded{Camera: f.Camera, Seq: f.Seq, Stamp: f.Stamp, Format: "jpeg", Data: b.Bytes(), W: f.W, H: f.H}, nil
}
