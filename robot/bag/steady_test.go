package bag_test

import (
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/robot/bag"
)

// Reading and decoding allocate nothing once buffers have their size.
func TestSteadyReadingAllocatesNothing(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x"+k.ext)
			w, err := bag.Create(path, bag.WriteOptions{Compression: k.compression, Chunk: 20000})
			if err != nil {
				t.Fatal(err)
			}
			c := connect("/joint_states", "sensor_msgs/JointState")
			for i := range 5000 {
				at := began.Add(1000 * 1000 * 10 * 1)
				m := wireOf{}.head(at).u32(2).text("a").text("b").u32(2).floats(float64(i), 2).u32(0).u32(0)
				if err := w.Write(&bag.Message{Conn: c, Time: at, Data: m}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			b := open(t, path, bag.Options{})
			var (
				m bag.Message
				j bag.Joints
			)
			step := func() {
				if err := b.Next(&m); err != nil {
					t.Fatal(err)
				}
				d, err := m.Conn.Decoder()
				if err == nil {
					err = d.Joints(m.Data, &j)
				}
				if err == nil {
					_, err = d.Decode(m.Data)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for range 500 {
				step()
			}
			if n := testing.AllocsPerRun(4000, step); n > 0 {
				t.Errorf("%g allocations a message", n)
			}
		})
	}
}
