package bag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/pierrec/lz4/v4"

	"github.com/rapport-rl/rapport/robot"
)

// frugal runs f, which may allocate what is beside its input, as
// docs/bags.md states.
func frugal(t *testing.T, input int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	// 255 is what LZ4 expands to at most; it may be read thrice.
	if n, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<20+1024*input); n > most {
		t.Errorf("%d bytes were allocated for an input of %d, at most %d may be", n, input, most)
	}
}

// readAll reads what a source gives, decodes it, and checks that the order and
// the account are right.
func readAll(t *testing.T, s source, ordered bool) {
	t.Helper()
	last := time.Time{}
	var m Message
	early, n := int64(0), int64(0)
	for ; ; n++ {
		err := s.next(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return // of the disk, or of SQLite
		}
		if m.Conn == nil || m.Topic != m.Conn.Topic {
			t.Fatalf("message %d has no connection", n)
		}
		if m.Time.Before(last) {
			early++
		} else {
			last = m.Time
		}
		if d, err := m.Conn.Decoder(); err == nil {
			if v, err := d.Decode(m.Data); err == nil {
				visit(v)
			}
		}
	}
	if d := s.damage(); ordered && early != d.Disordered {
		t.Errorf("%d messages are early, damage says %d", early, d.Disordered)
	}
	_ = s.damage().String()
	s.info()
}

// visit looks at all of a value, in so far as there is anything.
func visit(v Value) {
	if v.Len() > 1000 {
		return
	}
	v.Any()
	v.Float()
	v.Floats(nil)
	for i := range v.Fields() {
		f := v.Path(v.Name(i))
		f.Index(0).Text()
	}
}

// seeds are small recordings of every kind, whole, cut and without an index.
func seeds(f *testing.F) (all [][]byte) {
	f.Helper()
	c := &Connection{Topic: "/a", Type: "std_msgs/String", Encoding: ROS1, Schema: "ros1msg", Definition: []byte("string data\n"), Caller: "/n"}
	d := &Connection{ID: 1, Topic: "/b", Type: "p/B", Encoding: ROS1, Schema: "ros1msg", Definition: []byte("time t\nfloat32[] x\np/C[2] c\n================================================================================\nMSG: p/C\nint8 a\n")}
	for _, k := range []struct{ ext, compression string }{{".bag", "none"}, {".bag", "lz4"}, {".mcap", "none"}, {".mcap", "lz4"}, {".mcap", "zstd"}} {
		path := filepath.Join(f.TempDir(), "x"+k.ext)
		w, err := Create(path, WriteOptions{Compression: k.compression, Chunk: 150})
		if err != nil {
			f.Fatal(err)
		}
		for i := range 8 {
			m := Message{Conn: c, Time: time.Unix(100, int64(i)), Data: binary.LittleEndian.AppendUint32(nil, 3)}
			m.Data = append(m.Data, "abc"...)
			if i%2 == 1 {
				m.Conn, m.Data = d, append(make([]byte, 8), 1, 0, 0, 0, 0, 0, 0x80, 0x3f, 1, 2)
			}
			if err := w.Write(&m); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, b, b[:len(b)-30], b[:len(b)/2])
		if k.ext == ".bag" { // as its recorder leaves it
			dead := bytes.Clone(b)
			i := bytes.Index(dead, []byte("index_pos="))
			clear(dead[i+10:][:8])
			all = append(all, dead)
		}
	}
	return all
}

func FuzzOpen(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.HasPrefix(b, []byte(sqliteMagic)) {
			return // FuzzDB3's
		}
		frugal(t, len(b), func() {
			s, err := openKind("fuzz", &file{r: bytes.NewReader(b), size: int64(len(b))}, Options{})
			if err != nil {
				return
			}
			readAll(t, s, true)
			if err := s.close(); err != nil {
				t.Error(err)
			}
		})
	})
}

func FuzzDB3(f *testing.F) {
	b, err := os.ReadFile("testdata/small.sqlite")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		path := filepath.Join(t.TempDir(), "x.db3")
		if err := os.WriteFile(path, append([]byte(sqliteMagic), b...), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := openDB3(path, int64(len(b)), Options{})
		if err != nil {
			return
		}
		readAll(t, s, false)
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("string a\nfloat64[] b\nB[] c\n================================================================================\nMSG: p/B\nint16[3] x\nduration d\n", []byte{1, 0, 0, 0, 'x', 0, 0, 0, 0, 0, 0, 0, 0}, false)
	f.Add("std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n================================================================================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n",
		[]byte("\x00\x01\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00rgb8\x00\x00\x00\x00\x03\x00\x00\x00\x03\x00\x00\x00abc"), true)
	f.Add("uint8 A=1\nstring S=x # y\nEmpty[1000] e\n================================================================================\nMSG: p/Empty\n", []byte{}, false)
	f.Fuzz(func(t *testing.T, text string, data []byte, ros2 bool) {
		frugal(t, len(text)+len(data), func() {
			c := &Connection{Topic: "/x", Type: "p/A", Encoding: ROS1, Schema: "ros1msg", Definition: []byte(text)}
			if ros2 {
				c.Encoding, c.Schema = CDR, "ros2msg"
			}
			d, err := c.Decoder()
			if err != nil {
				return
			}
			var p Picture
			if d.Picture(data, &p) == nil && p.W < 1<<10 && p.H < 1<<10 {
				var fr robot.Frame
				p.Frame(&fr)
			}
			d.Joints(data, &Joints{})
			d.Pose(data, &Stamped{})
			d.Franka(data, &Franka{})
			v, err := d.Decode(data)
			if err != nil {
				return
			}
			if len(text) < 2000 {
				visit(v)
			}
		})
	})
}

// Our reading of LZ4 frames agrees with the library's, which knows frames alone.
func FuzzLZ4(f *testing.F) {
	for _, opt := range [][]lz4.Option{{}, {lz4.BlockChecksumOption(true), lz4.BlockSizeOption(lz4.Block64Kb)}, {lz4.SizeOption(5000), lz4.ChecksumOption(false)}} {
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		if err := w.Apply(opt...); err != nil {
			f.Fatal(err)
		}
		w.Write(bytes.Repeat([]byte("hello world, "), 5000/13))
		w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<14 {
			return
		}
		got, err := unpackLZ4(b, nil, 0)
		want, theirs := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(b)), 1<<23))
		if err == nil && theirs == nil && len(want) < 1<<23 && !bytes.Equal(got, want) && !bytes.Contains(b[1:], []byte{0x22, 0x4d, 0x18}) {
			t.Errorf("%d bytes, the library has %d", len(got), len(want))
		}
		if err != nil && theirs == nil && len(b) > 15 && len(want) > 0 && b[4]>>6 == 1 && b[4]&2 == 0 && bytes.Count(b, []byte{0x22, 0x4d, 0x18}) == 1 && len(got) < len(want) && errors.Is(err, errLZ4Sum) {
			t.Errorf("%v, which the library does not find", err)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("rosbag2_bagfile_information:\n  relative_file_paths: [a.db3]\n  topics_with_message_count:\n    - topic_metadata: {name: /a}\n      message_count: 3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		if m, err := parseMetadata(b); err == nil && len(m.Bag.Files) > len(b) {
			t.Error("more files than bytes")
		}
	})
}
