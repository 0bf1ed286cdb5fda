package cli

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestATerminalThatTakesNothingKeepsNobodyWaiting(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &patient{file: w}
	// Nobody reads, and a pipe holds 64 kB: the first line is more.
	first := strings.Repeat("x", 1<<17)
	fmt.Fprintln(p, first)
	for taken := false; !taken; runtime.Gosched() {
		p.mu.Lock()
		taken = len(p.kept) == 0
		p.mu.Unlock()
	}
	want := []string{first, "rapport: 2000 lines are lost, which this terminal did not take"}
	for i := range 3 * most {
		line := fmt.Sprintf("line %d", i)
		fmt.Fprintln(p, line)
		if i >= 2*most {
			want = append(want, line)
		}
	}
	out := make(chan string)
	go func() {
		b, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		out <- string(b)
	}()
	p.flush()
	w.Close()
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(<-out), "\n")); diff != "" {
		t.Error(diff)
	}
	fmt.Fprintln(p, "the pipe is gone")
	p.flush()
}
