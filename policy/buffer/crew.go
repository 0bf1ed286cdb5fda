package buffer

import (
	"sync"
	"sync/atomic"
)

// worker is what one goroutine reads with.
type worker struct {
	raw []byte // what was read of a file
}

// bytes returns n bytes of w's own.
func (w *worker) bytes(n int) []byte {
	if cap(w.raw) < n {
		w.raw = make([]byte, n)
	}
	return w.raw[:n]
}

// crew does the parts of a job side by side. Its first member is the goroutine
// that asks; the others wait until close.
type crew struct {
	members []*worker

	// in
	wake chan struct{} // one for each other member that shall help
	job  func(w *worker, i int) error
	n    int64
	next atomic.Int64

	// out
	busy  sync.WaitGroup
	mu    sync.Mutex
	err   error // of the part failed with the lowest number
	errAt int64

	gone sync.WaitGroup
}

// newCrew starts all but one of n members.
func newCrew(n int) *crew {
	c := &crew{members: make([]*worker, n), wake: make(chan struct{}, n)}
	for i := range c.members {
		c.members[i] = new(worker)
		if i > 0 {
			c.gone.Go(func() {
				for range c.wake {
					c.work(c.members[i])
					c.busy.Done()
				}
			})
		}
	}
	return c
}

// run does parts 0 to n-1 of a job, and returns the error of the first of those
// that failed. It does not allocate.
func (c *crew) run(n int, job func(w *worker, i int) error) error {
	if len(c.members) == 1 {
		var first error
		for i := range n {
			if err := job(c.members[0], i); err != nil && first == nil {
				first = err
			}
		}
		return first
	}
	c.job, c.n, c.err = job, int64(n), nil
	c.next.Store(0)
	helpers := max(0, min(len(c.members), n)-1)
	c.busy.Add(helpers)
	for range helpers {
		c.wake <- struct{}{}
	}
	c.work(c.members[0])
	c.busy.Wait()
	c.job = nil
	return c.err
}

func (c *crew) work(w *worker) {
	for {
		i := c.next.Add(1) - 1
		if i >= c.n {
			return
		}
		if err := c.job(w, int(i)); err != nil {
			c.mu.Lock()
			if c.err == nil || i < c.errAt {
				c.err, c.errAt = err, i
			}
			c.mu.Unlock()
		}
	}
}

// close ends the others.
func (c *crew) close() {
	close(c.wake)
	c.gone.Wait()
}
