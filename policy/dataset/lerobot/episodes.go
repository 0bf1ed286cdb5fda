package lerobot

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// episode is where an episode is.
type episode struct {
	index int
	rows  int
	task  string
	data  string // file
	first int    // row of the file that is its step 0
	video map[string]film
}

// film is a piece of a video.
type film struct {
	file  string
	first int // frame of the file that is step 0
}

// episodes reads where the episodes of a v2 dataset are.
func (s *Source) episodes2() error {
	m := s.meta
	path := filepath.Join(s.dir, "meta", "episodes.jsonl")
	err := lines(path, func(n int, line []byte) error {
		var e struct {
			Index  *int     `json:"episode_index"`
			Length int      `json:"length"`
			Tasks  []string `json:"tasks"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if e.Index == nil || *e.Index < 0 || *e.Index > math.MaxInt32 || e.Length < 1 || e.Length > maxSteps {
			return fmt.Errorf("want episode_index and a length from 1 to %d", maxSteps)
		}
		at := map[string]int{"episode_index": *e.Index, "episode_chunk": *e.Index / m.Chunk}
		data, err := fill(m.Data, at, "")
		if err != nil {
			return err
		}
		ep := episode{index: *e.Index, rows: e.Length, data: filepath.Join(s.dir, data), video: map[string]film{}}
		if len(e.Tasks) > 0 {
			ep.task = e.Tasks[0]
		}
		for name, f := range m.Features {
			if f.Dtype == "video" {
				v, err := fill(m.Video, at, name)
				if err != nil {
					return err
				}
				ep.video[name] = film{file: filepath.Join(s.dir, v)}
			}
		}
		s.episodes = append(s.episodes, ep)
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is missing: it lists the episodes of a %s dataset; copy the dataset anew", path, m.Version)
	}
	return err
}

// episodes3 reads where the episodes of a v3 dataset are.
func (s *Source) episodes3() error {
	dir := filepath.Join(s.dir, "meta", "episodes")
	paths, err := sheets(dir)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no %s/chunk-*/file-*.parquet, which list the episodes of a %s dataset; copy the dataset anew, or have its recorder finish", dir, s.meta.Version)
	}
	// Where the rows of a file begin, in rows of the dataset.
	begin := map[string]int{}
	var from []int
	for _, path := range paths {
		sh, err := openSheet(path)
		if err != nil {
			return err
		}
		err = s.list(sh, &from, begin)
		sh.close()
		if err != nil {
			return err
		}
	}
	for i := range s.episodes {
		s.episodes[i].first = from[i] - begin[s.episodes[i].data]
	}
	return nil
}

// list takes the episodes of one file of meta/episodes.
func (s *Source) list(sh *sheet, from *[]int, begin map[string]int) error {
	m := s.meta
	ints := func(name string) ([]int, error) {
		xs, err := sh.floats(name, 0, sh.rows, 1)
		if err != nil {
			return nil, err
		}
		out := make([]int, len(xs))
		for i, x := range xs {
			if !(x >= 0 && x <= math.MaxInt32) || x != math.Trunc(x) {
				return nil, fmt.Errorf("%s: row %d: %s is %v", sh.name, i, name, x)
			}
			out[i] = int(x)
		}
		return out, nil
	}
	cols := map[string][]int{}
	names := []string{"episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index"}
	var films []string
	for name, f := range m.Features {
		if f.Dtype == "video" {
			films = append(films, name)
			names = append(names, "videos/"+name+"/chunk_index", "videos/"+name+"/file_index")
		}
	}
	slices.Sort(films)
	for _, name := range names {
		xs, err := ints(name)
		if err != nil {
			return err
		}
		cols[name] = xs
	}
	times := map[string][]float64{}
	for _, name := range films {
		for _, end := range []string{"from", "to"} {
			key := "videos/" + name + "/" + end + "_timestamp"
			xs, err := sh.floats(key, 0, sh.rows, 1)
			if err != nil {
				return err
			}
			times[key] = xs
		}
	}
	tasks := make([]string, sh.rows)
	if sh.has("tasks") {
		var err error
		if tasks, err = sh.texts("tasks"); err != nil {
			return err
		}
	}
	for i := range sh.rows {
		e := episode{index: cols["episode_index"][i], rows: cols["length"][i], task: tasks[i], video: map[string]film{}}
		a, b := cols["dataset_from_index"][i], cols["dataset_to_index"][i]
		if e.rows < 1 || e.rows > maxSteps || b-a != e.rows {
			return fmt.Errorf("%s: episode %d: length is %d, dataset_from_index %d and dataset_to_index %d", sh.name, e.index, e.rows, a, b)
		}
		data, err := fill(m.Data, map[string]int{"chunk_index": cols["data/chunk_index"][i], "file_index": cols["data/file_index"][i]}, "")
		if err != nil {
			return err
		}
		e.data = filepath.Join(s.dir, data)
		if at, ok := begin[e.data]; !ok || a < at {
			begin[e.data] = a
		}
		for _, name := range films {
			v, err := fill(m.Video, map[string]int{"chunk_index": cols["videos/"+name+"/chunk_index"][i], "file_index": cols["videos/"+name+"/file_index"][i]}, name)
			if err != nil {
				return err
			}
			t0, t1 := times["videos/"+name+"/from_timestamp"][i], times["videos/"+name+"/to_timestamp"][i]
			first := math.Round(t0 * m.FPS)
			// A frame is found by its number, so that the time must be that of one.
			if !(t0 >= 0 && first <= math.MaxInt32) || math.Abs(t0*m.FPS-first) > 0.3 || math.Abs((t1-t0)*m.FPS-float64(e.rows)) > 0.6 {
				e.video[name] = film{file: filepath.Join(s.dir, v), first: -1}
				s.flaws = append(s.flaws, flaw{e.index, name, fmt.Errorf("%s: episode %d: video of %s from %v s to %v s is not %d frames at %v Hz", sh.name, e.index, name, t0, t1, e.rows, m.FPS)})
				continue
			}
			e.video[name] = film{file: filepath.Join(s.dir, v), first: int(first)}
		}
		s.episodes = append(s.episodes, e)
		*from = append(*from, a)
	}
	return nil
}
