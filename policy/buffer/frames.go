package buffer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// castagnoli has an instruction of its own on most processors.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// stride is the number of bytes of a row on disk: observation, then action.
func (b *Buffer) stride() int { return 4 * (b.dim + b.acts) }

// rows writes the observation of input t (D,), and the action taken there if act
// (k,) is not nil.
func (b *Buffer) rows(w *worker, r *run, t int, obs, act []float32) error {
	if r.seg == nil {
		copy(obs, r.obs[t*b.dim:])
		if act != nil {
			copy(act, r.act[t*b.acts:])
		}
		return nil
	}
	raw, err := b.span(w, r, t, t+1)
	if err != nil {
		return err
	}
	floats(obs, raw)
	if act != nil {
		floats(act, raw[4*b.dim:])
	}
	return nil
}

// span reads rows [from, to) of an episode on disk. They are w's until it reads
// again. The last row of an episode, from+T, has no action.
func (b *Buffer) span(w *worker, r *run, from, to int) ([]byte, error) {
	stride := b.stride()
	n := (to - from) * stride
	if to > r.len() {
		n -= 4 * b.acts
	}
	raw := w.bytes(n)
	if n == 0 {
		return raw, nil
	}
	if _, err := r.seg.file.ReadAt(raw, r.off+int64(from*stride)); err != nil {
		return nil, r.damaged("row", from, err)
	}
	for t := from; t < to; t++ {
		if at := (t - from) * stride; checksum(raw[at:min(n, at+stride)]) != r.rowSum[t] {
			return nil, r.damaged("row", t, errChecksum)
		}
	}
	return raw, nil
}

func floats(dst []float32, raw []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
}

// image writes the frames of input t to dst (P,).
func (b *Buffer) image(w *worker, r *run, t int, dst []byte) error {
	if b.pixels == 0 {
		return nil
	}
	raw, err := b.sheet(w, r, t, dst)
	if err != nil {
		return err
	}
	if !r.jpeg {
		if r.seg == nil {
			copy(dst, raw)
		}
		return nil
	}
	ends := r.cuts[t*len(b.cfg.View.Cameras):]
	for i, cam := range b.cfg.View.Cameras {
		n, size := 3*cam.W*cam.H, ends[i+1]-ends[i]
		if err := vision.DecodeJPEG(dst[:n], cam.W, cam.H, raw[:size]); err != nil {
			return r.damaged("frames", t, err)
		}
		dst, raw = dst[n:], raw[size:]
	}
	return nil
}

// sheet returns the frames of input t as they are kept: in memory where they
// are, JPEG from disk in w, pixels from disk in dst (P,) if that is not nil.
func (b *Buffer) sheet(w *worker, r *run, t int, dst []byte) ([]byte, error) {
	from, to := r.inputs(t, len(b.cfg.View.Cameras), b.pixels)
	if r.seg == nil {
		return r.frames[from:to], nil
	}
	if r.jpeg || dst == nil {
		dst = w.bytes(int(to - from))
	}
	if _, err := r.seg.file.ReadAt(dst, r.off+b.rowBytes(r)+from); err != nil {
		return nil, r.damaged("frames", t, err)
	}
	if checksum(dst) != r.pixSum[t] {
		return nil, r.damaged("frames", t, errChecksum)
	}
	return dst, nil
}

// keep puts the frames of a converted episode into memory.
func (b *Buffer) keep(r *run, e *policy.Episode) error {
	var out sheets
	if b.cfg.JPEG == 0 {
		out = make(sheets, 0, len(e.Inputs)*b.pixels)
	}
	if err := b.pack(r, e, &out); err != nil {
		return err
	}
	r.frames = slices.Clip(out)
	if r.jpeg {
		r.frames = bytes.Clone(out) // append made it up to twice as large
	}
	return nil
}

// sheets are encoded frames, one after the other.
type sheets []byte

func (s *sheets) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}

// rowBytes is what the rows of r take on disk; its frames come behind them.
func (b *Buffer) rowBytes(r *run) int64 {
	return int64(r.len())*int64(b.stride()) + 4*int64(b.dim)
}

// atOnce is how many bytes of frames are encoded side by side.
const atOnce = 4 << 20

// pack writes the frames of an episode as they are kept, each input's once, and
// notes in r where they end.
func (b *Buffer) pack(r *run, e *policy.Episode, out io.Writer) error {
	P, cams := b.pixels, b.cfg.View.Cameras
	if P == 0 {
		return nil
	}
	r.jpeg = b.cfg.JPEG > 0
	if r.jpeg {
		r.cuts = make([]int64, 1, len(e.Inputs)*len(cams)+1)
	}
	if b.disk != nil {
		r.pixSum = make([]uint32, len(e.Inputs))
	}
	block := max(1, min(atOnce/P, len(e.Inputs)))
	pix := make([]byte, block*P)
	coded := make([][]byte, block*len(cams))
	for t := 0; t < len(e.Inputs); t += block {
		n := min(block, len(e.Inputs)-t)
		for i := range n {
			if err := b.cfg.View.Image(pix[i*P:(i+1)*P], e.Inputs[t+i]); err != nil {
				return fmt.Errorf("buffer: episode %s: %w", e.ID, err)
			}
		}
		if r.jpeg {
			if err := b.crew.run(n*len(cams), func(_ *worker, j int) (err error) {
				coded[j], err = b.encode(pix[j/len(cams)*P:], j%len(cams))
				return err
			}); err != nil {
				return fmt.Errorf("buffer: episode %s: %w", e.ID, err)
			}
		}
		for i := range n {
			if err := b.write(r, t+i, pix[i*P:(i+1)*P], coded[i*len(cams):(i+1)*len(cams)], out); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode compresses the frame of one camera among those of an input.
func (b *Buffer) encode(pix []byte, camera int) ([]byte, error) {
	cams := b.cfg.View.Cameras
	for _, c := range cams[:camera] {
		pix = pix[3*c.W*c.H:]
	}
	c := cams[camera]
	return vision.EncodeJPEG(robot.Frame{Camera: c.Name, W: c.W, H: c.H, Pix: pix[:3*c.W*c.H]}, b.cfg.JPEG)
}

// write appends the frames of input t, as pixels or encoded.
func (b *Buffer) write(r *run, t int, pix []byte, coded [][]byte, out io.Writer) error {
	parts := coded
	if !r.jpeg {
		parts = [][]byte{pix}
	}
	for _, p := range parts {
		if _, err := out.Write(p); err != nil {
			return err
		}
		if r.jpeg {
			r.cuts = append(r.cuts, r.cuts[len(r.cuts)-1]+int64(len(p)))
		}
		if r.pixSum != nil {
			r.pixSum[t] = crc32.Update(r.pixSum[t], castagnoli, p)
		}
	}
	return nil
}
