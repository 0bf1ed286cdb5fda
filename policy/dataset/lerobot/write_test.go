package lerobot

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"
	"gocv.io/x/gocv"
)

// step is a row of the datasets that are written here.
type step struct {
	State   []float32 `parquet:"observation.state,list"`
	Action  []float64 `parquet:"action,list"`
	Time    float32   `parquet:"timestamp"`
	Episode int64     `parquet:"episode_index"`
	Done    bool      `parquet:"next.done"`
	Label   *float64  `parquet:"label,optional"`
}

// place is a row of meta/episodes.
type place struct {
	Index     int64    `parquet:"episode_index"`
	Tasks     []string `parquet:"tasks,list"`
	Length    int64    `parquet:"length"`
	DataChunk int64    `parquet:"data/chunk_index"`
	DataFile  int64    `parquet:"data/file_index"`
	From      int64    `parquet:"dataset_from_index"`
	To        int64    `parquet:"dataset_to_index"`
	Chunk     int64    `parquet:"videos/observation.images.front/chunk_index"`
	File      int64    `parquet:"videos/observation.images.front/file_index"`
	Start     float64  `parquet:"videos/observation.images.front/from_timestamp"`
	End       float64  `parquet:"videos/observation.images.front/to_timestamp"`
}

const (
	w, h = 128, 64
	rate = 30
)

// write makes a v3 dataset of n episodes: several files of rows, each of several
// row groups of several pages, and several films.
func write(t testing.TB, dir string, n int) (lengths []int) {
	t.Helper()
	var places []place
	var rows []step
	var film []int
	total, file, reel := 0, 0, 0
	label := 1.5
	flush := func() {
		sheetOf(t, filepath.Join(dir, fmt.Sprintf("data/chunk-%03d/file-%03d.parquet", file/2, file%2)), rows,
			parquet.MaxRowsPerRowGroup(37), parquet.PageBufferSize(256), parquet.Compression(&parquet.Zstd))
		rows = nil
		file++
	}
	cut := func() {
		filmOf(t, filepath.Join(dir, fmt.Sprintf("videos/observation.images.front/chunk-000/file-%03d.mp4", reel)), film)
		film = nil
		reel++
	}
	for e := range n {
		T := 5 + (7*e)%13
		lengths = append(lengths, T)
		places = append(places, place{Index: int64(e), Tasks: []string{fmt.Sprint("task ", e%3)}, Length: int64(T),
			DataChunk: int64(file / 2), DataFile: int64(file % 2), From: int64(total), To: int64(total + T),
			File: int64(reel), Start: float64(len(film)) / rate, End: float64(len(film)+T) / rate})
		for i := range T {
			rows = append(rows, step{State: []float32{float32(total), float32(e), float32(i)}, Action: []float64{0.5 * float64(total), -1},
				Time: float32(i) / rate, Episode: int64(e), Done: i == T-1, Label: &label})
			film = append(film, total)
			total++
		}
		if e%10 == 9 || e == n-1 {
			flush()
		}
		if e%15 == 14 || e == n-1 {
			cut()
		}
	}
	// The list itself in two files.
	sheetOf(t, filepath.Join(dir, "meta/episodes/chunk-000/file-000.parquet"), places[:n/2])
	sheetOf(t, filepath.Join(dir, "meta/episodes/chunk-000/file-001.parquet"), places[n/2:])
	info := map[string]any{"codebase_version": "v3.0", "fps": rate, "total_episodes": n, "total_frames": total,
		"features": map[string]any{
			"observation.state":        map[string]any{"dtype": "float32", "shape": []int{3}},
			"action":                   map[string]any{"dtype": "float64", "shape": []int{2}},
			"next.done":                map[string]any{"dtype": "bool", "shape": []int{1}},
			"label":                    map[string]any{"dtype": "float64", "shape": []int{1}},
			"observation.images.front": map[string]any{"dtype": "video", "shape": []int{h, w, 3}},
		}}
	b, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "meta/info.json"), b)
	return lengths
}

func put(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func sheetOf[T any](t testing.TB, path string, rows []T, o ...parquet.WriterOption) {
	t.Helper()
	put(t, path, nil)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := parquet.NewGenericWriter[T](f, o...)
	if _, err := out.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// filmOf writes a film whose frames show numbers, as sixteen columns of bits.
func filmOf(t testing.TB, path string, numbers []int) {
	t.Helper()
	put(t, path, nil)
	out, err := gocv.VideoWriterFile(path, "avc1", rate, w, h, true)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, n := range numbers {
		pix := make([]byte, 3*w*h)
		for i := range pix {
			pix[i] = 40
			if n>>(16*(i/3%w)/w)&1 != 0 {
				pix[i] = 210
			}
		}
		m, err := gocv.NewMatFromBytes(h, w, gocv.MatTypeCV8UC3, pix)
		if err != nil {
			t.Fatal(err)
		}
		err = out.Write(m)
		m.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// shown reads the number of a frame.
func shown(pix []byte) (n int) {
	for bit := range 16 {
		if pix[3*(h/2*w+(2*bit+1)*w/32)] > 125 {
			n |= 1 << bit
		}
	}
	return n
}
