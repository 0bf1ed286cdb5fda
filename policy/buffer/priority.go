package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
)

// Prioritised draws transition i of a side with probability P(i) = p_i^Alpha /
// sum p^Alpha, where p_i = |td_i| + Eps (Schaul et al. 2016, "Prioritized
// experience replay", arXiv:1511.05952, equation 1, proportional). Batch.Weight
// corrects for it by (N P(i))^-Beta over the largest such weight of the batch
// (section 3.4, algorithm 1). The paper has one side; here each is its own N.
// The zero value draws uniformly.
type Prioritised struct {
	Alpha float64 // 0 uniform .. 1; the paper has 0.6
	// Beta is the first exponent of the weights, 0 for none; the paper has 0.4.
	// It grows evenly to 1 over BetaSteps batches; 0 keeps it.
	Beta      float64
	BetaSteps int
	Eps       float64 // of every |td|, so that all may come again; 0 means 1e-6
}

func (p Prioritised) on() bool { return p.Alpha > 0 }

func (p Prioritised) validate() error {
	var errs []error
	if !(p.Alpha >= 0 && p.Alpha <= 1) {
		errs = append(errs, fmt.Errorf("buffer: Prioritised.Alpha is %v, want 0 to 1", p.Alpha))
	}
	if !(p.Beta >= 0 && p.Beta <= 1) {
		errs = append(errs, fmt.Errorf("buffer: Prioritised.Beta is %v, want 0 to 1", p.Beta))
	}
	if p.BetaSteps < 0 {
		errs = append(errs, fmt.Errorf("buffer: Prioritised.BetaSteps is %d batches, want 0 or more", p.BetaSteps))
	}
	if !(p.Eps >= 0 && p.Eps <= 1e6) {
		errs = append(errs, fmt.Errorf("buffer: Prioritised.Eps is %v, want a small number, 0 for 1e-6", p.Eps))
	}
	if p.Alpha == 0 && p != (Prioritised{}) {
		errs = append(errs, errors.New("buffer: Prioritised has settings, but its Alpha is 0, which draws uniformly"))
	}
	return errors.Join(errs...)
}

// priority is p^Alpha of a TD error.
func (p Prioritised) priority(td float32) float64 {
	eps := p.Eps
	if eps == 0 {
		eps = 1e-6
	}
	return math.Pow(math.Abs(float64(td))+eps, p.Alpha)
}

// beta is the exponent of the weights after so many batches.
func (p Prioritised) beta(draws uint64) float64 {
	if p.BetaSteps == 0 {
		return p.Beta
	}
	return p.Beta + (1-p.Beta)*min(1, float64(draws)/float64(p.BetaSteps))
}

// weighed draws the rows of dst by priority. Of n rows of a side, each is from
// its own n-th of the priorities (section 3.3), so they come in the order of
// the ring.
func (b *Buffer) weighed(dst *Batch, demos int, rng *rand.Rand) {
	beta := b.cfg.Prioritised.beta(b.draws)
	b.draws++
	top := 0.0
	draw := func(rows []ref, weight []float32, s *side) {
		n, total := float64(len(rows)), 0.0
		if n > 0 {
			total = s.tree.total()
		}
		for i := range rows {
			slot := s.tree.pick((float64(i) + rng.Float64()) / n * total)
			rows[i] = s.refs[slot]
			w := math.Pow(float64(s.len())*s.tree.leaf(slot)/total, -beta)
			weight[i] = float32(w)
			top = max(top, float64(weight[i]))
		}
	}
	draw(dst.rows[:demos], dst.Weight[:demos], &b.demo)
	draw(dst.rows[demos:], dst.Weight[demos:], &b.online)
	for i := range dst.Weight {
		dst.Weight[i] = float32(float64(dst.Weight[i]) / top)
	}
}

// SetPriorities makes |td| (N,) the priorities of the rows of a batch of b, for
// the next ones. A transition that has gone since is passed over; of one that
// came twice the later row counts.
func (b *Buffer) SetPriorities(batch *Batch, td []float32) error {
	switch {
	case !b.cfg.Prioritised.on():
		return errors.New("buffer: priorities set, but Config.Prioritised is not")
	case batch.owner != b:
		return errors.New("buffer: priorities of a batch that this buffer did not fill")
	case len(td) != len(batch.rows):
		return fmt.Errorf("buffer: %d TD errors for a batch of %d rows", len(td), len(batch.rows))
	}
	for i, v := range td {
		if !finite(float64(v)) {
			return fmt.Errorf("buffer: TD error of row %d is %v", i, v)
		}
	}
	for i, x := range batch.rows {
		p := b.cfg.Prioritised.priority(td[i])
		b.top = max(b.top, p)
		b.weigh(x, p)
	}
	return nil
}

// weigh gives transition x the priority p on the sides that it is on.
func (b *Buffer) weigh(x ref, p float64) {
	if x.gone || !b.cfg.Prioritised.on() {
		return
	}
	if x.online {
		b.online.tree.set(b.online.slot(x.onlineAt+uint64(x.t)), p)
	}
	if place, ok := x.demoPlace(x.t); ok {
		b.demo.tree.set(b.demo.slot(place), p)
	}
}

const priorityMagic = "RAPPRIO1"

// Save writes what sampling goes by besides the episodes: the priorities. After
// Restore a buffer of the same Config with the same episodes, added in the same
// order, draws the same batches.
func (b *Buffer) Save(w io.Writer) error {
	out := []byte(priorityMagic)
	put := func(v uint64) { out = binary.LittleEndian.AppendUint64(out, v) }
	put(uint64(len(b.order)))
	put(b.draws)
	put(math.Float64bits(b.top))
	for _, s := range []*side{&b.demo, &b.online} {
		put(s.first)
		put(uint64(s.len()))
		put(uint64(len(s.refs)))
		if s.weighed {
			for p := s.first; p < s.last; p++ {
				put(math.Float64bits(s.tree.leaf(s.slot(p))))
			}
		}
	}
	out = binary.LittleEndian.AppendUint32(out, checksum(out))
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("buffer: save priorities: %w", err)
	}
	return nil
}

// Restore reads what Save wrote. What it refuses changes nothing.
func (b *Buffer) Restore(r io.Reader) error {
	want := int64(len(priorityMagic) + 4 + 8*(3+2*3))
	if b.cfg.Prioritised.on() {
		want += 8 * int64(b.demo.len()+b.online.len())
	}
	in, err := io.ReadAll(io.LimitReader(r, want+1))
	if err != nil {
		return fmt.Errorf("buffer: restore priorities: %w", err)
	}
	if int64(len(in)) != want || string(in[:8]) != priorityMagic || checksum(in[:want-4]) != binary.LittleEndian.Uint32(in[want-4:]) {
		return fmt.Errorf("buffer: restore priorities: %d bytes are not those of %d demonstration and %d online transitions: restore into a buffer of the same Config and episodes",
			len(in), b.demo.len(), b.online.len())
	}
	in = in[8:]
	get := func() uint64 {
		v := binary.LittleEndian.Uint64(in)
		in = in[8:]
		return v
	}
	order, draws, top := get(), get(), math.Float64frombits(get())
	if order != uint64(len(b.order)) || !(top > 0) || math.IsInf(top, 0) {
		return fmt.Errorf("buffer: restore priorities: they are of %d episodes, here are %d", order, len(b.order))
	}
	var sides [2]side
	for i, old := range []*side{&b.demo, &b.online} {
		s := &sides[i]
		*s = side{first: get(), weighed: old.weighed}
		n, size := get(), get()
		s.last = s.first + n
		if n != uint64(old.len()) || !fits(size, n) || s.last < s.first {
			return fmt.Errorf("buffer: restore priorities: a side has %d transitions, here are %d", n, old.len())
		}
		s.refs = make([]ref, size)
		leaves := make([]float64, size)
		for j := range int(n) {
			slot := s.slot(s.first + uint64(j))
			s.refs[slot] = old.at(j)
			if s.weighed {
				v := math.Float64frombits(get())
				if !(v > 0) || v > top {
					return fmt.Errorf("buffer: restore priorities: one is %v", v)
				}
				leaves[slot] = v
			}
		}
		if s.weighed && size > 0 {
			s.tree = newSumTree(leaves)
		}
	}
	for _, e := range b.order {
		if r := e.run; r != nil {
			r.demoAt += sides[0].first - b.demo.first
			r.onlineAt += sides[1].first - b.online.first
		}
	}
	b.demo, b.online, b.draws, b.top = sides[0], sides[1], draws, top
	return nil
}
