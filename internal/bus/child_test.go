package bus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/policy"
)

// child plays the role named by args, "role arg arg ...", until it is killed.
// What it tells its parent it prints, a line each.
func child(args string) error {
	ctx := context.Background()
	a := strings.Split(args, " ")
	if a[0] == "server" { // listen, store
		s, err := bus.Start(ctx, bus.Options{Listen: a[1], StoreDir: a[2]})
		if err != nil {
			return err
		}
		fmt.Println(s.URL())
		select {}
	}
	c, err := bus.Dial(ctx, a[1], bus.Options{Await: true, Name: "child"})
	if err != nil {
		return err
	}
	switch a[0] {
	case "learner": // URL, how many to finish
		n, err := strconv.Atoi(a[2])
		if err != nil {
			return err
		}
		q := &bus.Consumer{Conn: c, Session: "s", AckWait: killWait}
		return q.Run(ctx, func(_ context.Context, e policy.Episode) error {
			fmt.Println(e.ID)
			if n--; n < 0 {
				select {} // seen, never acknowledged
			}
			return nil
		})
	case "actor": // URL, spool, how many
		p, err := bus.NewPublisher(c, "s", a[2])
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(a[3])
		if err != nil {
			return err
		}
		rng := seeded(uint64(n))
		for i := range n {
			if err := p.Publish(ctx, someEpisode(rng, fmt.Sprint("e", i), 5, 8, 1)); err != nil {
				return err
			}
			fmt.Println("published", i)
		}
		select {}
	case "served": // URL: a learner whose update takes for ever
		if _, err := bus.ServeLearner(ctx, c, "s", stuck{}); err != nil {
			return err
		}
		fmt.Println("serving")
		select {}
	case "beat": // URL
		if _, err := c.Beat(ctx, "s", "learner", beatEvery); err != nil {
			return err
		}
		select {}
	}
	return fmt.Errorf("no role %q", a[0])
}

// stuck is a learner that tells that it was asked, and never answers.
type stuck struct{ *averager }

func (stuck) Update(context.Context) (policy.Stats, error) {
	fmt.Println("updating")
	select {}
}

// process is a child that can be killed.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Scanner
}

func spawn(t *testing.T, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(exe)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(args, " "))
	p.cmd.Stderr = os.Stderr
	r, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(r)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// line waits for the child's next line.
func (p *process) line() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatalf("child ended: %v", p.out.Err())
	}
	return p.out.Text()
}

// kill is kill -9, and waits for the end. Killing twice is harmless.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Log(err)
	}
	for p.out.Scan() { // until the pipe closes, so that Wait may close it
	}
	if err := p.cmd.Wait(); err == nil || p.out.Err() != nil && p.out.Err() != io.EOF {
		p.t.Logf("child ended by itself: %v", p.out.Err())
	}
}
