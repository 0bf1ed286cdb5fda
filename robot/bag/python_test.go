package bag_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
)

// content is what a topic and type hold, as testdata/bags.py says it.
type content struct {
	Count int    `json:"count"`
	Sum   string `json:"sha256"`
	MD5   string `json:"md5"`
}

// pythonBags has Debian's python3-rosbag write bags into a folder, and returns
// what it reads in each.
func pythonBags(t testing.TB) (dir string, files map[string]map[string]content) {
	t.Helper()
	dir = t.TempDir()
	out := python(t, "testdata/bags.py", dir)
	if err := json.Unmarshal(out, &files); err != nil {
		t.Fatal(err)
	}
	return dir, files
}

func python(t testing.TB, args ...string) []byte {
	t.Helper()
	return command(t, "/usr/bin/python3", append([]string{"-B"}, args...)...)
}

func command(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v; ROS is installed by: scripts/setup.sh ros\n%s", name, err, stderr.String())
	}
	return out
}

// contents reads all of a bag as testdata/bags.py does.
func contents(t testing.TB, b *bag.Bag) map[string]content {
	t.Helper()
	sums := map[string]hash.Hash{}
	got := map[string]content{}
	var m bag.Message
	for {
		err := b.Next(&m)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		key := m.Topic + " " + m.Type
		h := sums[key]
		if h == nil {
			h = sha256.New()
			sums[key] = h
		}
		var head [12]byte
		binary.LittleEndian.PutUint64(head[:], uint64(m.Time.UnixNano()))
		binary.LittleEndian.PutUint32(head[8:], uint32(len(m.Data)))
		h.Write(head[:])
		h.Write(m.Data)
		c := got[key]
		c.Count++
		c.MD5 = m.Conn.MD5
		got[key] = c
	}
	for key, h := range sums {
		c := got[key]
		c.Sum = hex.EncodeToString(h.Sum(nil))
		got[key] = c
	}
	return got
}

// pythonReads compares what python3-rosbag reads.
func pythonReads(t testing.TB, path string, want map[string]content) error {
	t.Helper()
	var got map[string]content
	if err := json.Unmarshal(python(t, "testdata/bags.py", "--read", path), &got); err != nil {
		t.Fatal(err)
	}
	return same(got, want)
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string, opt bag.Options) *bag.Bag {
	t.Helper()
	b, err := bag.Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func same(a, b map[string]content) error {
	for _, m := range []map[string]content{a, b} {
		for k := range m {
			if a[k] != b[k] {
				return fmt.Errorf("%s: %+v, want %+v", k, a[k], b[k])
			}
		}
	}
	return nil
}

func TestPython(t *testing.T) {
	dir, files := pythonBags(t)
	t.Run("bags read as python reads them", func(t *testing.T) { readAsPython(t, dir, files) })
	t.Run("bags of dead recorders are salvaged", func(t *testing.T) { salvageDead(t, dir, files) })
	t.Run("fields are what genpy wrote", func(t *testing.T) { readFields(t, dir) })
	t.Run("converted bags are read by ROS", func(t *testing.T) { readByROS(t, dir, files) })
}

func readAsPython(t *testing.T, dir string, files map[string]map[string]content) {
	for name, want := range files {
		if !strings.HasSuffix(name, ".bag") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b := open(t, filepath.Join(dir, name), bag.Options{})
			info := b.Info()
			if err := same(contents(t, b), want); err != nil {
				t.Error(err)
			}
			if d := b.Damage(); !d.None() || !info.Indexed {
				t.Errorf("damage %+v, indexed %v", d, info.Indexed)
			}
			n := 0
			for _, topic := range info.Topics {
				n += int(topic.Count)
				if c := want[topic.Name+" "+topic.Type]; c.Count != int(topic.Count) || c.MD5 != topic.MD5 {
					t.Errorf("info says %+v, want %+v", topic, c)
				}
			}
			if n != int(info.Messages) {
				t.Errorf("info counts %d messages, its topics %d", info.Messages, n)
			}
			if err := b.Rewind(); err != nil {
				t.Fatal(err)
			}
			if err := same(contents(t, b), want); err != nil {
				t.Errorf("after Rewind: %v", err)
			}
			inFile := contents(t, open(t, filepath.Join(dir, name), bag.Options{FileOrder: true}))
			for k, c := range want {
				if inFile[k].Count != c.Count {
					t.Errorf("in the order of the file: %d of %s, want %d", inFile[k].Count, k, c.Count)
				}
			}
		})
	}
}

// A recorder that is killed leaves no index; rosbag reindex gives up the last
// chunk, of which an uncompressed one is as whole as it was written.
func salvageDead(t *testing.T, dir string, files map[string]map[string]content) {
	for _, compression := range []string{"none", "lz4", "bz2"} {
		t.Run(compression, func(t *testing.T) {
			name := compression + "-crashed.bag.active"
			want := files[name]
			if compression == "none" {
				want = files[name+" whole"]
			}
			b := open(t, filepath.Join(dir, name), bag.Options{})
			if err := same(contents(t, b), want); err != nil {
				t.Error(err)
			}
			d := b.Damage()
			if !d.Unindexed || d.Truncated || b.Info().Indexed {
				t.Errorf("damage %+v", d)
			}
			// The last chunk is not in the file when it is compressed.
			if lost := compression != "none"; d.Lost() != lost || d.Unknown != lost || d.Messages != 0 {
				t.Errorf("damage %+v, want loss %v", d, lost)
			}
		})
	}
}

// Every field of messages of many types is what genpy wrote into it, and the
// checksum of the definition that of genmsg.
func readFields(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "types.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want []struct {
		Type, MD5 string
		Fields    any
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	b := open(t, filepath.Join(dir, "types.bag"), bag.Options{})
	var m bag.Message
	for _, w := range want {
		if err := b.Next(&m); err != nil {
			t.Fatal(err)
		}
		if sum, err := bag.MD5(m.Type, m.Conn.Definition); err != nil || sum != w.MD5 || m.Type != w.Type {
			t.Errorf("%s: checksum %s, error %v, want %s", m.Type, sum, err, w.MD5)
		}
		d, err := m.Conn.Decoder()
		if err != nil {
			t.Fatal(err)
		}
		v, err := d.Decode(m.Data)
		if err != nil {
			t.Errorf("%s: %v", m.Type, err)
			continue
		}
		if got := plain(v.Any()); !reflect.DeepEqual(got, w.Fields) {
			t.Errorf("%s:\n got %v\nwant %v", m.Type, got, w.Fields)
		}
		for n := range m.Data { // none of its beginnings is one
			if _, err := d.Decode(m.Data[:n]); err == nil {
				t.Errorf("%s: %d bytes of %d are taken", m.Type, n, len(m.Data))
			}
		}
	}
}

// plain is plain of testdata/bags.py.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[k] = plain(x)
		}
		return m
	case []any:
		s := []any{}
		for _, x := range v {
			s = append(s, plain(x))
		}
		return s
	case []byte:
		return hex.EncodeToString(v)
	case float64:
		return hex.EncodeToString(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
	case time.Time:
		return strconv.FormatInt(v.UnixNano(), 10)
	case time.Duration:
		return strconv.FormatInt(int64(v), 10)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	}
	return v
}
