package wire

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot"
)

// childEnv makes this binary play a process that a test kills.
const childEnv = "RAPPORT_WIRE_CHILD"

// childMain plays the role named by args, "role arg ...", until it is killed.
func childMain(args string) error {
	ctx, a := context.Background(), strings.Split(args, " ")
	switch a[0] {
	case "owner": // session.yaml: begins the session and copies what others say
		c, err := config.Load(a[1], nil, nil)
		if err != nil {
			return err
		}
		s, err := Create(ctx, c, byTheClock())
		if err != nil {
			return err
		}
		if _, err := s.mirror(ctx); err != nil {
			return err
		}
		fmt.Println("copying")
	case "sayer": // URL, session, how many
		c, err := bus.Dial(ctx, a[1], bus.Options{Await: true})
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscan(a[3], &n); err != nil {
			return err
		}
		for i := range n {
			if _, err := c.Book(a[2]).Append(ctx, opinion("far", i)); err != nil {
				return err
			}
			fmt.Println(i)
		}
	case "speaker": // folder: the owner itself says things
		b, err := OpenBook(ctx, a[1], byTheClock())
		if err != nil {
			return err
		}
		for i := 0; ; i++ {
			if _, err := b.Append(ctx, opinion("own", i)); err != nil {
				return err
			}
			fmt.Println(i)
		}
	}
	select {}
}

// child is a process that can be killed.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Scanner
}

func spawn(t *testing.T, args ...string) *child {
	t.Helper()
	p := &child{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), childEnv+"="+strings.Join(args, " ")), os.Stderr
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

// lines waits for the child's next n lines.
func (p *child) lines(n int) {
	p.t.Helper()
	for range n {
		if !p.out.Scan() {
			p.t.Fatalf("child ended: %v", p.out.Err())
		}
	}
}

// kill is kill -9, and waits for the end. Killing twice is harmless.
func (p *child) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Log(err)
	}
	for p.out.Scan() {
	}
	if err := p.cmd.Wait(); err == nil {
		p.t.Log("child ended by itself")
	}
}

func opinion(who string, i int) label.Label {
	return label.Label{
		ID: fmt.Sprintf("%s-%d", who, i), Annotator: who, Stamp: time.Unix(int64(i), 0).UTC(), Choice: label.Left,
		Query: label.Query{ID: fmt.Sprint("q", i), Kind: label.Pair, Clips: []label.Clip{{Episode: "demo-00000"}, {Episode: "demo-00001"}}},
	}
}

func names(ls []label.Label) (out []string) {
	for _, l := range ls {
		out = append(out, l.ID)
	}
	slices.Sort(out)
	return out
}

// agreed fails unless folder and journal hold the same labels, and returns them.
func agreed(t *testing.T, folder, journal label.Book) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	a, err := folder.Labels(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b, err := journal.Labels(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(names(b), names(a)); d != "" {
		t.Errorf("the folder differs from the journal:\n%s", d)
	}
	return names(a)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end, tick := time.After(15*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("still not: %s", what)
		case <-tick.C:
		}
	}
}

// broker is a server over TCP for a session of c.
func broker(t *testing.T, c *config.Config) *bus.Server {
	t.Helper()
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	c.Name, c.Bus.URL = "labelled", srv.URL()
	return srv
}

func TestLabelsOutliveTheirOwner(t *testing.T) {
	c := tiny(t)
	srv := broker(t, &c)
	b, err := c.YAML()
	file := filepath.Join(t.TempDir(), "session.yaml")
	if err := errors.Join(err, os.WriteFile(file, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	owner := spawn(t, "owner", file)
	owner.lines(1)
	far, err := bus.Dial(t.Context(), srv.URL(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	say := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if added, err := far.Book(c.Name).Append(t.Context(), opinion("far", i)); err != nil || !added {
				t.Fatalf("label %d: %v, %v", i, added, err)
			}
		}
	}
	say(0, 40) // some of which it has copied by now
	owner.kill()
	say(40, 50) // nobody copies
	s, err := Reopen(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	settle, err := s.mirror(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := agreed(t, s.store, far.Book(c.Name)); len(got) != 50 {
		t.Errorf("%d labels, want 50", len(got))
	}
	say(50, 55)
	eventually(t, "the new ones are copied", func() bool { ls, err := s.store.Labels(t.Context()); return err == nil && len(ls) == 55 })
	say(55, 60)
	settle()
	if got := agreed(t, s.store, far.Book(c.Name)); len(got) != 60 {
		t.Errorf("%d labels, want 60", len(got))
	}
}

func TestLabelsOutliveWhoSaysThem(t *testing.T) {
	c := tiny(t)
	broker(t, &c)
	s := begun(t, c)
	settle, err := s.mirror(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 60
	first := spawn(t, "sayer", c.Bus.URL, c.Name, fmt.Sprint(n))
	first.lines(15)
	first.kill()
	again := spawn(t, "sayer", c.Bus.URL, c.Name, fmt.Sprint(n)) // which does not know what it said
	again.lines(n)
	settle()
	if got := agreed(t, s.store, s.conn.Book(c.Name)); len(got) != n {
		t.Errorf("%d labels, want each of %d once", len(got), n)
	}
	// What the owner says itself is in both at once, and an id is taken once.
	for i := range 2 {
		if added, err := s.Book().Append(t.Context(), opinion("own", 0)); err != nil || added != (i == 0) {
			t.Errorf("append %d: added %v, %v", i, added, err)
		}
	}
	// The first words count, also where the folder has not got them yet.
	other := opinion("far", n)
	other.Choice = label.Right
	if _, err := s.conn.Book(c.Name).Append(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if added, err := s.Book().Append(t.Context(), opinion("far", n)); err != nil || added {
		t.Errorf("added %v, %v; another was first", added, err)
	}
	ls, err := s.Book().Labels(t.Context())
	if err != nil || len(ls) != n+2 || !cmp.Equal(ls[n+1], other) {
		t.Errorf("%d labels, the last %+v, %v; want what was said first", len(ls), ls[len(ls)-1], err)
	}
}

func TestFolderAndJournalAgreeAfterACrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	c := tiny(t)
	b, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Create(dir, b)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(st.Close(), os.Mkdir(filepath.Join(dir, "nats"), 0o755)); err != nil {
		t.Fatal(err)
	}
	p := spawn(t, "speaker", dir)
	p.lines(12)
	p.kill()

	// By hand the two moments that a kill hardly ever meets: told to the journal and
	// not stored, and, as in a session of before, stored and not told.
	if st, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	_, err = st.Append(t.Context(), opinion("stored", 0))
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: filepath.Join(dir, "nats")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = srv.Conn().Book("s").Append(t.Context(), opinion("told", 0))
	srv.Close()
	if err != nil {
		t.Fatal(err)
	}
	book, err := OpenBook(t.Context(), dir, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	got := agreed(t, book, book.bus)
	for _, want := range []string{"own-0", "own-11", "stored-0", "told-0"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is lost; there are %v", want, got)
		}
	}
}

func TestBookOfWhatIsNoSession(t *testing.T) {
	if _, err := OpenBook(t.Context(), t.TempDir(), byTheClock()); err == nil || !strings.Contains(err.Error(), "holds no session") {
		t.Errorf("got %v", err)
	}
	// Without a journal the folder is all there is.
	dir := filepath.Join(t.TempDir(), "s")
	st, err := store.Create(dir, config.DefaultYAML())
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	book, err := OpenBook(t.Context(), dir, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	if added, err := book.Append(t.Context(), opinion("own", 0)); err != nil || !added {
		t.Errorf("added %v, %v", added, err)
	}
	if _, err := OpenBook(t.Context(), dir, byTheClock()); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a second one: %v, want ErrInUse", err)
	}
	if err := book.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("seed: many"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBook(t.Context(), dir, byTheClock()); err == nil || !strings.Contains(err.Error(), "seed") {
		t.Errorf("a bad configuration: %v", err)
	}
}

// What the folder cannot take is tried again, as when another program holds it.
func TestLabelsWaitForTheFolder(t *testing.T) {
	c := tiny(t)
	o := byTheClock()
	o.After = func(time.Duration) <-chan time.Time { return time.After(time.Millisecond) }
	s, err := Create(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	settle, err := s.mirror(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer settle()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.Dir(), "session.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("ALTER TABLE preferences RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.conn.Book(s.name).Append(t.Context(), opinion("far", i)); err != nil {
			t.Fatal(err)
		}
	}
	if ls, err := s.store.Labels(t.Context()); err == nil {
		t.Errorf("%d labels were read from nowhere", len(ls))
	}
	if _, err := db.Exec("ALTER TABLE away RENAME TO preferences"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are copied", func() bool { ls, err := s.store.Labels(t.Context()); return err == nil && len(ls) == 3 })
	agreed(t, s.store, s.conn.Book(s.name))
}

// A label about steps that an episode does not have, as a file made by hand may hold, is left
// out and told of; a session that aligned its reward by it would end, and so would the next.
func TestWhatIsSaidOfStepsThatAreNotThereIsLeftOut(t *testing.T) {
	c := tiny(t)
	s, log := logging(t, c)
	for i := range 2 {
		ep := policy.Episode{ID: fmt.Sprintf("demo-%05d", i), Origin: policy.Demo, Applied: make([]robot.Command, 20), By: make([]robot.Source, 20), Version: make([]uint64, 20), Inputs: make([]policy.Input, 21)}
		if _, err := s.store.AddEpisode(t.Context(), ep); err != nil {
			t.Fatal(err)
		}
	}
	pair := func(id, second string, from, to int) label.Label {
		return label.Label{ID: id, Annotator: "ann", Choice: label.Left, Query: label.Query{ID: "q" + id, Kind: label.Pair, Clips: []label.Clip{{Episode: "demo-00000"}, {Episode: second, From: from, To: to}}}}
	}
	for _, l := range []label.Label{
		pair("whole", "demo-00001", 0, 0), pair("last", "demo-00001", 19, 20), pair("bag", "monday.bag", 40, 5000),
		pair("over", "demo-00001", 4, 21), pair("after", "demo-00001", 20, 0),
		{ID: "marks", Annotator: "ann", Query: label.Query{ID: "qm", Kind: label.Segments, Clips: []label.Clip{{Episode: "demo-00000"}}}, Marks: []label.Mark{{From: 18, To: 22, Good: true}}},
	} {
		if _, err := s.store.Append(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		ls, err := s.heard(t.Context())
		var ids []string
		for _, l := range ls {
			ids = append(ids, l.ID)
		}
		if want := []string{"whole", "last", "bag"}; err != nil || !slices.Equal(ids, want) {
			t.Errorf("labels %v, error %v, want %v", ids, err, want)
		}
	}
	for _, id := range []string{"over", "after", "marks"} {
		if n := strings.Count(log.String(), "id="+id); n != 1 {
			t.Errorf("%s is told of %d times, want once", id, n)
		}
	}
	// What was said of a recording beside the session aligns nothing.
	if a, err := s.opinions(t.Context(), taste{}); err != nil || len(a.order) != 2 || a.aside != 1 {
		t.Errorf("%d comparisons, %d aside, error %v, want 2 and 1", len(a.order), a.aside, err)
	}
}
