//go:build peers

package nn

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPeerTorch takes the processor time of training steps, forward, backward and Adam, beside
// Debian's PyTorch in alternating pairs and reports the median of the ratios.
// One thread each.
func BenchmarkPeerTorch(b *testing.B) {
	cmd := exec.Command("/usr/bin/python3", "-B", "testdata/pace.py")
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
	for _, net := range []string{"critics", "encoder"} {
		b.Run(net, func(b *testing.B) {
			theirs := func() float64 {
				var ns float64
				if _, err := fmt.Fprintln(in, net); err != nil {
					b.Fatal(err)
				}
				if _, err := fmt.Fscanln(lines, &ns); err != nil {
					b.Fatalf("the peer needs Debian's python3-torch: %v", err)
				}
				return ns
			}
			step := map[string]func() func(){"critics": paceCritics, "encoder": paceEncoder}[net]()
			ours := func() float64 {
				before := cpu(b)
				step()
				return float64(cpu(b) - before)
			}
			ours()
			theirs()
			b.ReportAllocs()
			for b.Loop() {
				ours()
			}
			const pairs = 21
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

// paceCritics is a step of RLPD's ensemble of ten on a batch of 256.
func paceCritics() func() {
	rng := newRand(1)
	net := NewMLP("q", MLPConfig{In: 71, Hidden: []int{256, 256}, Out: 1, Members: 10, LayerNorm: true}, rng)
	g := NewGraph()
	x, y := g.Input(256, 71), g.Input(10, 256, 1)
	randomise(x.Value, rng)
	randomise(y.Value, rng)
	return trains(g, g.MSE(net.Forward(g, x), y), net.Params())
}

// paceEncoder is a step of DrQ's convolutions on 64 images of 84x84.
func paceEncoder() func() {
	rng := newRand(2)
	conv := NewConvNet("e", ConvConfig{Channels: 3, H: 84, W: 84, Layers: DrQLayers()}, rng)
	head := NewMLP("h", MLPConfig{In: conv.Out[0] * conv.Out[1] * conv.Out[2], Out: 50}, rng)
	g := NewGraph()
	x, y := g.Input(64, 84, 84, 3), g.Input(64, 50)
	for i := range x.Value {
		x.Value[i] = rng.Float32() - 0.5
	}
	randomise(y.Value, rng)
	h := head.Forward(g, g.Reshape(conv.Forward(g, x), 64, head.Config.In))
	return trains(g, g.MSE(h, y), append(conv.Params(), head.Params()...))
}

func trains(g *Graph, loss *Node, ps []*Param) func() {
	adam := NewAdam(ps, AdamConfig{LR: 3e-4})
	return func() {
		g.Forward()
		ZeroGrad(ps)
		g.Backward(loss)
		adam.Step()
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
