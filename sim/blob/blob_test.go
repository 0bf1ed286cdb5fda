package blob_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/sim/blob"
)

func world(cfg blob.Config, seed uint64) *blob.World { return blob.New(cfg, rand.NewPCG(seed, 9)) }

func TestClipsGoAsFarAsTheyAreTold(t *testing.T) {
	w := world(blob.Config{Distractor: true}, 1)
	for i := range 40 {
		q := float64(i) / 39
		c := w.Clip(q)
		if len(c.Frames) != 45 || len(c.States) != 45 {
			t.Fatalf("%d frames and %d states, want 45", len(c.Frames), len(c.States))
		}
		first, last := c.States[0], c.States[44]
		way := -first.Reward()
		got := (way + last.Reward()) / way
		if math.Abs(got-q) > 0.15 {
			t.Errorf("told to go %.2f of the way, went %.2f", q, got)
		}
	}
	if good, bad := w.Clip(1).Return(), w.Clip(0.1).Return(); good < bad+0.1 {
		t.Errorf("returns of %.2f for good and %.2f for bad", good, bad)
	}
}

func TestEqualSourcesGiveEqualPictures(t *testing.T) {
	a, b := world(blob.Config{Distractor: true}, 3).Clip(0.6), world(blob.Config{Distractor: true}, 3).Clip(0.6)
	for i := range a.Frames {
		if !bytes.Equal(a.Frames[i].Pix, b.Frames[i].Pix) {
			t.Fatalf("frame %d differs", i)
		}
	}
	other := world(blob.Config{Distractor: true}, 4).Clip(0.6)
	if bytes.Equal(a.Frames[20].Pix, other.Frames[20].Pix) {
		t.Error("another source gave the same picture")
	}
}

// pixel is red, green, blue at a place of the image.
func pixel(pix []byte, n int, p blob.Point) [3]byte {
	i := 3 * (int(p.Y*float64(n))*n + int(p.X*float64(n)))
	return [3]byte{pix[i+2], pix[i+1], pix[i]}
}

func TestThingsAreWhereTheStateSays(t *testing.T) {
	s := blob.State{Gripper: blob.Point{X: 0.2, Y: 0.2}, Object: blob.Point{X: 0.5, Y: 0.5}, Goal: blob.Point{X: 0.8, Y: 0.5}, Distractor: blob.Point{X: 0.3, Y: 0.8}, Hue: 0}
	sum := map[string]bool{}
	for _, cfg := range []blob.Config{{Side: 64}, {Side: 64, Distractor: true}, {Side: 64, Gripper: blob.Fork}} {
		pix := make([]byte, 3*64*64)
		blob.Draw(pix, cfg, s)
		sum[fmt.Sprint(sha256.Sum256(pix))] = true
		if c := pixel(pix, 64, s.Object); c != [3]byte{204, 38, 38} {
			t.Errorf("%+v: the object is %v", cfg, c)
		}
		want := [3]byte{38, 38, 51}
		if cfg.Gripper == blob.Fork {
			want = [3]byte{230, 191, 25}
		}
		if c := pixel(pix, 64, s.Gripper); c != want {
			t.Errorf("%+v: the gripper is %v, want %v", cfg, c, want)
		}
		table := pixel(pix, 64, blob.Point{X: 0.95, Y: 0.95})
		if c := pixel(pix, 64, s.Distractor); (c != table) != cfg.Distractor {
			t.Errorf("%+v: at the distractor's place is %v", cfg, c)
		}
	}
	if len(sum) != 3 {
		t.Errorf("%d different pictures, want 3", len(sum))
	}
}

func TestPushingMovesWhatIsTouched(t *testing.T) {
	s := blob.State{Gripper: blob.Point{X: 0.3, Y: 0.5}, Object: blob.Point{X: 0.45, Y: 0.5}, Goal: blob.Point{X: 0.8, Y: 0.5}}
	was := s.Object
	s = s.Push(0.01, 0)
	if s.Object != was {
		t.Errorf("the object moved to %v untouched", s.Object)
	}
	for range 5 {
		s = s.Push(1, 0) // a stride at most
	}
	if d := s.Object.X - was.X; d < 0.1 || d > 5*0.06+1e-9 {
		t.Errorf("the object moved by %g", d)
	}
	if s.Object.Y != was.Y {
		t.Errorf("the object moved sideways to %v", s.Object)
	}
}
