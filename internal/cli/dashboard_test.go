package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rapport-rl/rapport/internal/bus"
)

// sight is what a page is told, as far as the tests look at it.
type sight struct {
	N      uint64 `json:"n"`
	Status *struct {
		By    string     `json:"by"`
		Human int        `json:"humans"`
		Fault *bus.Fault `json:"fault"`
	} `json:"status"`
	State *struct {
		P []float64 `json:"p"`
	} `json:"state"`
	Work []struct {
		Role, Stage string
		Total       int
		Bye         bool
	} `json:"work"`
	Success []bus.Share `json:"success"`
	Rewards *struct {
		Values []float64 `json:"values"`
	} `json:"rewards"`
	Returns *struct {
		Values []float64 `json:"values"`
	} `json:"returns"`
	Metrics []struct {
		Role string `json:"role"`
	} `json:"metrics"`
	Teleop bool           `json:"teleop"`
	frames map[string]int // so far, by camera
}

// watcher is a browser without a screen.
type watcher struct {
	t     *testing.T
	url   string
	token string
	c     *websocket.Conn
	frame map[string]int
	hand  int // readings so far
}

func watchPage(t *testing.T, c *console) *watcher {
	t.Helper()
	m := c.said(t, `dashboard  http://(.*)/#(\w+)`)
	w := &watcher{t: t, url: m[1], token: m[2], frame: map[string]int{}}
	if err := w.dial(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watcher) dial() (err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	w.c, _, err = websocket.Dial(ctx, "ws://"+w.url+"/live", &websocket.DialOptions{Subprotocols: []string{"rapport.v1", "token." + w.token}})
	if err == nil {
		w.c.SetReadLimit(1 << 22)
		w.t.Cleanup(func() { _ = w.c.CloseNow() })
	}
	return err
}

// back waits as the page does: until what it is told of is gone, and then until it is served again.
func (w *watcher) back(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err := error(nil); err == nil; _, _, err = w.c.Read(ctx) {
		continue
	}
	for w.dial() != nil {
		if ctx.Err() != nil {
			t.Fatal("the page did not come back")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// until reads what the page is told until it fits; each, if set, is called
// whenever it is told something.
func (w *watcher) until(what string, each func(), ok func(sight) bool) sight {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var last sight
	for {
		typ, b, err := w.c.Read(ctx)
		if err != nil {
			w.t.Fatalf("%s: %v; the last was %+v", what, err, last)
		}
		if typ == websocket.MessageBinary {
			n := int(b[0])<<8 | int(b[1])
			var head struct{ Camera string }
			if err := json.Unmarshal(b[2:2+n], &head); err != nil {
				w.t.Fatal(err)
			}
			w.frame[head.Camera]++
			continue
		}
		last = sight{}
		if err := json.Unmarshal(b, &last); err != nil {
			w.t.Fatalf("%s: %v", b, err)
		}
		last.frames = w.frame
		if err := w.c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"ack":%d}`, last.N)); err != nil {
			w.t.Fatal(err)
		}
		if each != nil {
			each()
		}
		if ok(last) {
			return last
		}
	}
}

// holdOn tells the page's hand, with the switch held or not.
func (w *watcher) holdOn(deadman bool) {
	w.t.Helper()
	w.hand++
	m := fmt.Appendf(nil, `{"teleop":{"who":"anna","device":"keys","seq":%d,"at":%d,"deadman":%v,"axes":[0,-1,0,0],"buttons":[]}}`, w.hand, time.Now().UnixMilli()%1e9, deadman)
	if err := w.c.Write(w.t.Context(), websocket.MessageText, m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watcher) post(path, body string) (int, map[string]any) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "POST", "http://"+w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var v map[string]any
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, v
}

// A whole session under the eyes of its page and of a second one in a process of
// its own: stopped, acknowledged and driven by hand.
func TestDashboardShowsStopsAndDrivesASession(t *testing.T) {
	l := newLab(t)
	c := &console{}
	run, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	done := make(chan int, 1)
	go func() {
		code, _ := l.run(run, c, "run", "--dashboard=127.0.0.1:0", "--set", "robot.pace=real", "--set", "teleop.input=bus", "--set", "session.episodes=30")
		done <- code
	}()
	w := watchPage(t, c)
	w.until("everything that is told", nil, func(v sight) bool {
		return v.Status != nil && v.Status.By != "" && v.State != nil && len(v.Work) == 1 && v.Work[0].Stage == "fine-tune" && v.Work[0].Total == 30 && v.Teleop && len(v.Success) > 0 && v.frames["front"] > 2
	})
	w.until("a reward curve that grows", nil, func(v sight) bool { return v.Rewards != nil && len(v.Rewards.Values) > 3 })
	w.until("returns and the learner's numbers", nil, func(v sight) bool { return v.Returns != nil && len(v.Returns.Values) > 0 && len(v.Metrics) > 0 })

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c2 := &console{}
	done2 := make(chan int, 1)
	go func() {
		code, _ := l.run(ctx, c2, "dashboard", "--listen", "127.0.0.1:0")
		done2 <- code
	}()
	other := watchPage(t, c2)

	code, r := w.post("/stop", `{"who":"anna","why":"smoke"}`)
	if code != 200 || r["held"] != true {
		t.Fatalf("stop: %d %v", code, r)
	}
	t.Logf("from request to hold %.1f ms", r["took_ms"])
	for _, x := range []*watcher{w, other} {
		v := x.until("the fault", nil, func(v sight) bool { return v.Status != nil && v.Status.Fault != nil })
		if f := v.Status.Fault; f.ID != 1 || f.Cause != "stopped" || !strings.Contains(f.Detail, "anna: smoke") {
			t.Errorf("got %+v", f)
		}
	}
	if code, r := other.post("/acknowledge", `{"fault":1,"who":"ben"}`); code != 200 {
		t.Fatalf("acknowledge: %d %v", code, r)
	}
	w.until("no fault", nil, func(v sight) bool { return v.Status.Fault == nil })

	w.until("a person's steps", func() { w.holdOn(true) }, func(v sight) bool { return v.Status.By == "human" && v.Status.Human > 2 })
	w.holdOn(false)
	w.until("the policy again", nil, func(v sight) bool { return v.Status.By == "policy" || v.Status.By == "guard" })

	interrupt() // the rest takes a minute on real time
	w.until("that the session ended", nil, func(v sight) bool { return v.Work[0].Bye })
	if code := <-done; code != exitInterrupted {
		t.Fatalf("the session ended with %d:\n%s", code, c)
	}

	// It goes on: both pages are of it again, by the links that they had.
	run, interrupt = context.WithCancel(t.Context())
	defer interrupt()
	go func() {
		code, _ := l.run(run, c, "run", "--resume", "--dashboard="+w.url)
		done <- code
	}()
	fine := func(v sight) bool { return len(v.Work) == 1 && v.Work[0].Stage == "fine-tune" && !v.Work[0].Bye }
	for _, x := range []*watcher{w, other} {
		x.back(t)
		x.until("the session that goes on", nil, fine)
	}
	if code, r := other.post("/stop", `{"who":"ben","why":"smoke"}`); code != 200 || r["held"] != true {
		t.Fatalf("stop: %d %v", code, r)
	}
	cancel()
	if code := <-done2; code != exitDone {
		t.Errorf("the second page ended with %d:\n%s", code, c2)
	}
	if n := strings.Count(c2.String(), "dashboard  http"); n != 1 {
		t.Errorf("the second page told its link %d times:\n%s", n, c2)
	}
	interrupt()
	if code := <-done; code != exitInterrupted {
		t.Fatalf("the session that went on ended with %d:\n%s", code, c)
	}
}

func TestDashboardSaysWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no session": {[]string{"dashboard"}, "no session"},
		"no server":  {[]string{"dashboard", "--nats", "nats://127.0.0.1:1", "--session", "a"}, "is a server running there"},
		"arguments":  {[]string{"dashboard", "x"}, "takes no arguments"},
		"address":    {[]string{"run", "--dashboard=nowhere"}, "web: listen nowhere"},
	} {
		l := newLab(t)
		if code, out := l.run(t.Context(), &console{}, tt.args...); code == exitDone || !strings.Contains(out, tt.want) {
			t.Errorf("%s: ended with %d, want %q in:\n%s", name, code, tt.want, out)
		}
		if _, err := os.Stat(l.session()); err == nil {
			t.Errorf("%s: left a folder", name)
		}
	}
}
