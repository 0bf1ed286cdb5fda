package preference

import (
	"fmt"
	"math"
)

// Measure is how well a model explains answers. Every field is 0 where there was
// nothing to judge it by.
type Measure struct {
	Loss float64 `json:"loss"` // mean −log of the chance of the answers given; a tie to a model without them is half of either
	// Accuracy is the share of the decided pairs whose better clip has the greater
	// utility, equals counting half.
	Accuracy float64 `json:"accuracy"`
	// Calibration is the expected calibration error in ten bins: how far the chance
	// of the likelier side, given that one is better, is from how often it is.
	Calibration float64 `json:"calibration"`
	// DecidedGap and TieGap are the mean |utility difference| of decided pairs and ties.
	DecidedGap float64 `json:"decided_gap"`
	TieGap     float64 `json:"tie_gap"`
	Decided    int     `json:"decided"`
	Ties       int     `json:"ties"`
}

// Evaluate measures m on answered pairs. Unknown verdicts are passed over.
func Evaluate(m Model, pairs []Pair) (Measure, error) {
	var t tally
	for i, p := range pairs {
		if p.Verdict == Unknown {
			continue
		}
		a, err := m.Utility(p.A)
		if err == nil {
			var b float64
			var o Odds
			if b, err = m.Utility(p.B); err == nil {
				if o, err = m.Odds(p.A, p.B); err == nil {
					t.add(p.Verdict, a-b, loss(o, p.Verdict), o)
				}
			}
		}
		if err != nil {
			return Measure{}, fmt.Errorf("preference: pair %d: %w", i, err)
		}
	}
	return t.measure(), nil
}

// loss of an answer under o; a tie under odds without ties is half of either.
func loss(o Odds, v Verdict) float64 {
	if v == Tie && o.Tie == 0 {
		return -(math.Log(o.First) + math.Log(o.Second)) / 2
	}
	return -math.Log(o.Of(v))
}

// tally sums what a Measure tells.
type tally struct {
	loss, right    float64
	gap, tieGap    float64
	decided, ties  int
	binN           [10]int
	binSaid, binIs [10]float64
}

// add counts an answer v to a pair of utilities d apart.
func (t *tally) add(v Verdict, d, loss float64, o Odds) {
	t.loss += loss
	if v == Tie {
		t.ties++
		t.tieGap += math.Abs(d)
		return
	}
	t.decided++
	t.gap += math.Abs(d)
	up := 1.0
	if v == Second {
		up = -1
	}
	right := 0.5
	if d*up > 0 {
		right = 1
	} else if d*up < 0 {
		right = 0
	}
	t.right += right
	said := max(o.First, o.Second) / (o.First + o.Second)
	bin := min(int((said-0.5)*20), 9)
	if said-said != 0 || bin < 0 {
		return
	}
	t.binN[bin]++
	t.binSaid[bin] += said
	t.binIs[bin] += right
}

func (t *tally) measure() Measure {
	m := Measure{Decided: t.decided, Ties: t.ties}
	if n := t.decided + t.ties; n > 0 {
		m.Loss = t.loss / float64(n)
	}
	if n := float64(t.decided); n > 0 {
		m.Accuracy, m.DecidedGap = t.right/n, t.gap/n
		for i := range t.binN {
			m.Calibration += math.Abs(t.binSaid[i]-t.binIs[i]) / n
		}
	}
	if t.ties > 0 {
		m.TieGap = t.tieGap / float64(t.ties)
	}
	return m
}
