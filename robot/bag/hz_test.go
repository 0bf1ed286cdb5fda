package bag_test

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
)

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
