package bus

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/rapport-rl/rapport/perception"
)

// names is the meta of messages with keypoints: keypoints refer to their names
// and cameras by index, so that an episode spells each once.
type names struct {
	Names []string `json:"names,omitempty"`
}

// table numbers strings in order of appearance.
type table struct {
	list  []string
	index map[string]uint32
}

func (t *table) of(s string) (uint32, error) {
	if i, ok := t.index[s]; ok {
		return i, nil
	}
	if !utf8.ValidString(s) {
		return 0, fmt.Errorf("bus: encode: name %q is not UTF-8", s)
	}
	if t.index == nil {
		t.index = make(map[string]uint32)
	}
	i := uint32(len(t.list))
	t.index[s], t.list = i, append(t.list, s)
	return i, nil
}

// features adds n features: stamp (n,2), embed (n,D) or, where they differ in
// length, embed (sum,) with dim (n,); keys (n,), key (K,3), keyname (K,2).
func (w *writer) features(n int, at func(int) *perception.Features) (names, error) {
	var tab table
	var ids []uint32 // name and camera per keypoint
	sum, even := 0, true
	for i := range n {
		f := at(i)
		sum += len(f.Embed)
		even = even && len(f.Embed) == len(at(0).Embed)
		for j := range f.Keys {
			for _, s := range [2]string{f.Keys[j].Name, f.Keys[j].Camera} {
				id, err := tab.of(s)
				if err != nil {
					return names{}, err
				}
				ids = append(ids, id)
			}
		}
	}
	w.add("stamp", "i8", []int{n, 2}, func(b []byte) []byte {
		for i := range n {
			b = putTime(b, at(i).Stamp)
		}
		return b
	})
	shape := []int{sum}
	if even && n > 0 {
		shape = []int{n, sum / n}
	} else {
		w.add("dim", "u4", []int{n}, func(b []byte) []byte {
			for i := range n {
				b = binary.LittleEndian.AppendUint32(b, uint32(len(at(i).Embed)))
			}
			return b
		})
	}
	w.add("embed", "f4", shape, func(b []byte) []byte {
		for i := range n {
			b = putF32s(b, at(i).Embed)
		}
		return b
	})
	if len(ids) == 0 {
		return names{}, nil
	}
	w.add("keys", "u4", []int{n}, func(b []byte) []byte {
		for i := range n {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(at(i).Keys)))
		}
		return b
	})
	w.add("key", "f8", []int{len(ids) / 2, 3}, func(b []byte) []byte {
		for i := range n {
			for _, k := range at(i).Keys {
				b = putF64s(b, k.X, k.Y, k.Score)
			}
		}
		return b
	})
	w.add("keyname", "u4", []int{len(ids) / 2, 2}, func(b []byte) []byte {
		for _, id := range ids {
			b = binary.LittleEndian.AppendUint32(b, id)
		}
		return b
	})
	return names{tab.list}, nil
}

// features reads what writer.features wrote. Empty slices come back nil.
func (r *reader) features(m names, n int, at func(int) *perception.Features) {
	r.times("stamp", n, func(i int, t time.Time) { at(i).Stamp = t })
	r.embeds(n, at)
	counts, have := r.take("keys", "u4", -1)
	if have == 0 || r.err != nil {
		return
	}
	if have != n {
		r.fail("array \"keys\" has %d rows, want %d", have, n)
		return
	}
	total := uint64(0)
	for i := range n {
		total += uint64(binary.LittleEndian.Uint32(counts[4*i:]))
	}
	if total > math.MaxInt32 {
		r.fail("%d keypoints", total)
		return
	}
	xy := cursor(r.rows("key", "f8", 3, int(total)))
	id := cursor(r.rows("keyname", "u4", 2, int(total)))
	if r.err != nil {
		return
	}
	for i := range n {
		k := int(binary.LittleEndian.Uint32(counts[4*i:]))
		if k == 0 {
			continue
		}
		keys := make([]perception.Keypoint, k)
		for j := range keys {
			a, b := id.u32(), id.u32()
			if max(a, b) >= uint32(len(m.Names)) {
				r.fail("keypoint named %d of %d", max(a, b), len(m.Names))
				return
			}
			keys[j] = perception.Keypoint{Name: m.Names[a], Camera: m.Names[b], X: xy.f64(), Y: xy.f64(), Score: xy.f64()}
		}
		at(i).Keys = keys
	}
}

// embeds reads the embeddings into one block, cut into rows.
func (r *reader) embeds(n int, at func(int) *perception.Features) {
	dims, have := r.take("dim", "u4", -1)
	var flat []byte
	d := 0
	if have > 0 {
		if have != n {
			r.fail("array \"dim\" has %d rows, want %d", have, n)
			return
		}
		flat, _ = r.take("embed", "f4", -1)
	} else {
		for _, s := range r.spans {
			if s.Name == "embed" && len(s.Shape) == 2 {
				d = s.Shape[1]
			}
		}
		if n > 0 {
			flat = r.rows("embed", "f4", d, n)
		}
	}
	if r.err != nil {
		return
	}
	all := make([]float32, len(flat)/4)
	f32s(all, flat)
	for i := range n {
		k := d
		if have > 0 {
			k = int(binary.LittleEndian.Uint32(dims[4*i:]))
		}
		if k > len(all) {
			r.fail("embeddings are longer than their array")
			return
		}
		if k > 0 {
			at(i).Embed, all = all[:k:k], all[k:]
		}
	}
	if len(all) > 0 {
		r.fail("embeddings are shorter than their array")
	}
}

// count is the number of rows of the array that leads a list.
func (r *reader) count(name, typ string, cols int) int {
	_, n := r.take(name, typ, cols)
	return n
}

// EncodeFeatures writes a message of kind "features".
func EncodeFeatures(f perception.Features) ([]byte, error) {
	var w writer
	m, err := w.features(1, func(int) *perception.Features { return &f })
	if err != nil {
		return nil, err
	}
	return encode("features", m, &w)
}

// DecodeFeatures reads what EncodeFeatures wrote.
func DecodeFeatures(b []byte) (perception.Features, error) {
	var f perception.Features
	m, r, err := decode[names]("features", b)
	if err != nil {
		return f, err
	}
	r.features(m, 1, func(int) *perception.Features { return &f })
	if err := r.done("features"); err != nil {
		return perception.Features{}, err
	}
	return f, nil
}

// EncodeTrajectory writes a message of kind "trajectory", what a Scorer is
// asked to label. fs (N,).
func EncodeTrajectory(fs []perception.Features) ([]byte, error) {
	var w writer
	m, err := w.features(len(fs), func(i int) *perception.Features { return &fs[i] })
	if err != nil {
		return nil, err
	}
	return encode("trajectory", m, &w)
}

// DecodeTrajectory reads what EncodeTrajectory wrote.
func DecodeTrajectory(b []byte) ([]perception.Features, error) {
	m, r, err := decode[names]("trajectory", b)
	if err != nil {
		return nil, err
	}
	fs := make([]perception.Features, r.count("stamp", "i8", 2))
	r.features(m, len(fs), func(i int) *perception.Features { return &fs[i] })
	return fs, r.done("trajectory")
}

// EncodeRewards writes a message of kind "rewards". v (T,).
func EncodeRewards(v []float64) ([]byte, error) {
	var w writer
	w.add("rewards", "f8", []int{len(v)}, func(b []byte) []byte { return putF64s(b, v...) })
	return encode("rewards", struct{}{}, &w)
}

// DecodeRewards reads what EncodeRewards wrote into dst, whose length must be
// that of the message.
func DecodeRewards(dst []float64, b []byte) error {
	_, r, err := decode[struct{}]("rewards", b)
	if err != nil {
		return err
	}
	c := cursor(r.rows("rewards", "f8", -1, len(dst)))
	if err := r.done("rewards"); err != nil {
		return err
	}
	c.f64s(dst)
	return nil
}
