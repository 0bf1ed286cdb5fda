// Package pace measures this program beside a peer written in another language:
// both do the same in turn, and the median of the ratios is what counts, since
// other work on the machine slows both.
//
//	peer := pace.Start(b, "testdata/pace.py")
//	pace.Compare(b, pace.Case{Ours: step, Theirs: func() float64 { return peer.Ask("step") }, Pairs: 21})
//
// Everything is processor time, of one thread each, if a Case does not say otherwise.
// It is for benchmarks alone.
package pace

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Peer is a Python program that answers lines.
type Peer struct {
	b   testing.TB
	in  io.Writer
	out *bufio.Reader
}

// Start runs a script of Debian's Python, or of that which RAPPORT_PEER_PYTHON
// names, until the benchmark ends.
func Start(b testing.TB, script string, args ...string) *Peer {
	b.Helper()
	python := "/usr/bin/python3"
	if p := os.Getenv("RAPPORT_PEER_PYTHON"); p != "" {
		python = p
	}
	cmd := exec.Command(python, append([]string{"-B", script}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatalf("%v; the peers are installed by: scripts/setup.sh peers", err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("%s: %v; the peers are installed by: scripts/setup.sh peers", script, err)
		}
	})
	return &Peer{b, in, bufio.NewReader(out)}
}

// Until reads what the peer says up to a line.
func (p *Peer) Until(line string) {
	p.b.Helper()
	for said := ""; said != line+"\n"; {
		var err error
		if said, err = p.out.ReadString('\n'); err != nil {
			p.b.Fatalf("the peer ended before it said %q: %v; the peers are installed by: scripts/setup.sh peers", line, err)
		}
	}
}

// Ask has the peer do what line says, and returns the nanoseconds of processor
// time that it took by its own clock.
func (p *Peer) Ask(line string) float64 {
	p.b.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.b.Fatal(err)
	}
	var ns float64
	if _, err := fmt.Fscanln(p.out, &ns); err != nil {
		p.b.Fatalf("the peer does not answer %q: %v; the peers are installed by: scripts/setup.sh peers", line, err)
	}
	return ns
}

// Case is what is compared.
type Case struct {
	Ours   func()
	Times  int            // what is compared is done so often by Ours; 1 if 0
	Theirs func() float64 // ns
	Pairs  int
	Wall   bool // both give wall time: for work that another processor does
	// Clock also reports wall times, the peer's as seen from here: for work that one of
	// the two does on several cores at once.
	Clock bool
}

// Compare times both in pairs, and reports the medians and that of the ratios:
// above 1 this program is faster.
func Compare(b *testing.B, c Case) {
	b.Helper()
	ours := func() float64 {
		clock := func() time.Duration { return used(b) }
		if c.Wall {
			start := time.Now()
			clock = func() time.Duration { return time.Since(start) }
		}
		before := clock()
		c.Ours()
		return float64(clock()-before) / float64(max(1, c.Times))
	}
	ours()
	c.Theirs()
	b.ReportAllocs()
	for b.Loop() {
		ours()
	}
	ratio, us, them := make([]float64, c.Pairs), make([]float64, c.Pairs), make([]float64, c.Pairs)
	quicker, here, there := make([]float64, c.Pairs), make([]float64, c.Pairs), make([]float64, c.Pairs)
	for i := range c.Pairs {
		start := time.Now()
		them[i] = c.Theirs()
		there[i] = float64(time.Since(start))
		start = time.Now()
		us[i] = ours()
		here[i] = float64(time.Since(start)) / float64(max(1, c.Times))
		ratio[i], quicker[i] = them[i]/us[i], there[i]/here[i]
	}
	for _, x := range [][]float64{ratio, us, them, quicker, here, there} {
		slices.Sort(x)
	}
	if c.Clock {
		b.ReportMetric(here[c.Pairs/2]/1e6, "ours-wall-ms")
		b.ReportMetric(there[c.Pairs/2]/1e6, "torch-wall-ms")
		b.ReportMetric(quicker[c.Pairs/2], "wall-ratio")
	}
	b.ReportMetric(us[c.Pairs/2]/1e6, "ours-ms")
	b.ReportMetric(them[c.Pairs/2]/1e6, "torch-ms")
	b.ReportMetric(ratio[c.Pairs/2], "torch-ratio")
}

// used is the processor time that this process has used.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
