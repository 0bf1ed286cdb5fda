package bag_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
)

func convert(t testing.TB, from, to string, opt bag.Options, compression string) {
	t.Helper()
	b := open(t, from, opt)
	w, err := bag.Create(to, bag.WriteOptions{Compression: compression, Chunk: 20000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bag.Copy(t.Context(), w, b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// From a bag to MCAP and back, every message and every connection stays what it
// was; Debian's rosbag reads the result, and finds nothing amiss.
func readByROS(t *testing.T, dir string, files map[string]map[string]content) {
	for _, tt := range []struct{ mcap, bag string }{{"zstd", "none"}, {"lz4", "lz4"}} {
		t.Run(tt.mcap+" to "+tt.bag, func(t *testing.T) {
			tmp := t.TempDir()
			there, back := filepath.Join(tmp, "there.mcap"), filepath.Join(tmp, "back.bag")
			convert(t, filepath.Join(dir, "bz2-unsorted.bag"), there, bag.Options{}, tt.mcap)
			if err := same(contents(t, open(t, there, bag.Options{})), files["bz2-unsorted.bag"]); err != nil {
				t.Error(err)
			}
			convert(t, there, back, bag.Options{}, tt.bag)
			if err := same(contents(t, open(t, back, bag.Options{})), files["bz2-unsorted.bag"]); err != nil {
				t.Error(err)
			}
			info := string(command(t, "/usr/bin/rosbag", "info", back))
			for _, want := range []string{" 669\n", "/camera/color/image_raw", "std_msgs/Float64", " connections)"} {
				if !strings.Contains(info, want) {
					t.Errorf("rosbag info does not say %q:\n%s", want, info)
				}
			}
			if out := string(command(t, "/usr/bin/rosbag", "check", back)); !strings.Contains(out, "is up to date") && !strings.Contains(out, "not need") {
				t.Errorf("rosbag check: %s", out)
			}
			if err := pythonReads(t, back, files["bz2-unsorted.bag"]); err != nil {
				t.Error(err)
			}
		})
	}
}

// Topics and stretches of time are those of all messages, of both kinds of file.
func TestTopicsAndTimes(t *testing.T) {
	b, _ := whole(t, ".bag", "lz4", 1000, 3000)
	dir := t.TempDir()
	src := filepath.Join(dir, "all.bag")
	write(t, src, b)
	var all []bag.Message
	r := open(t, src, bag.Options{})
	for m := (bag.Message{}); r.Next(&m) == nil; {
		all = append(all, m)
	}
	from, to := all[300].Time, all[700].Time
	for _, ext := range []string{".bag", ".mcap"} {
		path := src
		if ext == ".mcap" {
			path = filepath.Join(dir, "all.mcap")
			convert(t, src, path, bag.Options{}, "")
		}
		r := open(t, path, bag.Options{Topics: []string{"/topic1"}, From: from, To: to})
		i := 300
		for m := (bag.Message{}); r.Next(&m) == nil; i++ {
			for i < 700 && all[i].Topic != "/topic1" {
				i++
			}
			if i >= 700 || !m.Time.Equal(all[i].Time) || m.Topic != "/topic1" {
				t.Fatalf("%s: message of %s at %v, want that at %v", ext, m.Topic, m.Time.Sub(began), all[min(i, 699)].Time.Sub(began))
			}
		}
		for ; i < 700; i++ {
			if all[i].Topic == "/topic1" {
				t.Fatalf("%s: ends before %v", ext, all[i].Time.Sub(began))
			}
		}
	}
}

// What Flush has returned for outlives the process.
func TestFlushedMessagesSurvive(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "killed"+k.ext)
			w, err := bag.Create(path, bag.WriteOptions{Compression: k.compression})
			if err != nil {
				t.Fatal(err)
			}
			p := newPublisher(4)
			all := map[string]bool{}
			for i := range 100 {
				m := p.next()
				if err := w.Write(&m); err != nil {
					t.Fatal(err)
				}
				all[key(&m)] = true
				if i == 79 {
					if err := w.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			good, changed, d := salvage(t, path+".active", all)
			if good != 80 || changed != 0 || !d.Unindexed {
				t.Errorf("%d messages, %d altered, damage %v; want the 80 that were flushed", good, changed, d)
			}
			if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
			if m := p.next(); w.Write(&m) == nil {
				t.Error("Write after Abort succeeded")
			}
		})
	}
}

// A file-size limit makes the kernel refuse writes as a full disk does; Close says which
// file it was, and why.
func TestCloseSaysWhatFailed(t *testing.T) {
	for _, ext := range []string{".bag", ".mcap"} {
		t.Run(ext, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "full"+ext)
			w, err := bag.Create(path, bag.WriteOptions{Compression: "none"})
			if err != nil {
				t.Fatal(err)
			}
			m := newPublisher(1).next()
			m.Conn, m.Data = newPublisher(1).conns[1], make([]byte, 200<<10) // less than a chunk
			if err := w.Write(&m); err != nil {
				t.Fatal(err)
			}
			var old syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100 << 10, Max: old.Max}); err != nil {
				t.Fatal(err)
			}
			err = w.Close()
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
				t.Fatal(err)
			}
			if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), path+".active") {
				t.Errorf("error %v, want that of %s.active", err, path)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("half a recording took the name of a whole one: %v", err)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken.bag")
	write(t, taken, nil)
	rest := filepath.Join(dir, "killed.bag")
	write(t, rest+".active", []byte("what was saved"))
	write(t, filepath.Join(dir, "killed.mcap.active"), []byte("what was saved"))
	for _, tt := range []struct {
		path string
		opt  bag.WriteOptions
		want string
	}{
		{taken, bag.WriteOptions{}, "exists already"},
		{rest, bag.WriteOptions{}, "rapport bag repair " + rest + ".active OTHER"},
		{filepath.Join(dir, "killed.mcap"), bag.WriteOptions{Profile: "ros1"}, "killed.mcap.active is there"},
		{filepath.Join(dir, "x.db3"), bag.WriteOptions{}, `not ".db3"`},
		{filepath.Join(dir, "x.bag"), bag.WriteOptions{Compression: "bz2"}, `none or lz4, not "bz2"`},
		{filepath.Join(dir, "x.mcap"), bag.WriteOptions{Compression: "bz2"}, `none, lz4 or zstd, not "bz2"`},
		{filepath.Join(dir, "x.mcap"), bag.WriteOptions{Chunk: -1}, "chunks of -1 bytes"},
		{filepath.Join(dir, "no", "x.mcap"), bag.WriteOptions{}, "no such file"},
	} {
		if _, err := bag.Create(tt.path, tt.opt); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", tt.path, err, tt.want)
		}
	}
	for _, name := range []string{"killed.bag", "killed.mcap"} {
		if b, err := os.ReadFile(filepath.Join(dir, name+".active")); err != nil || string(b) != "what was saved" {
			t.Errorf("%s.active holds %q now, %v", name, b, err)
		}
	}
	w, err := bag.Create(filepath.Join(dir, "x.bag"), bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		m    bag.Message
		want string
	}{
		{bag.Message{Conn: &bag.Connection{Topic: "/a", Encoding: bag.CDR}, Time: began}, "write an .mcap"},
		{bag.Message{Conn: &bag.Connection{Topic: "/a", Type: "a/B", Encoding: bag.ROS1, Definition: []byte("Nothing x")}, Time: began}, "no definition here"},
		{bag.Message{Conn: newPublisher(1).conns[0], Time: time.Unix(-1, 0)}, "1970 to 2106"},
	} {
		if err := w.Write(&tt.m); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q in it", err, tt.want)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "is empty"},
		{"old", "#ROSBAG V1.2\n", "rosbag fix"},
		{"text", "hello, I am no recording", `begins with "hello`},
	} {
		path := filepath.Join(dir, tt.name)
		write(t, path, []byte(tt.text))
		if _, err := bag.Open(path, bag.Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", tt.name, err, tt.want)
		}
	}
	b, _ := whole(t, ".mcap", "zstd", 10, 2000)
	path := filepath.Join(dir, "whole")
	write(t, path, b)
	for _, end := range []time.Time{began, began.Add(-time.Second)} {
		_, err := bag.Open(path, bag.Options{From: began, To: end})
		if err == nil || !strings.Contains(err.Error(), "there can be no message") || !strings.Contains(err.Error(), path) {
			t.Errorf("from %v to %v: error %v", began, end, err)
		}
	}
	if _, err := bag.Open(filepath.Join(dir, "missing"), bag.Options{}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v", err)
	}
}
