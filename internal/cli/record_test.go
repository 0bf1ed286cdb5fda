package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// talker is a graph in which a node says numbers, with some weight behind each.
type talker struct {
	uri  string
	said atomic.Int64
	mu   sync.Mutex
	when []time.Time // of each number
}

func talk(t *testing.T, weight int, topics ...string) *talker {
	t.Helper()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: "talker"})
	if err != nil {
		t.Fatal(err)
	}
	k := &talker{uri: m.URI()}
	ctx, stop := context.WithCancel(context.Background())
	var crew sync.WaitGroup
	var pubs []*ros.Publisher[std.String]
	for _, topic := range topics {
		p, err := ros.Advertise[std.String](n, topic, false)
		if err != nil {
			t.Fatal(err)
		}
		pubs = append(pubs, p)
	}
	fill := strings.Repeat("x", weight)
	crew.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				i := k.said.Add(1) - 1
				k.mu.Lock()
				k.when = append(k.when, time.Now())
				k.mu.Unlock()
				for _, p := range pubs {
					p.Publish(&std.String{Data: fmt.Sprintf("%06d%s", i, fill)})
				}
			}
		}
	})
	t.Cleanup(func() {
		stop()
		crew.Wait()
		if err := errors.Join(n.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return k
}

// heard are the numbers on a topic of a recording, which must follow each other.
func heard(t *testing.T, path, topic string) (first, last, count int) {
	t.Helper()
	b, err := bag.Open(path, bag.Options{Topics: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	first, last = -1, -1
	for m := (bag.Message{}); ; {
		if err := b.Next(&m); errors.Is(err, io.EOF) {
			return first, last, count
		} else if err != nil {
			t.Fatal(err)
		}
		if m.Type != "std_msgs/String" || m.Conn.MD5 != "992ce8a1687cec8c8bd883ec73ca41d1" || !bytes.Contains(m.Conn.Definition, []byte("string data")) || !strings.HasPrefix(m.Conn.Caller, "/talker") {
			t.Fatalf("a message of %s, %s from %s, defined as %q", m.Type, m.Conn.MD5, m.Conn.Caller, m.Conn.Definition)
		}
		d, err := m.Conn.Decoder()
		if err != nil {
			t.Fatal(err)
		}
		v, err := d.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if _, err := fmt.Sscanf(v.Path("data").Text(), "%06d", &i); err != nil {
			t.Fatal(err)
		}
		if last >= 0 && i != last+1 {
			t.Errorf("%s: %d follows %d", topic, i, last)
		}
		if first < 0 {
			first = i
		}
		last = i
		count++
	}
}

func TestRecordKeepsEveryMessage(t *testing.T) {
	k := talk(t, 10, "/a", "/b")
	l := newLab(t)
	for _, name := range []string{"x.mcap", "x.bag"} {
		path := filepath.Join(l.dir, name)
		out := l.must("record", "--all", "--out", path, "--master", k.uri, "--duration", "1500ms")
		for _, want := range []string{"/a ", "/b ", "0 dropped"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the command does not say %q:\n%s", name, want, out)
			}
		}
		for _, topic := range []string{"/a", "/b"} {
			if _, _, n := heard(t, path, topic); n < 100 { // 200 a second are said
				t.Errorf("%s: %d messages of %s", name, n, topic)
			}
		}
		if _, err := os.Stat(path + ".active"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s.active is left: %v", name, err)
		}
	}
	one := filepath.Join(l.dir, "one.mcap")
	out := l.must("record", "/b", "/none", "--out", one, "--master", k.uri, "--duration", "600ms")
	if !strings.Contains(out, "/none") || !strings.Contains(out, "nothing came") || strings.Contains(out, "/a ") {
		t.Errorf("the command says:\n%s", out)
	}
	if _, _, n := heard(t, one, "/a"); n > 0 {
		t.Errorf("%d messages of a topic that was not asked for", n)
	}
}

func TestKilledRecordLosesASecondAtMost(t *testing.T) {
	k := talk(t, 10, "/a")
	l := newLab(t)
	for _, name := range []string{"x.mcap", "x.bag"} {
		path := filepath.Join(l.dir, name)
		var killed time.Time
		end, out := l.child("messages of 1 topics", func(p *os.Process) error {
			time.Sleep(1500 * time.Millisecond)
			killed = time.Now()
			return p.Kill()
		}, "record", "/a", "--out", path, "--master", k.uri)
		if w, ok := end.Sys().(syscall.WaitStatus); !ok || w.Signal() != syscall.SIGKILL {
			t.Fatalf("%v, want killed:\n%s", end, out)
		}
		_, last, n := heard(t, path+".active", "/a")
		if n < 100 {
			t.Fatalf("%s.active holds %d messages", name, n)
		}
		k.mu.Lock()
		lost := killed.Sub(k.when[last])
		k.mu.Unlock()
		// A second between flushes; the rest is what a busy machine needs to wake up.
		if lost > 1500*time.Millisecond {
			t.Errorf("%s: the last message that is kept was said %v before the end", name, lost)
		}
	}
}

// Who ends the recorder's node, as rosnode kill does, has the whole recording, under its name.
func TestRecordIsWholeWhenItsNodeIsShutDown(t *testing.T) {
	k := talk(t, 4000, "/a")
	l := newLab(t)
	path := filepath.Join(l.dir, "x.bag")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c := &console{}
	code := -1
	var crew sync.WaitGroup
	crew.Go(func() { code = run(ctx, []string{"record", "/a", "--out", path, "--master", k.uri}, l.env, c, c) })
	for ctx.Err() == nil {
		if st, err := os.Stat(path + ".active"); err == nil && st.Size() > 8<<10 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	v, err := xmlrpc.Call(ctx, k.uri, "getSystemState", "/test")
	if err != nil {
		t.Fatal(err)
	}
	// Publishers, subscribers by topic, services: the recorder alone listens.
	ear := v.([]any)[2].([]any)[1].([]any)[0].([]any)[1].([]any)[0].(string)
	if v, err = xmlrpc.Call(ctx, k.uri, "lookupNode", "/test", ear); err == nil {
		_, err = xmlrpc.Call(ctx, v.([]any)[2].(string), "shutdown", "/test", "for a test")
	}
	if err != nil {
		t.Error(err)
		cancel()
	}
	crew.Wait()
	if code != exitFailed || !strings.Contains(c.String(), "rosnode kill") || !strings.Contains(c.String(), "is whole, in "+path) {
		t.Errorf("exit code %d:\n%s", code, c)
	}
	if _, _, n := heard(t, path, "/a"); n < 2 {
		t.Errorf("%d messages", n)
	}
	if code, out, errs := rapport(t, "bag", "info", "--check", path); code != exitDone || !strings.Contains(out, "damage    none") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

// A file-size limit makes the kernel refuse writes as a full disk does.
func TestRecordStopsOnAFullDisk(t *testing.T) {
	k := talk(t, 4000, "/a")
	l := newLab(t)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 256 << 10, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.dir, "x.bag")
	code, out := l.say("record", "/a", "--out", path, "--master", k.uri, "--duration", "20s")
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || !strings.Contains(out, "free space") || !strings.Contains(out, "x.bag.active") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("half a recording took the name of a whole one")
	}
}

func TestRecordRefuses(t *testing.T) {
	l := newLab(t)
	there := filepath.Join(l.dir, "there.mcap")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	l.wants(exitUsage, []string{"--out"}, "record", "--all")
	l.wants(exitUsage, []string{"name topics, or take --all"}, "record", "--out", "x.mcap")
	l.wants(exitUsage, []string{"name topics, or take --all"}, "record", "/a", "--all", "--out", "x.mcap")
	l.wants(exitUsage, []string{"--duration"}, "record", "/a", "--out", "x.mcap", "--duration", "-1s")
	l.wants(exitFailed, []string{"exists already"}, "record", "/a", "--out", there)
	l.wants(exitFailed, []string{".bag or .mcap"}, "record", "/a", "--out", filepath.Join(l.dir, "x.txt"))
	path := filepath.Join(l.dir, "x.mcap")
	l.wants(exitFailed, []string{nobody}, "record", "/a", "--out", path, "--master", nobody, "--duration", "300ms")
	if es, err := filepath.Glob(path + "*"); err != nil || len(es) > 0 {
		t.Errorf("without a master %v is left, %v", es, err)
	}
}

// Debian's rostopic speaks, and Debian's rosbag reads what was recorded.
func TestRecordBetweenDebiansROS(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	l := newLab(t)
	env := append(os.Environ(), "ROS_MASTER_URI="+m.URI(), "ROS_IP=127.0.0.1")
	pub := exec.Command("rostopic", "pub", "-r", "50", "/hello", "std_msgs/String", "data: there")
	pub.Env = env
	if err := pub.Start(); err != nil {
		t.Fatalf("rostopic: %v; install it by scripts/setup.sh ros", err)
	}
	defer func() {
		if err := pub.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = pub.Wait() // it was killed
	}()
	path := filepath.Join(l.dir, "x.bag")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	// rostopic takes its time to start; the recorder waits for what it says.
	c := &console{}
	code := -1
	var crew sync.WaitGroup
	crew.Go(func() { code = run(ctx, []string{"record", "/hello", "--out", path, "--master", m.URI()}, l.env, c, c) })
	for ctx.Err() == nil {
		if st, err := os.Stat(path + ".active"); err == nil && st.Size() > 8<<10 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	crew.Wait()
	if code != exitDone {
		t.Fatalf("exit code %d:\n%s", code, c)
	}
	info := exec.Command("rosbag", "info", "-y", path)
	info.Env = env
	out, err := info.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("type: std_msgs/String")) || !bytes.Contains(out, []byte("topic: /hello")) {
		t.Errorf("rosbag info: %v:\n%s", err, out)
	}
}
