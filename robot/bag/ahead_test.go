package bag_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rapport-rl/rapport/robot/bag"
)

// told is all that a recording gives, in order, with the account of its damage; after
// a number of messages it begins anew.
func told(t *testing.T, path string, cores, anew int) (all []string) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	b, err := bag.Open(path, bag.Options{})
	if err != nil {
		return []string{err.Error()}
	}
	defer b.Close()
	var m bag.Message
	for {
		err := b.Next(&m)
		if errors.Is(err, io.EOF) {
			return append(all, b.Damage().String())
		}
		if err != nil {
			return append(all, err.Error())
		}
		if all = append(all, key(&m)+m.Time.String()); len(all) == anew {
			if err := b.Rewind(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is unpacked ahead on other cores is what one core makes of it, of whole
// recordings and of damaged ones.
func TestOtherCoresChangeNothing(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.compression+k.ext, func(t *testing.T) {
			good, all := whole(t, k.ext, k.compression, 400, 1500)
			rng := rand.New(rand.NewPCG(7, 7))
			path := filepath.Join(t.TempDir(), "x"+k.ext)
			for i := range 25 {
				b := append([]byte{}, good...)
				if i > 0 {
					b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				}
				if i%5 == 4 {
					b = b[:len(b)/2+rng.IntN(len(b)/2)]
				}
				write(t, path, b)
				one, four := told(t, path, 1, 150), told(t, path, 4, 150)
				if a, b := fmt.Sprint(one), fmt.Sprint(four); a != b {
					t.Fatalf("variant %d: one core gives %d messages, four %d:\n%.200s\n%.200s", i, len(one), len(four), one[len(one)-1], four[len(four)-1])
				}
				if i == 0 && len(one) != len(all)+150+1 {
					t.Errorf("%d messages, want %d and the first 150 twice", len(one)-1, len(all))
				}
			}
		})
	}
}

// Who stops early leaves nobody unpacking behind; TestMain looks for who is left.
func TestCloseWhileOthersUnpack(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, k := range kinds {
		b, _ := whole(t, k.ext, k.compression, 2000, 1<<15)
		path := filepath.Join(t.TempDir(), "x"+k.ext)
		write(t, path, b)
		for n := range 3 {
			r, err := bag.Open(path, bag.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var m bag.Message
			for range n {
				if err := r.Next(&m); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := r.Next(&m); n == 0 && err == nil {
				t.Errorf("%s%s: a message of a closed recording", k.compression, k.ext)
			}
		}
	}
}
