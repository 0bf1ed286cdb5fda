package buffer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
)

// format counts the changes of what the files hold.
const format = 1

// cover is the body of the first record.
type cover struct {
	Format int
	View   view.Config
}

// The flags of an episode's record.
const (
	flagDemo = 1 << iota
	flagTerminal
	flagJPEG
	flagOffline // not on the online side any more
)

// appendEpisode appends the record of an episode that displaces the evict
// oldest ones of the online side.
func appendEpisode(dst []byte, r *run, evict int) []byte {
	flags := byte(0)
	if r.origin == policy.Demo {
		flags |= flagDemo
	} else if !r.online {
		flags |= flagOffline
	}
	if r.terminal {
		flags |= flagTerminal
	}
	if r.jpeg {
		flags |= flagJPEG
	}
	put := func(v int64) { dst = binary.AppendUvarint(dst, uint64(v)) }
	dst = append(dst, flags)
	put(int64(evict))
	put(int64(r.lossy))
	put(int64(len(r.id)))
	dst = append(dst, r.id...)
	put(int64(r.len()))
	put(int64(len(r.human)))
	last := 0
	for _, t := range r.human {
		put(int64(t - last))
		last = t
	}
	put(int64(r.segment))
	put(r.off)
	dst = appendLabels(dst, r.label)
	for _, sums := range [][]uint32{r.rowSum, r.pixSum} {
		for _, s := range sums {
			dst = binary.LittleEndian.AppendUint32(dst, s)
		}
	}
	for i := 1; i < len(r.cuts); i++ {
		put(r.cuts[i] - r.cuts[i-1])
	}
	return dst
}

func appendLabels(dst []byte, labels []float64) []byte {
	for _, v := range labels {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

// appendGone appends the record of an episode that is not held any more.
func appendGone(dst []byte, id string, lossy int) []byte {
	return append(binary.AppendUvarint(dst, uint64(lossy)), id...)
}

// goneSize is about what that takes in the journal.
func goneSize(id string) int64 { return int64(recordHead + 1 + len(id)) }

// reader takes a record apart. After the first lack it yields zeros.
type reader struct {
	rest []byte
	err  error
}

var errShort = errors.New("it is too short")

func (r *reader) bytes(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.rest)) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// number reads a number of at most limit.
func (r *reader) number(limit int64) int64 {
	v, n := binary.Uvarint(r.rest)
	if r.err == nil && (n <= 0 || v > uint64(limit)) {
		r.err = fmt.Errorf("a number is not within 0 and %d", limit)
	}
	if r.err != nil {
		return 0
	}
	r.rest = r.rest[n:]
	return int64(v)
}

// count reads a number of things that take at least size bytes each.
func (r *reader) count(size int) int { return int(r.number(int64(len(r.rest) / size))) }

func (r *reader) labels(n int) []float64 {
	raw := r.bytes(8 * n)
	if r.err != nil {
		return nil
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return v
}

func (r *reader) sums(n int) []uint32 {
	raw := r.bytes(4 * n)
	if r.err != nil {
		return nil
	}
	v := make([]uint32, n)
	for i := range v {
		v[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return v
}

// end reports what was wrong.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.rest))
	}
	return r.err
}

// apply does to b what a record tells.
func (b *Buffer) apply(kind byte, body []byte) error {
	in := &reader{rest: body}
	switch kind {
	case recEpisode:
		r, evict, err := b.readEpisode(in)
		if err != nil {
			return err
		}
		r.record = int64(recordHead + len(body))
		b.take(r)
		for range evict {
			b.evict()
		}
		return nil
	case recGone:
		e := entry{lossy: int(in.number(math.MaxInt32))}
		if in.err != nil {
			return in.err
		}
		e.id = string(in.rest)
		if e.id != "" {
			if _, seen := b.ids[e.id]; seen {
				return fmt.Errorf("episode %s comes twice", e.id)
			}
			b.ids[e.id] = len(b.order)
		}
		b.order = append(b.order, e)
		b.lossy += e.lossy
		return nil
	case recLabel:
		r := b.live(int(in.number(math.MaxInt32)))
		if in.err == nil && r == nil {
			return errors.New("it labels an episode that is not there")
		}
		if in.err != nil || len(in.rest) != 8*r.len() {
			return errShort
		}
		labels := in.labels(r.len())
		if err := checkLabels(r.id, r.len(), labels); err != nil {
			return err
		}
		b.relabel(r, labels)
		return nil
	case recRewind:
		n := int(in.number(int64(len(b.order))))
		if err := in.end(); err != nil {
			return err
		}
		b.rewind(n)
		return nil
	case recForget:
		r := b.live(int(in.number(math.MaxInt32)))
		if err := in.end(); err != nil {
			return err
		}
		if r == nil {
			return errors.New("it forgets an episode that is not there")
		}
		b.forget(r)
		return nil
	}
	return fmt.Errorf("its kind is %q", kind)
}

// readEpisode checks all that the rest of the package relies on.
func (b *Buffer) readEpisode(in *reader) (r *run, evict int, err error) {
	flags := in.bytes(1)
	evict = int(in.number(math.MaxInt32))
	r = &run{lossy: int(in.number(math.MaxInt32))}
	r.id = string(in.bytes(in.count(1)))
	T := in.count(8)
	for range in.count(1) {
		t := int(in.number(int64(T)))
		if n := len(r.human); n > 0 {
			if t == 0 {
				return nil, 0, errors.New("its interventions are out of order")
			}
			t += r.human[n-1]
		}
		if t >= T {
			return nil, 0, fmt.Errorf("an intervention is at step %d of %d", t, T)
		}
		r.human = append(r.human, t)
	}
	r.segment = uint64(in.number(math.MaxInt64))
	r.off = in.number(1 << 50)
	labels := in.labels(T)
	r.rowSum = in.sums(T + 1)
	if b.pixels > 0 {
		r.pixSum = in.sums(T + 1)
	}
	if in.err != nil {
		return nil, 0, in.err
	}
	if f := flags[0]; f&flagDemo != 0 {
		r.origin = policy.Demo
	} else {
		r.online = f&flagOffline == 0
	}
	r.terminal, r.jpeg = flags[0]&flagTerminal != 0, flags[0]&flagJPEG != 0
	switch _, seen := b.ids[r.id]; {
	case r.id == "" || T == 0:
		return nil, 0, errors.New("an episode is empty")
	case seen:
		return nil, 0, fmt.Errorf("episode %s comes twice", r.id)
	case r.origin == policy.Demo && len(r.human) > 0 || r.jpeg && b.pixels == 0:
		return nil, 0, fmt.Errorf("episode %s contradicts itself", r.id)
	case r.origin != policy.Demo && !r.online && len(r.human) == 0:
		return nil, 0, fmt.Errorf("episode %s is on neither side", r.id)
	case evict > b.evictable(r):
		return nil, 0, fmt.Errorf("episode %s displaces %d others", r.id, evict)
	}
	if err := checkLabels(r.id, T, labels); err != nil {
		return nil, 0, err
	}
	b.label(r, labels)
	r.size = b.rowBytes(r) + int64(T+1)*int64(b.pixels)
	if r.jpeg {
		r.cuts = make([]int64, 1, (T+1)*len(b.cfg.View.Cameras)+1)
		for range cap(r.cuts) - 1 {
			r.cuts = append(r.cuts, r.cuts[len(r.cuts)-1]+in.number(math.MaxInt32))
		}
		r.size = b.rowBytes(r) + r.cuts[len(r.cuts)-1]
	}
	return r, evict, in.end()
}

// readCover checks that a journal was written for the view of b. A journal that
// is whole, but of another kind, is other.
func (b *Buffer) readCover(dir string, body []byte) (other, err error) {
	var c cover
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, err
	}
	if c.Format != format {
		return fmt.Errorf("buffer: %s has format %d, and this program knows %d: use the program that wrote it, or another folder", dir, c.Format, format), nil
	}
	if ds := b.cfg.View.Diff(c.View); ds != nil {
		return fmt.Errorf("buffer: %s was filled for another view (%s): use that, or another folder", dir, strings.Join(ds, ", ")), nil
	}
	return nil, nil
}

// records is the whole of b as the records of a new journal.
func (b *Buffer) records() ([]byte, error) {
	body, err := json.Marshal(cover{Format: format, View: b.cfg.View})
	if err != nil {
		return nil, fmt.Errorf("buffer: %w", err)
	}
	var all []byte
	all = appendRecord(all, fileHead, recView, body)
	for _, e := range b.order {
		kind := byte(recGone)
		if e.run != nil {
			kind, body = recEpisode, appendEpisode(body[:0], e.run, 0)
			e.run.record = int64(recordHead + len(body))
		} else {
			body = appendGone(body[:0], e.id, e.lossy)
		}
		all = appendRecord(all, int64(fileHead+len(all)), kind, body)
	}
	return all, nil
}
