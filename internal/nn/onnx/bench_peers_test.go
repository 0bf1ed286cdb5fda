//go:build peers

package onnx

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/nn"
)

// BenchmarkPeerBackbones takes the processor time of a training step, forward,
// backward and Adam, beside Debian's PyTorch in alternating pairs, and reports the
// median of the ratios. One thread each. The networks are a ResNet-18 without its
// classifier on 16 images of 128x128, with trained batch norms and with batch norms
// joined with the convolutions on both sides, and four blocks of a ViT-S/16 on 16
// images of 96x96.
func BenchmarkPeerBackbones(b *testing.B) {
	dir := b.TempDir()
	cmd := exec.Command("/usr/bin/python3", "-B", "testdata/pace.py", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatalf("the peer needs Debian's python3-torch: %v", err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("PyTorch: %v", err)
		}
	})
	lines := bufio.NewReader(out)
	for ready := ""; ready != "ready\n"; {
		if ready, err = lines.ReadString('\n'); err != nil {
			b.Fatalf("the peer needs Debian's python3-torch: %v", err)
		}
	}
	for _, c := range []struct {
		name string
		side int
	}{{"trained", 128}, {"frozen", 128}, {"vit", 96}} {
		name, side := c.name, c.side
		b.Run(name, func(b *testing.B) {
			m, err := Open(filepath.Join(dir, name+".onnx"), Config{TrainNorm: name == "trained"})
			if err != nil {
				b.Fatal(err)
			}
			ps := m.Params()
			g := nn.NewGraph()
			x := g.Input(16, side, side, 3)
			for i := range x.Value {
				x.Value[i] = float32(i%255)/127 - 1
			}
			y, err := m.Forward(g, x)
			if err != nil {
				b.Fatal(err)
			}
			loss := g.Mean(g.Square(y))
			adam := nn.NewAdam(ps, nn.AdamConfig{LR: 1e-5})
			ours := func() float64 {
				before := cpu(b)
				g.Forward()
				nn.ZeroGrad(ps)
				g.Backward(loss)
				adam.Step()
				return float64(cpu(b) - before)
			}
			theirs := func() float64 {
				var ns float64
				if _, err := fmt.Fprintln(in, name); err != nil {
					b.Fatal(err)
				}
				if _, err := fmt.Fscanln(lines, &ns); err != nil {
					b.Fatalf("the peer needs Debian's python3-torch: %v", err)
				}
				return ns
			}
			ours()
			theirs()
			b.ReportAllocs()
			for b.Loop() {
				ours()
			}
			const pairs = 11
			var ratio, us, them [pairs]float64
			for i := range pairs {
				them[i], us[i] = theirs(), ours()
				ratio[i] = them[i] / us[i]
			}
			for _, x := range [][]float64{ratio[:], us[:], them[:]} {
				slices.Sort(x)
			}
			b.ReportMetric(us[pairs/2]/1e6, "ours-ms")
			b.ReportMetric(them[pairs/2]/1e6, "torch-ms")
			b.ReportMetric(ratio[pairs/2], "torch-ratio")
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
