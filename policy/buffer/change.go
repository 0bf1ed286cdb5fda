package buffer

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/policy"
)

// take makes a converted episode the newest.
func (b *Buffer) take(r *run) {
	r.serial = len(b.order)
	b.order = append(b.order, entry{id: r.id, lossy: r.lossy, run: r})
	b.ids[r.id] = r.serial
	b.lossy += r.lossy
	b.human += len(r.human)
	b.place(r)
}

// place appends the transitions of r to the sides it is on.
func (b *Buffer) place(r *run) {
	if r.demos() > 0 {
		r.demoAt = b.demo.last
		if r.origin == policy.Demo {
			for t := range r.len() {
				b.demo.push(ref{r, t}, b.top)
			}
		}
		for _, t := range r.human {
			b.demo.push(ref{r, t}, b.top)
		}
	}
	if r.online {
		b.episodes++
		r.onlineAt = b.online.last
		for t := range r.len() {
			b.online.push(ref{r, t}, b.top)
		}
	}
}

// surplus is the number of episodes of the online side that are above the
// capacity once r, which may be nil, is there.
func (b *Buffer) surplus(r *run) (n int) {
	if b.cfg.Capacity == 0 {
		return 0
	}
	total := b.online.len()
	if r != nil && r.online {
		total += r.len()
	}
	for most, p := b.evictable(r), b.online.first; n < most && total > b.cfg.Capacity; n++ {
		T := b.online.refs[b.online.slot(p)].len()
		total -= T
		p += uint64(T)
	}
	return n
}

// evictable is the number of online episodes that may go for r, which may be
// nil: the newest stays.
func (b *Buffer) evictable(r *run) int {
	if r != nil && r.online {
		return b.episodes
	}
	return max(0, b.episodes-1)
}

// evict drops the oldest online episode. Interventions stay on the side of the
// demonstrations.
func (b *Buffer) evict() {
	r := b.online.at(0).run
	b.online.drop(r.len())
	b.episodes--
	r.online = false
	if r.demos() == 0 {
		b.lose(r)
	}
}

// lose forgets what r holds, but not that it was taken.
func (b *Buffer) lose(r *run) {
	r.gone = true
	b.order[r.serial].run = nil
	if r.seg != nil {
		b.disk.leave(r)
	}
}

// Relabel replaces the rewards of an episode, for a reward that has learnt
// since. It reports false for an id that is unknown or evicted. Priorities of
// the old rewards give way to the largest so far. With a folder, new rewards
// outlive the process at once, and the power from the next Add or Close on.
func (b *Buffer) Relabel(id string, rewards []float64) (bool, error) {
	if b.closed {
		return false, ErrClosed
	}
	n, ok := b.ids[id]
	if !ok || b.order[n].run == nil {
		return false, nil
	}
	r := b.order[n].run
	if err := checkLabels(id, r.len(), rewards); err != nil {
		return true, err
	}
	if b.disk != nil {
		body := appendLabels(binary.AppendUvarint(nil, uint64(n)), rewards)
		if err := b.disk.journal.append(recLabel, body, false); err != nil {
			return true, err
		}
	}
	b.relabel(r, rewards)
	if b.disk != nil {
		b.tidy()
	}
	return true, nil
}

func (b *Buffer) relabel(r *run, rewards []float64) {
	b.label(r, rewards)
	for t := range rewards {
		b.weigh(ref{r, t}, b.top)
	}
}

// Rewind forgets all episodes after the n-th that was taken, for a learner that
// goes on from an older checkpoint. Their ids may be added again. What was
// evicted meanwhile does not come back.
func (b *Buffer) Rewind(n int) error {
	if b.closed {
		return ErrClosed
	}
	if n < 0 || n > len(b.order) {
		return fmt.Errorf("buffer: rewind to %d episodes, of %d that were taken", n, len(b.order))
	}
	if n == len(b.order) {
		return nil
	}
	if b.disk != nil {
		if err := b.disk.journal.append(recRewind, binary.AppendUvarint(nil, uint64(n)), true); err != nil {
			return err
		}
	}
	b.rewind(n)
	if b.disk != nil {
		b.tidy()
	}
	return nil
}

func (b *Buffer) rewind(n int) {
	for i := len(b.order) - 1; i >= n; i-- {
		e := b.order[i]
		if r := e.run; r != nil {
			b.demo.cut(r.demos())
			if r.online {
				b.online.cut(r.len())
				b.episodes--
				r.online = false
			}
			b.human -= len(r.human)
			b.lose(r)
		}
		b.lossy -= e.lossy
		if e.id != "" {
			delete(b.ids, e.id)
		}
	}
	clear(b.order[n:])
	b.order = b.order[:n]
}

// Forget gives up one episode, as if it had never been taken, for one whose file
// is damaged. It reports false for an id that is unknown or evicted. The
// episode may be added again, as the newest.
func (b *Buffer) Forget(id string) (bool, error) {
	if b.closed {
		return false, ErrClosed
	}
	n, ok := b.ids[id]
	if !ok || b.order[n].run == nil {
		return false, nil
	}
	if b.disk != nil {
		if err := b.disk.journal.append(recForget, binary.AppendUvarint(nil, uint64(n)), true); err != nil {
			return true, err
		}
	}
	b.forget(b.order[n].run)
	if b.disk != nil {
		b.tidy()
	}
	return true, nil
}

func (b *Buffer) forget(r *run) {
	b.demo.remove(r, func(r *run) *uint64 { return &r.demoAt })
	b.online.remove(r, func(r *run) *uint64 { return &r.onlineAt })
	if r.online {
		b.episodes--
		r.online = false
	}
	b.human -= len(r.human)
	b.lossy -= r.lossy
	b.lose(r)
	delete(b.ids, r.id)
	b.order[r.serial] = entry{}
}

// remove takes the transitions of r out of the middle of a side, and moves the
// newer ones up. at is where a run notes its first place on that side.
func (s *side) remove(r *run, at func(*run) *uint64) {
	type item struct {
		x ref
		p float64
	}
	var newer []item // newest first
	for s.last > s.first {
		i := s.slot(s.last - 1)
		it := item{x: s.refs[i]}
		if it.x.serial < r.serial {
			break
		}
		if s.weighed {
			it.p = s.tree.leaf(i)
		}
		if it.x.run != r {
			newer = append(newer, it)
		}
		s.cut(1)
	}
	var last *run
	for _, it := range slices.Backward(newer) {
		if it.x.run != last {
			last = it.x.run
			*at(last) = s.last
		}
		s.push(it.x, it.p)
	}
}
