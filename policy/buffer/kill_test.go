package buffer_test

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/robot"
)

// small fills segments, displaces episodes and compacts its journal all the time.
func small(dir string) buffer.Config {
	return buffer.Config{View: sight(), Capacity: 30, Gamma: 0.9, JPEG: 80, Dir: dir, Segment: 20_000, Workers: 2}
}

// named is an episode that follows from its id.
func named(id string) policy.Episode {
	h := fnv.New32a()
	fmt.Fprint(h, id)
	n := int(h.Sum32() >> 8)
	origin := policy.Online
	if n%8 == 0 {
		origin = policy.Demo
	}
	e := filmed(id, origin, float32(n%1000), 1+n%7)
	e.Terminal = n%3 == 0
	if n%5 == 0 {
		e.By[n%e.Len()] = robot.ByHuman
	}
	return e
}

// act is something that a learner does to its replay, as words: add ID, label ID,
// forget ID, rewind.
func act(b *buffer.Buffer, words []string) error {
	var ok bool
	var err error
	switch words[0] {
	case "add":
		ok, err = b.Add(named(words[1]))
	case "label":
		e := named(words[1])
		for t := range e.Rewards {
			e.Rewards[t] = float64(t * len(words[1]))
		}
		_, err = b.Relabel(e.ID, e.Rewards) // it may be evicted
		ok = true
	case "forget":
		_, err = b.Forget(words[1])
		ok = true
	case "rewind":
		ok, err = true, b.Rewind(b.Count().Episodes-2)
	}
	if err == nil && !ok {
		err = fmt.Errorf("%v was refused", words)
	}
	return err
}

// plan is what to do as step i of round r.
func plan(rng *rand.Rand, r, i int) string {
	before := fmt.Sprintf("%d-%d", r, max(0, i-1-rng.IntN(6)))
	switch n := rng.IntN(20); {
	case n == 0 && i > 8:
		return "rewind"
	case n == 1:
		return "forget " + before
	case n < 5:
		return "label " + before
	}
	return fmt.Sprintf("add %d-%d", r, i)
}

// fill is the child: it does and says so, for ever.
func fill(args string) error {
	var round int
	var dir string
	if _, err := fmt.Sscan(args, &round, &dir); err != nil {
		return err
	}
	b, err := buffer.New(small(dir))
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(uint64(round), 1))
	for i := 0; ; i++ {
		words := plan(rng, round, i)
		fmt.Println("will", words)
		if err := act(b, strings.Fields(words)); err != nil {
			return err
		}
		fmt.Println("did", words)
	}
}

// same compares what two buffers draw.
func same(t *testing.T, got, want *buffer.Buffer, c buffer.Config) {
	t.Helper()
	if g, w := got.Count(), want.Count(); g != w {
		t.Fatalf("count = %+v, want %+v", g, w)
	}
	demo, online := want.Len()
	n := 80
	if demo == 0 || online == 0 {
		return
	}
	a, b := buffer.NewBatch(n, c.View), buffer.NewBatch(n, c.View)
	for x, dst := range map[*buffer.Buffer]*buffer.Batch{got: a, want: b} {
		if err := x.Sample(dst, n/2, seed(8)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(a.Obs, b.Obs) || !slices.Equal(a.Act, b.Act) || !slices.Equal(a.Reward, b.Reward) || !slices.Equal(a.Next, b.Next) ||
		!slices.Equal(a.Discount, b.Discount) || !slices.Equal(a.Pix, b.Pix) || !slices.Equal(a.NextPix, b.NextPix) || !slices.Equal(a.Weight, b.Weight) {
		t.Fatal("the two draw other batches")
	}
}

// Nothing that returned is lost to SIGKILL, and nothing else is there but what
// was under way, whole or not at all.
func TestKilledReplayHoldsWhatItTook(t *testing.T) {
	dir := t.TempDir()
	c := small("")
	c.Segment = 0
	want := open(t, c) // in memory, and never killed
	rng := seed(12)
	for round := range 12 {
		said := killed(t, fmt.Sprint(round, " ", dir), 3+rng.IntN(60))
		got, err := buffer.New(small(dir))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range said {
			words := strings.Fields(line)
			if words[0] == "did" {
				continue
			}
			if done := i+1 < len(said); !done {
				// Under way: count tells whether an episode came, what else it was
				// may be done twice.
				switch n := want.Count().Episodes; {
				case words[1] == "add" && got.Count().Episodes == n, words[1] == "rewind" && got.Count().Episodes == n:
					continue
				case words[1] == "label", words[1] == "forget":
					if err := act(got, words[1:]); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := act(want, words[1:]); err != nil {
				t.Fatal(err)
			}
		}
		same(t, got, want, c)
		if err := got.Verify(); err != nil {
			t.Error(err)
		}
		if err := got.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := want.Count().Episodes; n < 100 {
		t.Errorf("the children took %d episodes, too few to tell", n)
	}
}

// killed runs a child until it has said n lines, kills it, and returns all lines.
func killed(t *testing.T, args string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), beChild+"="+args)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil { // what it was cut off in says nothing
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "will ") && !strings.HasPrefix(line, "did ") {
			t.Fatalf("the child failed: %s", line)
		}
		if said = append(said, line); len(said) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || w.Signal() != syscall.SIGKILL {
		t.Fatalf("child: %v, want killed", cmd.ProcessState)
	}
	return said
}

// A folder and the memory hold the same after whatever was done, priorities
// and reopening included.
func TestFolderDoesAsMemoryDoes(t *testing.T) {
	for history := range uint64(4) {
		rng := seed(history)
		c := small(t.TempDir())
		c.Prioritised = buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 100}
		if history%2 == 1 {
			c.JPEG = 0
		}
		m := c
		m.Dir, m.Segment = "", 0
		want := open(t, m)
		got, err := buffer.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			words := strings.Fields(plan(rng, int(history), i))
			for _, b := range []*buffer.Buffer{got, want} {
				if err := act(b, words); err != nil {
					t.Fatalf("history %d: %v: %v", history, words, err)
				}
			}
			if i%7 == 6 {
				var state strings.Builder
				if err := want.Save(&state); err != nil {
					t.Fatal(err)
				}
				if err := got.Close(); err != nil {
					t.Fatal(err)
				}
				if got, err = buffer.New(c); err != nil {
					t.Fatal(err)
				}
				if err := got.Restore(strings.NewReader(state.String())); err != nil {
					t.Fatal(err)
				}
			}
			same(t, got, want, c)
			if rng.IntN(2) == 0 {
				rateAll(t, rng.Uint64(), got, want)
			}
		}
		if err := got.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// rateAll gives the buffers the same priorities.
func rateAll(t *testing.T, n uint64, bs ...*buffer.Buffer) {
	t.Helper()
	for _, b := range bs {
		dst := buffer.NewBatch(20, sight())
		if _, online := b.Len(); online == 0 {
			return
		}
		if err := b.Sample(dst, 0, seed(n)); err != nil {
			t.Fatal(err)
		}
		if err := b.SetPriorities(dst, dst.Obs); err != nil {
			t.Fatal(err)
		}
	}
}
