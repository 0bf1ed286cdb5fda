// Package vlmtest is a vision-language model for tests: an HTTP server of our own
// that answers as a script says, or as a noisy annotator would. It speaks as much of
// the OpenAI protocol as package vlm needs, and every way of failing that a client
// must live through.
//
//	s := vlmtest.Script(vlmtest.Reply{Status: 429, RetryAfter: "1"}, vlmtest.Reply{Text: `{"done":"yes"}`})
//	defer s.Close()
//	c, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub"})
package vlmtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// Reply is what the server does with a request. The zero value answers with an empty
// text.
type Reply struct {
	Text       string        // the model's words
	Status     int           // 0: 200
	Message    string        // of an error
	RetryAfter string        // header
	Delay      time.Duration // before anything
	Hang       bool          // no answer until the client leaves or the server closes
	Half       bool          // the connection breaks in the middle of the reply
	Body       string        // in place of the protocol's
	Finish     string        // finish_reason; empty: stop
	Refusal    string
	In, Out    int // tokens
}

// Request is what the server was asked.
type Request struct {
	Key    string // bearer token
	Model  string
	System string
	Text   string   // of all parts, a line each
	Images [][]byte // PNG
	Schema json.RawMessage
	// Temperature is nil where none is asked for.
	Temperature *float64
	// Completion and Tokens are max_completion_tokens and max_tokens.
	Completion, Tokens int
}

// Server answers.
type Server struct {
	URL    string // base for clients
	answer func(n int, q Request) Reply
	server *httptest.Server
	mu     sync.Mutex
	asked  []Request
	closed chan struct{}
}

// Start serves what answer makes of the n-th request, from 0. It is called by one
// goroutine at a time.
func Start(answer func(n int, q Request) Reply) *Server {
	s := &Server{answer: answer, closed: make(chan struct{})}
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.server.URL + "/v1"
	return s
}

// Script answers with one reply after the other, and with the last from then on.
func Script(rs ...Reply) *Server {
	return Start(func(n int, _ Request) Reply { return rs[min(n, len(rs)-1)] })
}

// Asked are the requests so far.
func (s *Server) Asked() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.asked...)
}

// Close ends hanging replies and waits for all.
func (s *Server) Close() {
	close(s.closed)
	s.server.CloseClientConnections()
	s.server.Close()
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	q, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, q)
	a := s.answer(n, q)
	s.mu.Unlock()
	if !s.wait(r, a) {
		return
	}
	body, status := a.body(q)
	if a.RetryAfter != "" {
		w.Header().Set("Retry-After", a.RetryAfter)
	}
	w.Header().Set("Content-Type", "application/json")
	if a.Half {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(status)
		io.WriteString(w, body[:len(body)/2])
		http.NewResponseController(w).Flush() // or nothing of it would leave
		panic(http.ErrAbortHandler)           // breaks the connection, quietly
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// wait is false when the client or the server is gone.
func (s *Server) wait(r *http.Request, a Reply) bool {
	var done <-chan time.Time
	switch {
	case a.Hang:
	case a.Delay > 0:
		t := time.NewTimer(a.Delay)
		defer t.Stop()
		done = t.C
	default:
		return true
	}
	select {
	case <-done:
		return true
	case <-r.Context().Done():
	case <-s.closed:
	}
	return false
}

// body is the reply in the protocol's form.
func (a Reply) body(q Request) (string, int) {
	status := a.Status
	if status == 0 {
		status = http.StatusOK
	}
	if a.Body != "" {
		return a.Body, status
	}
	var v any
	if status != http.StatusOK {
		v = map[string]any{"error": map[string]any{"message": a.Message, "type": "stub", "code": "stub"}}
	} else {
		finish := a.Finish
		if finish == "" {
			finish = "stop"
		}
		message := map[string]any{"role": "assistant", "content": a.Text}
		if a.Refusal != "" {
			message["refusal"] = a.Refusal
		}
		v = map[string]any{
			"id": "stub", "object": "chat.completion", "model": q.Model,
			"choices": []any{map[string]any{"index": 0, "finish_reason": finish, "message": message}},
			"usage":   map[string]any{"prompt_tokens": a.In, "completion_tokens": a.Out, "total_tokens": a.In + a.Out},
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("vlmtest: a reply of strings and numbers has no JSON")
	}
	return string(b), status
}

// read takes a request apart.
func read(r *http.Request) (Request, error) {
	q := Request{Key: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/chat/completions") {
		return q, fmt.Errorf("vlmtest: %s %s is not served", r.Method, r.URL.Path)
	}
	var in struct {
		Model    string
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
		Format struct {
			Schema struct{ Schema json.RawMessage } `json:"json_schema"`
		} `json:"response_format"`
		Temperature *float64
		Completion  int `json:"max_completion_tokens"`
		Tokens      int `json:"max_tokens"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return q, fmt.Errorf("vlmtest: %w", err)
	}
	q.Model, q.Schema, q.Temperature, q.Completion, q.Tokens = in.Model, in.Format.Schema.Schema, in.Temperature, in.Completion, in.Tokens
	for _, m := range in.Messages {
		var words string
		if json.Unmarshal(m.Content, &words) == nil {
			if m.Role == "system" {
				q.System = words
			} else {
				q.Text += words + "\n"
			}
			continue
		}
		var parts []struct {
			Text  string
			Image struct{ URL string } `json:"image_url"`
		}
		if err := json.Unmarshal(m.Content, &parts); err != nil {
			return q, fmt.Errorf("vlmtest: %w", err)
		}
		for _, p := range parts {
			if p.Text != "" {
				q.Text += p.Text + "\n"
			}
			if _, data, ok := strings.Cut(p.Image.URL, "base64,"); ok {
				b, err := base64.StdEncoding.DecodeString(data)
				if err != nil {
					return q, fmt.Errorf("vlmtest: %w", err)
				}
				q.Images = append(q.Images, b)
			}
		}
	}
	return q, nil
}

// Annotator answers with what is right, as often as its rates say. They are
// probabilities, drawn in the order of the fields; the first that fires is what
// happens.
type Annotator struct {
	Right func(Request) string
	Wrong func(Request) string // for Errors
	First func(Request) string // for Bias: the answer that names the first image

	Busy      float64 // 429
	Broken    float64 // half a reply
	Malformed float64 // no JSON
	Other     float64 // JSON of another shape
	Bias      float64
	Errors    float64

	Delay time.Duration // of each reply
	Src   rand.Source
}

// Answer is for Start.
func (a *Annotator) Answer(_ int, q Request) Reply {
	rng := rand.New(a.Src)
	r := Reply{Delay: a.Delay, In: 100, Out: 10}
	switch {
	case rng.Float64() < a.Busy:
		r.Status, r.Message, r.RetryAfter = http.StatusTooManyRequests, "slow down", "1"
	case rng.Float64() < a.Broken:
		r.Half, r.Text = true, a.Right(q)
	case rng.Float64() < a.Malformed:
		r.Text = "I think that " + strings.TrimRight(a.Right(q), "}")
	case rng.Float64() < a.Other:
		r.Text = `{"thoughts":["another shape"]}`
	case rng.Float64() < a.Bias:
		r.Text = a.First(q)
	case rng.Float64() < a.Errors:
		r.Text = a.Wrong(q)
	default:
		r.Text = a.Right(q)
	}
	return r
}
