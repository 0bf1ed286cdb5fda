// Package buffer replays labelled episodes to a learner.
//
// It has two sides: demonstrations, which are never dropped, and what the
// policy collected, which is dropped oldest first. RLPD draws half of a batch
// from each (Ball et al. 2023, "Efficient online reinforcement learning with
// offline data", section 4.1). A command that a person decided counts on both
// sides, as in HIL-SERL (Luo et al. 2024). Transitions hold what was applied.
//
//	b, err := buffer.New(buffer.Config{View: v, Capacity: 100_000, Gamma: 0.99})
//	defer b.Close()
//	added, err := b.Add(episode)
//	batch := buffer.NewBatch(256, v)
//	err = b.Sample(batch, 128, rng) // 128 demonstration rows, then 128 online
//
// A view with cameras adds the frames to a batch; each is kept once, as it is or
// as JPEG. With Config.Dir rows and frames are in files of that folder, and what
// an Add that returned has taken is there after the process was killed. A batch
// may be drawn by priorities, and carry returns to the end of its episodes;
// SampleChunks draws histories of observations with chunks of actions.
package buffer

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
)

// Config says what is kept and what a row is.
type Config struct {
	View view.Config
	// Capacity is the number of online transitions kept. Whole episodes go,
	// oldest first; the newest always stays. 0 keeps everything.
	Capacity int
	// Steps is the n of n-step returns; 0 means 1. Returns of more steps are
	// not corrected for the actions having been another policy's.
	Steps int
	Gamma float64 // discount per tick, in (0, 1]
	// Scale and Shift turn a label r into the reward Scale*r + Shift. A zero
	// Scale means 1.
	Scale, Shift float64
	// Finite says that the task is over at View.Horizon ticks: an episode of
	// that length ends there instead of being cut off, so that no value is
	// guessed beyond it. It wants the clock in the view (Pardo et al. 2018,
	// "Time limits in reinforcement learning", section 3).
	Finite bool
	// Returns adds Batch.Return, and Tail says what a cut-off episode is worth
	// beyond its end there.
	Returns bool
	Tail    Tail
	// Prioritised draws batches by priorities.
	Prioritised Prioritised

	// JPEG is the quality, 1 to 100, at which frames are kept. 0 keeps them as
	// they are, which takes about twenty times the room and a fifth of the time.
	JPEG int
	// Dir is a folder that holds rows and frames in place of the memory, for one
	// Buffer at a time. An empty or missing one is made ready; one that was
	// filled for the same View goes on, whatever else of its Config has changed.
	Dir string
	// Segment is the size in bytes from which on a file of Dir is full; 0 means
	// 256 MiB.
	Segment int64
	// Workers is the number of goroutines, the caller's among them, that read
	// files and JPEGs; 0 means one a processor.
	Workers int
}

// Tail says what an episode that was cut off is worth beyond its end. One that
// ended, as it was terminal or Config.Finite says so, is worth nothing there.
type Tail uint8

// The tails.
const (
	// TailZero is nothing: returns are of what was seen.
	TailZero Tail = iota
	// TailSteady is the last reward for ever, r/(1-gamma) from the last
	// transition on: what a task paid with -1 until its success is worth while
	// nothing succeeds. Without it the returns of failures look better the
	// nearer they are to the cut, and Cal-QL's bound is wrong.
	TailSteady
)

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	errs := []error{c.View.Validate()}
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("buffer: "+format, args...))
	}
	if c.Capacity < 0 {
		bad("Capacity is %d transitions, want 0 or more", c.Capacity)
	}
	if c.Steps < 0 {
		bad("Steps is %d, want 0 or more", c.Steps)
	}
	if !(c.Gamma > 0 && c.Gamma <= 1) {
		bad("Gamma is %v, want above 0 and at most 1", c.Gamma)
	}
	if !finite(c.Scale) || !finite(c.Shift) {
		bad("Scale and Shift are %v and %v, want finite numbers", c.Scale, c.Shift)
	}
	if c.Finite && c.View.Horizon == 0 {
		bad("Finite wants View.Horizon, or the policy cannot know how much time is left")
	}
	switch {
	case c.Tail > TailSteady:
		bad("Tail is %d, want TailZero or TailSteady", c.Tail)
	case c.Returns && c.Tail == TailSteady && c.Gamma == 1:
		bad("TailSteady wants Gamma below 1, or a reward for ever is infinite")
	}
	if err := c.Prioritised.validate(); err != nil {
		errs = append(errs, err)
	}
	if c.JPEG < 0 || c.JPEG > 100 {
		bad("JPEG is a quality of %d, want 1 to 100, or 0 for frames as they are", c.JPEG)
	}
	if c.JPEG > 0 && len(c.View.Cameras) == 0 {
		bad("JPEG compresses frames, but View.Cameras is empty")
	}
	for _, cam := range c.View.Cameras {
		if c.JPEG > 0 && max(cam.W, cam.H) > vision.MaxSide {
			bad("JPEG takes frames of up to %d pixels a side, but camera %q has %dx%d", vision.MaxSide, cam.Name, cam.W, cam.H)
		}
	}
	if c.Segment < 0 || c.Segment > 0 && c.Dir == "" {
		bad("Segment is %d bytes, want the size of a file of Dir, or 0", c.Segment)
	}
	if c.Workers < 0 || c.Workers > 4096 {
		bad("Workers is %d goroutines, want 0 to 4096", c.Workers)
	}
	return errors.Join(errs...)
}

// Count is what a Buffer holds.
type Count struct {
	Episodes int // taken since the start, evicted ones included
	Demo     int // transitions on the demonstration side
	Online   int // transitions on the online side
	Human    int // transitions of Demo that were interventions
	// Lossy counts transitions taken of which the action cannot express more
	// than a hundredth of a unit, as the view's Axes or Scale leave it out.
	Lossy int
}

// entry is an episode that was taken.
type entry struct {
	id    string // empty for a forgotten one
	lossy int
	run   *run // nil when it has gone; its id stays known
}

// Buffer holds labelled episodes. It is used by one goroutine.
type Buffer struct {
	cfg               Config
	dim, acts, pixels int // D, k and P of the view

	order        []entry        // all that were taken
	ids          map[string]int // places in order
	demo, online side
	episodes     int // on the online side
	human, lossy int

	top   float64 // largest priority so far
	draws uint64  // prioritised batches so far

	disk   *folder // nil in memory
	crew   *crew
	closed bool

	// What the crew is reading for, and how.
	batch              *Batch
	chunks             *Chunks
	batchJob, chunkJob func(w *worker, i int) error
}

// New returns a Buffer, empty or with what is in the Dir of its Config. One with
// a Dir or with JPEG wants to be closed.
func New(c Config) (*Buffer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Steps == 0 {
		c.Steps = 1
	}
	if c.Scale == 0 {
		c.Scale = 1
	}
	if c.Segment == 0 {
		c.Segment = 256 << 20
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	b := &Buffer{
		cfg: c, dim: c.View.Dim(), acts: c.View.Action.Dim(), pixels: c.View.Pixels(),
		ids: make(map[string]int), top: 1,
	}
	b.demo.weighed, b.online.weighed = c.Prioritised.on(), c.Prioritised.on()
	b.batchJob, b.chunkJob = b.half, b.piece
	if c.Dir != "" {
		if err := b.open(c.Dir, c.Segment); err != nil {
			return nil, err
		}
	} else if c.JPEG == 0 {
		c.Workers = 1 // copying is as quick
	}
	b.crew = newCrew(c.Workers)
	return b, nil
}

// Close ends the goroutines of b and lets its folder go. Closing twice is
// harmless.
func (b *Buffer) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.crew.close()
	if b.disk != nil {
		return b.disk.close()
	}
	return nil
}

// Count tells what b holds.
func (b *Buffer) Count() Count {
	return Count{Episodes: len(b.order), Demo: b.demo.len(), Online: b.online.len(), Human: b.human, Lossy: b.lossy}
}

// Len is the number of transitions of each side. Sampling demo/(demo+online) of
// a batch as demonstrations draws uniformly from all, up to interventions, which
// are on both.
func (b *Buffer) Len() (demo, online int) { return b.demo.len(), b.online.len() }

// Observations returns a copy of the rows (N, D) that the transitions of both
// sides start from, demonstrations first, for fitting a normalisation. It leaves
// out rows of a damaged file, which Verify names.
func (b *Buffer) Observations() []float32 {
	D := b.dim
	rows := make([]float32, 0, (b.demo.len()+b.online.len())*D)
	w := new(worker)
	for _, s := range []*side{&b.demo, &b.online} {
		for i := range s.len() {
			x, n := s.at(i), len(rows)
			if b.rows(w, x.run, x.t, rows[n:n+D], nil) == nil {
				rows = rows[:n+D]
			}
		}
	}
	return rows
}

// Verify reads all that is in the folder, and reports what is damaged. Sample
// does so for what it draws.
func (b *Buffer) Verify() error {
	if b.closed {
		return ErrClosed
	}
	var errs []error
	for _, e := range b.order {
		if r := e.run; r != nil && r.seg != nil {
			errs = append(errs, b.crew.run(r.len()+1, func(w *worker, t int) error {
				if _, err := b.span(w, r, t, t+1); err != nil || b.pixels == 0 {
					return err
				}
				_, err := b.sheet(w, r, t, nil)
				return err
			}))
		}
	}
	return errors.Join(errs...)
}

// live is the n-th episode that was taken, if it is still held.
func (b *Buffer) live(n int) *run {
	if n < 0 || n >= len(b.order) {
		return nil
	}
	return b.order[n].run
}

// Add takes a labelled episode, and reports false for an id that it took
// before. Nothing is taken of an episode with an error. With a folder, the
// episode is on the disk when Add returns.
func (b *Buffer) Add(e policy.Episode) (bool, error) {
	if b.closed {
		return false, ErrClosed
	}
	if err := e.Validate(); err != nil {
		return false, fmt.Errorf("buffer: %w", err)
	}
	if _, seen := b.ids[e.ID]; seen {
		return false, nil
	}
	r, err := b.convert(&e)
	if err != nil {
		return false, err
	}
	evict := b.surplus(r)
	if b.disk != nil {
		err = b.shelve(r, &e, evict)
	} else {
		err = b.keep(r, &e)
	}
	if err != nil {
		return false, err
	}
	b.take(r)
	for range evict {
		b.evict()
	}
	if b.disk != nil {
		b.tidy()
	}
	return true, nil
}
