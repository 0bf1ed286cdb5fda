package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/label"
)

// person is somebody at a labelling page without a browser.
type person struct {
	t          *testing.T
	who        string
	url, token string
}

func (p person) ask(method, path string, body any) (int, string) {
	p.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(b))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, string(got)
}

// state is what the page is told once there is a question.
func (p person) state(kind label.Kind) (v ask.State) {
	p.t.Helper()
	for range 100 {
		code, body := p.ask("GET", "/label/state?annotator="+p.who+"&kind="+string(kind), nil)
		v = ask.State{}
		if err := json.Unmarshal([]byte(body), &v); err != nil || code != 200 {
			p.t.Fatalf("%d %s", code, body)
		}
		if v.Question != nil {
			return v
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.t.Fatalf("no question: %+v", v)
	return v
}

func (p person) answer(v ask.State, c label.Choice) (w ask.State) {
	p.t.Helper()
	code, body := p.ask("POST", "/label/answer", label.Label{ID: v.Label, Annotator: p.who, Query: v.Question.Query, Choice: c})
	if err := json.Unmarshal([]byte(body), &w); err != nil || code != 200 {
		p.t.Fatalf("%d %s", code, body)
	}
	return w
}

// label starts a labelling page, until end is called.
func (l lab) label(who string, args ...string) (p person, end func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	l.t.Cleanup(cancel)
	c, done := &console{}, make(chan int, 1)
	go func() {
		code, _ := l.run(ctx, c, append([]string{"label", "--listen", "127.0.0.1:0"}, args...)...)
		done <- code
	}()
	m := c.said(l.t, `label      (http://.*)/label#(\w+)`)
	return person{l.t, who, m[1], m[2]}, func() {
		cancel()
		if code := <-done; code != exitDone {
			l.t.Errorf("rapport label ended with %d:\n%s", code, c)
		}
	}
}

// said are the labels of people in the session's folder.
func (l lab) said() (out []label.Label) {
	l.t.Helper()
	st, err := store.Open(l.session())
	if err != nil {
		l.t.Fatal(err)
	}
	defer st.Close()
	ls, err := st.Labels(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, x := range ls {
		if !strings.HasPrefix(x.Annotator, "simulated") {
			out = append(out, x)
		}
	}
	return out
}

func TestPeopleLabelAFinishedSession(t *testing.T) {
	l := newLab(t)
	l.must("run")
	monday := filepath.Join(l.dir, "monday.bag")
	bagged(t, filepath.Join(l.session(), "episodes", "demo-00000.mcap"), monday, nil)
	ann, end := l.label("ann", l.session(), "--kind", "triplet", "--camera", "front", "--bag", l.elsewhere(), "--bag", monday, "--query", "information")
	ben, end2 := l.label("ben") // the newest session is the same
	v := ann.state("")
	if v.Kind != label.Triplet || v.Session != "reach-001" || len(v.Question.Films) != 3 || v.Question.Films[0].Steps < 2 || v.Question.Why != "information" || v.Question.Gain <= 0 {
		t.Errorf("got %+v", v)
	}
	w := ann.answer(v, label.Right)
	// The folder is free between two answers, for the other page and for us.
	if x := ben.state(label.Triplet); x.All != 1 || x.Question.ID != v.Question.ID {
		t.Errorf("ben's page tells %+v", x)
	}
	ben.answer(ben.state(label.Pair), label.Tie)
	ls := l.said()
	if len(ls) != 2 || ls[0].ID != v.Label || ls[0].Choice != label.Right || ls[1].Annotator != "ben" {
		t.Errorf("the folder has %+v", ls)
	}
	// Recordings from elsewhere can be seen.
	for _, id := range []string{"elsewhere", "monday"} {
		code, body := ann.ask("GET", "/label/frames?episode="+id+"&camera=front&to=2", nil)
		if code != 200 || !strings.Contains(body, "\xff\xd8\xff") || strings.Contains(body, `"sizes":[0`) {
			t.Errorf("%s: %d %.200q", id, code, body)
		}
	}
	end2()
	if x := ann.answer(w, label.Left); x.Answered != 2 {
		t.Errorf("got %+v", x)
	}
	end()
	// With a copy of the folder here, answers go to a bus elsewhere.
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	eve, end := l.label("eve", l.session(), "--nats", srv.URL())
	eve.answer(eve.state(label.Pair), label.Unsure)
	end()
	if ls, err := srv.Conn().Book("reach-001").Labels(t.Context()); err != nil || len(ls) != 1 || ls[0].Annotator != "eve" || len(l.said()) != 3 {
		t.Errorf("the bus has %+v, %v", ls, err)
	}
}

// elsewhere is an episode of another session.
func (l lab) elsewhere() string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.session(), "episodes", "demo-00001.mcap"))
	if err != nil {
		l.t.Fatal(err)
	}
	path := filepath.Join(l.t.TempDir(), "elsewhere.mcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

func TestPeopleLabelASessionThatRuns(t *testing.T) {
	l := newLab(t)
	c := &console{}
	run, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	done := make(chan int, 1)
	go func() {
		code, _ := l.run(run, c, "run", "--dashboard=127.0.0.1:0", "--set", "robot.pace=real", "--set", "session.episodes=30")
		done <- code
	}()
	m := c.said(t, `dashboard  (http://.*)/#(\w+)`)
	ann := person{t, "ann", m[1], m[2]} // at the dashboard's page
	v := ann.state(label.Pair)
	ann.answer(v, label.Left)
	ben, end := l.label("ben", "reach-001") // in a process of his own
	w := ben.state(label.Pair)
	if w.All != 1 || w.Question.ID != v.Question.ID {
		t.Errorf("ben is told %+v", w)
	}
	w = ben.answer(w, label.Right)
	if len(w.Agree) != 1 || w.Agree[0].Share != 0 || len(w.Others) != 1 {
		t.Errorf("they disagreed: %+v", w)
	}
	if x := ann.state(label.Pair); x.All != 2 {
		t.Errorf("ann is told of %d answers, want 2", x.All)
	}
	if _, body := ben.ask("GET", "/arm", nil); !strings.Contains(body, `"live":true`) {
		t.Errorf("beside a session that runs: %s", body)
	}
	interrupt()
	if code := <-done; code != exitInterrupted {
		t.Fatalf("the session ended with %d:\n%s", code, c)
	}
	if _, body := ben.ask("GET", "/arm", nil); !strings.Contains(body, `"live":false`) {
		t.Errorf("after the session's end: %s", body)
	}
	// Ben's page goes on with the folder.
	x := ben.answer(w, label.Tie)
	if x.Answered < 1 || !x.Added {
		t.Errorf("after the session's end: %+v", x)
	}
	end()
	l.must("run", "--resume", "--set", "session.episodes=6")
	if ls := l.said(); len(ls) != 3 {
		t.Errorf("the folder has %+v", ls)
	}
}

func TestLabelSaysWhatIsWrong(t *testing.T) {
	l := newLab(t)
	l.interrupted("demonstrations", "run")
	dir := l.session()
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"two sessions":      {[]string{"a", "b"}, exitUsage, "accepts at most 1 arg"},
		"named twice":       {[]string{dir, "--session", dir}, exitUsage, "named twice"},
		"no session":        {[]string{"nowhere"}, exitUsage, "neither a session's folder"},
		"kind":              {[]string{dir, "--kind", "vote"}, exitUsage, "want pair, triplet, ranking or segments"},
		"choice":            {[]string{dir, "--query", "wise"}, exitUsage, "want one of random, information"},
		"clips":             {[]string{dir, "--clips", "1"}, exitUsage, "want 2 to 8"},
		"no bag":            {[]string{dir, "--bag", "nowhere.bag"}, exitFailed, "no such file"},
		"a session for bag": {[]string{dir, "--bag", dir}, exitFailed, "label it by itself"},
		"topic":             {[]string{dir, "--map", "front"}, exitUsage, "--map"},
		"camera":            {[]string{dir, "--camera", "front", "--camera", "wirst"}, exitUsage, `--camera is "wirst"; ` + dir + " has front"},
		"address":           {[]string{dir, "--listen", "nowhere"}, exitFailed, "web: listen nowhere"},
		"no server":         {[]string{dir, "--nats", "nats://127.0.0.1:1"}, exitFailed, "is a server running there"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		code, out := l.run(ctx, &console{}, append([]string{"label"}, tt.args...)...)
		cancel()
		if code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: ended with %d, want %d and %q in:\n%s", name, code, tt.code, tt.want, out)
		}
	}
}
