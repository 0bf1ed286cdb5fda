package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
	questions "github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot/record"
)

// memory is a book whose Append can be made to fail.
type memory struct {
	mu   sync.Mutex
	ls   []label.Label
	fail error
}

func (m *memory) Append(_ context.Context, l label.Label) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return false, m.fail
	}
	if slices.ContainsFunc(m.ls, func(x label.Label) bool { return x.ID == l.ID }) {
		return false, nil
	}
	m.ls = append(m.ls, l)
	return true, l.Validate()
}

func (m *memory) Labels(context.Context) ([]label.Label, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ls), nil
}

func (m *memory) broken(err error) {
	m.mu.Lock()
	m.fail = err
	m.mu.Unlock()
}

// last is the newest label, of n.
func (m *memory) last(t testing.TB, n int) label.Label {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ls) != n {
		t.Fatalf("%d labels are stored, want %d", len(m.ls), n)
	}
	return m.ls[n-1]
}

// strips are episodes of 20 to 24 steps seen by cameras; the red of a picture is 10
// times the step.
type strips struct {
	n       int
	cameras []string
}

func (s strips) Episodes(context.Context) (ids []string, err error) {
	for i := range s.n {
		ids = append(ids, fmt.Sprintf("online-%05d", i))
	}
	return ids, nil
}

func (s strips) Frames(_ context.Context, id string) ([][]record.Encoded, error) {
	var n int
	if _, err := fmt.Sscanf(id, "online-%d", &n); err != nil {
		return nil, err
	}
	out := make([][]record.Encoded, 21+n%5)
	for t := range out {
		for k, camera := range s.cameras {
			img := image.NewRGBA(image.Rect(0, 0, 64, 48))
			for x := range 64 {
				for y := range 48 {
					c := color.RGBA{uint8(10 * t), uint8(40 * (n % 6)), uint8(120 * k), 255}
					if x > 4*(t%16) && x < 4*(t%16)+6 && y > 40 {
						c = color.RGBA{255, 255, 255, 255}
					}
					img.SetRGBA(x, y, c)
				}
			}
			var b bytes.Buffer
			if err := jpeg.Encode(&b, img, nil); err != nil {
				return nil, err
			}
			at := time.UnixMilli(int64(1000 + 50*t))
			out[t] = append(out[t], record.Encoded{Camera: camera, Seq: uint64(t), Stamp: at, Format: "jpeg", Data: b.Bytes(), W: 64, H: 48})
		}
	}
	return out, nil
}

// labelPage serves a page about strips, without a session that runs.
func labelPage(t testing.TB, m *memory, o questions.Options) *web.Server {
	t.Helper()
	w, err := web.Start(web.Options{Session: "rail-001", Labels: labelDesk(t, m, o)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func labelDesk(t testing.TB, m *memory, o questions.Options) *questions.Desk {
	t.Helper()
	if o.Reels == nil {
		o.Reels = strips{8, []string{"front", "wrist"}}
	}
	o.Book, o.Session, o.Source = m, "rail-001", rand.NewPCG(1, 2)
	d, err := questions.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLabelRequestsNeedTheTokenAndSense(t *testing.T) {
	m := &memory{}
	w := labelPage(t, m, questions.Options{})
	base, token, ok := strings.Cut(w.URL(), "/label#")
	if !ok {
		t.Fatalf("the page is at %s", w.URL())
	}
	pass := []string{"Authorization", "Bearer " + token}
	_, body, _ := requestAt(t, base, pass, "GET", "/label/state?annotator=ann", "")
	var v questions.State
	if err := json.Unmarshal([]byte(body), &v); err != nil || v.Question == nil {
		t.Fatalf("%v in %s", err, body)
	}
	if strings.Contains(body, `"live":true`) {
		t.Error("no session runs here")
	}
	good := label.Label{ID: v.Label, Annotator: "ann", Query: v.Question.Query, Choice: label.Left}
	js := func(spoil func(*label.Label)) string {
		l := good
		l.Query.Clips = slices.Clone(l.Query.Clips)
		spoil(&l)
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := js(func(*label.Label) {})
	spaces := js(func(l *label.Label) { l.Annotator, l.Tags = "\u00a0ann\u2003", []string{"leans\u00a0left"} })
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		want                     int
		says                     string
	}{
		{"the page", "GET", "/label", "", nil, 200, "<title>Label"},
		{"no token", "GET", "/label/state", "", nil, 401, "open the link"},
		{"frames without a token", "GET", "/label/frames?episode=online-00001&camera=front", "", nil, 401, "open the link"},
		{"an answer without a token", "POST", "/label/answer", whole, nil, 401, "open the link"},
		{"an answer from another site", "POST", "/label/answer", whole, append([]string{"Origin", "http://evil.example"}, pass...), 403, ""},
		{"an undo without a token", "POST", "/label/undo", `{}`, nil, 401, "open the link"},
		{"a name with what is not seen", "GET", "/label/state?annotator=a%E2%80%8Bb", "", pass, 400, `{"error":"the name`},
		{"a kind of none", "GET", "/label/state?annotator=ann&kind=vote", "", pass, 400, "want pair, triplet"},
		{"a way of none", "GET", "/label/state?annotator=ann&way=lucky", "", pass, 400, "want one of random"},
		{"no JSON", "POST", "/label/answer", "left", pass, 400, "one JSON object"},
		{"a field of none", "POST", "/label/answer", `{"winner":1}`, pass, 400, "winner"},
		{"two objects", "POST", "/label/answer", whole + whole, pass, 400, "something follows"},
		{"a long one", "POST", "/label/answer", `{"annotator":"` + strings.Repeat("x", 1<<17) + `"}`, pass, 413, ""},
		{"nobody", "POST", "/label/answer", js(func(l *label.Label) { l.Annotator = "" }), pass, 400, "without a name"},
		{"another choice", "POST", "/label/answer", js(func(l *label.Label) { l.Choice = "both" }), pass, 400, "want left, right, tie or unsure"},
		{"another question", "POST", "/label/answer", js(func(l *label.Label) { l.Query.ID = "q-1" }), pass, 400, "was never asked"},
		{"another id", "POST", "/label/answer", js(func(l *label.Label) { l.ID = "mine" }), pass, 400, "load the page again"},
		{"an episode elsewhere", "POST", "/label/answer", js(func(l *label.Label) {
			l.Query.Clips[0].Episode = "../../etc/passwd"
			l.Query.ID = questions.QueryID(l.Query)
		}), pass, 404, "not there"},
		{"undo of nothing", "POST", "/label/undo", `{"annotator":"ann","id":"l-1"}`, pass, 404, "no answer of yours"},
		{"frames of nothing", "GET", "/label/frames?episode=..%2Fx&camera=front", "", pass, 404, "not there"},
		{"frames of no number", "GET", "/label/frames?episode=online-00001&camera=front&from=x", "", pass, 400, "no number"},
		{"frames beyond the end", "GET", "/label/frames?episode=online-00001&camera=front&to=99", "", pass, 400, "has 21 steps"},
		{"frames", "GET", "/label/frames?episode=online-00001&camera=front&from=2&to=4", "", pass, 200, "image/jpeg"},
		{"a stop where nothing runs", "POST", "/stop", `{}`, pass, 405, ""},
		{"a socket where nothing runs", "GET", "/live", "", pass, 404, ""},
	} {
		if code, body, _ := requestAt(t, base, tt.header, tt.method, tt.path, tt.body); code != tt.want || !strings.Contains(body, tt.says) {
			t.Errorf("%s: got %d %.300s, want %d %q", tt.name, code, body, tt.want, tt.says)
		}
	}
	m.broken(errors.New("the disk is full"))
	if code, body, _ := requestAt(t, base, pass, "POST", "/label/answer", whole); code != 502 || !strings.Contains(body, "disk is full") {
		t.Errorf("a book that does not take it: %d %s", code, body)
	}
	m.broken(nil)
	for i := range 2 {
		code, body, _ := requestAt(t, base, pass, "POST", "/label/answer", []string{spaces, whole}[i])
		if want := fmt.Sprintf(`"added":%v`, i == 0); code != 200 || !strings.Contains(body, want) || !strings.Contains(body, `"answered":1`) {
			t.Errorf("sent %d times: %d %s", i+1, code, body)
		}
	}
	if l := m.last(t, 1); l.Annotator != "ann" || !slices.Equal(l.Tags, []string{"leans left"}) {
		t.Errorf("got %+v", l)
	}
}

func requestAt(t testing.TB, base string, header []string, method, path, body string) (int, string, http.Header) {
	t.Helper()
	return ask(t, method, base+path, body, header...)
}

func TestADashboardWithoutEpisodesSaysWhy(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, NoLabels: "they are elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	base, token := address(w)
	if code, body, _ := ask(t, "GET", base+"/label/state", "", "Authorization", "Bearer "+token); code != 404 || !strings.Contains(body, "nothing can be labelled here: they are elsewhere") {
		t.Errorf("got %d %s", code, body)
	}
	if _, err := web.Start(web.Options{Session: "x"}); err == nil {
		t.Error("a page of nothing was served")
	}
}

func TestJournalReadsOnlyWhatIsNew(t *testing.T) {
	s := newSession(t, bus.Options{Listen: "127.0.0.1:0"})
	j := web.NewJournal(s.srv.Conn(), s.name)
	other, err := bus.Dial(t.Context(), s.srv.URL(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i := range 5 {
		l := label.Label{ID: fmt.Sprint("l", i/2), Annotator: "ann", Stamp: time.Unix(1, 0).UTC(), Choice: label.Tie,
			Query: label.Query{ID: "q", Kind: label.Pair, Clips: []label.Clip{{Episode: "a"}, {Episode: "b"}}}}
		var b label.Book = j
		if i%2 == 1 {
			b = other.Book(s.name)
		}
		if added, err := b.Append(within(t), l); err != nil || added != (i%2 == 0) {
			t.Errorf("%d: added %v, %v", i, added, err)
		}
		ls, err := j.Labels(within(t))
		if err != nil || len(ls) != i/2+1 || ls[i/2].ID != l.ID {
			t.Errorf("after %d: %v, %v", i, ls, err)
		}
	}
}
