package bc

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// The log deviation stays between these (CleanRL's sac_continuous_action: -5
// and 2), approached smoothly so that a gradient always leads back.
const (
	loLogStd = -5
	hiLogStd = 2
)

// LogStd turns the raw output s of a Net into a log deviation, and gives the
// derivative.
func LogStd(s float64) (l, dl float64) {
	t := math.Tanh(s)
	return loLogStd + 0.5*(hiLogStd-loLogStd)*(t+1), 0.5 * (hiLogStd - loLogStd) * (1 - t*t)
}

// rawStd is the inverse of exp(LogStd).
func rawStd(std float64) float64 {
	return math.Atanh(2*(math.Log(std)-loLogStd)/(hiLogStd-loLogStd) - 1)
}

// logSlope is log(1 - tanh(u)^2) without cancellation for large |u|.
func logSlope(u float64) float64 {
	a := math.Abs(u)
	return 2 * (math.Ln2 - a - math.Log1p(math.Exp(-2*a)))
}

// half is log(2 pi)/2.
const half = 0.91893853320467274178

// Edge bounds an action of a demonstration before atanh, which is infinite at 1.
// Actions beyond it are taken for it: atanh(0.99) = 2.65.
const Edge = 0.99

// Unsquash writes the actions before tanh to dst, which may be act. Actions
// beyond edge, below 1, are taken for it.
func Unsquash(dst, act []float32, edge float64) {
	for i, a := range act {
		dst[i] = float32(math.Atanh(min(edge, max(-edge, float64(a)))))
	}
}

// Draw adds the head of a Net to g. raw (B, 2k) is what Raw gives, noise
// (B, k) standard normal. The result (B, k+1) holds the k actions tanh(u), with
// u = mean + std*noise, and the log density of the action (Haarnoja et al. 2018,
// equation 26):
//
//	log pi(a) = sum_j [ log N(u_j; mean_j, std_j) - log(1 - tanh(u_j)^2) ]
func Draw(g *nn.Graph, raw, noise *nn.Node) *nn.Node {
	B, k := noise.Shape[0], noise.Shape[1]
	if len(raw.Value) != 2*B*k {
		panic("bc: noise does not fit the network's output")
	}
	return g.Custom([]*nn.Node{raw}, []int{B, k + 1}, func(out *nn.Node) {
		for i := range B {
			x, y := raw.Value[i*2*k:(i+1)*2*k], out.Value[i*(k+1):(i+1)*(k+1)]
			logp := 0.0
			for j := range k {
				e := float64(noise.Value[i*k+j])
				l, _ := LogStd(float64(x[k+j]))
				u := float64(x[j]) + math.Exp(l)*e
				y[j] = float32(math.Tanh(u))
				logp += -0.5*e*e - l - half - logSlope(u)
			}
			y[k] = float32(logp)
		}
	}, func(out *nn.Node) {
		for i := range B {
			x, d := raw.Value[i*2*k:(i+1)*2*k], raw.Grad[i*2*k:(i+1)*2*k]
			dy := out.Grad[i*(k+1) : (i+1)*(k+1)]
			dp := float64(dy[k])
			for j := range k {
				e := float64(noise.Value[i*k+j])
				l, dl := LogStd(float64(x[k+j]))
				std := math.Exp(l)
				a := math.Tanh(float64(x[j]) + std*e)
				du := float64(dy[j])*(1-a*a) + dp*2*a
				d[j] += float32(du)
				d[k+j] += float32((du*std*e - dp) * dl)
			}
		}
	})
}

// LogProb adds the log density (B,) of the given actions before tanh, u (B, k).
func LogProb(g *nn.Graph, raw, u *nn.Node) *nn.Node {
	B, k := u.Shape[0], u.Shape[1]
	if len(raw.Value) != 2*B*k {
		panic("bc: actions do not fit the network's output")
	}
	return g.Custom([]*nn.Node{raw}, []int{B}, func(out *nn.Node) {
		for i := range B {
			x, logp := raw.Value[i*2*k:(i+1)*2*k], 0.0
			for j := range k {
				l, _ := LogStd(float64(x[k+j]))
				v := float64(u.Value[i*k+j])
				e := (v - float64(x[j])) * math.Exp(-l)
				logp += -0.5*e*e - l - half - logSlope(v)
			}
			out.Value[i] = float32(logp)
		}
	}, func(out *nn.Node) {
		for i := range B {
			x, d, dp := raw.Value[i*2*k:(i+1)*2*k], raw.Grad[i*2*k:(i+1)*2*k], float64(out.Grad[i])
			for j := range k {
				l, dl := LogStd(float64(x[k+j]))
				inv := math.Exp(-l)
				e := (float64(u.Value[i*k+j]) - float64(x[j])) * inv
				d[j] += float32(dp * e * inv)
				d[k+j] += float32(dp * (e*e - 1) * dl)
			}
		}
	})
}

// KL adds the divergence KL(raw || ref) (B,) between two heads. tanh is a
// bijection, so it is that of the Gaussians before it; ref gets no gradient.
func KL(g *nn.Graph, raw, ref *nn.Node) *nn.Node {
	B, k := raw.Shape[0], raw.Shape[1]/2
	if len(raw.Value) != len(ref.Value) {
		panic("bc: heads of different shapes")
	}
	return g.Custom([]*nn.Node{raw, g.StopGrad(ref)}, []int{B}, func(out *nn.Node) {
		for i := range B {
			x, y, sum := raw.Value[i*2*k:(i+1)*2*k], ref.Value[i*2*k:(i+1)*2*k], 0.0
			for j := range k {
				l, _ := LogStd(float64(x[k+j]))
				m, _ := LogStd(float64(y[k+j]))
				d := float64(x[j]-y[j]) * math.Exp(-m)
				sum += m - l + 0.5*(math.Exp(2*(l-m))+d*d-1)
			}
			out.Value[i] = float32(sum)
		}
	}, func(out *nn.Node) {
		for i := range B {
			x, y, d, dk := raw.Value[i*2*k:(i+1)*2*k], ref.Value[i*2*k:(i+1)*2*k], raw.Grad[i*2*k:(i+1)*2*k], float64(out.Grad[i])
			for j := range k {
				l, dl := LogStd(float64(x[k+j]))
				m, _ := LogStd(float64(y[k+j]))
				d[j] += float32(dk * float64(x[j]-y[j]) * math.Exp(-2*m))
				d[k+j] += float32(dk * (math.Exp(2*(l-m)) - 1) * dl)
			}
		}
	})
}
