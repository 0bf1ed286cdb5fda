package bag_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
)

// A topic that was there for a part of a recording has the rate of that part.
func TestRatesAreOfATopicsOwnTime(t *testing.T) {
	for _, k := range kinds {
		for _, chunk := range []int{2000, 200_000} {
			t.Run(fmt.Sprint(k.compression, k.ext, chunk), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "sim"+k.ext)
				w, err := bag.Create(path, bag.WriteOptions{Compression: k.compression, Chunk: chunk})
				if err != nil {
					t.Fatal(err)
				}
				p := newPublisher(4)
				long := p.next()
				part, conn := long, *long.Conn
				conn.Topic = "/part"
				part.Topic, part.Conn = "/part", &conn
				begin := time.Unix(1000, 0)
				for i := range 400 { // 4 s; the part from 1 to 3 s
					for _, m := range []bag.Message{long, part} {
						if m.Topic == "/part" && (i < 100 || i > 300) {
							continue
						}
						m.Time = begin.Add(time.Duration(i) * 10 * time.Millisecond)
						if err := w.Write(&m); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				for _, topic := range open(t, path, bag.Options{}).Info().Topics {
					// A .bag tells of a chunk's time alone, not of a topic's in it.
					if k.ext == ".bag" && (topic.Name != "/part" || chunk > 2000) {
						continue
					}
					tolerance := 0.01
					if k.ext == ".bag" {
						tolerance = 2
					}
					if math.Abs(topic.Hz-100) > tolerance {
						t.Errorf("%s: %.2f Hz, %v to %v, want 100 Hz", topic.Name, topic.Hz, topic.Start.Sub(begin), topic.End.Sub(begin))
					}
				}
			})
		}
	}
}

// A topic's rate is told from its own first message to its last, of a recording that
// begins at time 0, as simulated ones do, too, and of one that was cut off.
func TestRatesOfARecordingThatBeginsAtNothing(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sim"+k.ext)
			w, err := bag.Create(path, bag.WriteOptions{Compression: k.compression, Chunk: 4000})
			if err != nil {
				t.Fatal(err)
			}
			p := newPublisher(4)
			m := p.next()
			for i := range 200 {
				m.Time = time.Unix(0, int64(i)*50e6)
				if err := w.Write(&m); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			info := open(t, path, bag.Options{}).Info()
			if n := len(info.Topics); n != 1 || math.Abs(info.Topics[0].Hz-20) > 0.1 {
				t.Errorf("%d topics, %+v, want one of 20 Hz", n, info.Topics)
			}
		})
	}
}
