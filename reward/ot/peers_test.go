//go:build peers

package ot_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/reward/ot"
)

// pot is Debian's python3-pot in a process of its own.
type pot struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startPOT(tb testing.TB) *pot {
	tb.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/pot.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("the peer needs Debian's python3-pot: %v", err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("python3-pot: %v", err)
		}
	})
	return &pot{in: in, out: bufio.NewReader(out)}
}

// solve returns the plans of c (b,n,m) and what each of the runs took.
func (p *pot) solve(tb testing.TB, c []float64, b, n, m int, eps, tol float64, runs int) ([]float64, []time.Duration) {
	tb.Helper()
	q, err := json.Marshal(map[string]any{"b": b, "n": n, "m": m, "eps": eps, "tol": tol, "runs": runs})
	if err != nil {
		tb.Fatal(err)
	}
	q = append(q, '\n')
	q, err = binary.Append(q, binary.LittleEndian, c)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := p.in.Write(q); err != nil {
		tb.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		tb.Fatalf("the peer needs Debian's python3-pot: %v", err)
	}
	var a struct{ NS []time.Duration }
	if err := json.Unmarshal(line, &a); err != nil {
		tb.Fatal(err)
	}
	plans := make([]float64, len(c))
	if err := binary.Read(p.out, binary.LittleEndian, plans); err != nil {
		tb.Fatal(err)
	}
	return plans, a.NS
}

// peerCase is a batch of six problems: a rollout against six videos.
type peerCase struct {
	kind string
	n    int
	eps  float64
}

const peerBatch, peerTol = 6, 1e-9

func peerCases() []peerCase {
	var cs []peerCase
	for _, kind := range []string{"random", "video"} {
		for _, n := range []int{45, 300} {
			for _, eps := range []float64{1, 0.1, 0.02} {
				cs = append(cs, peerCase{kind, n, eps})
			}
		}
	}
	return cs
}

func (c peerCase) String() string { return fmt.Sprintf("%s/%dx%d/eps=%g", c.kind, c.n, c.n, c.eps) }

func (c peerCase) costs() []float64 {
	size := c.n * c.n
	cost := make([]float64, peerBatch*size)
	if c.kind == "random" {
		return randCost(rng(7), peerBatch*c.n, c.n, 1)
	}
	x := walk(20, c.n, 64)
	for k := range peerBatch {
		ot.Matrix(ot.Cosine, cost[k*size:(k+1)*size], x, walk(uint64(k), c.n, 64), 64)
	}
	return cost
}

func TestPeerPOTAgrees(t *testing.T) {
	p := startPOT(t)
	for _, c := range peerCases() {
		cost := c.costs()
		want, _ := p.solve(t, cost, peerBatch, c.n, c.n, c.eps, peerTol, 1)
		s := ot.Solver{Epsilon: c.eps, Tolerance: peerTol, MaxIter: 1000000}
		plans := make([]ot.Plan, peerBatch)
		if err := s.Batch(plans, cost, c.n, c.n); err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		size := c.n * c.n
		var mass, value float64
		for k := range plans {
			mass = max(mass, l1(plans[k].P, want[k*size:(k+1)*size]))
			var v float64
			for i := range size {
				v += want[k*size+i] * cost[k*size+i]
			}
			value = max(value, math.Abs(v-plans[k].Cost))
		}
		t.Logf("%v: plans differ by %.2g of the mass, costs by %.2g", c, mass, value)
		if mass > 1e-6 || value > 1e-6 {
			t.Errorf("%v: plans differ by %.2g, costs by %.2g, want 1e-6", c, mass, value)
		}
	}
}

// BenchmarkPeerPOT takes both's processor time for the same batch in alternating
// pairs and reports the median of the ratios. One thread each.
func BenchmarkPeerPOT(b *testing.B) {
	p := startPOT(b)
	for _, c := range peerCases() {
		b.Run(c.String(), func(b *testing.B) {
			cost := c.costs()
			s := ot.Solver{Epsilon: c.eps, Tolerance: peerTol, MaxIter: 1000000}
			plans := make([]ot.Plan, peerBatch)
			ours := func() float64 {
				before := cpu(b)
				if err := s.Batch(plans, cost, c.n, c.n); err != nil {
					b.Fatal(err)
				}
				return float64(cpu(b) - before)
			}
			ours()
			b.ReportAllocs()
			for b.Loop() {
				ours()
			}
			const pairs = 7
			var ratio, us, them [pairs]float64
			var apart float64
			for i := range pairs {
				want, ns := p.solve(b, cost, peerBatch, c.n, c.n, c.eps, peerTol, 1)
				for k := range plans {
					apart = max(apart, l1(plans[k].P, want[k*c.n*c.n:(k+1)*c.n*c.n]))
				}
				them[i], us[i] = float64(ns[0]), ours()
				ratio[i] = them[i] / us[i]
			}
			for _, x := range [][]float64{ratio[:], us[:], them[:]} {
				slices.Sort(x)
			}
			b.ReportMetric(us[pairs/2]/1e3, "ours-µs")
			b.ReportMetric(them[pairs/2]/1e3, "pot-µs")
			b.ReportMetric(ratio[pairs/2], "pot-ratio")
			b.ReportMetric(1e9*apart, "plans-ppb") // of the mass; as a share it would be printed as 0
		})
	}
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
