// Package vlm asks vision-language models behind any OpenAI-compatible endpoint, and
// expects trouble: servers that ignore the schema, answer with 429, in halves or not
// at all, and models whose JSON is none. A call has a deadline, is tried a bounded
// number of times, and what was answered once is kept on disk and never paid again.
// It is the only importer of the client library.
//
//	c, err := vlm.New(vlm.FromEnv(os.Getenv))
//	b, use, err := c.Ask(ctx, vlm.Prompt{Text: "Where is the cup?", Images: images, Schema: schema})
//
// Keys are sent, and neither kept nor told: no error, log line or file has one.
package vlm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sashabaranov/go-openai"

	"github.com/rapport-rl/rapport/robot"
)

// What keeps a client from an answer.
var (
	// ErrNoEndpoint: nobody is configured to be asked.
	ErrNoEndpoint = errors.New("vlm: no endpoint; set RAPPORT_VLM_URL (a local server, as http://localhost:8000/v1) or RAPPORT_VLM_KEY")
	// ErrMalformed: the model answered, each time with what cannot be used.
	ErrMalformed = errors.New("vlm: the answer cannot be used")
	// ErrRefused: the endpoint will not answer, and asking again will not help.
	ErrRefused = errors.New("vlm: the endpoint refuses")
	// ErrBusy: each try failed, as by 429, 5xx, a broken connection or the deadline.
	ErrBusy = errors.New("vlm: the endpoint does not answer")
	// ErrUnknown: the cache does not have what was to come from it alone (Recall).
	ErrUnknown = errors.New("vlm: was not answered before")
)

// Price is what an endpoint takes, in any currency. The zero value is free.
type Price struct {
	In, Out float64 // per million tokens
}

// Config is a client's. URL and Model are wanted.
type Config struct {
	URL   string // base, as https://api.openai.com/v1
	Key   string // empty: none is sent, as local servers want
	Model string

	Deadline time.Duration // of a try; 0: 60 s
	Tries    int           // of a call; 0: 4
	Backoff  time.Duration // before the second try, doubled for each later one; 0: 1 s
	MaxWait  time.Duration // longest wait between tries, Retry-After included; 0: 30 s
	Tokens   int           // longest answer; 0: 2000
	Price    Price
	Cache    string // folder; empty: nothing is kept

	// Sleep waits between tries; nil: a timer. Now is the clock for latencies; nil:
	// they are not counted.
	Sleep func(ctx context.Context, d time.Duration) error
	Now   func() time.Time
	Log   *slog.Logger // nil: silent
}

// FromEnv reads RAPPORT_VLM_URL, RAPPORT_VLM_KEY, RAPPORT_VLM_MODEL, RAPPORT_VLM_TOKENS and
// RAPPORT_VLM_DEADLINE, and nothing that was set for other programs: pictures go only where
// somebody said so. A key alone is OpenAI's.
func FromEnv(get func(string) string) Config {
	c := Config{URL: get("RAPPORT_VLM_URL"), Key: get("RAPPORT_VLM_KEY"), Model: get("RAPPORT_VLM_MODEL")}
	if c.URL == "" && c.Key != "" {
		c.URL = "https://api.openai.com/v1"
	}
	if c.Model == "" && strings.HasPrefix(c.URL, "https://api.openai.com/") {
		c.Model = "gpt-4o" // KAGI's
	}
	if n := get("RAPPORT_VLM_TOKENS"); n != "" {
		var err error
		if c.Tokens, err = strconv.Atoi(n); err != nil || c.Tokens == 0 {
			c.Tokens = -1 // Validate tells
		}
	}
	if s := get("RAPPORT_VLM_DEADLINE"); s != "" {
		c.Deadline = -1 // Validate tells
		if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0.001 && n <= 24*3600 {
			c.Deadline = time.Duration(n * float64(time.Second))
		}
	}
	return c
}

// String is the model and its host, as "gpt-4o at api.openai.com", without the key.
func (c Config) String() string {
	if u, err := url.Parse(c.URL); err == nil && u.Host != "" {
		return c.Model + " at " + u.Host
	}
	return c.Model
}

func (c Config) withDefaults() Config {
	if c.Deadline == 0 {
		c.Deadline = time.Minute
	}
	if c.Tries == 0 {
		c.Tries = 4
	}
	if c.Backoff == 0 {
		c.Backoff = time.Second
	}
	if c.MaxWait == 0 {
		c.MaxWait = 30 * time.Second
	}
	if c.Tokens == 0 {
		c.Tokens = 2000
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	if c.URL == "" {
		return ErrNoEndpoint
	}
	var errs []error
	u, err := url.Parse(c.URL)
	switch {
	case err != nil: // its text would show the URL, and that may hold a key
		errs = append(errs, errors.New("vlm: URL cannot be read; want one as http://localhost:8000/v1"))
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		errs = append(errs, errors.New("vlm: URL has no http(s) host; want one as http://localhost:8000/v1"))
	case u.User != nil || u.RawQuery != "":
		errs = append(errs, errors.New("vlm: URL carries a user or a query, which logs would show; give the key in RAPPORT_VLM_KEY"))
	}
	if c.Model == "" {
		errs = append(errs, errors.New("vlm: Model is empty; name the endpoint's in RAPPORT_VLM_MODEL"))
	}
	if c.Deadline < 0 {
		errs = append(errs, errors.New("vlm: Deadline is no time; give the seconds of a try, a day's at most, in RAPPORT_VLM_DEADLINE, or leave it unset for 60"))
	}
	if c.Backoff < 0 || c.MaxWait < 0 {
		errs = append(errs, errors.New("vlm: Backoff or MaxWait is negative"))
	}
	if c.Tries < 0 || c.Tries > 20 {
		errs = append(errs, fmt.Errorf("vlm: Tries is %d, want 1 to 20", c.Tries))
	}
	if c.Tokens < 0 {
		errs = append(errs, errors.New("vlm: Tokens is no positive number; give one in RAPPORT_VLM_TOKENS, or leave it unset for 2000"))
	}
	if c.Price.In < 0 || c.Price.Out < 0 {
		errs = append(errs, fmt.Errorf("vlm: Price is %v, want no negative one", c.Price))
	}
	return errors.Join(errs...)
}

// Image is a picture of a prompt.
type Image struct {
	Name  string // said before it; empty: none
	Frame robot.Frame
}

// Prompt is what a model is asked.
type Prompt struct {
	System string
	Text   string
	Images []Image
	// Schema is the JSON schema of the answer; nil for any JSON.
	Schema json.RawMessage
	// Turn tells askings of the same apart, from 0; each is kept for itself. The first is for
	// the likeliest answer, the others draw one, so that they are votes of their own.
	Turn int
	// Check, if any, says what is wrong with an answer that the schema allows. The
	// model is asked again with those words.
	Check func(answer []byte) error
}

// Usage is what an answer took.
type Usage struct {
	Hit     bool          // it was kept: nobody was asked
	Tries   int           // without those that told what the endpoint does not know
	In, Out int           // tokens, as the endpoint counts them
	Cost    float64       // by Config.Price
	Latency time.Duration // of all tries and the waits between
}

// Counts are a client's, since New.
type Counts struct {
	Calls    int // that went to the endpoint, each with one try or more
	Hits     int // that were kept
	Tries    int
	Failures int // calls without an answer
	In, Out  int
	Cost     float64
	Latency  time.Duration
}

// Client asks one model. It is safe for use by several goroutines.
type Client struct {
	cfg  Config
	chat *openai.Client
	mu   sync.Mutex
	n    Counts
	// loose: the endpoint knows no response_format, or makes nothing of the schema in it; warm: it takes no
	// temperature, as models that reason do not; old: it bounds answers by max_tokens.
	loose, warm, old bool
}

// New returns a client of c.
func New(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	how := openai.DefaultConfig(c.Key)
	how.BaseURL, how.HTTPClient = c.URL, &http.Client{Transport: bounded{http.DefaultTransport}}
	return &Client{cfg: c, chat: openai.NewClientWithConfig(how)}, nil
}

// Model is the name of who is asked.
func (c *Client) Model() string { return c.cfg.Model }

// Counts are those so far.
func (c *Client) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// largest reply that is read, bytes: no answer of ours has a hundredth of it.
const largest = 4 << 20

// headerKey is of the *http.Header in a request's context, which becomes the reply's: errors of the
// library have none.
type headerKey struct{}

// bounded cuts replies off.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(q *http.Request) (*http.Response, error) {
	r, err := b.RoundTripper.RoundTrip(q)
	if err == nil {
		if h, ok := q.Context().Value(headerKey{}).(*http.Header); ok {
			*h = r.Header
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r.Body, largest), r.Body}
	}
	return r, err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
