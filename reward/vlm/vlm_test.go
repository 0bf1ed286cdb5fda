package vlm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
	"github.com/rapport-rl/rapport/robot"
)

const secret = "sk-of-nobody-0123456789"

var done = json.RawMessage(`{"type":"object","properties":{"done":{"type":"string","enum":["yes","no"]},"sure":{"type":"number","minimum":0,"maximum":1}},"required":["done"],"additionalProperties":false}`)

// rig is a client of a stub, with waits noted instead of waited.
type rig struct {
	c     *vlm.Client
	waits []time.Duration
	log   bytes.Buffer
}

func newRig(t *testing.T, s *vlmtest.Server, change func(*vlm.Config)) *rig {
	t.Helper()
	t.Cleanup(s.Close)
	r := &rig{}
	cfg := vlm.Config{URL: s.URL, Key: secret, Model: "stub", Deadline: 5 * time.Second,
		Price: vlm.Price{In: 2, Out: 10},
		Sleep: func(ctx context.Context, d time.Duration) error { r.waits = append(r.waits, d); return ctx.Err() },
		Log:   slog.New(slog.NewTextHandler(&r.log, nil))}
	if change != nil {
		change(&cfg)
	}
	c, err := vlm.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.c = c
	return r
}

func prompt() vlm.Prompt {
	f := robot.Frame{Camera: "top", W: 2, H: 1, Pix: []byte{10, 20, 30, 40, 50, 60}}
	return vlm.Prompt{System: "look", Text: "Is it done?", Images: []vlm.Image{{Name: "from above", Frame: f}}, Schema: done}
}

func TestAnswerTravelsWholeAndIsCounted(t *testing.T) {
	s := vlmtest.Script(vlmtest.Reply{Text: `{"done":"yes"}`, In: 1000, Out: 100})
	clock := time.Unix(0, 0)
	r := newRig(t, s, func(c *vlm.Config) {
		c.Now = func() time.Time { clock = clock.Add(2 * time.Second); return clock }
	})
	b, use, err := r.c.Ask(t.Context(), prompt())
	if err != nil || string(b) != `{"done":"yes"}` {
		t.Fatalf("got %s, %v", b, err)
	}
	want := vlm.Usage{Tries: 1, In: 1000, Out: 100, Cost: 0.003, Latency: 2 * time.Second}
	if use != want {
		t.Errorf("usage is %+v, want %+v", use, want)
	}
	q := s.Asked()[0]
	if q.Key != secret || q.Model != "stub" || q.System != "look" || !strings.Contains(q.Text, "from above:") || string(q.Schema) != string(done) {
		t.Errorf("the server was asked %+v", q)
	}
	m, err := png.Decode(bytes.NewReader(q.Images[0]))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := m.At(1, 0).RGBA(); r>>8 != 60 || g>>8 != 50 || b>>8 != 40 {
		t.Errorf("pixel is %d %d %d, want 60 50 40 (red, green, blue)", r>>8, g>>8, b>>8)
	}
}

func TestFailuresAreTriedAgainOrNot(t *testing.T) {
	good := vlmtest.Reply{Text: `{"done":"no"}`}
	for _, tt := range []struct {
		name  string
		first vlmtest.Reply
		want  error // nil: the second try helps
		waits []time.Duration
		says  string
	}{
		{"429 waits as long as the server wants", vlmtest.Reply{Status: 429, RetryAfter: "7"}, nil, []time.Duration{7 * time.Second}, "429"},
		{"429 that wants too long is asked sooner", vlmtest.Reply{Status: 429, RetryAfter: "9999"}, nil, []time.Duration{30 * time.Second}, "429"},
		{"500 waits", vlmtest.Reply{Status: 500}, nil, []time.Duration{time.Second}, "500"},
		{"half a reply", vlmtest.Reply{Half: true, Text: `{"done":"yes"}`}, nil, []time.Duration{time.Second}, "does not answer"},
		{"a page", vlmtest.Reply{Body: "<html>"}, vlm.ErrRefused, nil, "RAPPORT_VLM_URL, which ends in /v1"},
		{"JSON that is no completion", vlmtest.Reply{Body: `["ok"]`}, vlm.ErrRefused, nil, "RAPPORT_VLM_URL"},
		{"a body without choices", vlmtest.Reply{Body: "{}"}, nil, []time.Duration{time.Second}, "no choices"},
		{"words instead of JSON", vlmtest.Reply{Text: "It is done."}, nil, []time.Duration{time.Second}, "no JSON"},
		{"an empty reply", vlmtest.Reply{}, nil, []time.Duration{time.Second}, "empty"},
		{"JSON of another shape", vlmtest.Reply{Text: `{"finished":true}`}, nil, []time.Duration{time.Second}, "$ lacks"},
		{"a value that is not allowed", vlmtest.Reply{Text: `{"done":"perhaps"}`}, nil, []time.Duration{time.Second}, "perhaps"},
		{"cut off for length", vlmtest.Reply{Text: `{"done":"yes"}`, Finish: "length"}, nil, []time.Duration{time.Second}, "raise RAPPORT_VLM_TOKENS"},
		{"a refusal", vlmtest.Reply{Refusal: "I may not"}, nil, []time.Duration{time.Second}, "I may not"},
		{"a wrong key", vlmtest.Reply{Status: 401, Message: "bad key " + secret}, vlm.ErrRefused, nil, "RAPPORT_VLM_KEY"},
		{"no such model", vlmtest.Reply{Status: 404}, vlm.ErrRefused, nil, "RAPPORT_VLM_MODEL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, vlmtest.Script(tt.first, good), nil)
			b, use, err := r.c.Ask(t.Context(), prompt())
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %s, %v, want %v", b, err, tt.want)
			}
			if tt.want == nil && (string(b) != good.Text || use.Tries != 2) {
				t.Errorf("got %s after %d tries, want %s after 2", b, use.Tries, good.Text)
			}
			if tt.want != nil && use.Tries != 1 {
				t.Errorf("tried %d times, want once", use.Tries)
			}
			if !slices.Equal(r.waits, tt.waits) {
				t.Errorf("waited %v, want %v", r.waits, tt.waits)
			}
			if !strings.Contains(r.log.String()+fmt.Sprint(err), tt.says) {
				t.Errorf("log %q and error %v do not say %q", r.log.String(), err, tt.says)
			}
			if strings.Contains(r.log.String()+fmt.Sprintf("%v %+v", err, err), secret) {
				t.Error("the key is told")
			}
		})
	}
}

func TestModelIsToldWhatWasWrong(t *testing.T) {
	s := vlmtest.Script(vlmtest.Reply{Text: `{"done":"yes","sure":3}`}, vlmtest.Reply{Text: `{"done":"yes","sure":0.5}`}, vlmtest.Reply{Text: `{"done":"no"}`})
	r := newRig(t, s, nil)
	p := prompt()
	p.Check = func(b []byte) error {
		if strings.Contains(string(b), "yes") {
			return errors.New("the cup still stands")
		}
		return nil
	}
	if b, _, err := r.c.Ask(t.Context(), p); err != nil || string(b) != `{"done":"no"}` {
		t.Fatalf("got %s, %v", b, err)
	}
	for i, want := range []string{"$.sure is 3, which is out of bounds", "the cup still stands"} {
		if got := s.Asked()[i+1].Text; !strings.Contains(got, want) {
			t.Errorf("try %d says %q, want %q in it", i+2, got, want)
		}
	}
}

func TestTriesAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    vlmtest.Reply
		want error
	}{
		{"busy", vlmtest.Reply{Status: 503}, vlm.ErrBusy},
		{"malformed", vlmtest.Reply{Text: "no"}, vlm.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, vlmtest.Script(tt.r), nil)
			_, use, err := r.c.Ask(t.Context(), prompt())
			if !errors.Is(err, tt.want) || use.Tries != 4 {
				t.Errorf("got %v after %d tries, want %v after 4", err, use.Tries, tt.want)
			}
			if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}; !slices.Equal(r.waits, want) {
				t.Errorf("waited %v, want %v", r.waits, want)
			}
			if n := r.c.Counts(); n.Calls != 1 || n.Failures != 1 || n.Tries != 4 {
				t.Errorf("counts are %+v", n)
			}
		})
	}
}

func TestHangEndsByTheDeadlineAndByTheContext(t *testing.T) {
	s := vlmtest.Script(vlmtest.Reply{Hang: true})
	r := newRig(t, s, func(c *vlm.Config) { c.Deadline, c.Tries = 20*time.Millisecond, 2 })
	if _, use, err := r.c.Ask(t.Context(), prompt()); !errors.Is(err, vlm.ErrBusy) || use.Tries != 2 || !strings.Contains(err.Error(), "within the deadline of 20ms; a slow model") || !strings.Contains(err.Error(), "RAPPORT_VLM_DEADLINE") {
		t.Errorf("got %v after %d tries, want %v after 2, and the remedy", err, use.Tries, vlm.ErrBusy)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := vlmtest.Start(func(int, vlmtest.Request) vlmtest.Reply {
		cancel()
		return vlmtest.Reply{Hang: true}
	})
	defer left.Close()
	slow := newClient(t, vlm.Config{URL: left.URL, Model: "stub"})
	if _, _, err := slow.Ask(ctx, prompt()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// No try after the first makes a certificate good.
func TestAnUntrustedCertificateIsFinal(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c := newClient(t, vlm.Config{URL: s.URL + "/v1", Model: "stub", Sleep: func(context.Context, time.Duration) error { return nil }})
	if _, use, err := c.Ask(t.Context(), prompt()); !errors.Is(err, vlm.ErrRefused) || use.Tries != 1 || !strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("got %v after %d tries, want %v after 1, and SSL_CERT_FILE named", err, use.Tries, vlm.ErrRefused)
	}
}

func newClient(t *testing.T, c vlm.Config) *vlm.Client {
	t.Helper()
	k, err := vlm.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDelayedReplyIsWaitedFor(t *testing.T) {
	r := newRig(t, vlmtest.Script(vlmtest.Reply{Text: `{"done":"yes"}`, Delay: 30 * time.Millisecond}), nil)
	if _, use, err := r.c.Ask(t.Context(), prompt()); err != nil || use.Tries != 1 {
		t.Errorf("got %v after %d tries, want the first to do", err, use.Tries)
	}
}

// A model is shown the answer that was not accepted, beside what was wrong with it.
func TestAModelSeesItsRejectedAnswer(t *testing.T) {
	s := vlmtest.Script(vlmtest.Reply{Text: "I would reach for it."}, vlmtest.Reply{Text: `{"done":"perhaps"}`}, vlmtest.Reply{Text: `{"done":"yes"}`})
	r := newRig(t, s, nil)
	if _, use, err := r.c.Ask(t.Context(), prompt()); err != nil || use.Tries != 3 {
		t.Fatalf("%d tries, %v", use.Tries, err)
	}
	for i, want := range [][]string{nil, {"I would reach for it.", "not accepted"}, {`{"done":"perhaps"}`, `$.done is "perhaps"`}} {
		q := s.Asked()[i]
		for _, w := range want {
			if !strings.Contains(q.Text, w) {
				t.Errorf("try %d is shown %q, want %q in it", i+1, q.Text, w)
			}
		}
		if want == nil && strings.Contains(q.Text, "not accepted") || len(q.Images) != len(s.Asked()[0].Images) {
			t.Errorf("try %d is shown %q and %d pictures", i+1, q.Text, len(q.Images))
		}
	}
}

func TestServersThatIgnoreTheSchemaDo(t *testing.T) {
	s := vlmtest.Start(func(_ int, q vlmtest.Request) vlmtest.Reply {
		if q.Schema != nil {
			return vlmtest.Reply{Status: 400, Message: "Unknown parameter: response_format"}
		}
		return vlmtest.Reply{Text: "Let me think.\n```json\n{\"done\": \"yes\"}\n```\nThat is it."}
	})
	r := newRig(t, s, nil)
	for i := range 2 {
		p := prompt()
		p.Turn = i
		b, _, err := r.c.Ask(t.Context(), p)
		if err != nil || string(b) != `{"done": "yes"}` {
			t.Fatalf("got %s, %v", b, err)
		}
	}
	if n := len(s.Asked()); n != 3 {
		t.Errorf("asked %d times, want 3: the refusal once, then without a schema", n)
	}
	if len(r.waits) > 0 {
		t.Errorf("waited %v before asking without a schema", r.waits)
	}
	if q := s.Asked()[1]; strings.Contains(q.Text, "not accepted") {
		t.Errorf("the model, which had not answered, is told %q", q.Text)
	}
}

// A model that takes no temperature, as those that reason do not, is asked
// without, whether the endpoint says so or the library knows.
func TestModelsThatTakeNoTemperature(t *testing.T) {
	for _, tt := range []struct {
		model  string
		takes  bool
		asked  int // of two askings
		refuse vlmtest.Reply
	}{
		{"stub", true, 2, vlmtest.Reply{}},
		{"stub", false, 3, vlmtest.Reply{Status: 400, Message: "Unsupported value: 'temperature' does not support 0"}},
		{"gpt-5-mini", false, 2, vlmtest.Reply{}},
	} {
		s := vlmtest.Start(func(_ int, q vlmtest.Request) vlmtest.Reply {
			if q.Temperature != nil && !tt.takes {
				return tt.refuse
			}
			return vlmtest.Reply{Text: `{"done":"yes"}`}
		})
		r := newRig(t, s, func(c *vlm.Config) { c.Model = tt.model })
		for i := range 2 {
			p := prompt()
			p.Turn = i
			if b, _, err := r.c.Ask(t.Context(), p); err != nil || string(b) != `{"done":"yes"}` {
				t.Fatalf("%s: got %s, %v", tt.model, b, err)
			}
		}
		asked := s.Asked()
		if len(asked) != tt.asked || len(r.waits) > 0 {
			t.Errorf("%s, takes %v: asked %d times and waited %v, want %d times at once", tt.model, tt.takes, len(asked), r.waits, tt.asked)
		}
		if last := asked[len(asked)-1].Temperature; !tt.takes && last != nil {
			t.Errorf("%s, takes %v: temperature %v", tt.model, tt.takes, *last)
		}
	}
}

// The same request three times would be one vote, paid three times.
func TestAskingsOfTheSameAreVotesOfTheirOwn(t *testing.T) {
	s := vlmtest.Script(vlmtest.Reply{Text: `{"done":"yes"}`})
	r := newRig(t, s, nil)
	for i := range 3 {
		p := prompt()
		p.Turn = i
		if _, _, err := r.c.Ask(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for i, q := range s.Asked() {
		if q.Temperature == nil || i == 0 != (*q.Temperature <= 0.01) {
			t.Fatalf("asking %d: temperature %v, want 0.01 at most of the first alone", i, q.Temperature)
		}
		if c := *q.Temperature; c != 0 && c < 1e-6 {
			t.Errorf("asking %d: temperature %v, by which logits go to infinity", i, c)
		}
	}
}

// Not every server names the parameter whose schema it makes nothing of; and a bad request is none of the schema's.
func TestARefusedSchemaIsLeftOutIfThatHelps(t *testing.T) {
	for _, tt := range []struct {
		says   string
		format bool // that is what it refuses
		want   error
		asked  int // in two calls
	}{
		{"The provided JSON schema contains features not supported by xgrammar.", true, nil, 3},
		{"failed to parse grammar", true, nil, 3},
		{"image too large", false, vlm.ErrRefused, 4},
	} {
		s := vlmtest.Start(func(_ int, q vlmtest.Request) vlmtest.Reply {
			if q.Schema != nil || !tt.format {
				return vlmtest.Reply{Status: 400, Message: tt.says}
			}
			return vlmtest.Reply{Text: `{"done":"yes"}`}
		})
		r := newRig(t, s, nil)
		for i := range 2 {
			p := prompt()
			p.Turn = i
			if _, use, err := r.c.Ask(t.Context(), p); !errors.Is(err, tt.want) || use.Tries != 1 || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: got %v after %d tries, want %v after 1", tt.says, err, use.Tries, tt.want)
			}
		}
		if asked := s.Asked(); len(asked) != tt.asked || (asked[2].Schema == nil) != tt.format || len(r.waits) > 0 {
			t.Errorf("%s: asked %d times and waited %v, want %d at once, and no schema later where that helped", tt.says, len(asked), r.waits, tt.asked)
		}
	}
}

func TestAnAnswerInPartsIsRead(t *testing.T) {
	r := newRig(t, vlmtest.Script(vlmtest.Reply{Body: `{"choices":[{"finish_reason":"stop","message":{"role":"assistant","content":[{"type":"text","text":"{\"done\":"},{"type":"text","text":"\"yes\"}"}]}}]}`}), nil)
	if b, use, err := r.c.Ask(t.Context(), prompt()); err != nil || string(b) != `{"done":"yes"}` || use.Tries != 1 {
		t.Errorf("got %s, %v after %d tries", b, err, use.Tries)
	}
}

// What an endpoint does not know is found out besides the tries, however few, and once.
func TestWhatAnEndpointLacksCostsNoTry(t *testing.T) {
	for _, status := range []int{400, 422} {
		s := vlmtest.Start(func(_ int, q vlmtest.Request) vlmtest.Reply {
			switch {
			case q.Schema != nil:
				return vlmtest.Reply{Status: status, Message: "Unknown parameter: response_format"}
			case q.Temperature != nil:
				return vlmtest.Reply{Status: status, Body: `{"detail":[{"loc":["body","temperature"],"msg":"Extra inputs are not permitted"}]}`}
			case q.Completion != 0:
				return vlmtest.Reply{Status: status, Message: "Unrecognized request argument supplied: max_completion_tokens"}
			}
			return vlmtest.Reply{Text: `{"done":"yes"}`}
		})
		r := newRig(t, s, func(c *vlm.Config) { c.Tries, c.Tokens = 1, 77 })
		for i := range 2 {
			p := prompt()
			p.Turn = i
			if _, use, err := r.c.Ask(t.Context(), p); err != nil || use.Tries != 1 {
				t.Fatalf("status %d, asking %d: %v after %d tries, want an answer to the first", status, i, err, use.Tries)
			}
		}
		asked := s.Asked()
		if len(asked) != 5 || len(r.waits) > 0 {
			t.Errorf("status %d: asked %d times and waited %v, want three refusals and two answers at once", status, len(asked), r.waits)
		}
		if first, last := asked[0], asked[len(asked)-1]; first.Completion != 77 || first.Tokens != 0 || last.Tokens != 77 || last.Completion != 0 {
			t.Errorf("status %d: bounded by %+v, then %+v; want max_tokens in place of max_completion_tokens", status, first, last)
		}
	}
	// One that goes on complaining is not asked for ever.
	s := vlmtest.Script(vlmtest.Reply{Status: 400, Message: "response_format, temperature, max_completion_tokens"})
	r := newRig(t, s, nil)
	if _, _, err := r.c.Ask(t.Context(), prompt()); !errors.Is(err, vlm.ErrRefused) || len(s.Asked()) != 4 {
		t.Errorf("got %v after %d requests, want %v after 4", err, len(s.Asked()), vlm.ErrRefused)
	}
}

func TestKeptAnswersAreNotPaidAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := vlmtest.Script(vlmtest.Reply{Text: `{"done":"yes"}`, In: 5})
	cached := func(c *vlm.Config) { c.Cache = dir }
	r := newRig(t, s, cached)
	ask := func(c *vlm.Client, p vlm.Prompt, hit bool) {
		t.Helper()
		b, use, err := c.Ask(t.Context(), p)
		if err != nil || string(b) != `{"done":"yes"}` || use.Hit != hit {
			t.Fatalf("got %s, %+v, %v, want hit %v", b, use, err, hit)
		}
	}
	ask(r.c, prompt(), false)
	ask(r.c, prompt(), true)
	again := newClient(t, vlm.Config{URL: s.URL, Model: "stub", Cache: dir})
	ask(again, prompt(), true)
	ask(newClient(t, vlm.Config{URL: s.URL, Model: "another", Cache: dir}), prompt(), false)
	for _, change := range []func(*vlm.Prompt){
		func(p *vlm.Prompt) { p.Turn = 1 },
		func(p *vlm.Prompt) { p.Text += "?" },
		func(p *vlm.Prompt) { p.System = "" },
		func(p *vlm.Prompt) { p.Images[0].Frame.Pix[0]++ },
		func(p *vlm.Prompt) { p.Images[0].Frame.W, p.Images[0].Frame.H = 1, 2 },
	} {
		p := prompt()
		change(&p)
		ask(again, p, false)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 7 {
		t.Fatalf("the cache has %d files, %v; want 7", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || strings.Contains(string(b), secret) {
			t.Errorf("%s: %v, or it has the key", f, err)
		}
		if err := os.WriteFile(f, []byte(`{"done":`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ask(r.c, prompt(), false) // damaged: asked again
	if n := r.c.Counts(); n.Calls != 2 || n.Hits != 1 || n.In != 10 {
		t.Errorf("counts are %+v, want 2 calls, 1 hit and 10 tokens", n)
	}
}

func TestUnwritableCacheCostsNoAnswer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, vlmtest.Script(vlmtest.Reply{Text: `{"done":"yes"}`}), func(c *vlm.Config) { c.Cache = file })
	if _, _, err := r.c.Ask(t.Context(), prompt()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.log.String(), "not kept") {
		t.Errorf("the log %q does not say that the answer is not kept", r.log.String())
	}
}

func TestManyMayAsk(t *testing.T) {
	a := &vlmtest.Annotator{Busy: 0.1, Broken: 0.1, Malformed: 0.1, Other: 0.1, Src: rand.NewPCG(1, 2),
		Right: func(vlmtest.Request) string { return `{"done":"yes"}` }}
	s := vlmtest.Start(a.Answer)
	defer s.Close()
	c := newClient(t, vlm.Config{URL: s.URL, Model: "stub", Tries: 20, Sleep: func(context.Context, time.Duration) error { return nil }})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			p := prompt()
			p.Turn = i
			if _, _, err := c.Ask(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.Counts(); n.Calls != 16 || n.Failures != 0 || n.Tries <= 16 {
		t.Errorf("counts are %+v, want 16 calls of more tries and no failure", n)
	}
}

func TestAnnotatorErrsAtItsRates(t *testing.T) {
	say := func(s string) func(vlmtest.Request) string { return func(vlmtest.Request) string { return s } }
	a := &vlmtest.Annotator{Bias: 0.4, Errors: 0.2, Src: rand.NewPCG(3, 4), Right: say("right"), Wrong: say("wrong"), First: say("first")}
	n := map[string]int{}
	for range 4000 {
		n[a.Answer(0, vlmtest.Request{}).Text]++
	}
	// Four standard deviations of a binomial of 4000 are within 0.032.
	for text, want := range map[string]float64{"first": 0.4, "wrong": 0.6 * 0.2, "right": 0.6 * 0.8} {
		if got := float64(n[text]) / 4000; got < want-0.032 || got > want+0.032 {
			t.Errorf("%s came at %.3f, want %.3f", text, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want vlm.Config
		err  error
	}{
		{"nothing", nil, vlm.Config{}, vlm.ErrNoEndpoint},
		{"a local server", map[string]string{"RAPPORT_VLM_URL": "http://localhost:1/v1", "RAPPORT_VLM_MODEL": "m", "OPENAI_API_KEY": "other"},
			vlm.Config{URL: "http://localhost:1/v1", Model: "m"}, nil},
		{"a key alone", map[string]string{"RAPPORT_VLM_KEY": "k"}, vlm.Config{URL: "https://api.openai.com/v1", Key: "k", Model: "gpt-4o"}, nil},
		{"other programs' names", map[string]string{"OPENAI_BASE_URL": "http://h/v1", "OPENAI_API_KEY": "k", "RAPPORT_VLM_MODEL": "m"}, vlm.Config{Model: "m"}, vlm.ErrNoEndpoint},
		{"longer answers", map[string]string{"RAPPORT_VLM_URL": "http://h/v1", "RAPPORT_VLM_MODEL": "m", "RAPPORT_VLM_TOKENS": "9000"}, vlm.Config{URL: "http://h/v1", Model: "m", Tokens: 9000}, nil},
		{"a slow model", map[string]string{"RAPPORT_VLM_URL": "http://h/v1", "RAPPORT_VLM_MODEL": "m", "RAPPORT_VLM_DEADLINE": "240"}, vlm.Config{URL: "http://h/v1", Model: "m", Deadline: 4 * time.Minute}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := vlm.FromEnv(func(k string) string { return tt.env[k] })
			if c.URL != tt.want.URL || c.Key != tt.want.Key || c.Model != tt.want.Model || c.Tokens != tt.want.Tokens || c.Deadline != tt.want.Deadline {
				t.Errorf("got %q, %q, %q, %d tokens, %v", c.URL, c.Key, c.Model, c.Tokens, c.Deadline)
			}
			if _, err := vlm.New(c); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

func TestWordsForNumbersAreRefused(t *testing.T) {
	for _, name := range []string{"RAPPORT_VLM_TOKENS", "RAPPORT_VLM_DEADLINE"} {
		for _, n := range []string{"many", "0", "-3", "NaN", "1e99"} {
			env := map[string]string{"RAPPORT_VLM_URL": "http://h/v1", "RAPPORT_VLM_MODEL": "m", name: n}
			if _, err := vlm.New(vlm.FromEnv(func(k string) string { return env[k] })); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: got %v, want the variable named", name, n, err)
			}
		}
	}
}

// People are told who is asked, and never the key.
func TestAConfigurationSaysModelAndHost(t *testing.T) {
	c := vlm.Config{URL: "https://api.openai.com/v1", Key: secret, Model: "gpt-4o"}
	if got, want := fmt.Sprintf("%v", c), "gpt-4o at api.openai.com"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBadConfigurationsAreRefusedByField(t *testing.T) {
	for says, c := range map[string]vlm.Config{
		"RAPPORT_VLM_MODEL": {URL: "http://h/v1"},
		"no http(s) host":   {URL: "h:1", Model: "m"},
		"cannot be read":    {URL: "http://h:" + secret, Model: "m"},
		"a user or a query": {URL: "http://u:" + secret + "@h/v1", Model: "m"},
		"Tries is 99":       {URL: "http://h", Model: "m", Tries: 99},
		"Price":             {URL: "http://h", Model: "m", Price: vlm.Price{In: -1}},
	} {
		_, err := vlm.New(c)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v, want %q said and no key", err, says)
		}
	}
	c := newClient(t, vlm.Config{URL: "http://localhost:1", Model: "m"})
	for says, p := range map[string]vlm.Prompt{
		"no Text":   {},
		"of BGR":    {Text: "?", Images: []vlm.Image{{Frame: robot.Frame{W: 2, H: 2}}}},
		"pattern":   {Text: "?", Schema: json.RawMessage(`{"type":"string","pattern":"a"}`)},
		"has type":  {Text: "?", Schema: json.RawMessage(`{"type":"object","properties":{"a":{}}}`)},
		"a is null": {Text: "?", Schema: json.RawMessage(`{"type":"object","properties":{"a":null}}`)},
	} {
		if _, _, err := c.Ask(t.Context(), p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q said", err, says)
		}
	}
}

func TestJSONIsFoundInReplies(t *testing.T) {
	for reply, want := range map[string]string{
		`{"a":1}`:                                  `{"a":1}`,
		" [1, 2]\n":                                `[1, 2]`,
		"So:\n```json\n{\"a\":1}\n```":             `{"a":1}`,
		"```\n{\"a\":1}\n```\nend":                 `{"a":1}`,
		"```json {\"a\":1}```":                     `{"a":1}`,
		"```\n{\"a\":1}\n```\n```\n{\"a\":2}\n```": `{"a":2}`,
		"```json\n{\"a\":1}":                       `{"a":1}`,
		"The answer is {\"a\":{}} I think":         `{"a":{}}`,
		"<think>maybe ```json {\"a\":1}``` but wait..</think>{\"a\":2}": `{"a":2}`,
		"<think>the schema {steps: ..}</think>{\"a\":1}":                `{"a":1}`,
		"maybe ```json\n{\"a\":1}\n```, but wait: {\"a\":2}":            `{"a":2}`,
		"the schema {steps: ..} wants {\"a\":[1]} [1]":                  `{"a":[1]}`,
		"```\n[{\"a\":1}, {\"a\":2}]\n```":                              `[{"a":1}, {"a":2}]`,
		`{"a":"</think>"}`:                                              `{"a":"</think>"}`,
	} {
		if got, err := vlm.JSON(reply); err != nil || string(got) != want {
			t.Errorf("%q: got %s, %v, want %s", reply, got, err, want)
		}
	}
	for _, reply := range []string{"", "  ", "none", "{", "}{", "```\n{\n```", "{\"a\":1}</think>", "{steps: ..}"} {
		if got, err := vlm.JSON(reply); err == nil {
			t.Errorf("%q: got %s, want an error", reply, got)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"```json\n{}\n```", "{\"a\":[1]}", "```", "``````", "a{b}c", "```\n```\n```", "<think>{</think>[{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := vlm.JSON(s); err == nil && !json.Valid(b) {
			t.Errorf("%q: got %q, which is no JSON", s, b)
		}
	})
}
