package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
)

// said waits until the console has printed something that matches.
func (c *console) said(t *testing.T, want string) []string {
	t.Helper()
	re := regexp.MustCompile(want)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m := re.FindStringSubmatch(c.String()); m != nil {
			return m
		}
	}
	t.Fatalf("a minute, and nobody said %q:\n%s", want, c)
	return nil
}

// running is a session in this process whose console is c, and how it ends.
func (l lab) running(c *console, args ...string) <-chan int {
	done := make(chan int, 1)
	go func() {
		code, _ := l.run(l.t.Context(), c, args...)
		done <- code
	}()
	return done
}

// Every stage that moves an arm is stopped by two people. In between the session is
// acknowledged for each, and it ends as if nobody had stopped it.
func TestStoppedSessionWaitsAndGoesOnToTheSameBits(t *testing.T) {
	want := undisturbed(t)
	l := newLab(t)
	c := &console{}
	done := l.running(c, "run")
	fault := 0
	for _, stage := range []string{`demonstrations +[12]/6`, `evaluate before`, `fine-tune +2/6`, `evaluate after`} {
		c.said(t, stage)
		fault++
		id, other := string(rune('0'+fault)), string(rune('1'+fault))
		out := l.must("stop", "--by", "anna", "--why", "smoke")
		// What a simulated session learns between two episodes may take longer, where much else
		// runs, than a stop waits for the next tick; that it is held the second stop says below.
		late := strings.Contains(out, "CONFIRMED") && !strings.HasPrefix(stage, "fine-tune")
		if !strings.Contains(out, "from request to hold") || !strings.Contains(out, "fault "+id+": stopped, by anna: smoke") || late {
			t.Errorf("in %s, stop said:\n%s", stage, out)
		}
		t.Log(strings.Split(out, "\n")[2])
		for range 2 {
			if again := l.must("stop", "--by", "ben"); !strings.Contains(again, "held already") && !strings.Contains(again, "no arm moves") || !strings.Contains(again, "fault "+other+": stopped, by ben: rapport stop") {
				t.Errorf("the second stop said:\n%s", again)
			}
		}
		fault++
		if code, out := l.run(t.Context(), &console{}, "fault", "ack", "9", "--by", "ben"); code != exitFailed || !strings.Contains(out, "rapport fault") {
			t.Errorf("acknowledging another fault ended with %d:\n%s", code, out)
		}
		select {
		case code := <-done:
			t.Fatalf("the stopped session ended with %d:\n%s", code, c)
		case <-time.After(100 * time.Millisecond):
		}
		if out := l.must("fault"); !strings.Contains(out, "by anna: smoke") || !strings.Contains(out, " no\n") {
			t.Errorf("fault said:\n%s", out)
		}
		if out := l.must("fault", "ack", id, "--by", "ben", "--note", "wiped"); strings.Contains(out, "may move again") {
			t.Errorf("ack said, and ben's stop is open:\n%s", out)
		}
		if out := l.must("fault", "ack", other, "--by", "ben", "--note", "wiped"); !strings.Contains(out, "may move again") {
			t.Errorf("ack said:\n%s", out)
		}
	}
	if code := <-done; code != exitDone {
		t.Fatalf("the session ended with %d:\n%s", code, c)
	}
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the stopped session differs from the undisturbed one:\n%s", diff)
	}
	if out := l.must("fault"); strings.Count(out, "by ben at") != fault || strings.Count(out, "wiped") != fault {
		t.Errorf("in the end fault said:\n%s", out)
	}
	if out := l.must("fault", "show", "5"); !strings.Contains(out, `"recent":[{"state":`) {
		t.Errorf("what came before the fault is not there: %.300s", out)
	}
	if _, err := os.Stat(filepath.Join(l.session(), "bus.json")); err == nil {
		t.Error("the session is over, but its address is still there")
	}
}

func TestSessionWithAnOpenFaultIsNotResumed(t *testing.T) {
	want := undisturbed(t)
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &console{}
	done := make(chan int, 1)
	go func() {
		code, _ := l.run(ctx, c, "run")
		done <- code
	}()
	c.said(t, `fine-tune +2/6`)
	l.must("stop", "--by", "anna")
	cancel()
	if code := <-done; code != exitInterrupted {
		t.Fatalf("exit code %d, want interrupted:\n%s", code, c)
	}
	code, out := l.run(t.Context(), &console{}, "run", "--resume")
	m := regexp.MustCompile(`rapport (fault ack 1 --by )NAME( --session .*)`).FindStringSubmatch(out)
	if code != exitFailed || m == nil {
		t.Fatalf("resumed with an open fault: %d\n%s", code, out)
	}
	if code, out := l.run(t.Context(), &console{}, "fault", "ack", "1"); code != exitUsage || !strings.Contains(out, "--by NAME") {
		t.Errorf("acknowledged by nobody: %d\n%s", code, out)
	}
	l.must(strings.Fields(m[1] + "anna" + m[2])...)
	l.must("run", "--resume")
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("the resumed session differs from the undisturbed one:\n%s", diff)
	}
}

// A process whose bus does not answer is stopped by its signal; a killed one
// leaves no way in, and says so.
func TestStopWithoutABus(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stopped := make(chan string, 1)
	_, out := l.child("fine-tune        2/6", func(p *os.Process) error {
		go func() {
			defer p.Kill()
			at, err := bus.ReadAddress(l.session())
			if err != nil {
				t.Error(err)
				return
			}
			at.URL = "nats://127.0.0.1:1"
			if _, err := bus.WriteAddress(l.session(), at); err != nil {
				t.Error(err)
				return
			}
			code, out := l.run(t.Context(), &console{}, "stop")
			if code != exitDone {
				t.Errorf("stop ended with %d", code)
			}
			// Another process writes the session, so the fault is read off its log.
			time.Sleep(2 * time.Second)
			stopped <- out
		}()
		return nil
	}, "run")
	if said := <-stopped; !strings.Contains(said, "was signalled") {
		t.Errorf("stop said:\n%s", said)
	}
	if !strings.Contains(out, "signal USR1") || strings.Contains(out, "fine-tune        6/6") {
		t.Errorf("the session was not held by its signal:\n%s", out)
	}
	if code, out := l.run(t.Context(), &console{}, "stop", "--session", l.session()); code != exitFailed || !strings.Contains(out, "is gone") {
		t.Errorf("stopping a killed process: %d\n%s", code, out)
	}
	s, err := store.Open(l.session())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if open, err := s.OpenFaults(t.Context()); err != nil || len(open) != 1 || open[0].Detail != "by this machine: signal USR1" {
		t.Errorf("open faults of the killed session: %+v, %v", open, err)
	}
}

// Two sessions that practise together go on together, and an alignment as one.
// The signal holds the arm of a reproduction, too, and ends no process.
func TestReproductionIsHeldByTheSignal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, out := l.child("fine-tune        1/6", func(p *os.Process) error {
		time.AfterFunc(2*time.Second, func() { p.Kill() })
		return p.Signal(stopSignal)
	}, "reproduce", "--seeds", "1")
	if !strings.Contains(out, "signal USR1") || strings.Contains(out, "fine-tune        6/6") {
		t.Errorf("it was not held by its signal:\n%s", out)
	}
}

func TestStopOfAGoneProcessNamesWhatGoesOn(t *testing.T) {
	l := newLab(t)
	sessions := map[string]struct {
		sets []string
		want string
	}{
		"reach-001":      {nil, "rapport run --resume --set name=reach-001 --set out="},
		"stack-001":      {[]string{"robot.task=stack", "practice.mate=stack-001-back"}, "rapport practice --resume --set name=stack-001 --set out="},
		"stack-001-back": {[]string{"robot.task=stack", "robot.way=backward", "practice.mate=stack-001"}, "rapport practice --resume --set name=stack-001 --set out="},
		"cup-001":        {[]string{"robot.task=cup", "learner.kind=diffusion"}, "rapport align " + filepath.Join(l.dir, "runs", "cup-001")},
	}
	for name, tt := range sessions {
		c, err := config.Load("", nil, tt.sets)
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(l.dir, "runs", name)
		s, err := store.Create(dir, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if name == "cup-001" {
			if err := os.Mkdir(filepath.Join(dir, "align"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(name, "-back") { // the first session's desk is both's
			continue
		}
		if _, err := bus.WriteAddress(dir, bus.Address{Session: name, URL: "nats://127.0.0.1:1"}); err != nil { // of a process that is gone
			t.Fatal(err)
		}
	}
	for name, tt := range sessions {
		dir := filepath.Join(l.dir, "runs", name)
		if code, out := l.run(t.Context(), &console{}, "stop", "--session", dir); code != exitFailed || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %d, want %q:\n%s", name, code, tt.want, out)
		}
		if code, out := l.run(t.Context(), &console{}, "eval", dir); code != exitFailed || !strings.Contains(out, tt.want) {
			t.Errorf("eval %s: %d, want %q:\n%s", name, code, tt.want, out)
		}
	}
}

// Sessions are stopped from wherever somebody stands, all of them, whatever is wrong with the
// configuration there; one whose bus hangs is waited for by none.
func TestStopFromElsewhereHoldsEveryLivingSession(t *testing.T) {
	first, second := newLab(t), newLab(t)
	second.env[1] = first.env[1]
	hung, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	dir := filepath.Join(t.TempDir(), "hung up")
	s, err := store.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other := exec.Command("sleep", "600") // its process
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Process.Kill()
	if _, err := bus.WriteAddress(dir, bus.Address{Session: "hung", URL: "nats://" + hung.Addr().String(), PID: other.Process.Pid}); err != nil {
		t.Fatal(err)
	}
	elsewhere := newLab(t)
	elsewhere.env[1] = first.env[1]
	a := &app{environ: elsewhere.env}
	out := filepath.Join(elsewhere.dir, "runs") // where a file lies beside the sessions
	if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, "notes.txt"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(t.TempDir(), "gone")} {
		if _, err := a.living().Enter(dir); err != nil {
			t.Fatal(err)
		}
	}
	var ends []<-chan int
	var consoles []*console
	for _, l := range []lab{first, second} {
		c := &console{}
		consoles, ends = append(consoles, c), append(ends, l.running(c, "run"))
		c.said(t, `fine-tune +2/6`)
		if len(ends) == 1 { // it waits for the second, which takes its time
			l.must("stop", "--session", l.session(), "--by", "ben")
		}
	}
	elsewhere.file = filepath.Join(elsewhere.dir, "nosuch.yaml")
	c := &console{}
	code := make(chan int, 1)
	began := time.Now()
	go func() {
		n, _ := elsewhere.run(t.Context(), c, "stop", "--by", "anna", "--set", "robot.tsk=reach")
		code <- n
	}()
	c.said(t, `(?s)stopped, by anna.*stopped, by anna`)
	t.Logf("both were held after %v", time.Since(began))
	if strings.Contains(c.String(), "was signalled") {
		t.Errorf("the sessions that answer waited for the one that does not:\n%s", c)
	}
	if n := <-code; n != exitDone || !strings.Contains(c.String(), "was signalled") {
		t.Errorf("stop ended with %d:\n%s", n, c)
	}
	for _, want := range []string{"nosuch.yaml", "robot.tsk", "hinders no stop", first.session(), second.session(), "hung up"} {
		if !strings.Contains(c.String(), want) {
			t.Errorf("stop does not tell %s:\n%s", want, c)
		}
	}
	first.must("fault", "ack", "2", "--by", "ben")
	for i, l := range []lab{first, second} {
		l.must("fault", "ack", "1", "--by", "ben")
		if n := <-ends[i]; n != exitDone {
			t.Errorf("the session ended with %d:\n%s", n, consoles[i])
		}
	}
	if got, err := a.living().Folders(); err != nil || len(got) != 2 {
		t.Errorf("after their end: %v, %v; want those alone that did not leave", got, err)
	}
}

// seat is an operator's without an arm, whose faults lie in a folder.
type seat struct{ st *store.Session }

func (s seat) Stop(ctx context.Context, why bus.Stop) (r bus.Stopped, err error) {
	r.Held = true
	r.Fault.ID, err = s.st.AddFault(ctx, store.Fault{Cause: "stopped", Detail: why.Why, Report: []byte(`{"recent":[]}`)})
	return r, err
}

func (s seat) Acknowledge(ctx context.Context, a bus.Acknowledge) (r bus.Acknowledged, err error) {
	return r, s.st.Acknowledge(ctx, a.Fault, time.Unix(1, 0), a.Who, a.Note)
}

func (s seat) Faults(ctx context.Context) (fs []bus.Fault, err error) {
	all, err := s.st.Faults(ctx)
	for _, f := range all {
		fs = append(fs, bus.Fault{ID: f.ID, Cause: f.Cause, Detail: f.Detail})
	}
	return fs, err
}

// driven is the folder of a session that is open, as by a process, below out. The arm is driven from there
// where at says how its driver is reached.
func (l lab) driven(out, folder string, at bus.Address, sets ...string) *store.Session {
	l.t.Helper()
	c, err := config.Load("", nil, sets)
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := c.YAML()
	if err != nil {
		l.t.Fatal(err)
	}
	st, err := store.Create(filepath.Join(out, folder), b)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { st.Close() })
	if at.URL == "" {
		return st
	}
	at.PID = os.Getpid()
	if _, err := bus.WriteAddress(st.Dir(), at); err != nil {
		l.t.Fatal(err)
	}
	return st
}

// operated has a session live on this machine, whose operator is asked over its bus, until the test ends.
func (l lab) operated(st *store.Session, conn *bus.Conn, name string) {
	l.t.Helper()
	if _, err := (&app{environ: l.env}).living().Enter(st.Dir()); err != nil {
		l.t.Fatal(err)
	}
	end, err := bus.ServeOperator(l.t.Context(), conn, name, seat{st})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(end)
}

// at is how a session is reached on a server that ends with the test.
func (l lab) at(session string) (bus.Address, *bus.Conn) {
	l.t.Helper()
	srv, err := bus.Start(l.t.Context(), bus.Options{StoreDir: l.t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(srv.Close)
	return bus.Address{Session: session, URL: srv.URL()}, srv.Conn()
}

// The learner has the folder of a session of several processes, and the actor the arm: who names
// the session means that, also where the learner is on another machine or the actor keeps its
// folder elsewhere.
func TestASessionOfSeveralProcessesIsStoppedByItsName(t *testing.T) {
	for name, has := range map[string]struct{ learner, away bool }{"both here": {learner: true}, "the actor alone": {}, "elsewhere": {away: true}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			at, conn := l.at("fleet")
			sets := []string{"name=fleet", "bus.url=" + at.URL}
			runs := filepath.Join(l.dir, "runs")
			out := runs
			var learner *store.Session
			if has.learner {
				learner = l.driven(out, "fleet", bus.Address{}, sets...)
			}
			if has.away {
				out = filepath.Join(l.dir, "away")
			}
			st := l.driven(out, "fleet-actor", at, sets...)
			l.operated(st, conn, "fleet")
			for _, of := range [][]string{{"--session", "fleet"}, {"--set", "name=fleet"}, {"--session", filepath.Join(runs, "fleet")}} {
				if has.away && of[1] != "fleet" && of[0] == "--session" {
					continue // a folder is no name
				}
				if out := l.must(append([]string{"stop", "--why", "smoke"}, of...)...); !strings.Contains(out, "fleet: held") {
					t.Errorf("stop %s said:\n%s", of, out)
				}
				if has.away {
					continue
				}
				if out := l.must(append([]string{"fault"}, of...)...); !strings.Contains(out, "smoke") {
					t.Errorf("fault %s said:\n%s", of, out)
				}
				// Who has to decide looks while the session waits.
				if out := l.must(append([]string{"fault", "show", "1"}, of...)...); !strings.Contains(out, `{"recent":[]}`) {
					t.Errorf("fault show %s said:\n%s", of, out)
				}
			}
			if !has.away {
				l.must("fault", "ack", "2", "--by", "ben", "--session", "fleet")
			}
			if code, out := l.run(t.Context(), &console{}, "stop", "--session", "flee"); code != exitUsage {
				t.Errorf("a stop of another name ended with %d:\n%s", code, out)
			}
			if has.learner { // both processes have ended
				if err := errors.Join(learner.Close(), st.Close(), os.Remove(filepath.Join(st.Dir(), "bus.json"))); err != nil {
					t.Fatal(err)
				}
				if out := l.must("fault", "--session", "fleet"); !strings.Contains(out, "smoke") {
					t.Errorf("fault said afterwards:\n%s", out)
				}
			}
		})
	}
}

// A living session that is called as one whose process was killed is stopped, and the arm of the
// killed one, which keeps its last target, is told of.
func TestAStopTellsOfTheArmThatWasMeant(t *testing.T) {
	l := newLab(t)
	at, conn := l.at("reach-001")
	if err := l.driven(filepath.Join(l.dir, "runs"), "reach-001", at).Close(); err != nil {
		t.Fatal(err)
	}
	st := l.driven(filepath.Join(l.dir, "away"), "reach-001", at)
	l.operated(st, conn, "reach-001")
	code, out := l.run(t.Context(), &console{}, "stop", "--session", "reach-001")
	for _, want := range []string{"reach-001: held", "keeps its last target", "stop at the arm"} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("got %d, want %d and %q:\n%s", code, exitFailed, want, out)
		}
	}
}

func TestStopOfNothing(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"stop"}, exitFailed, "no arm was stopped: no session in " + filepath.Join(l.dir, "runs") + " runs"},
		{[]string{"stop"}, exitFailed, "kill -USR1 PID"},
		{[]string{"stop", "--session", "nowhere"}, exitUsage, "neither"},
		{[]string{"stop", "--nats", "nats://127.0.0.1:1"}, exitFailed, "stop at the arm"},
		{[]string{"fault", "ack", "one", "--by", "a"}, exitUsage, "number of a fault"},
		{[]string{"fault", "ack", "--by", "a"}, exitUsage, "number of a fault"},
	} {
		if code, out := l.run(t.Context(), &console{}, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%v: got %d, want %d and %q:\n%s", tt.args, code, tt.code, tt.want, out)
		}
	}
}

// Neither a file that does not fit nor one that breaks who reads it hinders a stop.
func TestStopGoesOnWhateverIsConfigured(t *testing.T) {
	l := newLab(t)
	if err := os.WriteFile(l.file, []byte("guard: {workspace: {min: [0.2, -0.3, 0, 1]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := l.run(t.Context(), &console{}, "stop")
	for _, want := range []string{"want 3 numbers", "hinders no stop", "no session in " + filepath.Join(l.dir, "runs") + " runs"} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("got %d, want %d and %q:\n%s", code, exitFailed, want, out)
		}
	}
	c, err := anyhow(func() (config.Config, error) { panic("index out of range") })
	if err == nil || !strings.Contains(err.Error(), "index out of range") || c.Out != config.Default().Out {
		t.Errorf("out %q, %v", c.Out, err)
	}
}

// Who goes on with a session needs to know where it lies, and nothing else has to be right: a
// fault is acknowledged by whatever file lies there. Of two sessions that practise together the
// first has the faults.
func TestAMistakeInTheConfigurationHindersNoAcknowledgement(t *testing.T) {
	l := newLab(t)
	for name, sets := range map[string][]string{
		"stack-001":      {"robot.task=stack", "practice.mate=stack-001-back"},
		"stack-001-back": {"robot.task=stack", "robot.way=backward", "practice.mate=stack-001"},
	} {
		c, err := config.Load("", nil, sets)
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Create(filepath.Join(l.dir, "runs", name), b)
		if err != nil {
			t.Fatal(err)
		}
		if name == "stack-001" {
			for range 2 {
				_, e := s.AddFault(t.Context(), store.Fault{Cause: "stopped", Detail: "by anna: smoke", Report: []byte(`{"recent":[]}`)})
				err = errors.Join(err, e)
			}
		}
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	env := l.env
	for n, of := range []struct {
		file, env string
		told      []string
	}{
		{"reward: {kind: nosuch}\nteleop: {input: joy}\n", "", nil},
		{"guard: {workspace: {min: [0.2, -0.3, 0, 1]}}\nseed: 1.5\nguarrd: {a: 1}\nbus: {ulr: x}\n", "RAPPORT_NOSUCH=1",
			[]string{"want 3 numbers", `seed does not take "1.5"`, "there is no key guarrd", "there is no key bus.ulr", "RAPPORT_NOSUCH names no key", "hinders nothing"}},
	} {
		if err := os.WriteFile(l.file, []byte(of.file), 0o600); err != nil {
			t.Fatal(err)
		}
		l.env = append(env, of.env)
		fault := strconv.Itoa(n + 1)
		for _, tt := range []struct {
			args []string
			code int
			want string
		}{
			{[]string{"fault", "list", "--session", "stack-001-back"}, exitDone, "by anna: smoke"},
			{[]string{"fault", "show", fault, "--session", "stack-001-back"}, exitDone, `{"recent":[]}`},
			{[]string{"fault", "ack", fault, "--by", "ben", "--session", "stack-001-back"}, exitDone, "acknowledged by ben"},
			{[]string{"dashboard", "--session", "stack-001"}, exitFailed, "practice --resume"},
			{[]string{"label", "export", "--session", "stack-001"}, exitDone, ""},
			{[]string{"label", "--session", "stack-001", "--listen", "nowhere"}, exitFailed, "want HOST:PORT"},
		} {
			code, out := l.run(t.Context(), &console{}, tt.args...)
			if code != tt.code || !strings.Contains(out, tt.want) || strings.Contains(out, "reward.kind") {
				t.Errorf("%v: %d, want %d and %q:\n%s", tt.args, code, tt.code, tt.want, out)
			}
			for _, told := range of.told {
				if strings.Count(out, told) != 1 {
					t.Errorf("%v: want once %q:\n%s", tt.args, told, out)
				}
			}
		}
	}
	// Where it is unread which session is meant, none is taken instead.
	for file, want := range map[string]string{"out: [a, b]\n": "out does not take", "name: a/b\n": "name is", "name: {": "session.yaml", "nmae: stack-001-back\n": "--session FOLDER"} {
		if err := os.WriteFile(l.file, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := l.run(t.Context(), &console{}, "fault", "ack", "1", "--by", "ben"); code != exitUsage || !strings.Contains(out, want) {
			t.Errorf("%q: %d, want %d and %q:\n%s", file, code, exitUsage, want, out)
		}
	}
}
