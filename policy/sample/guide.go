package sample

import "math"

// guide returns what the reward moves the predicted actions of step i by.
//
// A diffusion's noise becomes eps' = eps - sqrt(1-bar) scale g, where g is the
// gradient of the reward at z = m x0 + (1-m) x with m = sqrt(1-bar), through the
// network, with respect to x (Luo et al. 2023, BrainDiVE). In actions that is a push of
// (1-bar)/sqrt(bar) scale g.
//
// A flow's velocity becomes v' = v + scale (1-t)/t g, with the factor at most Clip and
// g the reward's gradient at the end that v aims at (Flow-NRG, Liu et al. 2025, whose t
// runs the other way and whose reward reads the noised chunk). In actions, 1-t times
// that.
func (s *Search) guide(l *level, i int, kind Kind) []float32 {
	bar := s.chain.Bar(i)
	var by float64
	if kind == NRG {
		s.chain.Guess(i, l.guess, l.x, l.out)
		s.climbs(l, l.guess)
		by = s.cfg.Clip
		if bar > 0 {
			by = min(by, (1-bar)/bar)
		}
		by *= 1 - bar
	} else {
		m := math.Sqrt(1 - bar)
		s.chain.Guess(i, l.guess, l.x, l.out)
		for j, v := range l.x {
			l.act[j] = float32(m*float64(l.guess[j]) + (1-m)*float64(v))
		}
		copy(l.guess, l.act) // climbs writes act
		s.climbs(l, l.guess)
		ofX, ofOut, _, _, _ := s.chain.Affine(i)
		for j, u := range l.grad {
			l.back[j] = float32(m * ofOut * float64(u))
		}
		l.den.Pull(l.push, l.back)
		for j, u := range l.grad {
			l.grad[j] = float32((1-m+m*ofX)*float64(u)) + l.push[j]
		}
		by = (1 - bar) / math.Sqrt(bar)
	}
	by *= s.cfg.Scale
	sum := 0.0
	for _, g := range l.grad {
		sum += float64(g) * float64(g)
	}
	if rms := by * math.Sqrt(sum/float64(len(l.grad))); rms > s.cfg.Trust {
		by *= s.cfg.Trust / rms
	}
	for j, g := range l.grad {
		l.push[j] = float32(by * float64(g))
	}
	return l.push
}
