package buffer

import (
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy/view"
)

// Batch is a set of transitions as rows, those of demonstrations first.
type Batch struct {
	Obs      []float32 // (N, D)
	Act      []float32 // (N, k)
	Reward   []float32 // (N,) discounted sum over the steps of the row
	Next     []float32 // (N, D) what was seen after those steps
	Discount []float32 // (N,) of the value of Next: gamma^steps, 0 after an end
	Demos    int       // rows [0, Demos) are demonstrations

	// Pix and NextPix are the frames beside Obs and Next, (N, P) bytes as
	// view.Config.Image lays them out; nil for a view without cameras.
	Pix, NextPix []byte
	// Return is the discounted sum of all rewards from the row on, beyond the
	// end of the episode as Config.Tail says; (N,), nil without Config.Returns.
	Return []float32
	// Weight corrects for how likely a row was to be drawn, at most 1; (N,), nil
	// without Config.Prioritised.
	Weight []float32

	owner *Buffer
	rows  []ref // (N,) where the rows are from
	next  []int // (N,) the input that Next is, of the same episode
}

// NewBatch makes room for n rows. What the buffer's Config asks for besides is
// added by the first Sample.
func NewBatch(n int, v view.Config) *Batch {
	D, k := v.Dim(), v.Action.Dim()
	dst := &Batch{
		Obs: make([]float32, n*D), Act: make([]float32, n*k), Reward: make([]float32, n),
		Next: make([]float32, n*D), Discount: make([]float32, n),
		rows: make([]ref, n), next: make([]int, n),
	}
	if P := v.Pixels(); P > 0 {
		dst.Pix, dst.NextPix = make([]byte, n*P), make([]byte, n*P)
	}
	return dst
}

// At names the episode and the step that row i is from.
func (d *Batch) At(i int) (episode string, step int) { return d.rows[i].id, d.rows[i].t }

// fit makes room for what b adds to a row, and refuses a batch of another shape.
func (d *Batch) fit(b *Buffer) error {
	n := len(d.Reward)
	if len(d.Obs) != n*b.dim || len(d.Next) != n*b.dim || len(d.Act) != n*b.acts || len(d.Discount) != n {
		return fmt.Errorf("buffer: batch of %d rows has %d numbers of observations and %d of actions, want %d and %d: make it for the buffer's view",
			n, len(d.Obs), len(d.Act), n*b.dim, n*b.acts)
	}
	if !room(&d.Pix, n*b.pixels) || !room(&d.NextPix, n*b.pixels) {
		return fmt.Errorf("buffer: batch of %d rows has %d and %d bytes of frames, want %d: make it for the buffer's view",
			n, len(d.Pix), len(d.NextPix), n*b.pixels)
	}
	room(&d.rows, n)
	room(&d.next, n)
	if b.cfg.Returns {
		room(&d.Return, n)
	}
	if b.cfg.Prioritised.on() {
		room(&d.Weight, n)
	}
	d.owner = b
	return nil
}

// room makes s n long if it is nil, and tells whether it is.
func room[E any](s *[]E, n int) bool {
	if *s == nil && n > 0 {
		*s = make([]E, n)
	}
	return len(*s) == n
}

// Sample fills dst with transitions drawn with replacement: first demos rows
// of the demonstration side, then online ones. They are drawn uniformly, or by
// their priorities if Config.Prioritised is set. It wraps ErrEmpty if a side
// that is asked has none, and ErrDamaged if a file of Config.Dir is; dst holds
// nothing of use then. It does not allocate.
func (b *Buffer) Sample(dst *Batch, demos int, rng *rand.Rand) error {
	n := len(dst.Reward)
	if demos < 0 || demos > n {
		panic("buffer: more demonstrations wanted than rows")
	}
	if err := b.ready(demos, n-demos); err != nil {
		return err
	}
	if err := dst.fit(b); err != nil {
		return err
	}
	if b.cfg.Prioritised.on() {
		b.weighed(dst, demos, rng)
	} else {
		uniform(dst.rows[:demos], &b.demo, rng)
		uniform(dst.rows[demos:], &b.online, rng)
	}
	for i, x := range dst.rows {
		sum, discount, next := b.ahead(x, b.cfg.Steps)
		dst.Reward[i], dst.Discount[i], dst.next[i] = float32(sum), float32(discount), next
		if b.cfg.Returns {
			dst.Return[i] = x.worth[x.t]
		}
	}
	dst.Demos = demos
	if b.disk == nil && b.pixels == 0 {
		b.copy(dst)
		return nil
	}
	b.batch = dst
	return b.crew.run(2*n, b.batchJob)
}

// copy writes the rows of dst where they are in memory and without frames, as
// half does at a quarter's more cost.
func (b *Buffer) copy(dst *Batch) {
	D, k := b.dim, b.acts
	for i, x := range dst.rows {
		copy(dst.Obs[i*D:(i+1)*D], x.obs[x.t*D:])
		copy(dst.Act[i*k:(i+1)*k], x.act[x.t*k:])
		copy(dst.Next[i*D:(i+1)*D], x.obs[dst.next[i]*D:])
	}
}

// ready tells whether so many rows can be drawn of each side.
func (b *Buffer) ready(demos, online int) error {
	switch {
	case b.closed:
		return ErrClosed
	case demos > 0 && b.demo.len() == 0:
		return fmt.Errorf("%w: no demonstration to draw %d rows from", ErrEmpty, demos)
	case online > 0 && b.online.len() == 0:
		return fmt.Errorf("%w: no online transition to draw %d rows from", ErrEmpty, online)
	}
	return nil
}

func uniform(rows []ref, s *side, rng *rand.Rand) {
	for i := range rows {
		rows[i] = s.at(rng.IntN(s.len()))
	}
}

// half writes what row j/2 of the batch starts from, for an even j, or what it
// leads to.
func (b *Buffer) half(w *worker, j int) error {
	dst, i := b.batch, j/2
	r, P := dst.rows[i].run, b.pixels
	obs, act, pix, t := dst.Obs[i*b.dim:(i+1)*b.dim], dst.Act[i*b.acts:(i+1)*b.acts], dst.Pix[i*P:(i+1)*P], dst.rows[i].t
	if j%2 == 1 {
		obs, act, pix, t = dst.Next[i*b.dim:(i+1)*b.dim], nil, dst.NextPix[i*P:(i+1)*P], dst.next[i]
	}
	if err := b.rows(w, r, t, obs, act); err != nil {
		return err
	}
	return b.image(w, r, t, pix)
}
