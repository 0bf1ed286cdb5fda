package buffer_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// chunk finds the row around step t.
func chunk(t *testing.T, d *buffer.Chunks, step int) int {
	t.Helper()
	for i := range d.Reward {
		if _, s := d.At(i); s == step {
			return i
		}
	}
	t.Fatalf("no row around step %d", step)
	return 0
}

// An episode of 4 steps has inputs 10..14, actions 0, 0.01, 0.02, 0.03 and
// rewards 11..14.
func TestChunksAreCutAsDiffusionPolicyDoes(t *testing.T) {
	type row struct {
		obs, act, mask   []float32
		reward, discount float32
		next             []float32
	}
	w := buffer.Window{History: 2, Actions: 4, Exec: 2, Next: true}
	for _, tt := range []struct {
		name     string
		terminal bool
		want     map[int]row
	}{
		{"cut off", false, map[int]row{
			0: {[]float32{10, 10}, []float32{0, 0, 0.01, 0.02}, []float32{0, 1, 1, 1}, 11 + 6, 0.25, []float32{11, 12}},
			1: {[]float32{10, 11}, []float32{0, 0.01, 0.02, 0.03}, []float32{1, 1, 1, 1}, 12 + 6.5, 0.25, []float32{12, 13}},
			2: {[]float32{11, 12}, []float32{0.01, 0.02, 0.03, 0.03}, []float32{1, 1, 1, 0}, 13 + 7, 0.25, []float32{13, 14}},
			3: {[]float32{12, 13}, []float32{0.02, 0.03, 0.03, 0.03}, []float32{1, 1, 0, 0}, 14, 0.5, []float32{13, 14}},
		}},
		{"terminal", true, map[int]row{
			1: {[]float32{10, 11}, []float32{0, 0.01, 0.02, 0.03}, []float32{1, 1, 1, 1}, 12 + 6.5, 0.25, []float32{12, 13}},
			2: {[]float32{11, 12}, []float32{0.01, 0.02, 0.03, 0.03}, []float32{1, 1, 1, 0}, 13 + 7, 0, []float32{13, 14}},
			3: {[]float32{12, 13}, []float32{0.02, 0.03, 0.03, 0.03}, []float32{1, 1, 0, 0}, 14, 0, []float32{13, 14}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := episode("e", policy.Online, 10, 4)
			e.Terminal = tt.terminal
			b := filled(t, buffer.Config{View: look(), Gamma: 0.5}, e)
			dst, err := buffer.NewChunks(100, w, look())
			if err != nil {
				t.Fatal(err)
			}
			if err := b.SampleChunks(dst, 0, seed(1)); err != nil {
				t.Fatal(err)
			}
			for step, want := range tt.want {
				i := chunk(t, dst, step)
				got := row{dst.Obs[2*i : 2*i+2], dst.Act[4*i : 4*i+4], dst.Mask[4*i : 4*i+4], dst.Reward[i], dst.Discount[i], dst.Next[2*i : 2*i+2]}
				if !slices.Equal(got.obs, want.obs) || !slices.EqualFunc(got.act, want.act, close32) || !slices.Equal(got.mask, want.mask) ||
					got.reward != want.reward || got.discount != want.discount || !slices.Equal(got.next, want.next) {
					t.Errorf("step %d: %v, want %v", step, got, want)
				}
			}
		})
	}
}

func TestEveryStorageGivesTheSameChunks(t *testing.T) {
	w := buffer.Window{History: 3, Actions: 6, Next: true}
	for name, store := range storages(t) {
		t.Run(name, func(t *testing.T) {
			c := buffer.Config{View: sight(), Gamma: 0.5}
			store(&c)
			b := open(t, c)
			add(t, b, film()...)
			truth := byID(film()...)
			dst, err := buffer.NewChunks(60, w, c.View)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.SampleChunks(dst, 20, seed(1)); err != nil {
				t.Fatal(err)
			}
			P := c.View.Pixels()
			for i := range dst.Reward {
				id, step := dst.At(i)
				e := truth[id]
				if human := e.Origin == policy.Demo || e.By[step] != 0; i < dst.Demos && !human || i >= dst.Demos && e.Origin == policy.Demo {
					t.Errorf("row %d of %d demonstrations is step %d of %s", i, dst.Demos, step, id)
				}
				reward, discount, next, _ := outlook(c, e, step, 4)
				if !close32(dst.Reward[i], reward) || !close32(dst.Discount[i], discount) {
					t.Errorf("%s step %d: reward %v, discount %v; want %v, %v", id, step, dst.Reward[i], dst.Discount[i], reward, discount)
				}
				for h := range w.History {
					for _, part := range []struct {
						obs []float32
						pix []byte
						end int
					}{{dst.Obs, dst.Pix, step}, {dst.Next, dst.NextPix, next}} {
						in, at := e.Inputs[max(0, part.end-2+h)], i*w.History+h
						if part.obs[at] != in.Features.Embed[0] || !bytes.Equal(part.pix[at*P:(at+1)*P], picture(t, c, in)) {
							t.Errorf("%s step %d: entry %d of the history that ends at %d is not input %d", id, step, h, part.end, in.Step)
						}
					}
				}
				for j := range w.Actions {
					s, at := step-2+j, i*w.Actions+j
					inside := s >= 0 && s < e.Len()
					want := float32(e.Applied[min(max(s, 0), e.Len()-1)].Delta[0] / 0.01)
					if !close32(dst.Act[at], want) || (dst.Mask[at] == 1) != inside || !inside && dst.Mask[at] != 0 {
						t.Errorf("%s step %d: action %d is %v with mask %v, want %v, real: %v", id, step, j, dst.Act[at], dst.Mask[at], want, inside)
					}
				}
			}
		})
	}
}

func TestChunksRefuse(t *testing.T) {
	for want, w := range map[string]buffer.Window{
		"History is 0":                  {Actions: 3},
		"Actions is 1, want at least":   {History: 2, Actions: 1},
		"Exec is 4 actions, want at mo": {History: 2, Actions: 4, Exec: 4},
	} {
		if _, err := buffer.NewChunks(4, w, look()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
	if _, err := buffer.NewChunks(-1, buffer.Window{History: 1, Actions: 1}, look()); err == nil {
		t.Error("chunks of -1 rows were made")
	}
	b := filled(t, buffer.Config{View: look(), Gamma: 0.9}, episode("e", policy.Online, 0, 2))
	dst, err := buffer.NewChunks(4, buffer.Window{History: 1, Actions: 1}, look())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SampleChunks(dst, 1, seed(1)); !errors.Is(err, buffer.ErrEmpty) {
		t.Errorf("a demonstration of none: error = %v, want ErrEmpty", err)
	}
}
