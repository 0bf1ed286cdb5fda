package preference

import (
	"fmt"
	"math"
)

// Ties is how a model explains that two clips are found alike.
type Ties uint8

// The models of ties, with d = R_A − R_B.
const (
	// BradleyTerry knows no ties: P(A) = σ(d) (Bradley and Terry 1952). A tie is
	// learned from as half an answer for either side.
	BradleyTerry Ties = iota
	// RaoKupper (1967): P(A) = σ(d − log k), P(B) = σ(−d − log k) and
	// P(tie) = (k² − 1) P(A) P(B), k > 1; what VideoAlign calls Bradley-Terry with
	// ties (arXiv:2501.13918, there θ).
	RaoKupper
	// Davidson (1970): P(A) : P(tie) : P(B) = e^{d/2} : ν : e^{−d/2}, ν > 0.
	Davidson
)

func (t Ties) String() string {
	switch t {
	case BradleyTerry:
		return "bradley-terry"
	case RaoKupper:
		return "rao-kupper"
	case Davidson:
		return "davidson"
	}
	return fmt.Sprintf("Ties(%d)", uint8(t))
}

// MarshalText implements encoding.TextMarshaler.
func (t Ties) MarshalText() ([]byte, error) {
	if t > Davidson {
		return nil, fmt.Errorf("preference: no such model of ties: %v", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Ties) UnmarshalText(b []byte) error {
	for _, u := range [...]Ties{BradleyTerry, RaoKupper, Davidson} {
		if string(b) == u.String() {
			*t = u
			return nil
		}
	}
	return fmt.Errorf("preference: ties %q, want bradley-terry, rao-kupper or davidson", b)
}

// DefaultStrength is the k or ν used where none is given: VideoAlign's θ = 5, and
// the ν that calls as many equals a tie, (k² − 1)/(1 + k)² = ν/(2 + ν).
func (t Ties) DefaultStrength() float64 {
	switch t {
	case RaoKupper:
		return 5
	case Davidson:
		return 4
	}
	return 0
}

// Odds are the chances of the answers at a difference of utilities. strength is k
// or ν; BradleyTerry takes no notice of it.
func (t Ties) Odds(d, strength float64) Odds {
	switch t {
	case RaoKupper:
		l := math.Log(strength)
		a, b := sigmoid(d-l), sigmoid(-d-l)
		return Odds{First: a, Second: b, Tie: (strength*strength - 1) * a * b}
	case Davidson:
		// Divided by the largest of the three, so that nothing overflows.
		m := max(math.Abs(d)/2, 0)
		a, b, n := math.Exp(d/2-m), math.Exp(-d/2-m), strength*math.Exp(-m)
		z := a + b + n
		return Odds{First: a / z, Second: b / z, Tie: n / z}
	}
	return Odds{First: sigmoid(d), Second: sigmoid(-d)}
}

// Loss is −log of the chance of verdict v, with its derivatives by d and by the
// strength. Unknown costs nothing.
func (t Ties) Loss(v Verdict, d, strength float64) (loss, byD, byStrength float64) {
	switch {
	case v == Unknown:
		return 0, 0, 0
	case v == Second: // as First the other way round
		loss, byD, byStrength = t.Loss(First, -d, strength)
		return loss, -byD, byStrength
	}
	switch t {
	case RaoKupper:
		l := math.Log(strength)
		if v == First {
			p := sigmoid(l - d)
			return softplus(l - d), -p, p / strength
		}
		p, q := sigmoid(l-d), sigmoid(l+d)
		k2 := strength * strength
		return softplus(l-d) + softplus(l+d) - math.Log(k2-1), q - p, (p+q)/strength - 2*strength/(k2-1)
	case Davidson:
		o := t.Odds(d, strength)
		slope := (o.First - o.Second) / 2
		if v == First {
			// −log P(A) = log(1 + e^{−d} + ν e^{−d/2}), stable where d > 0.
			if d > 0 {
				loss = math.Log1p(math.Exp(-d) + strength*math.Exp(-d/2))
			} else {
				loss = -d + math.Log(1+math.Exp(d)+strength*math.Exp(d/2))
			}
			return loss, slope - 0.5, o.Tie / strength
		}
		h := math.Abs(d) / 2
		return h + math.Log(1+math.Exp(-2*h)+strength*math.Exp(-h)) - math.Log(strength), slope, (o.Tie - 1) / strength
	}
	if v == First {
		return softplus(-d), -sigmoid(-d), 0
	}
	return (softplus(d) + softplus(-d)) / 2, sigmoid(d) - 0.5, 0
}

// Valid reports a strength that makes no probabilities.
func (t Ties) Valid(strength float64) error {
	least := 0.0
	switch t {
	case BradleyTerry:
		return nil
	case RaoKupper:
		least = 1
	case Davidson:
	default:
		return fmt.Errorf("preference: no such model of ties: %v", t)
	}
	if !(strength > least) || math.IsInf(strength, 1) {
		return fmt.Errorf("preference: tie strength %v of %v, want above %v", strength, t, least)
	}
	return nil
}

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// softplus is log(1 + e^x).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
