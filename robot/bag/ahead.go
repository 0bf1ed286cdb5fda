package bag

import (
	"runtime"

	"github.com/klauspost/compress/zstd"

	"github.com/rapport-rl/rapport/robot/bag/bunzip"
)

// Bounds of what is unpacked beside the reader.
const (
	// maxAhead is how many chunks are unpacked ahead at a time, on as many cores.
	maxAhead = 4
	// maxAheadSize bounds such a chunk, packed and unpacked together. Recorders make
	// them of about 1 MB packed; larger ones are unpacked when they are reached.
	maxAheadSize = 16 << 20
	// maxSpare is how much of buffers is kept for the chunks to come.
	maxSpare = 12 << 20
)

// piece is where a chunk's data lie in the file and how they are packed.
type piece struct {
	at, size    int64
	compression string // "none" is read as it is
	raw         int    // bytes unpacked
}

// ahead unpacks the chunks that are reached next on other cores. What comes out is what
// the reader would have made of them itself: nothing depends on which of them was
// quicker. It is used by one goroutine.
type ahead struct {
	jobs []*job
	off  bool // there is one core, or the recording is closed
	bz2  *bunzip.Pool
}

// job unpacks one chunk at a time.
type job struct {
	piece
	busy bool
	pos  int64 // of the chunk
	done chan struct{}
	f    *file

	packing
	packed []byte
	out    []byte
	err    error // of what was unpacked
	disk   error
}

// packing is what unpacking keeps from one chunk to the next.
type packing struct {
	bz2  *bunzip.Pool // shared by the reader and those ahead of it
	zstd *zstd.Decoder
}

func (p *packing) close() {
	if p.zstd != nil {
		p.zstd.Close()
		p.zstd = nil
	}
}

// cores is on how many of them is unpacked.
func cores() int { return min(runtime.GOMAXPROCS(0), maxAhead) }

// lend gives k what it shares with others: whoever unpacks bz2 does so with the
// decoders of all, so that the blocks of one chunk are decoded on all cores where other
// chunks leave them idle, and no more memory is taken.
func (a *ahead) lend(k *packing, compression string) {
	if compression != "bz2" {
		return
	}
	if a.bz2 == nil {
		a.bz2 = bunzip.NewPool(cores())
	}
	k.bz2 = a.bz2
}

// has says whether the chunk at pos is being unpacked, or is unpacked.
func (a *ahead) has(pos int64) bool {
	for _, j := range a.jobs {
		if j.busy && j.pos == pos {
			return true
		}
	}
	return false
}

// idle returns a job that has nothing to do, nil if there is none.
func (a *ahead) idle() *job {
	if a.off {
		return nil
	}
	for _, j := range a.jobs {
		if !j.busy {
			return j
		}
	}
	n := cores()
	if n < 2 {
		a.off = true
		return nil
	}
	if len(a.jobs) == n {
		return nil
	}
	j := &job{done: make(chan struct{}, 1)}
	a.jobs = append(a.jobs, j)
	return j
}

// start begins with a chunk.
func (j *job) start(pos int64, p piece, f *file) {
	j.piece, j.pos, j.f, j.busy = p, pos, f, true
	go j.work()
}

func (j *job) work() {
	defer func() { j.done <- struct{}{} }()
	j.err = nil
	if j.compression == "none" {
		j.out, j.disk = j.f.read(j.at, grow(j.out, int(j.size)))
		return
	}
	j.packed = grow(j.packed, int(j.size))
	b, err := j.f.read(j.at, j.packed)
	if j.disk = err; err != nil {
		return
	}
	j.out, j.err = j.unpack(j.compression, b, j.out, j.raw)
}

// take returns what the piece p of the file is, if it was unpacked ahead; it then has
// buf instead.
func (a *ahead) take(p piece, buf []byte) (out []byte, bad, disk error, ok bool) {
	for _, j := range a.jobs {
		if !j.busy || j.piece != p {
			continue
		}
		<-j.done
		j.busy = false
		out, j.out = j.out, buf[:0]
		return out, j.err, j.disk, true
	}
	return buf, nil, nil, false
}

// drop gives up what was unpacked of the chunk at pos and not taken, or with every of
// all chunks.
func (a *ahead) drop(pos int64, every bool) {
	for _, j := range a.jobs {
		if j.busy && (every || j.pos == pos) {
			<-j.done
			j.busy = false
		}
	}
}

// idleBytes is what jobs keep that have nothing to do.
func (a *ahead) idleBytes() int {
	n := 0
	for _, j := range a.jobs {
		if !j.busy {
			n += cap(j.out) + cap(j.packed)
		}
	}
	return n
}

// shed gives up what idle jobs keep.
func (a *ahead) shed() {
	for _, j := range a.jobs {
		if !j.busy {
			j.out, j.packed = nil, nil
		}
	}
}

// bytes is what is unpacked ahead, with what it is unpacked from.
func (a *ahead) bytes() int {
	n := 0
	for _, j := range a.jobs {
		if j.busy {
			n += j.raw + int(j.size)
		}
	}
	return n
}

// rest gives up the memory, once the end is reached.
func (a *ahead) rest() {
	a.drop(0, true)
	for _, j := range a.jobs {
		j.close()
	}
	a.jobs = nil
	if a.bz2 != nil {
		a.bz2.Shed()
	}
}

// close waits for all jobs and ends them.
func (a *ahead) close() {
	a.rest()
	a.off = true
}

// prefetch has the chunks after the one that is opened now unpacked beside it.
func (s *stream) prefetch() {
	for _, i := range s.order[min(s.ahead+1, len(s.order)):min(s.ahead+1+maxAhead, len(s.order))] {
		c := &s.chunks[i]
		if s.beside.has(c.pos) {
			continue
		}
		j := s.beside.idle()
		if j == nil {
			return
		}
		p, f, ok := s.u.piece(c)
		if !ok || p.size <= 0 || p.raw < 0 || p.size+int64(p.raw) > maxAheadSize || s.bytes+s.beside.bytes()+p.raw+int(p.size) > maxUnpacked {
			continue
		}
		s.beside.lend(&j.packing, p.compression)
		j.start(c.pos, p, f)
	}
}
