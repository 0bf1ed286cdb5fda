package bag_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"path/filepath"

	"github.com/rapport-rl/rapport/robot/bag"
)

// A bag that was recorded by rosbag record and killed: what is whole is read, and
// what is not is in the account.
func ExampleOpen() {
	b, err := bag.Open(filepath.Join("testdata", "recorder", "killed-none.bag.active"), bag.Options{Topics: []string{"/joint_states"}})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	n, sum := 0, 0.0
	for m := (bag.Message{}); ; n++ {
		if err := b.Next(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		d, err := m.Conn.Decoder()
		if err != nil {
			log.Fatal(err)
		}
		v, err := d.Decode(m.Data)
		if err != nil {
			log.Fatal(err)
		}
		sum += v.Path("position.0").Float()
	}
	fmt.Println(n, sum)
	fmt.Println(b.Damage())
	// Output:
	// 120 7140
	// no index, 1 damaged chunk, 0 messages lost
}
