package align

import "math"

// Doubt weighs a sample by how much two passes of a reward disagree about it, such as
// of two noised inputs, two crops or neighbouring frames (Ctrl-U, Zhang et al. 2024,
// arXiv:2410.11236, section 3): e^(-scale |y1-y2|), which is 1 where they agree.
// Agreement is no correctness: both may be wrong.
func Doubt(y1, y2, scale float64) float64 { return math.Exp(-scale * math.Abs(y1-y2)) }

// DoubtOf is Doubt of two passes that give logits of classes: e^(-scale U) with
// U = KL(softmax y1 || softmax y2).
func DoubtOf(y1, y2 []float64, scale float64) float64 {
	if len(y1) != len(y2) {
		panic("align: DoubtOf: passes over different classes")
	}
	a, b := logSum(y1), logSum(y2)
	u := 0.0
	for i, y := range y1 {
		u += math.Exp(y-a) * ((y - a) - (y2[i] - b))
	}
	return math.Exp(-scale * max(0, u))
}

// logSum is ln sum e^y.
func logSum(y []float64) float64 {
	top := math.Inf(-1)
	for _, v := range y {
		top = max(top, v)
	}
	s := 0.0
	for _, v := range y {
		s += math.Exp(v - top)
	}
	return top + math.Log(s)
}
