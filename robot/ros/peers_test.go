package ros_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// patience is how long a peer may take for one step: Python starts slowly on
// a busy machine.
const patience = 40 * time.Second

// process is a program of ROS that a test runs, ended with the test.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	log   *tail
	gone  chan struct{} // closed when it ended
	err   error         // how; after gone
}

// tail keeps what a process said.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run starts a program of Debian's ROS with the master at uri. Debian's
// interpreter is used whatever else is installed.
func run(t *testing.T, uri, program string, args ...string) *process {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(program, args...)
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + home, "ROS_HOME=" + home, "ROS_LOG_DIR=" + home, "ROS_IP=127.0.0.1",
		"ROS_MASTER_URI=" + uri, "ROS_PACKAGE_PATH=/usr/share", "ROS_ROOT=/usr/share/ros", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1",
	}
	cmd.WaitDelay = time.Second // a child that lives on may hold the pipe
	p := &process{t: t, cmd: cmd, lines: make(chan string, 1024), log: &tail{}, gone: make(chan struct{})}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, p.log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; run scripts/setup.sh ros", err)
	}
	go func() {
		p.err = cmd.Wait()
		_ = w.Close()
	}()
	go func() {
		defer close(p.gone)
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintln(p.log, s.Text())
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		p.kill()
		if t.Failed() {
			t.Logf("%s %v said:\n%s", program, args, p.log)
		}
	})
	return p
}

// peer starts the rospy node of testdata.
func peer(t *testing.T, uri string, args ...string) *process {
	t.Helper()
	return run(t, uri, "/usr/bin/python3", append([]string{"testdata/peer.py"}, args...)...)
}

// kill ends a process and all that it started, at once.
func (p *process) kill() {
	for _, pid := range tree(p.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	for {
		select {
		case <-p.lines: // makes room for the reader to find the end
		case <-p.gone:
			return
		}
	}
}

// tree lists a process and all below it.
func tree(pid int) []int {
	pids := []int{pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return pids // ended
	}
	for _, f := range strings.Fields(string(children)) {
		if child, err := strconv.Atoi(f); err == nil {
			pids = append(pids, tree(child)...)
		}
	}
	return pids
}

// expect waits for a line that begins so, and returns the rest of it.
func (p *process) expect(start string) string {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("%v ended before it said %q", p.cmd.Args, start)
			}
			if rest, ok := strings.CutPrefix(line, start); ok {
				return strings.TrimPrefix(rest, " ")
			}
		case <-late.C:
			p.t.Fatalf("%v did not say %q", p.cmd.Args, start)
		}
	}
}

// output runs a command line tool to its end.
func output(t *testing.T, uri, program string, args ...string) string {
	t.Helper()
	p := run(t, uri, "/usr/bin/"+program, args...)
	var out strings.Builder
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, ok := <-p.lines:
			if ok {
				out.WriteString(line + "\n")
				continue
			}
			<-p.gone
			if p.err != nil {
				t.Fatalf("%s %v: %v\n%s", program, args, p.err, p.log)
			}
			return out.String()
		case <-late.C:
			t.Fatalf("%s %v did not end", program, args)
		}
	}
}

// debian starts Debian's master on a port and waits until it answers.
func debian(t *testing.T, port string) (string, *process) {
	t.Helper()
	uri := "http://127.0.0.1:" + port + "/"
	p := run(t, uri, "/usr/bin/rosmaster", "--core", "-p", port)
	awaitMaster(t, uri)
	return uri, p
}

func awaitMaster(t *testing.T, uri string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if _, err := xmlrpc.Call(ctx, uri, "getPid", "/test"); err == nil {
			return
		} else if ctx.Err() != nil {
			t.Fatalf("no master at %s: %v", uri, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// underBoth runs a test under Debian's master and under ours.
func underBoth(t *testing.T, test func(t *testing.T, uri string)) {
	t.Parallel()
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		uri, _ := debian(t, porttest.Free(t))
		test(t, uri)
	})
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		test(t, graph(t))
	})
}

// TestDebiansROSIsThere fails where the peers are missing, instead of each
// test that needs one.
func TestDebiansROSIsThere(t *testing.T) {
	for _, f := range []string{"/usr/bin/python3", "/usr/bin/roscore", "/usr/bin/rosmaster", "/usr/bin/rostopic", "/usr/bin/rosparam", "/usr/bin/rosnode", "/usr/bin/rosservice", "/usr/bin/rosbag", "/usr/bin/roslaunch", "/usr/lib/rosout/rosout", "/usr/lib/python3/dist-packages/actionlib"} {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("%v; run scripts/setup.sh ros", err)
		}
	}
}
