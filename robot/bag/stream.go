package bag

import (
	"cmp"
	"container/heap"
	"io"
	"math"
	"slices"
)

// Bounds of what an open recording takes, beside its index and its largest chunk.
const (
	// maxChunk is the largest chunk that is unpacked: recorders make them of 1 MB,
	// or as large as one message.
	maxChunk = 1 << 30
	// maxUnpacked is how much of unpacked chunks is kept at a time. Where more
	// chunks overlap in time than fit, they are unpacked again.
	maxUnpacked = 24 << 20
	// maxEntries bounds the messages of the chunks that overlap, 24 bytes each.
	// Beyond it messages are given out of order, and counted.
	maxEntries = 1 << 20
)

// chunk is a stretch of a file that is unpacked at once.
type chunk struct {
	pos        int64 // of its record in the file
	size       int64 // of the record with what belongs to it; 0 if unknown
	start, end int64 // ns
	count      int64 // messages by the index; -1 if it does not tell
	conns      []share
	body       int64 // of size, the chunk's own record; 0 if unknown
	bare       bool  // a run of records without a chunk's header
	judged     bool  // its damage is in the account
}

// share is how many messages of a chunk are of a connection; n is 0 if only
// that there are some is known.
type share struct {
	conn  uint32
	n     uint32
	index int64 // of an .mcap: where the file says when these messages are; 0: it is not known
}

// entry is a message in an unpacked chunk.
type entry struct {
	time      int64 // ns
	off, size uint32
	conn      uint32
	at        uint32 // offset of the record, as in indexes
}

// unpacker is what kinds of chunked files differ in.
type unpacker interface {
	// unpack reads a chunk into buf, which it may replace, and returns what of it
	// can be believed.
	unpack(c *chunk, buf []byte) ([]byte, error)
	// list appends the messages in data, in the order of the file.
	list(c *chunk, data []byte, es []entry) ([]entry, error)
	// piece says where the data of a chunk lie by its header, which may be damaged.
	piece(c *chunk) (piece, *file, bool)
	connection(id uint32) *Connection
}

// stream gives the messages of a chunked file in order.
type stream struct {
	u      unpacker
	opt    Options
	from   int64
	to     int64
	wanted map[uint32]bool // by connection; nil: all
	chunks []chunk
	dmg    Damage

	order  []int // of chunks
	ahead  int   // the first of order that is not open
	open   opened
	last   int64
	bytes  int // unpacked
	count  int // entries of open
	free   []*window
	beside ahead
	ready  bool
	failed error
}

// window is an open chunk.
type window struct {
	chunk int
	pos   int64
	es    []entry
	next  int
	data  []byte
	have  bool // data is unpacked
	given bool // es[next] was returned by next
}

// opened is a heap by the time of the next message.
type opened []*window

func (o opened) Len() int { return len(o) }
func (o opened) Less(i, j int) bool {
	a, b := o[i].es[o[i].next].time, o[j].es[o[j].next].time
	if a != b {
		return a < b
	}
	return o[i].pos < o[j].pos
}
func (o opened) Swap(i, j int) { o[i], o[j] = o[j], o[i] }
func (o *opened) Push(x any)   { *o = append(*o, x.(*window)) }
func (o *opened) Pop() any {
	n := len(*o) - 1
	x := (*o)[n]
	(*o)[n] = nil
	*o = (*o)[:n]
	return x
}

// bounds sets what of time is wanted.
func (s *stream) bounds(opt Options) {
	s.opt, s.from, s.to = opt, math.MinInt64, math.MaxInt64
	if !opt.From.IsZero() {
		s.from = opt.From.UnixNano()
	}
	if !opt.To.IsZero() {
		s.to = opt.To.UnixNano()
	}
}

// begin puts the chunks that are wanted in order.
func (s *stream) begin() {
	s.ready = true
	s.order = s.order[:0]
	for i := range s.chunks {
		if c := &s.chunks[i]; s.wants(c) {
			s.order = append(s.order, i)
		}
	}
	slices.SortFunc(s.order, func(i, j int) int {
		a, b := &s.chunks[i], &s.chunks[j]
		if s.opt.FileOrder {
			return cmp.Compare(a.pos, b.pos)
		}
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pos, b.pos))
	})
	for _, w := range s.open {
		s.release(w)
	}
	s.open = s.open[:0]
	s.beside.drop(0, true)
	s.ahead, s.last, s.failed = 0, math.MinInt64, nil
}

func (s *stream) wants(c *chunk) bool {
	if c.end < s.from || c.start >= s.to {
		return false
	}
	if s.wanted == nil || c.conns == nil {
		return true
	}
	return slices.ContainsFunc(c.conns, func(h share) bool { return s.wanted[h.conn] })
}

func (s *stream) rewind() error {
	s.ready = false
	return nil
}

func (s *stream) next(m *Message) error {
	if !s.ready {
		s.begin()
	}
	if s.failed != nil {
		return s.failed
	}
	if len(s.open) > 0 {
		s.settle()
	}
	for s.ahead < len(s.order) {
		if len(s.open) > 0 {
			top := s.open[0]
			if s.opt.FileOrder || s.chunks[s.order[s.ahead]].start > top.es[top.next].time {
				break
			}
			if s.count >= maxEntries {
				break
			}
		}
		if err := s.unfold(s.order[s.ahead]); err != nil {
			s.failed = err
			return err
		}
		s.ahead++
	}
	if len(s.open) == 0 {
		s.beside.rest()
		return io.EOF
	}
	w := s.open[0]
	w.given = true
	if !w.have {
		data, err := s.u.unpack(&s.chunks[w.chunk], w.data)
		if err != nil {
			s.failed = err
			return err
		}
		w.data, w.have = data, true
		s.bytes += cap(data)
		s.evict(w)
	}
	e := &w.es[w.next]
	c := s.u.connection(e.conn)
	if !s.opt.FileOrder {
		if e.time < s.last {
			s.dmg.Disordered++
		} else {
			s.last = e.time
		}
	}
	*m = Message{Topic: c.Topic, Type: c.Type, Time: unix(e.time), Conn: c, Data: w.data[e.off:][:e.size:e.size]}
	return nil
}

// settle moves on from the message that was given last.
func (s *stream) settle() {
	w := s.open[0]
	if !w.given {
		return
	}
	if w.given = false; w.next+1 == len(w.es) {
		heap.Pop(&s.open)
		s.release(w)
		return
	}
	w.next++
	if len(s.open) > 1 && !s.opt.FileOrder {
		heap.Fix(&s.open, 0)
	}
}

// release keeps a window's memory for the next.
func (s *stream) release(w *window) {
	if w.have {
		s.bytes -= cap(w.data)
	}
	s.count -= len(w.es)
	w.have = false
	if len(s.free) < 4 && s.spare()+cap(w.data) <= maxSpare {
		s.free = append(s.free, w)
	}
}

// spare is how much of buffers is kept for the chunks to come.
func (s *stream) spare() int {
	n := s.beside.idleBytes()
	for _, w := range s.free {
		n += cap(w.data)
	}
	return n
}

// unfold opens a chunk.
func (s *stream) unfold(i int) error {
	var w *window
	if n := len(s.free); n > 0 {
		w, s.free = s.free[n-1], s.free[:n-1]
	} else {
		w = &window{}
	}
	c := &s.chunks[i]
	*w = window{chunk: i, pos: c.pos, es: w.es[:0], data: w.data}
	s.prefetch()
	data, err := s.u.unpack(c, w.data)
	s.beside.drop(c.pos, false)
	if s.spare() > maxSpare {
		s.beside.shed()
	}
	if err != nil {
		return err
	}
	w.data = data
	if w.es, err = s.u.list(c, data, w.es); err != nil {
		return err
	}
	keep := w.es[:0]
	for _, e := range w.es {
		if e.time >= s.from && e.time < s.to && (s.wanted == nil || s.wanted[e.conn]) {
			keep = append(keep, e)
		}
	}
	w.es = keep
	if len(w.es) == 0 {
		w.es = w.es[:0]
		s.free = append(s.free, w)
		return nil
	}
	byTime := func(a, b entry) int { return cmp.Compare(a.time, b.time) }
	if !s.opt.FileOrder && !slices.IsSortedFunc(w.es, byTime) {
		slices.SortStableFunc(w.es, byTime)
	}
	w.have = true
	s.bytes += cap(w.data)
	s.count += len(w.es)
	heap.Push(&s.open, w)
	s.evict(w)
	return nil
}

// evict gives up the unpacked chunks that are wanted latest, all but that of w.
func (s *stream) evict(w *window) {
	for s.bytes+s.beside.bytes() > maxUnpacked {
		var victim *window
		for _, o := range s.open {
			if o != w && o.have && (victim == nil || o.es[o.next].time > victim.es[victim.next].time) {
				victim = o
			}
		}
		if victim == nil {
			return
		}
		s.bytes -= cap(victim.data)
		victim.data, victim.have = nil, false
	}
}

// choose turns names of topics into connections.
func (s *stream) choose(conns []*Connection) {
	s.wanted = nil
	if len(s.opt.Topics) == 0 {
		return
	}
	s.wanted = map[uint32]bool{}
	for _, c := range conns {
		if slices.Contains(s.opt.Topics, c.Topic) {
			s.wanted[c.ID] = true
		}
	}
}
