//go:build ignore

// Writes small LeRobot datasets with Apache Arrow, the writer below LeRobot's
// pyarrow, and Debian's ffmpeg, so that the reader is not tested against its own
// library alone. In a folder of its own:
//
//	go mod init make && go get github.com/apache/arrow-go/v18@v18.8.0
//	go run .../testdata/make.go .../testdata
//
// Frame n of a camera, counted over the dataset, is grey of the level 20n+20.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

var lengths = []int{6, 5}

const fps = 10

type row map[string]any

func main() {
	out := os.Args[1]
	v3(filepath.Join(out, "v3"))
	v21(filepath.Join(out, "v21"))
}

// step is a row of both datasets: t within episode e, n over all.
func step(e, t, n int) row {
	last := t == lengths[e]-1
	return row{
		"observation.state": []float64{0.4 + 0.01*float64(t), -0.1 * float64(e), 0.3, 1, 0, 0, 0, 0.08 - 0.01*float64(t)},
		"timestamp":         float64(t) / fps, "frame_index": t, "episode_index": e, "index": n, "task_index": 0,
		"next.reward": map[bool]float64{true: 1}[last && e == 0], "next.done": last, "next.success": last && e == 0,
	}
}

func fields(more ...arrow.Field) []arrow.Field {
	return append([]arrow.Field{
		{Name: "observation.state", Type: arrow.FixedSizeListOf(8, arrow.PrimitiveTypes.Float32), Nullable: true},
		{Name: "timestamp", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		{Name: "frame_index", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "episode_index", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "index", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "task_index", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "next.reward", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		{Name: "next.done", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "next.success", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	}, more...)
}

func v3(dir string) {
	var rows, eps []row
	n := 0
	for e, T := range lengths {
		from := n
		for t := range T {
			r := step(e, t, n)
			r["action"] = []float64{0.5, -0.25, 0, float64(2 * (t % 2))}
			r["observation.images.wrist"] = row{"bytes": picture(n), "path": fmt.Sprintf("frame_%06d.png", t)}
			rows = append(rows, r)
			n++
		}
		k := "videos/observation.images.front/"
		eps = append(eps, row{"episode_index": e, "tasks": []string{"push the cube"}, "length": T,
			"data/chunk_index": 0, "data/file_index": 0, "dataset_from_index": from, "dataset_to_index": n,
			k + "chunk_index": 0, k + "file_index": 0, k + "from_timestamp": float64(from) / fps, k + "to_timestamp": float64(n) / fps,
			"stats/action/min": []float64{0.5, -0.25, 0, 0}, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
	}
	write(filepath.Join(dir, "data/chunk-000/file-000.parquet"), fields(
		arrow.Field{Name: "action", Type: arrow.FixedSizeListOf(4, arrow.PrimitiveTypes.Float32), Nullable: true},
		arrow.Field{Name: "observation.images.wrist", Nullable: true, Type: arrow.StructOf(
			arrow.Field{Name: "bytes", Type: arrow.BinaryTypes.Binary, Nullable: true},
			arrow.Field{Name: "path", Type: arrow.BinaryTypes.String, Nullable: true})}), rows)
	i64 := func(name string) arrow.Field {
		return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	}
	f64 := func(name string) arrow.Field {
		return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Float64, Nullable: true}
	}
	k := "videos/observation.images.front/"
	write(filepath.Join(dir, "meta/episodes/chunk-000/file-000.parquet"), []arrow.Field{i64("episode_index"),
		{Name: "tasks", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}, i64("length"),
		i64("data/chunk_index"), i64("data/file_index"), i64("dataset_from_index"), i64("dataset_to_index"),
		i64(k + "chunk_index"), i64(k + "file_index"), f64(k + "from_timestamp"), f64(k + "to_timestamp"),
		{Name: "stats/action/min", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64), Nullable: true},
		i64("meta/episodes/chunk_index"), i64("meta/episodes/file_index")}, eps)
	write(filepath.Join(dir, "meta/tasks.parquet"), []arrow.Field{i64("task_index"), {Name: "__index_level_0__", Type: arrow.BinaryTypes.String, Nullable: true}},
		[]row{{"task_index": 0, "__index_level_0__": "push the cube"}})
	video(filepath.Join(dir, "videos/observation.images.front/chunk-000/file-000.mp4"), 0, n, "libsvtav1", "-g", "2", "-crf", "30")
	info(dir, row{"codebase_version": "v3.0", "robot_type": "franka", "total_episodes": 2, "total_frames": n, "total_tasks": 1,
		"chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": fps, "splits": row{"train": "0:2"},
		"data_path":  "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
		"video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"},
		row{
			"action":                   row{"dtype": "float32", "shape": []int{4}, "names": row{"delta_x": 0, "delta_y": 1, "delta_z": 2, "gripper": 3}},
			"observation.images.wrist": row{"dtype": "image", "shape": []int{3, 64, 96}, "names": []string{"channels", "height", "width"}},
		})
}

func v21(dir string) {
	n := 0
	var eps, tasks bytes.Buffer
	for e, T := range lengths {
		var rows []row
		from := n
		for t := range T {
			r := step(e, t, n)
			r["action"] = []float64{0.41 + 0.01*float64(t), -0.1 * float64(e), 0.3, 1, 0, 0, 0, 1}
			rows = append(rows, r)
			n++
		}
		write(filepath.Join(dir, fmt.Sprintf("data/chunk-000/episode_%06d.parquet", e)), fields(
			arrow.Field{Name: "action", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64), Nullable: true}), rows)
		video(filepath.Join(dir, fmt.Sprintf("videos/chunk-000/observation.images.front/episode_%06d.mp4", e)), from, T, "libx264")
		check(json.NewEncoder(&eps).Encode(row{"episode_index": e, "tasks": []string{"push the cube"}, "length": T}))
	}
	check(json.NewEncoder(&tasks).Encode(row{"task_index": 0, "task": "push the cube"}))
	check(os.MkdirAll(filepath.Join(dir, "meta"), 0o755))
	check(os.WriteFile(filepath.Join(dir, "meta/episodes.jsonl"), eps.Bytes(), 0o644))
	check(os.WriteFile(filepath.Join(dir, "meta/tasks.jsonl"), tasks.Bytes(), 0o644))
	pose := []string{"x", "y", "z", "qx", "qy", "qz", "qw", "gripper"}
	info(dir, row{"codebase_version": "v2.1", "robot_type": "franka", "total_episodes": 2, "total_frames": n, "total_tasks": 1,
		"total_videos": 2, "total_chunks": 1, "chunks_size": 1000, "fps": fps, "splits": row{"train": "0:2"},
		"data_path":  "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
		"video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"},
		row{"action": row{"dtype": "float64", "shape": []int{8}, "names": row{"motors": pose}}})
}

func info(dir string, in, more row) {
	one := func(kind string) row { return row{"dtype": kind, "shape": []int{1}, "names": nil} }
	fs := row{
		"observation.state":        row{"dtype": "float32", "shape": []int{8}, "names": []string{"x", "y", "z", "qx", "qy", "qz", "qw", "gripper_width"}},
		"observation.images.front": row{"dtype": "video", "shape": []int{64, 96, 3}, "names": []string{"height", "width", "channels"}, "info": row{"video.fps": fps, "video.codec": "av1", "video.is_depth_map": false}},
		"timestamp":                one("float32"), "frame_index": one("int64"), "episode_index": one("int64"), "index": one("int64"), "task_index": one("int64"),
		"next.reward": one("float32"), "next.done": one("bool"), "next.success": one("bool"),
	}
	for k, v := range more {
		fs[k] = v
	}
	in["features"] = fs
	b, err := json.MarshalIndent(in, "", " ")
	check(err)
	check(os.MkdirAll(filepath.Join(dir, "meta"), 0o755))
	check(os.WriteFile(filepath.Join(dir, "meta/info.json"), append(b, '\n'), 0o644))
}

func write(path string, fs []arrow.Field, rows []row) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	b, err := json.Marshal(rows)
	check(err)
	schema := arrow.NewSchema(fs, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(string(b)))
	check(err)
	f, err := os.Create(path)
	check(err)
	w, err := pqarrow.NewFileWriter(schema, f, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy)),
		pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	check(err)
	check(w.Write(rec))
	check(w.Close())
}

func picture(n int) string {
	m := image.NewGray(image.Rect(0, 0, 96, 64))
	for i := range m.Pix {
		m.Pix[i] = color.Gray{Y: uint8(20*n + 20)}.Y
	}
	var b bytes.Buffer
	check(png.Encode(&b, m))
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func video(path string, from, n int, codec string, more ...string) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	var raw bytes.Buffer
	for i := range n {
		raw.Write(bytes.Repeat([]byte{byte(20*(from+i) + 20)}, 96*64*3))
	}
	args := append([]string{"-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "96x64", "-r", fmt.Sprint(fps), "-i", "-", "-c:v", codec, "-pix_fmt", "yuv420p"}, more...)
	cmd := exec.Command("ffmpeg", append(args, path)...)
	cmd.Stdin, cmd.Stderr = &raw, os.Stderr
	check(cmd.Run())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
