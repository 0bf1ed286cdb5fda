package bag_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
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

// With a bit flipped anywhere, every message is as it was, or is counted. Bags
// have no checksum: where chunks are not compressed, data that is flipped cannot be
// told, nor a time or a connection in an unindexed file.
func TestFlippedBits(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			const n = 300
			b, all := whole(t, k.ext, k.compression, n, 2000)
			path := filepath.Join(t.TempDir(), "flipped")
			rng := rand.New(rand.NewPCG(2, 3))
			rescued := 0
			const flips = 120
			for range flips {
				c := bytes.Clone(b)
				at := rng.IntN(len(c))
				c[at] ^= 1 << rng.IntN(8)
				if err := os.WriteFile(path, c, 0o644); err != nil {
					t.Fatal(err)
				}
				good, changed, d := salvage(t, path, all)
				rescued += good
				blind := k.ext == ".bag" && k.compression == "none" || k.ext == ".bag" && d.None() && good == n
				if changed > 0 && !(blind && changed <= 1) && !relabelled(t, path, changed) {
					t.Errorf("byte %d of %d: %d messages are altered, damage %+v", at, len(b), changed, d)
				}
				if good+changed < n && !d.Lost() {
					t.Errorf("byte %d of %d: %d messages of %d, and damage %+v", at, len(b), good+changed, n, d)
				}
				if lost := n - good - changed; !d.Unknown && int64(lost) > d.Messages {
					t.Errorf("byte %d of %d: %d messages are missing, damage says %+v", at, len(b), lost, d)
				}
			}
			t.Logf("%.2f%% of the messages survive a flipped bit", 100*float64(rescued)/(n*flips))
			if rescued < flips*n*9/10 {
				t.Errorf("%d messages of %d were rescued", rescued, flips*n)
			}
		})
	}
}

// relabelled says whether what was altered is the name or type of a connection,
// which stands for all of its messages.
func relabelled(t testing.TB, path string, changed int) bool {
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, c := range b.Connections() {
		known := false
		for _, o := range newPublisher(1).conns {
			known = known || c.Topic == o.Topic && c.Type == o.Type && bytes.Equal(c.Definition, o.Definition)
		}
		if !known {
			return true
		}
	}
	return false
}
