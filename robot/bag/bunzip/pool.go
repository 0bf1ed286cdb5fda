package bunzip

import "encoding/binary"

const (
	// worth is from how many packed bytes on blocks are looked for: a block of less
	// takes less than it costs to hand it on.
	worth = 16 << 10
	// maxBeside bounds what one block becomes beside the one that is due. Blocks of
	// long runs, which become up to 46 MB, are decoded when they are reached.
	maxBeside = 2 << 20
)

// Pool decompresses on several cores: the blocks of a stream are independent, and each
// begins with 48 bits that tell it, anywhere in a byte. What these bits say need not be
// true, for data may look like them, so that what is decoded there counts only when the
// block before it ends there. What comes out, and the errors, are those of a Decoder.
//
//	p := bunzip.NewPool(4)
//	out, err := p.Append(nil, compressed, 1<<20)
//
// It may be used by several goroutines, which share its decoders; who finds none idle
// waits for one.
type Pool struct {
	idle   chan *worker
	second [256]uint8 // of a byte: at which bits of the byte before it a magic may begin
}

// NewPool returns a pool of n decoders, each of which takes up to 8 MB for its blocks
// and up to 2 MiB for what becomes of one.
func NewPool(n int) *Pool {
	p := &Pool{idle: make(chan *worker, max(n, 1))}
	for range cap(p.idle) {
		p.idle <- &worker{done: make(chan struct{}, 1)}
	}
	for s := range 8 {
		p.second[byte(uint64(blockMagic)<<16>>(48+s))] |= 1 << s
	}
	return p
}

// Append does as Decoder.Append.
func (p *Pool) Append(dst, src []byte, limit int) ([]byte, error) {
	w := <-p.idle
	defer func() { p.idle <- w }()
	if cap(p.idle) == 1 || len(src) < worth {
		return w.d.Append(dst, src, limit)
	}
	w.crew.pool, w.crew.src = p, src
	w.d.crew = &w.crew
	defer func() {
		w.d.crew = nil
		w.crew.end()
	}()
	return w.d.Append(dst, src, limit)
}

// Shed gives up the memory of the decoders that are idle.
func (p *Pool) Shed() {
	for range cap(p.idle) {
		select {
		case w := <-p.idle:
			w.d, w.out = Decoder{}, nil
			defer func() { p.idle <- w }()
		default:
			return
		}
	}
}

// worker decodes a block beside others, or a stream with the others' help.
type worker struct {
	d    Decoder
	crew crew // of the stream that it decodes

	src     []byte
	at, end int // the block in src, bits
	size    int // of a block at most, before its runs
	out     []byte
	sum     uint32
	whole   bool // a block begins at at, and its checksum fits
	done    chan struct{}
}

// work decodes the block.
func (w *worker) work() {
	defer func() {
		_ = recover() // what is no block may be anything; whoever needs it decodes it again
		w.d.p, w.src = nil, nil
		w.done <- struct{}{}
	}()
	w.whole = false
	if w.d.crc == nil {
		w.d.crc = crcTables()
	}
	w.d.seek(w.src, w.at)
	w.d.read(48)
	want := uint32(w.d.read(32))
	var err error
	if w.out, err = w.d.block(w.out[:0], w.size, maxBeside); err != nil {
		return
	}
	w.sum, w.end = w.d.checksum(w.out), w.d.at()
	w.whole = w.sum == want && !w.d.over()
}

// crew is who works on blocks of a stream after the one that is due.
type crew struct {
	pool *Pool
	src  []byte
	scan int       // no block begins between the last in jobs and here, bits
	jobs []*worker // by where they begin
}

// take appends the block that begins at bit at, if it was decoded beside others, and
// says where it ends.
func (c *crew) take(dst []byte, at, size, limit int) (out []byte, end int, sum uint32, ok bool) {
	for len(c.jobs) > 0 && c.jobs[0].at < at {
		c.drop() // what it found was data
	}
	if len(c.jobs) == 0 || c.jobs[0].at > at {
		c.hire(at, size)
		return dst, 0, 0, false
	}
	w := c.jobs[0]
	c.hire(at, size)
	<-w.done
	w.done <- struct{}{}
	if ok = w.whole && w.size == size && len(w.out) <= limit-len(dst); ok {
		dst = append(dst, w.out...)
		end, sum = w.end, w.sum
	}
	c.drop()
	return dst, end, sum, ok
}

// hire gives blocks after the one at bit at to those who are idle.
func (c *crew) hire(at, size int) {
	c.scan = max(c.scan, at+48)
	for {
		// Nobody is asked before there is something to do.
		next := c.pool.find(c.src, c.scan)
		if c.scan = next; next < 0 {
			c.scan = 8 * len(c.src)
			return
		}
		var w *worker
		select {
		case w = <-c.pool.idle:
		default:
			return
		}
		c.scan++
		w.src, w.at, w.size = c.src, next, size
		c.jobs = append(c.jobs, w)
		go w.work()
	}
}

// drop lets the first job's worker go.
func (c *crew) drop() {
	w := c.jobs[0]
	c.jobs = append(c.jobs[:0], c.jobs[1:]...)
	<-w.done
	c.pool.idle <- w
}

// end waits for all.
func (c *crew) end() {
	for len(c.jobs) > 0 {
		c.drop()
	}
	c.src, c.scan = nil, 0
}

// at is the bit that is read next.
func (b *bits) at() int { return 8*b.pos - int(b.n) + int(b.pad) }

// seek goes to a bit of p.
func (b *bits) seek(p []byte, at int) {
	*b = bits{p: p, pos: at / 8}
	b.refill()
	b.drop(uint(at % 8))
}

// find returns the first bit from from on at which a block's magic lies in src, -1 if
// there is none.
func (p *Pool) find(src []byte, from int) int {
	for i := from / 8; i+6 <= len(src); i++ {
		shifts := p.second[src[i+1]]
		if shifts == 0 {
			continue
		}
		var b [8]byte
		copy(b[:], src[i:])
		x := binary.BigEndian.Uint64(b[:])
		for s := range 8 {
			if shifts>>s&1 != 0 && x<<s>>16 == blockMagic && 8*i+s >= from && 8*i+s+48 <= 8*len(src) {
				return 8*i + s
			}
		}
	}
	return -1
}
