// Package lerobot reads datasets in the format of LeRobot: v3.0, which keeps many
// episodes in a file, and v2.1 and v2.0, which keep one.
//
//	meta/info.json                                  rate, features with kinds, shapes and names
//	meta/episodes/chunk-000/file-000.parquet        v3: where each episode is
//	meta/episodes.jsonl                             v2: length of each episode
//	data/chunk-000/{file-000,episode_000000}.parquet
//	videos/KEY/chunk-000/file-000.mp4               v3
//	videos/chunk-000/KEY/episode_000000.mp4         v2
//
// It is written after the public documentation of the format and the datasets
// that it describes (LeRobotDataset v3.0, Hugging Face), and is the only importer
// of parquet-go.
//
// A frame of a video is found by its number, counted from the file's beginning,
// and the numbers of frames and rows are compared: a dataset whose writer died
// must not pair images with the wrong actions.
//
//	src, err := lerobot.Open("data/pick")
//	defer src.Close()
//	t, err := src.Read(ctx, 0, table.Want{Columns: []string{"action"}, Cameras: []string{"observation.images.front"}})
package lerobot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy/dataset/table"
)

// Source is an open dataset.
type Source struct {
	dir      string
	meta     meta
	info     table.Info
	episodes []episode
	flaws    []flaw

	path  string // of sheet
	sheet *sheet
	films map[string]*reel // by camera
}

// flaw is what is wrong with one episode's video.
type flaw struct {
	episode int
	camera  string
	err     error
}

// reel is an open video.
type reel struct {
	path string
	v    *vision.Video
}

// Open opens the dataset in a folder.
func Open(dir string) (*Source, error) {
	s := &Source{dir: dir, films: map[string]*reel{}}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("lerobot: %w", err)
	}
	return s, nil
}

func (s *Source) open() error {
	path := filepath.Join(s.dir, "meta", "info.json")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return err
	}
	if len(b) > maxJSON {
		return fmt.Errorf("%s is longer than %d bytes", path, maxJSON)
	}
	if s.meta, err = parse(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.info = s.meta.info(s.dir)
	if s.meta.three {
		err = s.episodes3()
	} else {
		err = s.episodes2()
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(s.episodes, func(a, b episode) int { return cmp.Compare(a.index, b.index) })
	for i, e := range s.episodes {
		if i > 0 && s.episodes[i-1].index == e.index {
			return fmt.Errorf("%s: episode %d is listed twice", filepath.Join(s.dir, "meta"), e.index)
		}
		s.info.Steps += e.rows
	}
	s.info.Episodes = len(s.episodes)
	if len(s.episodes) == 0 {
		return fmt.Errorf("%s lists no episodes: the dataset is empty", filepath.Join(s.dir, "meta"))
	}
	if s.meta.Episodes != len(s.episodes) || s.meta.Frames != s.info.Steps {
		s.info.Notes = append(s.info.Notes, fmt.Sprintf("meta/info.json counts %d episodes of %d steps, the list of episodes %d of %d; the list is taken", s.meta.Episodes, s.meta.Frames, len(s.episodes), s.info.Steps))
	}
	return nil
}

// Info says what the dataset holds.
func (s *Source) Info() table.Info { return s.info }

// Close closes its files.
func (s *Source) Close() error {
	s.sheet.close()
	s.sheet = nil
	for _, r := range s.films {
		r.v.Close()
	}
	clear(s.films)
	return nil
}

// Read reads episode i.
func (s *Source) Read(ctx context.Context, i int, w table.Want) (table.Table, error) {
	e := &s.episodes[i]
	t, err := s.read(ctx, e, w)
	if err != nil {
		return table.Table{}, fmt.Errorf("lerobot: episode %d: %w", e.index, err)
	}
	return t, nil
}

func (s *Source) read(ctx context.Context, e *episode, w table.Want) (table.Table, error) {
	t := table.Table{Name: fmt.Sprintf("episode_%06d", e.index), File: e.data, Task: e.task, Len: e.rows, Columns: map[string][]float64{}}
	if s.path != e.data || s.sheet == nil {
		s.sheet.close()
		sh, err := openSheet(e.data)
		if err != nil {
			s.sheet = nil
			return t, err
		}
		s.sheet, s.path = sh, e.data
	}
	if !s.meta.three && s.sheet.rows != e.rows {
		return t, fmt.Errorf("%s has %d rows, meta/episodes.jsonl says %d: the file was not finished, or meta/ is of another version; copy it anew", e.data, s.sheet.rows, e.rows)
	}
	if err := s.place(e); err != nil {
		return t, err
	}
	for _, name := range w.Columns {
		c, ok := s.info.Column(name)
		if !ok {
			return t, fmt.Errorf("meta/info.json has no column %q", name)
		}
		xs, err := s.sheet.floats(name, e.first, e.first+e.rows, c.Width())
		if err != nil {
			return t, err
		}
		t.Columns[name] = xs
	}
	return t, s.frames(ctx, e, &t, w)
}

// place checks that the rows are those of the episode, evenly in time.
func (s *Source) place(e *episode) error {
	if s.sheet.has("episode_index") {
		xs, err := s.sheet.floats("episode_index", e.first, e.first+e.rows, 1)
		if err != nil {
			return err
		}
		for i, x := range xs {
			if x != float64(e.index) {
				return fmt.Errorf("%s: row %d is of episode %v: meta/ is of another version of the dataset; copy both anew", e.data, e.first+i, x)
			}
		}
	}
	if !s.sheet.has("timestamp") {
		return nil
	}
	xs, err := s.sheet.floats("timestamp", e.first, e.first+e.rows, 1)
	if err != nil {
		return err
	}
	for i, x := range xs {
		// Quarter of a tick: beyond it the nearest tick may be another's.
		if !(math.Abs((x-xs[0])*s.meta.FPS-float64(i)) <= 0.25) {
			return fmt.Errorf("%s: column \"timestamp\": step %d is at %v s, want %v s at the %v Hz of meta/info.json: the rate is mixed; resample the episode, or leave it out", e.data, i, x, xs[0]+float64(i)/s.meta.FPS, s.meta.FPS)
		}
	}
	return nil
}

var errShort = errors.New("the video ends early")
