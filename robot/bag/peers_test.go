//go:build peers

package bag_test

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/internal/pace"
	"github.com/rapport-rl/rapport/robot/bag"
)

// BenchmarkPeerRosbag takes the processor and the wall time of reading all messages of
// a bag, raw and decoded, beside Debian's python3-rosbag in alternating pairs, and
// reports the medians of the ratios. Wall times are those of a user, who waits; chunks
// are unpacked on several cores here. Of every decoded message all fields are checked, and
// those that the type is for are read into a Go struct.
func BenchmarkPeerRosbag(b *testing.B) {
	dir := b.TempDir()
	peer := pace.Start(b, "testdata/pace.py", dir)
	peer.Until("ready")
	for _, name := range []string{"joints-none", "joints-lz4", "joints-bz2", "images-none", "images-lz4", "images-bz2"} {
		for _, how := range []string{"raw", "decoded"} {
			b.Run(how+"-"+name, func(b *testing.B) {
				pace.Compare(b, pace.Case{
					Ours:   func() { readBag(b, filepath.Join(dir, name+".bag"), how == "decoded") },
					Theirs: func() float64 { return peer.Ask(how + " " + name) }, Pairs: 7, Clock: true,
				})
			})
		}
	}
}

func readBag(b *testing.B, path string, decoded bool) {
	in, err := bag.Open(path, bag.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	var (
		m bag.Message
		j bag.Joints
		s bag.Stamped
		p bag.Picture
	)
	for {
		err := in.Next(&m)
		if err == io.EOF {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
		if !decoded {
			continue
		}
		d, err := m.Conn.Decoder()
		if err == nil {
			switch m.Topic {
			case "/joint_states":
				err = d.Joints(m.Data, &j)
			case "/equilibrium_pose":
				err = d.Pose(m.Data, &s)
			default:
				err = d.Picture(m.Data, &p)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
