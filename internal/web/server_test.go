package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
)

// address splits a page's URL into where to ask and the token.
func address(w *web.Server) (base, token string) {
	base, token, _ = strings.Cut(w.URL(), "/#")
	return base, token
}

// ask does a request and returns its status and body.
func ask(t testing.TB, method, url, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func TestActsNeedTheTokenAndThisOrigin(t *testing.T) {
	s := newSession(t, bus.Options{})
	base, token := address(s.page(t))
	for _, tt := range []struct {
		name, method, path string
		header             []string
		want               int
	}{
		{"stop without a token", "POST", "/stop", nil, 401},
		{"stop with a wrong token", "POST", "/stop", []string{"Authorization", "Bearer " + token[1:]}, 401},
		{"stop with another scheme", "POST", "/stop", []string{"Authorization", "Basic " + token}, 401},
		{"stop with the token in the address", "POST", "/stop?token=" + token, nil, 401},
		{"acknowledge without a token", "POST", "/acknowledge", nil, 401},
		{"stop from another site", "POST", "/stop", []string{"Authorization", "Bearer " + token, "Origin", "http://evil.example"}, 403},
		{"stop by another site's fetch", "POST", "/stop", []string{"Authorization", "Bearer " + token, "Sec-Fetch-Site", "cross-site"}, 403},
		{"stop by getting", "GET", "/stop", []string{"Authorization", "Bearer " + token}, 404},
		{"socket without a token", "GET", "/live", nil, 401},
		{"socket that is none", "GET", "/live", []string{"Authorization", "Bearer " + token}, 426},
		{"outside the page", "GET", "/../web.go", nil, 404},
		{"unknown", "GET", "/x", nil, 404},
	} {
		if got, body, _ := ask(t, tt.method, base+tt.path, "{}", tt.header...); got != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.name, got, body, tt.want)
		}
	}
	if s.g.Fault() != nil {
		t.Error("one of them stopped the arm")
	}
	_, body, h := ask(t, "GET", base+"/", "")
	if strings.Contains(body, token) || strings.Contains(body, s.name) {
		t.Error("who has no token gets it, or the session's name, with the page")
	}
	for k, want := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if !strings.Contains(h.Get(k), want) {
			t.Errorf("%s is %q, want %s", k, h.Get(k), want)
		}
	}
}

func TestStopNeedsNoMoreThanTheToken(t *testing.T) {
	for name, body := range map[string]string{"nothing": "", "no JSON": "<stop>", "too much": strings.Repeat("x", 1<<20), "words": `{"who": "Ada", "why": "smoke"}`} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, bus.Options{})
			base, token := address(s.page(t))
			code, answer, _ := ask(t, "POST", base+"/stop", body, "Authorization", "Bearer "+token)
			if code != 200 || s.g.Fault() == nil {
				t.Fatalf("got %d %s; fault %v", code, answer, s.g.Fault())
			}
			var v struct {
				Held bool    `json:"held"`
				Took float64 `json:"took_ms"`
			}
			if err := json.Unmarshal([]byte(answer), &v); err != nil || !v.Held || v.Took <= 0 {
				t.Errorf("got %s, %v", answer, err)
			}
			want := "somebody at the page: stopped at the page"
			if name == "words" {
				want = "Ada: smoke"
			}
			if d := s.g.Fault().Detail; d != want {
				t.Errorf("latched %q, want %q", d, want)
			}
		})
	}
}

func TestAcknowledgingTakesANameAndTheRightFault(t *testing.T) {
	s := newSession(t, bus.Options{})
	base, token := address(s.page(t))
	post := func(path, body string) (int, string) {
		code, answer, _ := ask(t, "POST", base+path, body, "Authorization", "Bearer "+token)
		return code, answer
	}
	post("/stop", "{}")
	for body, want := range map[string]int{
		`{"fault": 1, "who": "  "}`: 400, `{"fault": 1}`: 400, `{"fault": 2, "who": "Ada"}`: 409, `nonsense`: 400, ``: 400,
		`{"fault": 1, "who": "` + strings.Repeat("a", 1000) + `"}`: 400,
	} {
		if got, answer := post("/acknowledge", body); got != want || !strings.Contains(answer, `"error"`) {
			t.Errorf("%.40s: got %d %s, want %d", body, got, answer, want)
		}
	}
	if s.g.Fault() == nil {
		t.Fatal("one of them cleared the fault")
	}
	if got, answer := post("/acknowledge", `{"fault": 1, "who": "Ada"}`); got != 200 || s.g.Fault() != nil {
		t.Errorf("got %d %s, fault %v", got, answer, s.g.Fault())
	}
}

func TestStopThatNobodyHearsIsAnError(t *testing.T) {
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	w, err := web.Start(web.Options{Conn: srv.Conn(), Session: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	base, token := address(w)
	code, answer, _ := ask(t, "POST", base+"/stop", "{}", "Authorization", "Bearer "+token)
	if code != 502 || !strings.Contains(answer, "no such service") {
		t.Errorf("got %d %s", code, answer)
	}
}

// dial opens a page's socket as a browser does.
func dial(t testing.TB, w *web.Server, origin string) (*websocket.Conn, error) {
	t.Helper()
	base, token := address(w)
	o := &websocket.DialOptions{Subprotocols: []string{"rapport.v1", "token." + token}}
	if origin != "" {
		o.HTTPHeader = http.Header{"Origin": {origin}}
	}
	c, _, err := websocket.Dial(within(t), strings.Replace(base, "http", "ws", 1)+"/live", o)
	if err == nil {
		c.SetReadLimit(1 << 22)
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, err
}

// looker is a browser without a screen: it acknowledges what it is sent, until
// the test ends, and tells the newest.
type looker struct {
	c    *websocket.Conn
	told chan map[string]any
	end  chan error
}

func look(t testing.TB, w *web.Server) looker {
	t.Helper()
	c, err := dial(t, w, "")
	if err != nil {
		t.Fatal(err)
	}
	l := looker{c, make(chan map[string]any, 1), make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			typ, b, err := c.Read(ctx)
			if err != nil {
				l.end <- err
				return
			}
			if typ != websocket.MessageText {
				continue
			}
			var v map[string]any
			if err := json.Unmarshal(b, &v); err != nil {
				l.end <- err
				return
			}
			if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"ack":%v}`, v["n"])); err != nil {
				l.end <- err
				return
			}
			select {
			case <-l.told:
			default:
			}
			l.told <- v
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = c.CloseNow()
	})
	return l
}

// next is what the page is told next.
func (l looker) next(t testing.TB) map[string]any {
	t.Helper()
	select {
	case v := <-l.told:
		return v
	case err := <-l.end:
		l.end <- err
		t.Fatal(err)
	case <-within(t).Done():
		t.Fatal("the page is told nothing")
	}
	return nil
}

func (l looker) say(t testing.TB, format string, a ...any) {
	t.Helper()
	if err := l.c.Write(within(t), websocket.MessageText, fmt.Appendf(nil, format, a...)); err != nil {
		t.Fatal(err)
	}
}

func TestSocketRefusesOtherOrigins(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	base, _ := address(w)
	if _, err := dial(t, w, "http://evil.example"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("got %v, want 403", err)
	}
	c, err := dial(t, w, base)
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Subprotocol(); p != "rapport.v1" {
		t.Errorf("the server answers with protocol %q; the token must not come back", p)
	}
}

func TestMalformedWordsEndTheSocket(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	for name, m := range map[string]string{
		"no JSON":       "hello",
		"axis":          `{"teleop":{"seq":1,"at":1,"deadman":true,"axes":[1.5]}}`,
		"too many axes": `{"teleop":{"seq":1,"at":1,"deadman":true,"axes":[` + strings.Repeat("0,", 16) + `0]}}`,
		"clock":         `{"teleop":{"seq":1,"at":-1,"deadman":true,"axes":[0]}}`,
		"device":        `{"teleop":{"seq":1,"at":1,"deadman":true,"device":"` + strings.Repeat("a", 200) + `"}}`,
		"too long":      `"` + strings.Repeat("a", 5000) + `"`,
	} {
		l := look(t, w)
		l.next(t)
		l.say(t, "%s", m)
		select {
		case err := <-l.end:
			if c := websocket.CloseStatus(err); c != websocket.StatusPolicyViolation && c != websocket.StatusMessageTooBig {
				t.Errorf("%s: ended with %v", name, err)
			}
		case <-within(t).Done():
			t.Errorf("%s: the socket goes on", name)
		}
	}
}

func TestOneBrowserDrivesAtATime(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	tap, err := bus.NewTap(s.srv.Conn(), s.name, bus.TeleopTopic(), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	next := func() bus.Teleop {
		t.Helper()
		v, err := tap.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a, b := look(t, w), look(t, w)
	say := func(l looker, who string, seq int, deadman bool) {
		t.Helper()
		l.say(t, `{"teleop":{"who":%q,"device":"keys","seq":%d,"at":%d,"deadman":%v,"axes":[0.5,0,0,0,0,0],"buttons":[false,true]}}`, who, seq, 30*seq, deadman)
	}
	say(a, "Ada", 1, true)
	first := next()
	if first.Who != "Ada" || first.Seq != 1 || !first.Deadman || first.Axes[0] != 0.5 || !first.Buttons[1] || !first.Stamp.Equal(time.UnixMilli(30)) {
		t.Errorf("got %+v", first)
	}
	say(b, "Bob", 1, true) // Ada has the arm
	say(a, "Ada", 1, true) // seen before
	eventually(t, "Bob is told who drives", func() bool {
		v := b.next(t)
		return v["pilot"] == "Ada" && v["yours"] == nil
	})
	say(a, "Ada", 2, true)
	if v := next(); v.Who != "Ada" || v.Seq != 2 || v.Boot != first.Boot {
		t.Errorf("got %+v, want Ada's second", v)
	}
	// Ada's tablet goes away with the switch held.
	_ = a.c.CloseNow()
	if v := next(); v.Deadman || v.Who != "Ada" || v.Seq != 3 || v.Axes[0] != 0 || v.Buttons[1] || !v.Stamp.After(first.Stamp) {
		t.Errorf("got %+v, want a release", v)
	}
	say(b, "", 5, true)
	if v := next(); !strings.HasPrefix(v.Who, "somebody at 127.0.0.1") || v.Boot == first.Boot {
		t.Errorf("got %+v, want Bob's without a name, another life", v)
	}
	say(b, "", 6, false)
	if v := next(); v.Deadman {
		t.Errorf("got %+v, want Bob's release", v)
	}
}

func TestSlowBrowserSlowsNobody(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	quick := look(t, w)
	before := rate(t, s)
	// Slow ones read what comes and acknowledge nothing, or do not even read.
	var sent int
	deaf, err := dial(t, w, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, w, ""); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			typ, _, err := deaf.Read(context.Background())
			if err != nil {
				ended <- err
				return
			}
			if typ == websocket.MessageText {
				sent++
			}
		}
	}()
	after := rate(t, s)
	for range 2 { // other work on the machine is no fault
		after = max(after, rate(t, s))
	}
	if after < 0.7*before {
		t.Errorf("%.1f ticks a second with slow browsers, %.1f without", after, before)
	}
	seen := quick.next(t)["n"].(float64)
	eventually(t, "the quick one is told more", func() bool { return quick.next(t)["n"].(float64) > seen+10 })
	select {
	case <-ended:
		// Four may be owed; the fifth is never sent.
		if sent != 4 {
			t.Errorf("%d messages to a browser that acknowledges none, want 4", sent)
		}
	case <-within(t).Done():
		t.Error("a browser that says nothing is kept")
	}
}

// rate is the session's ticks a second, over a second.
func rate(t testing.TB, s *session) float64 {
	t.Helper()
	began, n := time.Now(), s.tickCount()
	time.Sleep(time.Second)
	return float64(s.tickCount()-n) / time.Since(began).Seconds()
}

// Nobody looks while the last pictures come.
func TestOldPictureIsOldForWhoComesLate(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	eventually(t, "a while of the session", func() bool { return s.tickCount() > 50 })
	s.quit()
	<-s.done
	const wait = 1200
	time.Sleep(wait * time.Millisecond)
	l := look(t, w)
	for {
		v := l.next(t)
		cams, _ := v["cameras"].([]any)
		if len(cams) != len(cameraNames) {
			t.Fatalf("told of cameras %v", cams)
		}
		age := cams[0].(map[string]any)["age"].(float64)
		if age < 0 {
			continue // not made a picture yet
		}
		if age < wait {
			t.Errorf("the picture is told to be %v ms old, but is %v at least", age, wait)
		}
		if age := v["state"].(map[string]any)["age"].(float64); age < wait {
			t.Errorf("the state is told to be %v ms old, but is %v at least", age, wait)
		}
		return
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	s := newSession(t, bus.Options{})
	taken, _ := address(s.page(t))
	for name, tt := range map[string]struct {
		o    web.Options
		want string
	}{
		"no bus":       {web.Options{Session: "a"}, "no session to show"},
		"no session":   {web.Options{Conn: s.srv.Conn()}, "no session to show"},
		"session":      {web.Options{Conn: s.srv.Conn(), Session: "a b"}, `session "a b"`},
		"port taken":   {web.Options{Conn: s.srv.Conn(), Session: "a", Listen: strings.TrimPrefix(taken, "http://")}, "port 0 picks a free one"},
		"no such host": {web.Options{Conn: s.srv.Conn(), Session: "a", Listen: "nowhere"}, "web: listen nowhere"},
	} {
		if w, err := web.Start(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
			if w != nil {
				w.Close()
			}
		}
	}
}

// Who opens the page on a tablet needs an address of this machine, which localhost is not there.
func TestAPageForAllIsToldByItsAddresses(t *testing.T) {
	s := newSession(t, bus.Options{})
	if far := s.page(t).Elsewhere("http://127.0.0.1:1/"); len(far) > 0 {
		t.Errorf("a page of this machine alone is told as %q", far)
	}
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: "a", Listen: "0.0.0.0:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if !strings.HasPrefix(w.URL(), "http://localhost:") {
		t.Errorf("here it is at %s", w.URL())
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	beside := slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil
	})
	far := w.Elsewhere(w.LabelURL())
	if beside != (len(far) > 0) {
		t.Fatalf("addresses %v are told as %q", own, far)
	}
	for _, link := range far {
		u, err := url.Parse(link)
		if err != nil || net.ParseIP(u.Hostname()).IsLoopback() || u.Path != "/label" || !strings.HasSuffix(w.URL(), u.Fragment) {
			t.Fatalf("%s, %v", link, err)
		}
		if code, _, _ := ask(t, "GET", link, ""); code != http.StatusOK {
			t.Errorf("%s answers %d", link, code)
		}
	}
}

func TestTheTokenOfASessionIsKeptForItsOwner(t *testing.T) {
	dir := t.TempDir()
	first, err := web.Token(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := web.Token(dir); err != nil || again != first {
		t.Errorf("a second start has token %q, %v; want the first one's, %q", again, err, first)
	}
	path := filepath.Join(dir, "page-token")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the token is kept as %v, %v; want a file of mode 0600", st, err)
	}
	for name, spoil := range map[string]func() error{
		"that others could read": func() error { return os.Chmod(path, 0o644) },
		"that was cut off":       func() error { return os.Truncate(path, 3) },
		"that is gone":           func() error { return os.Remove(path) },
	} {
		before, err := web.Token(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		after, err := web.Token(dir)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); after == before || len(after) < 26 || err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("a token %s is followed by %q in %v (%v); it was %q", name, after, st, err, before)
		}
	}
	if _, err := web.Token(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that is not there keeps a token")
	}
}
