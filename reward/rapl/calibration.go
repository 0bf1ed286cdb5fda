package rapl

import "math"

// bins is how many the confidences are sorted into.
const bins = 10

// Bin is a bar of a reliability diagram: the answers that a head was about as sure
// of, between ½ and 1.
type Bin struct {
	Lo, Hi     float64 // of the confidence, max(p, 1−p)
	N          int     // answers
	Confidence float64 // mean; 0 where N is
	Accuracy   float64 // share that it tells right; 0 where N is
}

// tally sums the losses, the right answers and the confidences of triplets.
type tally struct {
	loss           float64
	right, decided int
	n              int
	brier          float64
	bins           [bins]Bin
}

func (t *tally) add(s *slot, tie bool) {
	t.loss += s.loss
	t.n++
	if tie {
		return
	}
	t.decided++
	right := 0.0
	if s.margin > 0 {
		t.right++
		right = 1
	}
	p := 1 / (1 + math.Exp(-s.margin))
	t.brier += (1 - p) * (1 - p)
	sure := max(p, 1-p)
	b := &t.bins[min(int((sure-0.5)*2*bins), bins-1)]
	b.N++
	b.Confidence += (sure - b.Confidence) / float64(b.N)
	b.Accuracy += (right - b.Accuracy) / float64(b.N)
}

// measure also names the bins' bounds. ECE = Σ_b n_b/n |accuracy_b − confidence_b|
// (Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, ICML
// 2017, equation 3), over the confidence of the chosen side.
func (t *tally) measure() Measure {
	m := Measure{Loss: t.loss / float64(t.n)}
	for i := range t.bins {
		t.bins[i].Lo, t.bins[i].Hi = 0.5+0.5*float64(i)/bins, 0.5+0.5*float64(i+1)/bins
	}
	if t.decided == 0 {
		return m
	}
	n := float64(t.decided)
	m.Accuracy, m.Brier = float64(t.right)/n, t.brier/n
	for _, b := range t.bins {
		m.ECE += float64(b.N) / n * math.Abs(b.Accuracy-b.Confidence)
	}
	return m
}
