package sample

import "math"

// momentum is Nesterov's (ReNO's published settings).
const momentum = 0.9

// dear is how many plain chunks an iteration is taken to cost before any was measured: a
// gradient through each step of a U-Net costs eight (BenchmarkTick, docs/sample.md).
const dear = 8

// reno is what optimising the noise keeps.
type reno struct {
	noise, best, chosen, speed []float32 // (H*k,); chosen is the noise that best comes from
	path                       []float32 // (Steps, H*k) the chunk before every step
	grad, pull                 []float32
}

func newReno(steps, n int) *reno {
	r := &reno{path: make([]float32, steps*n)}
	for _, a := range []*[]float32{&r.noise, &r.best, &r.chosen, &r.speed, &r.grad, &r.pull} {
		*a = make([]float32, n)
	}
	return r
}

// improve climbs from the noise in l.x and returns the chunk of the best noise met,
// the first included. It minimises
//
//	-reward(G(x)) + Chi (|x|^2/2 - (d-1) log |x|)
//
// where G is the chain without noise on the way (Eyring et al. 2024):
// the second term is, up to a constant, minus the log-likelihood of the norm of d
// normal numbers. Steps are Nesterov's with the gradient's norm bounded. Actions that a
// step clips have no slope: where all are, the noise stays as it is but for Chi.
func (s *Search) improve(l *level) []float32 {
	r := s.reno
	copy(r.noise, l.x)
	clear(r.speed)
	top := math.Inf(-1)
	began := s.now()
	for it := 0; ; it++ {
		copy(l.x, r.noise)
		s.forward(l)
		s.climbs(l, l.x)
		if it == 0 || l.value[0] > top {
			top = l.value[0]
			copy(r.best, l.x)
			copy(r.chosen, r.noise)
		}
		if it == s.cfg.N {
			break
		}
		if s.timed() { // a gradient is of use if the chain can be run by it
			if s.left() < margin*s.iteration(it, (s.now()-began).Seconds()) {
				s.pace.cut()
				break
			}
			began = s.now()
		}
		s.backward(l) // r.grad: of the reward at the noise
		norm := 0.0
		for _, v := range r.noise {
			norm += float64(v) * float64(v)
		}
		d := float64(len(r.noise))
		sum := 0.0
		for j, v := range r.noise {
			g := -float64(r.grad[j]) + s.cfg.Chi*(1-(d-1)/norm)*float64(v)
			r.grad[j] = float32(g)
			sum += g * g
		}
		by := s.cfg.LR
		if sum = math.Sqrt(sum); sum > s.cfg.Norm {
			by *= s.cfg.Norm / sum
		}
		for j, g := range r.grad {
			step := by * float64(g)
			v := momentum*float64(r.speed[j]) + step
			r.speed[j] = float32(v)
			r.noise[j] -= float32(step + momentum*v)
		}
	}
	return r.best
}

// iteration is how many seconds the next is taken to need, where iteration it, or for 0
// the plain chunk, took so many. Its cost fades once a chunk, as a step's does.
func (s *Search) iteration(it int, took float64) float64 {
	switch p := s.pace; {
	case it > 0:
		p.each = max(p.each, took)
	case p.each > 0:
		p.each *= fade
	default:
		return dear * took
	}
	return s.pace.each
}

// forward runs the chain from l.x and keeps its path.
func (s *Search) forward(l *level) {
	for i := range s.chain.Steps() {
		copy(s.reno.path[i*s.length:], l.x)
		l.den.Predict(l.out, l.x, s.chain.Time(i))
		s.chain.Back(i, l.x, l.out, nil, nil)
	}
}

// backward turns the gradient at the chunk, in l.grad, into that at the noise. The
// network is asked again at every step: a graph holds one step's activations.
func (s *Search) backward(l *level) {
	r := s.reno
	copy(r.grad, l.grad)
	for i := s.chain.Steps() - 1; i >= 0; i-- {
		x := r.path[i*s.length:][:s.length]
		l.den.Predict(l.out, x, s.chain.Time(i))
		ofX, ofOut, a, b, _ := s.chain.Affine(i)
		for j, g := range r.grad {
			u := a * float64(g)
			if x0 := ofX*float64(x[j]) + ofOut*float64(l.out[j]); math.Abs(x0) > s.chain.Clip() {
				u = 0
			}
			l.back[j] = float32(ofOut * u)
			r.grad[j] = float32(b*float64(g) + ofX*u)
		}
		l.den.Pull(r.pull, l.back)
		for j, g := range r.pull {
			r.grad[j] += g
		}
	}
}
