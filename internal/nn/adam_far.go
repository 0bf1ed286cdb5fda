package nn

import (
	"runtime"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// farAdam is an Adam whose params have twins on an accelerator, with its moments
// there and one call for all of them.
type farAdam struct {
	far          device.Accelerator
	params       []*Param
	mean, square [][]float32
	adams        device.Adams
}

// onto moves the optimiser to its params, unless the processor has them.
func (a *Adam) onto() *farAdam {
	there := 0
	for _, p := range a.params {
		if p.twin != nil {
			there++
		}
	}
	if there == 0 {
		return nil
	}
	f := &farAdam{params: a.params}
	var data, grad [][]float32
	for _, p := range a.params {
		if f.far == nil {
			for _, q := range a.params {
				if q.twin != nil {
					f.far = q.twin.far
				}
			}
		}
		p.onto(f.far) // one that no graph has: it has no gradient, but decays
		data, grad = append(data, p.twin.data), append(grad, p.twin.grad)
		n := len(p.Data)
		both := f.far.Alloc(align(n) + n)
		f.mean, f.square = append(f.mean, both[:n:n]), append(f.square, both[align(n):])
		far := f.far
		runtime.AddCleanup(f, func(x []float32) { far.Free(x) }, both)
	}
	f.adams = f.far.Adams(data, grad, f.mean, f.square)
	f.push(a.mean, a.square)
	return f
}

func (f *farAdam) step(s device.AdamStep, clip float64) {
	f.adams.Step(s, clip)
	for _, p := range f.params {
		p.twin.ahead = true
	}
}

// push and pull copy the moments.
func (f *farAdam) push(mean, square [][]float32) {
	for i := range mean {
		f.far.Upload(f.mean[i], mean[i])
		f.far.Upload(f.square[i], square[i])
	}
	f.far.Sync()
}

func (f *farAdam) pull(mean, square [][]float32) {
	for i := range mean {
		f.far.Download(mean[i], f.mean[i])
		f.far.Download(square[i], f.square[i])
	}
	f.far.Sync()
}
