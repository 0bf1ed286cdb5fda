package classifier

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Measure counts how frames were told.
type Measure struct {
	TP int `json:"tp"` // successes told as such
	FP int `json:"fp"` // failures told as successes
	TN int `json:"tn"`
	FN int `json:"fn"`
}

// Add counts a frame.
func (m *Measure) Add(success, told bool) {
	switch {
	case success && told:
		m.TP++
	case success:
		m.FN++
	case told:
		m.FP++
	default:
		m.TN++
	}
}

// Precision is the share of successes among what was told to be one; NaN if nothing
// was.
func (m Measure) Precision() float64 { return share(m.TP, m.TP+m.FP) }

// Recall is the share of the successes that were told; NaN for none.
func (m Measure) Recall() float64 { return share(m.TP, m.TP+m.FN) }

// Accuracy is the share told right; NaN for none.
func (m Measure) Accuracy() float64 { return share(m.TP+m.TN, m.TP+m.FP+m.TN+m.FN) }

// F1 is 2TP/(2TP + FP + FN); NaN for none.
func (m Measure) F1() float64 { return share(2*m.TP, 2*m.TP+m.FP+m.FN) }

// String is a line; the interval is Wilson's of the precision.
func (m Measure) String() string {
	lo, hi := Wilson(m.TP, m.TP+m.FP)
	return fmt.Sprintf("precision %.3f (%.2f to %.2f), recall %.3f, F1 %.3f on %d frames",
		m.Precision(), lo, hi, m.Recall(), m.F1(), m.TP+m.FP+m.TN+m.FN)
}

func share(a, b int) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

// Wilson is the 95 % interval of a share of k in n (Wilson 1927).
func Wilson(k, n int) (lo, hi float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959964
	N, p := float64(n), float64(k)/float64(n)
	mid := (p + z*z/(2*N)) / (1 + z*z/N)
	half := z / (1 + z*z/N) * math.Sqrt(p*(1-p)/N+z*z/(4*N*N))
	return max(0, mid-half), min(1, mid+half)
}

// Report tells how well unseen groups are told.
type Report struct {
	Shots    int     `json:"shots"` // marked frames, without copies
	Groups   int     `json:"groups"`
	Folds    int     `json:"folds"`
	Measured Measure `json:"measured"` // each fold at the threshold that the others chose
	// Brier is the mean (p − y)² and ECE the calibration error in ten bins (Guo et
	// al. 2017, equation 3), of the calibrated chances.
	Brier     float64 `json:"brier"`
	ECE       float64 `json:"ece"`
	Threshold float64 `json:"threshold"`
	Sees      Sees    `json:"sees"`  // of whom trained it
	Demos     int     `json:"demos"` // so many of Groups are demonstrations; who trained it fills it in
	// Curve is what other thresholds would give, on the same frames.
	Curve []Point `json:"curve"`
}

// Point is a threshold and what it gives.
type Point struct {
	Threshold float64 `json:"threshold"`
	Measure
}

// String is a table.
func (r Report) String() string {
	var b strings.Builder
	m := r.Measured
	lo, hi := Wilson(m.TP, m.TP+m.FP)
	fmt.Fprintf(&b, "%d frames of %d episodes, %d folds of episodes not learned from, by %s\n", r.Shots, r.Groups, r.Folds, r.Sees)
	fmt.Fprintf(&b, "precision %.3f (%.2f to %.2f)  recall %.3f  F1 %.3f  accuracy %.3f\n", m.Precision(), lo, hi, m.Recall(), m.F1(), m.Accuracy())
	fmt.Fprintf(&b, "told done and done %d, not done %d; told not done and done %d, not done %d\n", m.TP, m.FP, m.FN, m.TN)
	fmt.Fprintf(&b, "Brier score %.3f, calibration error %.3f; threshold %.3f\n", r.Brier, r.ECE, r.Threshold)
	fmt.Fprintf(&b, "%10s %10s %8s %8s\n", "threshold", "precision", "recall", "F1")
	for _, p := range r.Curve {
		fmt.Fprintf(&b, "%10.2f %10.3f %8.3f %8.3f\n", p.Threshold, p.Precision(), p.Recall(), p.F1())
	}
	if r.Groups > 0 && r.Demos == r.Groups {
		b.WriteString("all of these are demonstrations; a learning policy shows what none of them does, so mark frames of its own episodes, too\n")
	}
	return b.String()
}

// answer is what a network said of a frame that it had not learned from.
type answer struct {
	y       float64 // before calibration
	success bool
	fold    int
}

// cross answers every shot that is no copy by a network that learned from the other
// folds. Groups are dealt to the folds so that each has both sides if it can.
func cross(ctx context.Context, shots []Shot, c Config) ([]answer, error) {
	fold, folds := deal(shots, c)
	var out []answer
	for k := range folds {
		var rest []Shot
		for _, s := range shots {
			if fold[s.Group] != k {
				rest = append(rest, s)
			}
		}
		m, err := fit(ctx, rest, c, rand.New(rand.NewPCG(c.Seed, uint64(k))))
		if err != nil {
			return nil, err
		}
		for _, s := range shots {
			if fold[s.Group] == k && !s.Copy {
				out = append(out, answer{y: m.raw(s.Input), success: s.Success, fold: k})
			}
		}
	}
	return out, nil
}

// deal gives groups to folds: those with successes first, then the others, each in a
// random order, one after the other; again, as long as a fold has got all of one side, so
// that those who learn without it would know the other side alone.
func deal(shots []Shot, c Config) (fold map[string]int, folds int) {
	done, all := map[string]bool{}, []string{}
	for _, s := range shots {
		if _, ok := done[s.Group]; !ok {
			all = append(all, s.Group)
		}
		done[s.Group] = done[s.Group] || s.Success
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0x666f6c64)) // "fold"
	slices.Sort(all)
	folds = min(c.Folds, len(all))
	fold = map[string]int{}
	for range 100 { // check promises two episodes of either side, so every other deal at least is good
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		slices.SortStableFunc(all, func(a, b string) int {
			switch {
			case done[a] == done[b]:
				return 0
			case done[a]:
				return -1
			}
			return 1
		})
		for i, g := range all {
			fold[g] = i % folds
		}
		if parted(shots, fold) {
			break
		}
	}
	return fold, folds
}

// parted reports whether either side is in two folds at least.
func parted(shots []Shot, fold map[string]int) bool {
	in := [2]map[int]bool{{}, {}}
	for _, s := range shots {
		if s.Copy {
			continue
		}
		if s.Success {
			in[1][fold[s.Group]] = true
		} else {
			in[0][fold[s.Group]] = true
		}
	}
	return len(in[0]) > 1 && len(in[1]) > 1
}

func groups(shots []Shot) int {
	seen := map[string]bool{}
	for _, s := range shots {
		seen[s.Group] = true
	}
	return len(seen)
}

// platt fits P(success) = σ(a y + b) by Newton's method on Platt's smoothed targets
// (Platt 1999, section 2.2; the iteration of Lin, Lin and Weng 2007). Equal odds of
// both sides are not assumed.
func platt(said []answer) (a, b float64) {
	var pos, neg float64
	for _, s := range said {
		if s.success {
			pos++
		} else {
			neg++
		}
	}
	hi, lo := (pos+1)/(pos+2), 1/(neg+2)
	loss := func(a, b float64) float64 {
		sum := 0.0
		for _, s := range said {
			t := lo
			if s.success {
				t = hi
			}
			z := a*s.y + b
			sum += softplus(z) - t*z
		}
		return sum
	}
	a, b = 0, math.Log((pos+1)/(neg+1))
	f := loss(a, b)
	for range 100 {
		const ridge = 1e-12
		h11, h22, h12, g1, g2 := ridge, ridge, 0.0, 0.0, 0.0
		for _, s := range said {
			t := lo
			if s.success {
				t = hi
			}
			p := sigmoid(a*s.y + b)
			w := p * (1 - p)
			h11, h22, h12 = h11+w*s.y*s.y, h22+w, h12+w*s.y
			g1, g2 = g1+s.y*(p-t), g2+(p-t)
		}
		if math.Abs(g1) < 1e-6 && math.Abs(g2) < 1e-6 {
			break
		}
		det := h11*h22 - h12*h12
		da, db := -(h22*g1-h12*g2)/det, -(h11*g2-h12*g1)/det
		slope, step := g1*da+g2*db, 1.0
		for ; step > 1e-10; step /= 2 {
			if next := loss(a+step*da, b+step*db); next < f+1e-4*step*slope {
				a, b, f = a+step*da, b+step*db, next
				break
			}
		}
		if step <= 1e-10 {
			break
		}
	}
	// A network that is no better than chance, or worse, says nothing.
	return max(a, 1e-6), b
}

// choose is the threshold of the greatest F1 among those whose precision is aim or
// more; where none has it, the one of the greatest precision. It lies half-way (in
// log odds) to the next lower answer.
func choose(said []answer, a, b, aim float64) float64 {
	s := slices.Clone(said)
	slices.SortFunc(s, func(p, q answer) int { return cmp.Compare(q.y, p.y) })
	all := 0
	for _, x := range s {
		if x.success {
			all++
		}
	}
	best, bestP, bestF, reached := 0, -1.0, -1.0, false
	tp := 0
	for i := range s {
		if s[i].success {
			tp++
		}
		if i+1 < len(s) && s[i+1].y == s[i].y {
			continue // nothing lies between
		}
		p, f := float64(tp)/float64(i+1), 2*float64(tp)/float64(i+1+all)
		switch {
		case p >= aim && f > bestF:
			best, bestF, reached = i, f, true
		case !reached && p > bestP:
			best, bestP = i, p
		}
	}
	z := a*s[best].y + b
	if best+1 < len(s) {
		z = (z + a*s[best+1].y + b) / 2
	}
	const edge = 1e-9
	return min(max(sigmoid(z), edge), 1-edge)
}

// aim is the precision that thresholds are chosen for, half-way from the one asked
// for to 1: one that just reaches it where it was chosen misses it elsewhere as often
// as not.
func (c Config) aim() float64 { return (1 + c.Precision) / 2 }

// report measures each fold at the calibration and threshold of the others.
func report(said []answer, c Config) Report {
	r := Report{Shots: len(said)}
	folds := 0
	for _, s := range said {
		folds = max(folds, s.fold+1)
	}
	r.Folds = folds
	var ps []float64
	for k := range folds {
		var rest []answer
		for _, s := range said {
			if s.fold != k {
				rest = append(rest, s)
			}
		}
		a, b := platt(rest)
		cut := choose(rest, a, b, c.aim())
		for _, s := range said {
			if s.fold == k {
				p := sigmoid(a*s.y + b)
				r.Measured.Add(s.success, p >= cut)
				ps = append(ps, p)
			}
		}
	}
	var conf, acc [10]float64
	var n [10]float64
	i := 0
	curve := make([]Point, 9)
	for k := range folds {
		for _, s := range said {
			if s.fold != k {
				continue
			}
			p, y := ps[i], 0.0
			if s.success {
				y = 1
			}
			r.Brier += (p - y) * (p - y) / float64(len(said))
			bin := min(9, int(10*p))
			conf[bin], acc[bin], n[bin] = conf[bin]+p, acc[bin]+y, n[bin]+1
			for j := range curve {
				curve[j].Threshold = float64(j+1) / 10
				curve[j].Add(s.success, p >= curve[j].Threshold)
			}
			i++
		}
	}
	for j := range n {
		if n[j] > 0 {
			r.ECE += math.Abs(acc[j]-conf[j]) / float64(len(said))
		}
	}
	r.Curve = curve
	return r
}
