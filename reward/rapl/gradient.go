package rapl

import "fmt"

// Gradient says how the loss is differentiated through the transport plan.
type Gradient uint8

// The gradients. The authors' code has the first, by a differentiable
// optimal-transport layer.
const (
	// Implicit differentiates the conditions of the regularised optimum: exact at
	// convergence, whatever the solver did to get there.
	Implicit Gradient = iota
	// Unrolled takes a fixed number of Sinkhorn sweeps, and differentiates these:
	// exact for the plan after them, which is then the one that is compared.
	Unrolled
	// Envelope holds the plan fixed: exact for the regularised value, and for
	// ⟨P,C⟩ in the limit of large gamma.
	Envelope
)

var gradients = [...]string{"implicit", "unrolled", "envelope"}

func (g Gradient) String() string {
	if int(g) < len(gradients) {
		return gradients[g]
	}
	return fmt.Sprintf("Gradient(%d)", uint8(g))
}

// MarshalText implements encoding.TextMarshaler.
func (g Gradient) MarshalText() ([]byte, error) {
	if int(g) >= len(gradients) {
		return nil, fmt.Errorf("rapl: no such gradient: %v", g)
	}
	return []byte(g.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler: "implicit", "unrolled" or
// "envelope".
func (g *Gradient) UnmarshalText(b []byte) error {
	for i, name := range gradients {
		if name == string(b) {
			*g = Gradient(i)
			return nil
		}
	}
	return fmt.Errorf("rapl: gradient %q, want implicit, unrolled or envelope", b)
}
