package bag_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
)

// cdr serialises as OMG's CDR does: everything at a multiple of its size.
type cdr struct {
	b   []byte
	ord binary.AppendByteOrder
}

func newCDR(big bool) *cdr {
	if big {
		return &cdr{[]byte{0, 0, 0, 0}, binary.BigEndian}
	}
	return &cdr{[]byte{0, 1, 0, 0}, binary.LittleEndian}
}

func (c *cdr) align(n int) *cdr {
	for (len(c.b)-4)%n != 0 {
		c.b = append(c.b, 0)
	}
	return c
}

func (c *cdr) u32(x uint32) *cdr { c.align(4).b = c.ord.AppendUint32(c.b, x); return c }

func (c *cdr) text(s string) *cdr {
	c.u32(uint32(len(s) + 1)).b = append(append(c.b, s...), 0)
	return c
}

func (c *cdr) floats(xs ...float64) *cdr {
	for _, x := range xs {
		c.align(8).b = c.ord.AppendUint64(c.b, math.Float64bits(x))
	}
	return c
}

func (c *cdr) head(at time.Time) *cdr {
	return c.u32(uint32(at.Unix())).u32(uint32(at.Nanosecond())).text("base")
}

const jointStateText = "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n" +
	"================================================================================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n" +
	"================================================================================\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"

func jointCDR(big bool, at time.Time, x float64) []byte {
	c := newCDR(big).head(at).u32(2).text("panda_joint1").text("j2")
	return c.u32(2).floats(x, -x).u32(0).u32(1).floats(7).b
}

func TestCDRFieldsAreWhereTheyAreAligned(t *testing.T) {
	for _, big := range []bool{false, true} {
		c := &bag.Connection{Topic: "/j", Type: "sensor_msgs/msg/JointState", Encoding: bag.CDR, Schema: "ros2msg", Definition: []byte(jointStateText)}
		d, err := c.Decoder()
		if err != nil {
			t.Fatal(err)
		}
		data := jointCDR(big, began.Add(5), 1.5)
		var j bag.Joints
		if err := d.Joints(data, &j); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(j), fmt.Sprint(bag.Joints{Stamp: began.Add(5), Names: []string{"panda_joint1", "j2"}, Position: []float64{1.5, -1.5}, Velocity: []float64{}, Effort: []float64{7}}); got != want {
			t.Errorf("big-endian %v: got %s, want %s", big, got, want)
		}
		for n := range data {
			if _, err := d.Decode(data[:n]); err == nil {
				t.Errorf("big-endian %v: %d bytes of %d are taken", big, n, len(data))
			}
		}
	}
}

// ROS 2 writes bounds, defaults and wide strings, and puts a byte into messages of
// nothing.
func TestDefinitionsOfROS2(t *testing.T) {
	text := "# a comment\nuint8 LEVEL=3 # three\nstring NAME=\"it's # here\"\nuint8 level 5\nstring<=10 short \"hi\"\nint16[<=4] few [1, 2]\nfloat32[2] pair\npkg/Nothing none\nstring<=5[<=2] words\nint64 last\n" +
		strings.Repeat("=", 80) + "\nMSG: pkg/Nothing\n# nothing\n"
	c := &bag.Connection{Topic: "/x", Type: "pkg/Mixed", Encoding: bag.CDR, Schema: "ros2msg", Definition: []byte(text)}
	d, err := c.Decoder()
	if err != nil {
		t.Fatal(err)
	}
	w := newCDR(false)
	w.b = append(w.b, 9)
	w.text("hey").u32(3)
	for _, x := range []uint16{1, 0xffff, 3} {
		w.b = binary.LittleEndian.AppendUint16(w.align(2).b, x)
	}
	w.u32(math.Float32bits(0.5)).u32(math.Float32bits(-2))
	w.b = append(w.b, 0)
	w.u32(2).text("a").text("bcd").align(8)
	w.b = binary.LittleEndian.AppendUint64(w.b, math.MaxUint64-1)
	v, err := d.Decode(w.b)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(v.Path("level").Int(), v.Path("short").Text(), v.Path("few").Floats(nil), v.Path("pair.1").Float(), v.Path("words.1").Text(), v.Path("last").Int(),
		v.Path("few").Type(), v.Path("words").Len(), v.Path("nothing").Exists(), v.Path("words.2").Exists(), v.Path("level.x").Exists())
	if want := "9 hey [1 -1 3] -2 bcd -2 int16[<=4] 2 false false false\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c = &bag.Connection{Topic: "/x", Type: "pkg/Wide", Encoding: bag.CDR, Schema: "ros2msg", Definition: []byte("wstring w\n")}
	if _, err := c.Decoder(); err == nil || !strings.Contains(err.Error(), "wstring") {
		t.Errorf("wstring: error %v", err)
	}
}

func TestDefinitionsAreRefused(t *testing.T) {
	deep := "T1 a\n"
	for i := 1; i < 100; i++ {
		deep += strings.Repeat("=", 80) + fmt.Sprintf("\nMSG: p/T%d\nT%d a\n", i, i+1)
	}
	wide := strings.Repeat("=", 80) + "\nMSG: p/T20\nstring s\n"
	for i := range 20 {
		wide += strings.Repeat("=", 80) + fmt.Sprintf("\nMSG: p/T%d\nT%d a\nT%d b\n", i, i+1, i+1)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"a type that holds itself", "p/A a\n", "holds itself"},
		{"a type without a definition", "p/B b\n", "p/A.b is a p/B: which has no definition here"},
		{"a field without a name", "uint8\n", "line 1: \"uint8\" has no name"},
		{"an array without an end", "uint8[ x\n", "has no end"},
		{"an array of no number", "uint8[-1] x\n", "no number of elements"},
		{"types too deep", deep, "more than 64 deep"},
		{"too many fields", "T0 x\n" + wide, "more than 65536 fields"},
		{"something after the name", "uint8 a b\n", "after the name"},
		{"text between definitions", "uint8 a\n" + strings.Repeat("=", 80) + "\nuint8 b\n", "where MSG: should be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &bag.Connection{Topic: "/a", Type: "p/A", Encoding: bag.ROS1, Definition: []byte(tt.text)}
			if _, err := c.Decoder(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
	for _, c := range []*bag.Connection{
		{Topic: "/a", Type: "p/A", Encoding: "protobuf"}, {Topic: "/a", Type: "p/A", Encoding: bag.CDR, Schema: "ros2idl", Definition: []byte("x")},
	} {
		if _, err := c.Decoder(); err == nil || !strings.Contains(err.Error(), "only") {
			t.Errorf("%s %s: error %v", c.Encoding, c.Schema, err)
		}
	}
	c := &bag.Connection{Topic: "/a", Type: "p/A", Encoding: bag.ROS1}
	if _, err := c.Decoder(); err == nil || !strings.Contains(err.Error(), "no definition of the type") {
		t.Errorf("no definition: error %v", err)
	}
}

// db3 writes a file as rosbag2 of Iron does; before that, without definitions.
func db3(t testing.TB, path string, definitions bool, from, n int) map[string]bool {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	do := func(q string, args ...any) {
		if _, err := db.Exec(q, args...); err != nil {
			t.Fatal(err)
		}
	}
	do(`CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)`)
	do(`CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data BLOB NOT NULL)`)
	do(`CREATE INDEX timestamp_idx ON messages (timestamp ASC)`)
	do(`INSERT INTO topics VALUES (1, '/joint_states', 'sensor_msgs/msg/JointState', 'cdr', ''), (2, '/other', 'other_msgs/msg/Thing', 'cdr', '')`)
	if definitions {
		do(`CREATE TABLE message_definitions (id INTEGER PRIMARY KEY, topic_type TEXT, encoding TEXT, encoded_message_definition TEXT, type_description_hash TEXT)`)
		do(`INSERT INTO message_definitions VALUES (1, 'sensor_msgs/msg/JointState', 'ros2msg', ?, '')`, jointStateText)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for i := from; i < from+n; i++ {
		m := bag.Message{Topic: "/joint_states", Type: "sensor_msgs/JointState", Time: began.Add(time.Duration(i^1) * 10 * time.Millisecond), Data: jointCDR(false, began, float64(i))}
		topic := 1
		if i%3 == 0 {
			m.Topic, m.Type, m.Data, topic = "/other", "other_msgs/Thing", bytes.Repeat([]byte{byte(i)}, i%100+4), 2
		}
		if _, err := tx.Exec(`INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)`, topic, m.Time.UnixNano(), m.Data); err != nil {
			t.Fatal(err)
		}
		all[key(&m)] = true
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return all
}

// folder makes a rosbag2 folder of two files, of which the later is named first.
func folder(t testing.TB) (dir string, all map[string]bool) {
	t.Helper()
	dir = t.TempDir()
	all = db3(t, filepath.Join(dir, "b_0.db3"), true, 0, 100)
	for k := range db3(t, filepath.Join(dir, "b_1.db3"), true, 98, 100) {
		all[k] = true
	}
	write(t, filepath.Join(dir, "metadata.yaml"), []byte(`rosbag2_bagfile_information:
  version: 5
  storage_identifier: sqlite3
  relative_file_paths: [folder/b_1.db3, b_0.db3]
  compression_format: ""
  compression_mode: ""
  topics_with_message_count:
    - topic_metadata: {name: /joint_states, type: sensor_msgs/msg/JointState, serialization_format: cdr}
      message_count: 132
`))
	return dir, all
}

func TestRosbag2FoldersAreOneRecording(t *testing.T) {
	dir, all := folder(t)
	b := open(t, dir, bag.Options{})
	var m bag.Message
	last, n := time.Time{}, 0
	for ; b.Next(&m) == nil; n++ {
		if m.Time.Before(last) || !all[key(&m)] {
			t.Fatalf("message %d at %v after %v, known %v", n, m.Time.Sub(began), last.Sub(began), all[key(&m)])
		}
		last = m.Time
		if d, err := m.Conn.Decoder(); m.Topic == "/joint_states" {
			if err != nil {
				t.Fatal(err)
			}
			if v, err := d.Decode(m.Data); err != nil || v.Path("position").Len() != 2 {
				t.Fatalf("error %v", err)
			}
		} else if err == nil {
			t.Fatal("a type without a definition has a decoder")
		}
	}
	info := b.Info()
	if n != 200 || info.Messages != 200 || !info.Damage.None() || len(info.Topics) != 2 || info.Kind != "rosbag2 sqlite3" || info.Topics[0].Connections != 1 || len(b.Connections()) != 2 {
		t.Errorf("%d messages, info %+v", n, info)
	}
	sel := open(t, dir, bag.Options{Topics: []string{"/other"}, From: began.Add(900 * time.Millisecond), To: began.Add(1100 * time.Millisecond)})
	n = 0
	for ; sel.Next(&m) == nil; n++ {
		if m.Topic != "/other" || m.Time.Before(began.Add(900*time.Millisecond)) || !m.Time.Before(began.Add(1100*time.Millisecond)) {
			t.Errorf("%s at %v", m.Topic, m.Time.Sub(began))
		}
	}
	if n < 6 || n > 8 {
		t.Errorf("%d messages of a topic and a stretch of time", n)
	}
}

func TestRosbag2FoldersThatLackSomething(t *testing.T) {
	t.Run("a file", func(t *testing.T) {
		dir, _ := folder(t)
		if err := os.Remove(filepath.Join(dir, "b_1.db3")); err != nil {
			t.Fatal(err)
		}
		if d := open(t, dir, bag.Options{}).Damage(); d.Chunks != 1 || d.Messages != 132-66 {
			t.Errorf("damage %+v", d)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		dir, _ := folder(t)
		if err := os.Remove(filepath.Join(dir, "metadata.yaml")); err != nil {
			t.Fatal(err)
		}
		b := open(t, dir, bag.Options{})
		if d := b.Damage(); !d.Unindexed || d.Lost() || b.Info().Messages != 200 {
			t.Errorf("damage %+v", d)
		}
	})
	t.Run("everything", func(t *testing.T) {
		if _, err := bag.Open(t.TempDir(), bag.Options{}); err == nil || !strings.Contains(err.Error(), "no .db3 or .mcap") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a way to read it", func(t *testing.T) {
		dir, _ := folder(t)
		write(t, filepath.Join(dir, "metadata.yaml"), []byte("rosbag2_bagfile_information:\n  compression_mode: FILE\n  compression_format: zstd\n"))
		if _, err := bag.Open(dir, bag.Options{}); err == nil || !strings.Contains(err.Error(), "ros2 bag convert") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the tables of rosbag2", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db3")
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`CREATE TABLE a (b); CREATE VIEW messages AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x AS id FROM c`); err != nil {
			t.Fatal(err)
		}
		db.Close()
		if _, err := bag.Open(path, bag.Options{}); err == nil || !strings.Contains(err.Error(), "without the tables") {
			t.Errorf("error %v", err)
		}
	})
}

// A recording of ROS 2 becomes MCAP and is played as an arm.
func TestROS2AsMCAPAndAsBackend(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "arm.db3")
	db3(t, path, false, 0, 10) // definitions of well-known types are built in
	there := filepath.Join(dir, "arm.mcap")
	convert(t, path, there, bag.Options{}, "zstd")
	b := open(t, there, bag.Options{Topics: []string{"/joint_states"}})
	var m bag.Message
	var j bag.Joints
	n := 0
	for ; b.Next(&m) == nil; n++ {
		d, err := m.Conn.Decoder()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Joints(m.Data, &j); err != nil || j.Position[0] != -j.Position[1] {
			t.Errorf("%v, error %v", j, err)
		}
	}
	if n != 6 {
		t.Errorf("%d messages, want 6", n)
	}
	k, err := bag.NewBackend(there, bag.BackendConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := k.Reset(t.Context()); err == nil || !strings.Contains(err.Error(), "/joint_states has 2 joints, want 7") {
		t.Errorf("an arm of two joints: error %v", err)
	}
	var _ robot.Backend = k
}

// With bytes of a database altered, no message that is accepted is of another
// time or topic than one that was recorded, and reading ends. SQLite has no checksums:
// data may be altered.
func TestFlippedDatabases(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db3")
	all := db3(t, path, true, 0, 300)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	lost, quiet := 0, 0
	for range 60 {
		c := bytes.Clone(b)
		for range 8 {
			c[rng.IntN(len(c))] ^= 1 << rng.IntN(8)
		}
		write(t, path, c)
		good, changed, d := salvage(t, path, all)
		if good+changed < len(all) {
			lost++
			if !d.Lost() {
				quiet++
			}
		}
	}
	// A row that a flipped bit takes out of its page leaves no trace.
	if lost == 0 || quiet > lost/4 {
		t.Errorf("%d of 60 lost messages, %d of these without a word", lost, quiet)
	}
}
