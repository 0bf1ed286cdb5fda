package grid_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
)

type picture struct {
	Bytes []byte `parquet:"bytes,optional"`
	Path  string `parquet:"path,optional"`
}

type row struct {
	A      int64     `parquet:"a"`
	Place  []float64 `parquet:"obs.place,list"`
	Small  []float32 `parquet:"small,list"`
	Done   bool      `parquet:"done"`
	Task   string    `parquet:"task"`
	Tasks  []string  `parquet:"tasks,list"`
	Reward float32   `parquet:"reward"`
	Exact  float64   `parquet:"exact"`
	Counts []int64   `parquet:"counts,list"`
	Front  picture   `parquet:"front"`
}

func TestColumnsAreReadBack(t *testing.T) {
	want := []row{
		{1, []float64{1, math.Pi}, []float32{0.5}, true, "pick ä", []string{"a", "b"}, 1.5, math.Nextafter(1, 2), []int64{4}, picture{[]byte{0, 1, 255}, "a.png"}},
		{2, nil, []float32{1, 2, 3}, false, "", nil, float32(math.Inf(1)), -0.1, []int64{1, 2}, picture{[]byte{7}, "b"}},
		{-3, []float64{9}, nil, true, "x", []string{""}, 0, 0, nil, picture{[]byte("x"), "c"}},
	}
	a, place, small, done := []int64{}, [][]float64{}, [][]float32{}, []bool{}
	task, tasks, reward, exact, counts := []string{}, [][]string{}, []float32{}, []float64{}, [][]int64{}
	var front []grid.Image
	for _, r := range want {
		a, place, small, done = append(a, r.A), append(place, r.Place), append(small, r.Small), append(done, r.Done)
		task, tasks, reward, exact = append(task, r.Task), append(tasks, r.Tasks), append(reward, r.Reward), append(exact, r.Exact)
		counts, front = append(counts, r.Counts), append(front, grid.Image(r.Front))
	}
	path := filepath.Join(t.TempDir(), "deep", "a.parquet")
	err := grid.WriteFile(path, map[string]string{"k": "v"}, grid.Column{Name: "a", Values: a}, grid.Column{Name: "obs.place", Values: place},
		grid.Column{Name: "small", Values: small}, grid.Column{Name: "done", Values: done}, grid.Column{Name: "task", Values: task},
		grid.Column{Name: "tasks", Values: tasks}, grid.Column{Name: "reward", Values: reward}, grid.Column{Name: "exact", Values: exact},
		grid.Column{Name: "counts", Values: counts}, grid.Column{Name: "front", Values: front})
	if err != nil {
		t.Fatal(err)
	}
	got, err := parquet.ReadFile[row](path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got { // the library makes empty lists of none
		if len(got[i].Place) == 0 {
			got[i].Place = nil
		}
		if len(got[i].Small) == 0 {
			got[i].Small = nil
		}
		if len(got[i].Tasks) == 0 {
			got[i].Tasks = nil
		}
		if len(got[i].Counts) == 0 {
			got[i].Counts = nil
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := f.Lookup("k"); !ok || v != "v" {
		t.Errorf("the note is %q", v)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := grid.Column{Name: "a", Values: []int64{1}}
	for want, cols := range map[string][]grid.Column{
		`two columns "a"`:      {one, one},
		`"b" has 2 rows`:       {one, {Name: "b", Values: []int64{1, 2}}},
		"holds map[":           {{Name: "b", Values: map[string]int{}}},
		"without a name":       {{Values: []int64{1}}},
		`column "c" holds []u`: {{Name: "c", Values: []uint8{1}}},
	} {
		if err := grid.Write(io.Discard, nil, cols...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestPutLeavesNothingHalf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	full := errors.New("disk full")
	err := grid.Put(path, func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "a.json") {
		t.Errorf("got %v", err)
	}
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 0 {
		t.Errorf("left %v, %v", es, err)
	}
}
