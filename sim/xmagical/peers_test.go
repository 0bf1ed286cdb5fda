//go:build peers

package xmagical

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peer is the arena on Debian's Chipmunk in C, compiled for the test.
func peer(tb testing.TB) string {
	tb.Helper()
	bin := filepath.Join(tb.TempDir(), "arena")
	if out, err := exec.Command("gcc", "-O2", "-o", bin, "testdata/arena.c", "-lchipmunk", "-lm").CombinedOutput(); err != nil {
		tb.Fatalf("the peer needs Debian's libchipmunk-dev: %v\n%s", err, out)
	}
	return bin
}

// tape is a stream of random actions: speed, turn and fingers.
func tape(n int, seed uint64) [][3]float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	as := make([][3]float64, n)
	for i := range as {
		as[i] = [3]float64{2*r.Float64() - 1, 2*r.Float64() - 1, reach - (2*r.Float64() - 1)}
		if i%3 > 0 { // some persistence, so that it meets squares and walls
			as[i] = as[i-1]
		}
	}
	return as
}

// run has the peer play a tape so often, and returns the states of the first time
// and the processor time of all.
func run(tb testing.TB, bin string, e Embodiment, s scene, as [][3]float64, times int) ([][]float64, time.Duration) {
	tb.Helper()
	var in bytes.Buffer
	fmt.Fprintln(&in, s.bottom, s.robot.X, s.robot.Y, s.robot.A, len(s.squares))
	for _, p := range s.squares {
		fmt.Fprintln(&in, p.X, p.Y, p.A)
	}
	fmt.Fprintln(&in, len(as))
	for _, a := range as {
		fmt.Fprintln(&in, a[0], a[1], a[2])
	}
	cmd := exec.Command(bin, string(e), strconv.Itoa(times))
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("the peer: %v", err)
	}
	var rows [][]float64
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		line, ok := strings.CutPrefix(sc.Text(), "= ")
		if !ok {
			continue
		}
		var row []float64
		for _, f := range strings.Fields(line) {
			v, err := strconv.ParseFloat(f, 64)
			if err != nil {
				tb.Fatal(err)
			}
			row = append(row, v)
		}
		rows = append(rows, row)
	}
	last := len(rows) - 1
	return rows[:last], time.Duration(rows[last][0] * float64(time.Second))
}

// C and Go differ by rounding alone, until contacts make a difference of that: the
// gripper's grow soonest.
func TestPeerChipmunkGoesTheSameWay(t *testing.T) {
	bin := peer(t)
	for _, e := range Embodiments() {
		worst, first := 0.0, 0
		for seed := range uint64(5) {
			w := scened(t, Config{Embodiment: e, Cameras: []Camera{}}, newScene(&Config{Task: Sweep, Embodiment: e, Layout: Test}, rand.New(rand.NewPCG(seed, 2))))
			as := tape(100, seed)
			want, _ := run(t, bin, e, w.scene, as, 1)
			for i, a := range as {
				w.advance(a[0], a[1], a[2])
				got := []place{placeOf(w.arena.body)}
				for _, s := range w.arena.squares {
					got = append(got, placeOf(s.body))
				}
				for k, p := range got {
					d := max(math.Abs(p.X-want[i][3*k]), math.Abs(p.Y-want[i][3*k+1]), math.Abs(p.A-want[i][3*k+2]))
					if i < 10 && d > 1e-9 {
						t.Fatalf("%s, seed %d: after %d periods body %d is %.3g off", e, seed, i+1, k, d)
					}
					if worst = max(worst, d); d > 1e-6 && (first == 0 || i < first) {
						first = i
					}
				}
			}
		}
		t.Logf("%s: at most %.2g off in 100 periods; beyond 1e-6 from period %d on (0: never)", e, worst, first)
		if e != Gripper && worst > 1e-3 {
			t.Errorf("%s: %.3g off in 100 periods", e, worst)
		}
	}
}

// BenchmarkPeerChipmunk compares processor time of the same tape.
func BenchmarkPeerChipmunk(b *testing.B) {
	bin := peer(b)
	for _, e := range Embodiments() {
		b.Run(string(e), func(b *testing.B) {
			s := newScene(&Config{Task: Sweep, Embodiment: e, Layout: Demo}, rand.New(rand.NewPCG(1, 2)))
			as := tape(100, 1)
			var ours, theirs time.Duration
			n := 0
			for b.Loop() {
				_, took := run(b, bin, e, s, as, 20)
				theirs += took
				for range 20 {
					a := newArena(e, Dynamics{}.withDefaults(), s.bottom, s.robot, s.squares)
					began := processorTime(b)
					for _, c := range as {
						a.act(c[0], c[1], c[2])
						a.step()
					}
					ours += processorTime(b) - began
				}
				n += 20 * len(as)
			}
			b.ReportMetric(float64(n)/ours.Seconds(), "Go-steps/s")
			b.ReportMetric(float64(n)/theirs.Seconds(), "C-steps/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "Go/C")
		})
	}
}

// processorTime is this process's so far.
func processorTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
