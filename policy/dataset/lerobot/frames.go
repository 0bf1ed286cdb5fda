package lerobot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

// frames reads the wanted cameras into t.
func (s *Source) frames(ctx context.Context, e *episode, t *table.Table, w table.Want) error {
	if len(w.Cameras) == 0 {
		return nil
	}
	t.Frames = make([][]robot.Frame, e.rows)
	for _, name := range w.Cameras {
		take := func(i int, f robot.Frame) error {
			f.Seq = uint64(i)
			f, err := w.Shrink(name, f)
			t.Frames[i] = append(t.Frames[i], f)
			return err
		}
		var err error
		switch s.meta.Features[name].Dtype {
		case "video":
			err = s.film(ctx, e, name, take)
		case "image":
			err = s.pictures(ctx, e, name, take)
		default:
			err = fmt.Errorf("meta/info.json has no camera %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// film decodes the frames of an episode from a video.
func (s *Source) film(ctx context.Context, e *episode, name string, take func(int, robot.Frame) error) error {
	for _, f := range s.flaws {
		if f.episode == e.index && f.camera == name {
			return f.err
		}
	}
	at := e.video[name]
	r := s.films[name]
	if r == nil || r.path != at.file || r.v.Pos() > at.first {
		if r != nil {
			r.v.Close()
			delete(s.films, name)
		}
		if _, err := os.Stat(at.file); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the video %s of camera %q is missing; copy it anew, or leave the camera out of the map", at.file, name)
		}
		v, err := vision.OpenVideo(at.file)
		if err != nil {
			return pointed(at.file, err)
		}
		r = &reel{at.file, v}
		s.films[name] = r
		if err := s.fits(e, at, v); err != nil {
			v.Close()
			delete(s.films, name)
			return err
		}
	}
	// What goes wrong leaves the reel at no known place.
	fail := func(err error) error {
		r.v.Close()
		delete(s.films, name)
		return err
	}
	if err := r.v.Skip(at.first - r.v.Pos()); err != nil {
		return fail(s.short(e, at, r.v.Pos()))
	}
	for i := range e.rows {
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		f, err := r.v.Next()
		if errors.Is(err, io.EOF) {
			return fail(s.short(e, at, r.v.Pos()))
		}
		if err != nil {
			return fail(err)
		}
		if err := take(i, f); err != nil {
			return fail(fmt.Errorf("%s: frame %d: %w", at.file, at.first+i, err))
		}
	}
	return nil
}

func (s *Source) short(e *episode, at film, n int) error {
	return fmt.Errorf("%s: %w: it has %d frames, %d are wanted for the %d rows of %s; copy it anew, or leave the episode out", at.file, errShort, n, at.first+e.rows, e.rows, e.data)
}

// fits compares what the video says of itself with the dataset.
func (s *Source) fits(e *episode, at film, v *vision.Video) error {
	if f := v.FPS(); f > 0 && math.Abs(f-s.meta.FPS) > 0.01*s.meta.FPS {
		return fmt.Errorf("%s runs at %v Hz, meta/info.json says %v Hz: frames and rows cannot be paired", at.file, f, s.meta.FPS)
	}
	if n := v.Frames(); !s.meta.three && n > 0 && n != e.rows {
		return fmt.Errorf("%s has %d frames, %s has %d rows; copy both anew, or leave the episode out", at.file, n, e.data, e.rows)
	}
	return nil
}

// pictures decodes the images that are stored in the parquet file, or beside it as
// images/KEY/episode_000000/frame_000000.png.
func (s *Source) pictures(ctx context.Context, e *episode, name string, take func(int, robot.Frame) error) error {
	c, err := s.sheet.leaf(name, "bytes")
	if err != nil {
		return err
	}
	return s.sheet.each(c, e.first, e.first+e.rows, func(row int, v parquet.Value) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		i := row - e.first
		var b []byte
		switch {
		case v.Kind() == parquet.ByteArray:
			b = v.ByteArray()
		case !v.IsNull():
			return fmt.Errorf("row %d is of the kind %v, want an encoded image", row, v.Kind())
		}
		if len(b) == 0 { // it is in a file of its own
			path := filepath.Join(s.dir, "images", name, fmt.Sprintf("episode_%06d", e.index), fmt.Sprintf("frame_%06d.png", i))
			var err error
			if b, err = os.ReadFile(path); err != nil {
				return fmt.Errorf("row %d holds no image, and neither does a file: %w", row, err)
			}
		}
		f, err := vision.Decode(b)
		if err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
		return take(i, f)
	})
}
