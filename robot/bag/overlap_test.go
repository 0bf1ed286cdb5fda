package bag_test

import (
	"encoding/binary"
	"io"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
)

// Chunks that all cover the same time are given in order with bounded memory:
// what does not fit is unpacked again.
func TestOverlappingChunksTakeBoundedMemory(t *testing.T) {
	const chunks, each, size = 100, 5, 96 << 10 // 47 MiB unpacked
	for _, ext := range []string{".bag", ".mcap"} {
		t.Run(ext, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x"+ext)
			w, err := bag.Create(path, bag.WriteOptions{Compression: "lz4", Chunk: 1 << 30 / 2})
			if err != nil {
				t.Fatal(err)
			}
			c := &bag.Connection{Topic: "/a", Type: "std_msgs/String", Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte("string data\n")}
			data := make([]byte, size)
			binary.LittleEndian.PutUint32(data, size-4)
			for i := range chunks {
				for k := range each {
					binary.LittleEndian.PutUint32(data[4:], uint32(k*chunks+i))
					m := bag.Message{Conn: c, Time: began.Add(time.Duration(k*chunks + i)), Data: data}
					if err := w.Write(&m); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			var before, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			b := open(t, path, bag.Options{})
			if n := b.Info().Compression; len(n) != 1 || n[0].Chunks != chunks {
				t.Fatalf("chunks %v", n)
			}
			var m bag.Message
			most, n := uint64(0), 0
			for ; ; n++ {
				err := b.Next(&m)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := int(binary.LittleEndian.Uint32(m.Data[4:])); got != n || !m.Time.Equal(began.Add(time.Duration(n))) {
					t.Fatalf("message %d comes as number %d", got, n)
				}
				if n%40 == 0 {
					runtime.GC()
					runtime.ReadMemStats(&now)
					most = max(most, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
				}
			}
			if n != chunks*each || !b.Damage().None() {
				t.Errorf("%d messages, damage %v", n, b.Damage())
			}
			if most > 32<<20 {
				t.Errorf("%d MiB are kept", most>>20)
			}
		})
	}
}
