//go:build peers

package vision

import (
	"bufio"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Exports networks from Debian's PyTorch and compares what OpenCV makes of
// them. Needs python3-torch.
func TestPeerTorchExports(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		kind  string
		batch int
	}{{"tiny", 3}, {"fixed", 1}, {"resnet", 1}, {"resnet", 3}} {
		if out, err := exec.Command("/usr/bin/python3", "testdata/tiny.py", dir, c.kind).CombinedOutput(); err != nil {
			t.Fatalf("export %s: %v\n%s", c.kind, err, out)
		}
		agrees(t, dir, c.kind, c.batch, 1e-4)
	}
}

// BenchmarkPeerOpenCV takes the processor time of one camera image beside the same calls
// from Python, in alternating pairs, and reports the median of the ratios.
func BenchmarkPeerOpenCV(b *testing.B) {
	jpeg, err := EncodeJPEG(scene(640, 480), 90)
	if err != nil {
		b.Fatal(err)
	}
	frame, err := Decode(jpeg)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-B", "testdata/pace.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatalf("the peer needs Debian's python3-opencv: %v", err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("python3-opencv: %v", err)
		}
	})
	if _, err := fmt.Fprintf(in, "%d\n%s", len(jpeg), jpeg); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(pipe)
	g := Gate{Limits: Indoor()}
	for _, way := range []struct {
		name string
		run  func() (robot.Frame, error)
	}{
		{"encoded", func() (robot.Frame, error) {
			f, err := Decode(jpeg)
			if err != nil {
				return f, err
			}
			g.Check(f) // the same scene again and again is a fault that does not matter here
			return square.Apply(f)
		}},
		{"frame", func() (robot.Frame, error) { return square.Apply(frame) }},
	} {
		name, run := way.name, way.run
		b.Run(name, func(b *testing.B) {
			ours := func() (ns, mean float64) {
				before := cpu(b)
				f, err := run()
				ns = float64(cpu(b) - before)
				if err != nil {
					b.Fatal(err)
				}
				for _, p := range f.Pix {
					mean += float64(p) / float64(len(f.Pix))
				}
				return ns, mean
			}
			theirs := func() (ns, mean float64) {
				if _, err := fmt.Fprintln(in, name); err != nil {
					b.Fatal(err)
				}
				if _, err := fmt.Fscanln(lines, &ns, &mean); err != nil {
					b.Fatalf("the peer needs Debian's python3-opencv: %v", err)
				}
				return ns, mean
			}
			_, got := ours()
			if _, want := theirs(); math.Abs(got-want) > 1e-6 {
				b.Fatalf("mean of the pixels %v, Python's %v", got, want)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := run(); err != nil {
					b.Fatal(err)
				}
			}
			const pairs = 201
			var ratio, us, them [pairs]float64
			for i := range pairs {
				them[i], _ = theirs()
				us[i], _ = ours()
				ratio[i] = them[i] / us[i]
			}
			for _, x := range [][]float64{ratio[:], us[:], them[:]} {
				slices.Sort(x)
			}
			b.ReportMetric(1e9/us[pairs/2], "frames/s")
			b.ReportMetric(1e9/them[pairs/2], "python/s")
			b.ReportMetric(ratio[pairs/2], "python-ratio")
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
