package buffer_test

import (
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// A replay of frames on disk: opened, filled, and there again for the next
// process.
func Example() {
	dir, err := os.MkdirTemp("", "replay")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	c := buffer.Config{View: sight(), Capacity: 1_000_000, Gamma: 0.99, JPEG: 90, Dir: dir}
	for range 2 {
		b, err := buffer.New(c)
		if err != nil {
			fmt.Println(err)
			return
		}
		for i, origin := range []policy.Origin{policy.Demo, policy.Online} {
			added, err := b.Add(filmed(fmt.Sprint("episode-", i), origin, 0, 20))
			fmt.Println("added", added, err)
		}
		batch := buffer.NewBatch(256, c.View)
		if err := b.Sample(batch, 128, rand.New(rand.NewPCG(1, 2))); err != nil {
			fmt.Println(err)
		}
		fmt.Println(b.Count().Demo, "and", b.Count().Online, "transitions;", len(batch.Pix), "bytes of frames")
		if err := b.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// added true <nil>
	// added true <nil>
	// 20 and 20 transitions; 196608 bytes of frames
	// added false <nil>
	// added false <nil>
	// 20 and 20 transitions; 196608 bytes of frames
}
