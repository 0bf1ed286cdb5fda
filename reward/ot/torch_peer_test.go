//go:build peers

package ot_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/ot"
)

// startTorch is startPOT for Debian's python3-torch.
func startTorch(tb testing.TB) *pot {
	tb.Helper()
	cmd := exec.Command("/usr/bin/python3", "-B", "testdata/torch_sinkhorn.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("the peer needs Debian's python3-torch: %v", err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("python3-torch: %v", err)
		}
	})
	return &pot{in: in, out: bufio.NewReader(out)}
}

// gradient returns the gradient of Σ⟨P,C⟩, the sweeps that it took, and the
// processor times.
func (p *pot) gradient(tb testing.TB, c []float64, b, n, m int, eps, tol float64, runs int) ([]float64, int, []time.Duration) {
	tb.Helper()
	q, err := json.Marshal(map[string]any{"b": b, "n": n, "m": m, "eps": eps, "tol": tol, "runs": runs})
	if err != nil {
		tb.Fatal(err)
	}
	if q, err = binary.Append(append(q, '\n'), binary.LittleEndian, c); err != nil {
		tb.Fatal(err)
	}
	if _, err := p.in.Write(q); err != nil {
		tb.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		tb.Fatalf("the peer needs Debian's python3-torch: %v", err)
	}
	var a struct {
		NS     []time.Duration
		Sweeps int
	}
	if err := json.Unmarshal(line, &a); err != nil {
		tb.Fatal(err)
	}
	grad := make([]float64, len(c))
	if err := binary.Read(p.out, binary.LittleEndian, grad); err != nil {
		tb.Fatal(err)
	}
	return grad, a.Sweeps, a.NS
}

// gradientTol is the authors' tolerance.
const gradientTol = 1e-6

// gradientCases leave out what PyTorch's remembered sweeps find no memory for.
func gradientCases() []peerCase {
	return []peerCase{{"video", 45, 1}, {"video", 45, 0.1}, {"video", 45, 0.02}, {"video", 300, 1}, {"video", 300, 0.1}}
}

func TestPeerTorchGradientAgrees(t *testing.T) {
	p := startTorch(t)
	for _, c := range gradientCases()[:2] {
		cost := c.costs()
		want, sweeps, _ := p.gradient(t, cost, peerBatch, c.n, c.n, c.eps, 1e-10, 1)
		s := ot.Solver{Epsilon: c.eps, Tolerance: 1e-12, MaxIter: 100000}
		u := ot.Unroll{Epsilon: c.eps, Sweeps: sweeps}
		size := c.n * c.n
		got := make([]float64, size)
		var plan ot.Plan
		for k := range peerBatch {
			x, w := cost[k*size:(k+1)*size], want[k*size:(k+1)*size]
			if err := s.Solve(&plan, x, c.n, c.n); err != nil {
				t.Fatal(err)
			}
			s.Gradient(got, &plan, x)
			implicit := worst(got, w)
			if err := u.Solve(&plan, x, c.n, c.n); err != nil {
				t.Fatal(err)
			}
			u.Gradient(got, &plan, x)
			if e := worst(got, w); implicit > 1e-5 || e > 1e-5 {
				t.Errorf("%v: implicit gradient off by %.2g, unrolled by %.2g", c, implicit, e)
			}
		}
	}
}

// BenchmarkPeerTorchGradient solves and differentiates the same batch as PyTorch,
// to the same tolerance: through the optimum, and through as many sweeps. Processor
// time in alternating pairs, the median of the ratios, one thread each.
func BenchmarkPeerTorchGradient(b *testing.B) {
	p := startTorch(b)
	for _, c := range gradientCases() {
		b.Run(fmt.Sprintf("%dx%d/eps=%g", c.n, c.n, c.eps), func(b *testing.B) {
			cost, size := c.costs(), c.n*c.n
			got := make([]float64, size)
			var plan ot.Plan
			s := ot.Solver{Epsilon: c.eps, Tolerance: gradientTol, MaxIter: 100000}
			u := ot.Unroll{Epsilon: c.eps}
			implicit := func() float64 {
				before := cpu(b)
				for k := range peerBatch {
					x := cost[k*size : (k+1)*size]
					if err := s.Solve(&plan, x, c.n, c.n); err != nil {
						b.Fatal(err)
					}
					s.Gradient(got, &plan, x)
				}
				return float64(cpu(b) - before)
			}
			unrolled := func() float64 {
				before := cpu(b)
				for k := range peerBatch {
					x := cost[k*size : (k+1)*size]
					if err := u.Solve(&plan, x, c.n, c.n); err != nil {
						b.Fatal(err)
					}
					u.Gradient(got, &plan, x)
				}
				return float64(cpu(b) - before)
			}
			for b.Loop() {
				implicit()
			}
			const pairs = 5
			var ratio, us, them, slow [pairs]float64
			for i := range pairs {
				_, sweeps, ns := p.gradient(b, cost, peerBatch, c.n, c.n, c.eps, gradientTol, 1)
				u.Sweeps = sweeps
				them[i], us[i] = float64(ns[0]), implicit()
				ratio[i], slow[i] = them[i]/us[i], them[i]/unrolled()
			}
			for _, x := range [][]float64{ratio[:], us[:], them[:], slow[:]} {
				slices.Sort(x)
			}
			if math.IsNaN(floats.Sum(got)) {
				b.Fatal("the gradient is NaN")
			}
			b.ReportMetric(us[pairs/2]/1e3, "ours-µs")
			b.ReportMetric(them[pairs/2]/1e3, "torch-µs")
			b.ReportMetric(ratio[pairs/2], "torch-ratio")
			b.ReportMetric(slow[pairs/2], "unrolled-ratio")
			b.ReportMetric(float64(u.Sweeps), "sweeps")
		})
	}
}
