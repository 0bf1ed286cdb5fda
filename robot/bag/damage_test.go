package bag_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/record"
)

// publisher makes messages of a few connections.
type publisher struct {
	conns []*bag.Connection
	rng   *rand.Rand
	at    time.Time
}

var began = time.Unix(1_700_000_000, 0).UTC()

func newPublisher(seed uint64) *publisher {
	p := &publisher{rng: rand.New(rand.NewPCG(seed, 1)), at: began}
	for i, typ := range []string{"std_msgs/String", "std_msgs/Float64", "std_msgs/String"} {
		def := "string data\n"
		if typ == "std_msgs/Float64" {
			def = "float64 data\n"
		}
		sum, err := bag.MD5(typ, []byte(def))
		if err != nil {
			panic(err)
		}
		p.conns = append(p.conns, &bag.Connection{ID: uint32(i), Topic: fmt.Sprintf("/topic%d", i), Type: typ, MD5: sum, Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte(def), Caller: "/node"})
	}
	return p
}

func (p *publisher) next() bag.Message {
	c := p.conns[p.rng.IntN(len(p.conns))]
	var data []byte
	if c.Type == "std_msgs/Float64" {
		data = binary.LittleEndian.AppendUint64(data, p.rng.Uint64())
	} else {
		n := p.rng.IntN(120)
		data = binary.LittleEndian.AppendUint32(data, uint32(n))
		for range n {
			data = append(data, byte('a'+p.rng.IntN(26)))
		}
	}
	p.at = p.at.Add(time.Duration(1 + p.rng.IntN(1e6)))
	return bag.Message{Topic: c.Topic, Type: c.Type, Time: p.at, Conn: c, Data: data}
}

// whole writes a recording of n messages, and returns its bytes and its messages
// by what they are.
func whole(t testing.TB, ext, compression string, n, chunk int) ([]byte, map[string]bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "whole"+ext)
	w, err := bag.Create(path, bag.WriteOptions{Compression: compression, Chunk: chunk})
	if err != nil {
		t.Fatal(err)
	}
	p := newPublisher(1)
	all := map[string]bool{}
	for range n {
		m := p.next()
		if err := w.Write(&m); err != nil {
			t.Fatal(err)
		}
		all[key(&m)] = true
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b, all
}

func key(m *bag.Message) string {
	return fmt.Sprintf("%s %s %d %x", m.Topic, m.Type, m.Time.UnixNano(), sha256.Sum256(m.Data))
}

// salvage reads what is left of a recording: how many messages are as they
// were, and how many are not.
func salvage(t testing.TB, path string, all map[string]bool) (good, changed int, d bag.Damage) {
	t.Helper()
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		return 0, 0, bag.Damage{Unknown: true} // nothing of it can be read
	}
	defer b.Close()
	seen := map[string]bool{}
	for m := (bag.Message{}); ; {
		err := b.Next(&m)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch k := key(&m); {
		case seen[k]:
			t.Errorf("a message came twice: %s", k)
		case all[k]:
			good++
			seen[k] = true
		default:
			changed++
		}
	}
	return good, changed, b.Damage()
}

var kinds = []struct{ ext, compression string }{{".bag", "none"}, {".bag", "lz4"}, {".mcap", "none"}, {".mcap", "lz4"}, {".mcap", "zstd"}}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			b, all := whole(t, k.ext, k.compression, 500, 2000)
			path := filepath.Join(t.TempDir(), "renamed") // the name does not matter
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			good, changed, d := salvage(t, path, all)
			if good != 500 || changed != 0 || !d.None() {
				t.Errorf("%d good, %d changed, damage %+v", good, changed, d)
			}
		})
	}
}

// However short a file is cut, what lies before is read, and nothing is
// altered; what is missing is known to be.
func TestTruncatedRecordings(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			b, all := whole(t, k.ext, k.compression, 300, 2000)
			path := filepath.Join(t.TempDir(), "cut")
			last := 0
			for n := 0; n <= len(b); n += 211 {
				if err := os.WriteFile(path, b[:n], 0o644); err != nil {
					t.Fatal(err)
				}
				good, changed, d := salvage(t, path, all)
				if changed != 0 {
					t.Fatalf("cut to %d of %d bytes: %d messages are altered", n, len(b), changed)
				}
				if n < len(b) && good < 300 && !(d.Lost() || d.Truncated) {
					t.Fatalf("cut to %d of %d bytes: %d messages, and damage %+v", n, len(b), good, d)
				}
				if good < last {
					t.Fatalf("cut to %d of %d bytes: %d messages, and %d of a shorter file", n, len(b), good, last)
				}
				last = good
			}
			if last < 250 {
				t.Errorf("only %d messages of nearly the whole file", last)
			}
		})
	}
}

// Of a recording that ends before its first message nobody knows how much is lost:
// that it is nothing is not said.
func TestCutWithinTheHeader(t *testing.T) {
	for _, k := range kinds {
		b, all := whole(t, k.ext, k.compression, 300, 2000)
		cuts := []int{8, 20, 40, 60}
		if k.ext == ".bag" {
			cuts = []int{13, 14, 60, 2000, 13 + 4095}
		}
		for _, n := range cuts {
			for _, dead := range []bool{false, true} { // a bag whose recorder died has no place of the index
				c := bytes.Clone(b)
				if i := bytes.Index(c, []byte("index_pos=")); i >= 0 && dead {
					clear(c[i+10:][:8])
				}
				t.Run(fmt.Sprint(k.compression, k.ext, " cut to ", n, ", dead ", dead), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "cut")
					write(t, path, c[:n])
					good, changed, d := salvage(t, path, all)
					if good+changed != 0 || !d.Unknown || !d.Truncated || !d.Lost() || !strings.Contains(d.String(), "an unknown number of messages lost") {
						t.Errorf("%d messages, damage %v: %+v", good+changed, d, d)
					}
					if !strings.Contains(strings.Join(d.Notes, "; "), fmt.Sprintf("after %d bytes", n)) {
						t.Errorf("notes %q", d.Notes)
					}
				})
			}
		}
	}
}

// A chunk of an .mcap is written whole, so that one that is cut off had more messages.
func TestCutWithinAChunk(t *testing.T) {
	for _, compression := range []string{"none", "lz4", "zstd"} {
		b, all := whole(t, ".mcap", compression, 300, 20000)
		path := filepath.Join(t.TempDir(), "cut")
		for n := 400; n < 8000; n += 53 {
			write(t, path, b[:n])
			if good, _, d := salvage(t, path, all); !d.Unknown || good == 300 {
				t.Errorf("%s: cut to %d bytes: %d messages, damage %v", compression, n, good, d)
			}
		}
	}
}

// original is a whole file and its messages.
type original struct {
	name  string
	bytes []byte
	all   map[string]bool
	blind bool // data that are flipped cannot be told
}

// originals are of every kind: ours, those of rosbag record, and without an index.
func originals(t testing.TB) (list []original) {
	t.Helper()
	for _, k := range kinds {
		b, all := whole(t, k.ext, k.compression, 300, 2000)
		list = append(list, original{k.compression + k.ext, b, all, k.ext == ".bag" && k.compression == "none"})
		if k.ext == ".bag" {
			dead := bytes.Clone(b)
			clear(dead[bytes.Index(dead, []byte("index_pos="))+10:][:8])
			list = append(list, original{k.compression + " without an index", dead, all, k.compression == "none"})
		}
	}
	for _, name := range []string{"recorded-bz2.bag", "killed-bz2.bag.active", "killed-lz4.bag.active"} {
		path := filepath.Join("testdata", "recorder", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]bool{}
		r := open(t, path, bag.Options{})
		for m := (bag.Message{}); r.Next(&m) == nil; {
			all[key(&m)] = true
		}
		list = append(list, original{name, b, all, false})
	}
	return list
}

// With a bit flipped anywhere, every message is as it was, or is counted. Bags
// have no checksum: where chunks are not compressed, data that are flipped cannot be
// told.
func TestFlippedBits(t *testing.T) {
	for _, o := range originals(t) {
		t.Run(o.name, func(t *testing.T) {
			n := len(o.all)
			path := filepath.Join(t.TempDir(), "flipped")
			rng := rand.New(rand.NewPCG(2, 3))
			rescued := 0
			const flips = 100
			for range flips {
				c := bytes.Clone(o.bytes)
				at := rng.IntN(len(c))
				c[at] ^= 1 << rng.IntN(8)
				write(t, path, c)
				good, changed, d := salvage(t, path, o.all)
				rescued += good
				if changed > 0 && !(o.blind && changed <= 1) && !relabelled(t, path, o) {
					t.Errorf("byte %d of %d: %d messages are altered, damage %+v", at, len(c), changed, d)
				}
				if lost := n - good - changed; lost > 0 && !d.Lost() || !d.Unknown && int64(lost) > d.Messages {
					t.Errorf("byte %d of %d: %d messages of %d are missing, damage %+v", at, len(c), lost, n, d)
				}
			}
			if rescued < flips*n*7/10 {
				t.Errorf("%d messages of %d were rescued", rescued, flips*n)
			}
		})
	}
}

// relabelled says whether what was altered is the name or type of a connection,
// which stands for all of its messages.
func relabelled(t testing.TB, path string, o original) bool {
	say := func(path string) string {
		b, err := bag.Open(path, bag.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		var s []string
		for _, c := range b.Connections() {
			s = append(s, fmt.Sprint(c.Topic, " ", c.Type))
		}
		slices.Sort(s)
		return strings.Join(s, ", ")
	}
	clean := path + ".clean"
	write(t, clean, o.bytes)
	return say(path) != say(clean)
}

// Bags of rosbag record, Debian's 1.15.15, as it ends them and as kill -9 does.
func TestBagsOfTheRecorder(t *testing.T) {
	for _, tt := range []struct {
		name    string
		n       int // 240 were published; reindex finds 222 and 223 in killed ones
		unknown bool
	}{
		{"recorded-none.bag", 240, false}, {"recorded-lz4.bag", 240, false}, {"recorded-bz2.bag", 240, false},
		{"killed-none.bag.active", 239, false}, {"killed-lz4.bag.active", 223, true}, {"killed-bz2.bag.active", 222, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, filepath.Join("testdata", "recorder", tt.name), bag.Options{})
			n := map[string]int{}
			for m := (bag.Message{}); b.Next(&m) == nil; {
				d, err := m.Conn.Decoder()
				if err != nil {
					t.Fatal(err)
				}
				v, err := d.Decode(m.Data)
				if err != nil {
					t.Fatal(err)
				}
				i := fmt.Sprint(n[m.Topic])
				if m.Topic == "/chatter" && v.Path("data").Text() != strings.Repeat("x", 20)+i || m.Topic == "/joint_states" && fmt.Sprint(v.Path("position.6").Float()) != i {
					t.Errorf("message %s of %s: %v", i, m.Topic, v.Any())
				}
				n[m.Topic]++
			}
			d := b.Damage()
			if got := n["/chatter"] + n["/joint_states"]; got != tt.n || d.Unknown != tt.unknown || d.Unindexed != strings.HasSuffix(tt.name, ".active") {
				t.Errorf("%d messages, want %d; damage %+v", got, tt.n, d)
			}
		})
	}
}

// Episodes of our own are MCAP too.
func TestOurEpisodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.mcap")
	w, err := record.Create(path, record.Info{ID: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := w.Tick(record.Tick{State: robot.State{Stamp: began.Add(time.Duration(i) * 50 * time.Millisecond)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := open(t, path, bag.Options{Topics: []string{"/state"}})
	n := 0
	for m := (bag.Message{}); b.Next(&m) == nil; n++ {
		if m.Type != "rapport.State" || m.Conn.Encoding != bag.JSON || !json.Valid(m.Data) {
			t.Fatalf("%+v", m)
		}
		if _, err := m.Conn.Decoder(); err == nil || !strings.Contains(err.Error(), `"json"`) {
			t.Fatalf("error %v", err)
		}
	}
	if i := b.Info(); n != 50 || i.Messages != 99 || !i.Damage.None() {
		t.Errorf("%d states, info %+v", n, i)
	}
}

// Statistics may leave out how many messages each channel has; the recording is not empty then,
// and its topics are found.
func TestMCAPCountsWhatStatisticsLeaveOut(t *testing.T) {
	b, all := whole(t, ".mcap", "zstd", 300, 2000)
	foot := len(b) - (9 + 20 + 8)
	le := binary.LittleEndian
	pos := int(le.Uint64(b[foot+9:]))
	for b[pos] != 0x0b {
		pos += 9 + int(le.Uint64(b[pos+1:]))
	}
	const fixed = 8 + 2 + 4*4 + 8 + 8 // what statistics hold before the counts
	per := pos + 9 + fixed
	n := int(le.Uint32(b[per:]))
	le.PutUint64(b[pos+1:], fixed+4)
	le.PutUint32(b[per:], 0)
	le.PutUint64(b[foot+9+8:], le.Uint64(b[foot+9+8:])-uint64(n))
	le.PutUint32(b[foot+9+16:], 0) // no checksum
	b = slices.Delete(b, per+4, per+4+n)
	for k, indexed := range []bool{true, false} { // chunks that do not make up the total are looked into
		le.PutUint64(b[pos+9:], uint64(len(all)+k))
		path := filepath.Join(t.TempDir(), "mute.mcap")
		write(t, path, b)
		r, err := bag.Open(path, bag.Options{})
		if err != nil {
			t.Fatal(err)
		}
		i := r.Info()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, topic := range i.Topics {
			sum += topic.Count
		}
		if i.Messages != int64(len(all)) || sum != i.Messages || i.Indexed != indexed || !i.Damage.None() {
			t.Errorf("%d messages, %d by topic, of %d; by the index %v: %v", i.Messages, sum, len(all), i.Indexed, i.Damage)
		}
		if good, changed, d := salvage(t, path, all); good != len(all) || changed != 0 || !d.None() {
			t.Errorf("%d of %d messages are read, %d others: %v", good, len(all), changed, d)
		}
	}
}
