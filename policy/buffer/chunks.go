package buffer

import (
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy/view"
)

// Window says what a row of Chunks spans around its step t of an episode with
// inputs 0 to T and actions 0 to T-1, as Diffusion Policy does (Chi et al. 2023,
// arXiv:2303.04137, section IV and figure 3: To, Tp and Ta).
type Window struct {
	History int // To: inputs t-To+1 .. t
	Actions int // H (Tp there): actions t-To+1 .. t-To+H; at least To
	// Exec (Ta) is how many actions from t on are carried out before the policy
	// looks again: what Reward, Discount and Next of a row span. 0 means all of
	// the chunk, H-To+1.
	Exec int
	Next bool // adds Next and NextPix
}

// Validate reports what is wrong with w.
func (w Window) Validate() error {
	switch {
	case w.History < 1 || w.History > 1<<16:
		return fmt.Errorf("buffer: Window.History is %d inputs, want at least 1", w.History)
	case w.Actions < w.History || w.Actions > 1<<16:
		return fmt.Errorf("buffer: Window.Actions is %d, want at least the %d that reach step t", w.Actions, w.History)
	case w.Exec < 0 || w.Exec > w.Actions-w.History+1:
		return fmt.Errorf("buffer: Window.Exec is %d actions, want at most the %d from step t on, 0 for all", w.Exec, w.Actions-w.History+1)
	}
	return nil
}

// Chunks is a set of histories with the actions around their end, those of
// demonstrations first. Entry h of a history is input t-To+1+h, entry j of a
// chunk is action t-To+1+j; so entry To-1 of both is step t. Before the start
// the first input and action stand repeated, after the end the last action.
// The actions are those applied, whoever decided them.
type Chunks struct {
	Window Window
	Obs    []float32 // (N, To, D)
	Pix    []byte    // (N, To, P) the frames beside Obs; nil for a view without cameras
	Act    []float32 // (N, H, k)
	Mask   []float32 // (N, H) 1 for an action of the episode, 0 for a repeated one
	Demos  int       // rows [0, Demos) are demonstrations

	// Reward is the discounted sum of the m rewards from t on, where m is Exec
	// or what is left of the episode; Next is the history that ends at t+m, and
	// Discount that of its value: gamma^m, 0 after an end, not after a cut.
	Reward   []float32 // (N,)
	Discount []float32 // (N,)
	Next     []float32 // (N, To, D) nil without Window.Next
	NextPix  []byte    // (N, To, P) likewise

	rows []ref // (N,) the steps t
	next []int // (N,) t+m
}

// NewChunks makes room for n rows.
func NewChunks(n int, w Window, v view.Config) (*Chunks, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, fmt.Errorf("buffer: chunks of %d rows", n)
	}
	if w.Exec == 0 {
		w.Exec = w.Actions - w.History + 1
	}
	D, P, k := v.Dim(), v.Pixels(), v.Action.Dim()
	dst := &Chunks{
		Window: w, Obs: make([]float32, n*w.History*D), Act: make([]float32, n*w.Actions*k), Mask: make([]float32, n*w.Actions),
		Reward: make([]float32, n), Discount: make([]float32, n), rows: make([]ref, n), next: make([]int, n),
	}
	if P > 0 {
		dst.Pix = make([]byte, n*w.History*P)
	}
	if w.Next {
		dst.Next = make([]float32, len(dst.Obs))
		if P > 0 {
			dst.NextPix = make([]byte, len(dst.Pix))
		}
	}
	return dst, nil
}

// At names the episode and the step t of row i.
func (d *Chunks) At(i int) (episode string, step int) { return d.rows[i].id, d.rows[i].t }

// fit refuses chunks that NewChunks did not make for the view of b.
func (d *Chunks) fit(b *Buffer) error {
	n, w := len(d.rows), d.Window
	if len(d.Obs) != n*w.History*b.dim || len(d.Act) != n*w.Actions*b.acts || len(d.Mask) != n*w.Actions ||
		len(d.Pix) != n*w.History*b.pixels || len(d.Reward) != n || len(d.Discount) != n || len(d.next) != n ||
		w.Next && (len(d.Next) != len(d.Obs) || len(d.NextPix) != len(d.Pix)) || w.Validate() != nil || w.Exec == 0 {
		return fmt.Errorf("buffer: chunks of %d rows and another shape: make them by NewChunks for the buffer's view", n)
	}
	return nil
}

// SampleChunks fills dst around steps drawn uniformly with replacement: first
// demos rows of the demonstration side, then online ones. Errors are those of
// Sample. It does not allocate.
func (b *Buffer) SampleChunks(dst *Chunks, demos int, rng *rand.Rand) error {
	n := len(dst.rows)
	if demos < 0 || demos > n {
		panic("buffer: more demonstrations wanted than rows")
	}
	if err := b.ready(demos, n-demos); err != nil {
		return err
	}
	if err := dst.fit(b); err != nil {
		return err
	}
	uniform(dst.rows[:demos], &b.demo, rng)
	uniform(dst.rows[demos:], &b.online, rng)
	for i, x := range dst.rows {
		sum, discount, next := b.ahead(x, dst.Window.Exec)
		dst.Reward[i], dst.Discount[i], dst.next[i] = float32(sum), float32(discount), next
	}
	dst.Demos = demos
	b.chunks = dst
	return b.crew.run(n*dst.parts(), b.chunkJob)
}

// parts is the number of inputs that a row shows.
func (d *Chunks) parts() int {
	if d.Window.Next {
		return 2 * d.Window.History
	}
	return d.Window.History
}

// piece writes one input of a row, and with the first the actions.
func (b *Buffer) piece(w *worker, j int) error {
	dst := b.chunks
	i, h := j/dst.parts(), j%dst.parts()
	To, x := dst.Window.History, dst.rows[i]
	obs, pix, end := dst.Obs, dst.Pix, x.t
	if h == 0 {
		if err := b.acting(w, dst, i); err != nil {
			return err
		}
	}
	if h >= To {
		obs, pix, end, h = dst.Next, dst.NextPix, dst.next[i], h-To
	}
	t, at := max(0, end-To+1+h), i*To+h
	if err := b.rows(w, x.run, t, obs[at*b.dim:(at+1)*b.dim], nil); err != nil {
		return err
	}
	return b.image(w, x.run, t, pix[at*b.pixels:(at+1)*b.pixels])
}

// acting writes the actions of row i.
func (b *Buffer) acting(w *worker, dst *Chunks, i int) error {
	H, k, r := dst.Window.Actions, b.acts, dst.rows[i].run
	first := dst.rows[i].t - dst.Window.History + 1
	from, to := max(0, first), min(r.len(), first+H) // what there is; H >= To, so step t is
	var raw []byte
	if r.seg != nil {
		var err error
		if raw, err = b.span(w, r, from, to); err != nil {
			return err
		}
	}
	for j := range H {
		act := dst.Act[(i*H+j)*k : (i*H+j+1)*k]
		t := min(to-1, max(from, first+j))
		if raw != nil {
			floats(act, raw[(t-from)*b.stride()+4*b.dim:])
		} else {
			copy(act, r.act[t*k:])
		}
		dst.Mask[i*H+j] = 0
		if t == first+j {
			dst.Mask[i*H+j] = 1
		}
	}
	return nil
}
