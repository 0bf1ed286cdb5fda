package vlm

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sashabaranov/go-openai"
)

// Ask returns the answer's JSON, which fits the schema and passes the check. What
// was answered before comes from the cache. ctx's end is returned as it is; other
// errors are one of ErrMalformed, ErrRefused and ErrBusy, and ErrUnknown under Recall.
func (c *Client) Ask(ctx context.Context, p Prompt) ([]byte, Usage, error) {
	rules, err := compile(p.Schema)
	if err != nil {
		return nil, Usage{}, err
	}
	q, err := c.render(p)
	if err != nil {
		return nil, Usage{}, err
	}
	judge := func(b []byte) error {
		if err := rules.check(b); err != nil {
			return err
		}
		if p.Check != nil {
			return p.Check(b)
		}
		return nil
	}
	if b, ok := c.recall(q.key); ok && judge(b) == nil {
		c.mu.Lock()
		c.n.Hits++
		c.mu.Unlock()
		return b, Usage{Hit: true}, nil
	}
	if ctx.Value(recallKey{}) != nil {
		return nil, Usage{}, ErrUnknown
	}
	b, use, err := c.call(ctx, q, judge)
	c.mu.Lock()
	c.n.Calls++
	c.n.Tries += use.Tries
	c.n.In += use.In
	c.n.Out += use.Out
	c.n.Cost += use.Cost
	c.n.Latency += use.Latency
	if err != nil {
		c.n.Failures++
	}
	c.mu.Unlock()
	if err != nil {
		return nil, use, err
	}
	if err := c.keep(q.key, b); err != nil { // the answer is good all the same
		c.cfg.Log.Warn("vlm: the answer is not kept", "err", err)
	}
	return b, use, nil
}

type recallKey struct{}

// Recall returns a context under which Ask answers from the cache alone.
func Recall(ctx context.Context) context.Context {
	return context.WithValue(ctx, recallKey{}, true)
}

// call tries until there is an answer that passes the judge.
func (c *Client) call(ctx context.Context, q question, judge func([]byte) error) (b []byte, use Usage, err error) {
	if c.cfg.Now != nil {
		began := c.cfg.Now()
		defer func() { use.Latency = c.cfg.Now().Sub(began) }()
	}
	defer func() { use.Cost = (float64(use.In)*c.cfg.Price.In + float64(use.Out)*c.cfg.Price.Out) / 1e6 }()
	var fault fault
	var last rejected
	bare := false // asked without the schema's format, to see whether that was what it refused
	wait := c.cfg.Backoff
	for {
		var said string
		b, said, fault = c.try(ctx, q, last, bare, &use)
		bare = bare || fault.bare
		if fault.now {
			c.cfg.Log.Info("vlm: the endpoint is asked otherwise", "model", c.cfg.Model, "err", fault.err)
			continue
		}
		use.Tries++
		if fault.err == nil {
			if err := judge(b); err != nil {
				fault.err = fmt.Errorf("%w: %w", ErrMalformed, err)
			} else {
				return b, use, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, use, err
		}
		if errors.Is(fault.err, ErrMalformed) { // else the model did not answer
			last = rejected{said, fault.err.Error()}
		}
		c.cfg.Log.Warn("vlm: a try failed", "model", c.cfg.Model, "try", use.Tries, "of", c.cfg.Tries, "err", fault.err)
		if fault.final || use.Tries >= c.cfg.Tries {
			return nil, use, fmt.Errorf("vlm: %s, try %d of %d: %w", c.cfg.Model, use.Tries, c.cfg.Tries, fault.err)
		}
		if err := c.cfg.Sleep(ctx, max(min(fault.after, c.cfg.MaxWait), min(wait, c.cfg.MaxWait))); err != nil {
			return nil, use, err
		}
		wait = min(2*wait, c.cfg.MaxWait)
	}
}

// fault is what was wrong with a try. Its error has no key in it.
type fault struct {
	err   error
	after time.Duration // that the endpoint asks to wait
	final bool          // no other try helps
	now   bool          // the next try asks otherwise and need not wait; each way comes once a call
	bare  bool          // that is without the schema's format, for this call at least
}

// rejected is an answer that was not accepted, and why; zero: there was none yet.
type rejected struct{ said, why string }

// try asks once. The answer is some JSON value, within all that the model said.
func (c *Client) try(ctx context.Context, q question, last rejected, bare bool, use *Usage) (b []byte, all string, f fault) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Deadline)
	defer cancel()
	var said http.Header
	asked := c.params(q, last, bare)
	r, err := c.chat.CreateChatCompletion(context.WithValue(ctx, headerKey{}, &said), asked)
	if err != nil {
		return nil, "", c.fault(err, said, asked)
	}
	if bare { // it was the format that it refused
		c.mu.Lock()
		c.loose = true
		c.mu.Unlock()
	}
	use.In += r.Usage.PromptTokens
	use.Out += r.Usage.CompletionTokens
	if len(r.Choices) == 0 {
		return nil, "", fault{err: fmt.Errorf("%w: the reply has no choices", ErrMalformed)}
	}
	choice := r.Choices[0]
	all = choice.Message.Content
	for _, p := range choice.Message.MultiContent { // some servers answer in parts; a message has one of both
		all += p.Text
	}
	switch {
	case choice.Message.Refusal != "":
		return nil, all, fault{err: fmt.Errorf("%w: the model declines: %s", ErrMalformed, c.clean(choice.Message.Refusal))}
	case choice.FinishReason == openai.FinishReasonLength:
		return nil, all, fault{err: fmt.Errorf("%w: it was cut off after %d tokens; raise RAPPORT_VLM_TOKENS, as models that reason want", ErrMalformed, c.cfg.Tokens)}
	}
	if b, err = JSON(all); err != nil {
		return nil, all, fault{err: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	return b, all, fault{}
}

// again is the temperature of what is asked once more, at which answers differ as far as the
// model is unsure: that of self-consistency's votes (Wang et al. 2022, arXiv:2203.11171, section 3.1).
const again = 0.7

// likeliest is the temperature of what is asked first, in place of 0, which the library leaves out, so that servers
// take their own, and some servers refuse. Nor may it be next to 0, by which a server divides to infinities: vLLM
// raises what is smaller to this.
const likeliest = 0.01

// params is the request, which shows the answer before, if it was not accepted.
func (c *Client) params(q question, last rejected, bare bool) openai.ChatCompletionRequest {
	text := func(s string) openai.ChatMessagePart {
		return openai.ChatMessagePart{Type: openai.ChatMessagePartTypeText, Text: s}
	}
	parts := make([]openai.ChatMessagePart, 0, 2*len(q.images)+2)
	parts = append(parts, text(q.text))
	for _, m := range q.images {
		if m.name != "" {
			parts = append(parts, text(m.name+":"))
		}
		parts = append(parts, openai.ChatMessagePart{Type: openai.ChatMessagePartTypeImageURL, ImageURL: &openai.ChatMessageImageURL{URL: m.url}})
	}
	r := openai.ChatCompletionRequest{Model: c.cfg.Model}
	if q.system != "" {
		r.Messages = append(r.Messages, openai.ChatCompletionMessage{Role: openai.ChatMessageRoleSystem, Content: q.system})
	}
	r.Messages = append(r.Messages, openai.ChatCompletionMessage{Role: openai.ChatMessageRoleUser, MultiContent: parts})
	if last.said != "" {
		r.Messages = append(r.Messages, openai.ChatCompletionMessage{Role: openai.ChatMessageRoleAssistant, Content: last.said})
	}
	if last.why != "" {
		r.Messages = append(r.Messages, openai.ChatCompletionMessage{Role: openai.ChatMessageRoleUser, Content: "Your last answer was not accepted. " + last.why + ". Answer again, with JSON alone."})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.old {
		//lint:ignore SA1019 endpoints that know nothing newer are asked so
		r.MaxTokens = c.cfg.Tokens
	} else {
		r.MaxCompletionTokens = c.cfg.Tokens
	}
	switch {
	case c.warm:
	case q.turn > 0:
		r.Temperature = again
	default:
		r.Temperature = likeliest
	}
	if len(q.schema) > 0 && !c.loose && !bare {
		r.ResponseFormat = &openai.ChatCompletionResponseFormat{
			Type:       openai.ChatCompletionResponseFormatTypeJSONSchema,
			JSONSchema: &openai.ChatCompletionResponseFormatJSONSchema{Name: "answer", Strict: true, Schema: json.RawMessage(q.schema)},
		}
	}
	return r
}

// refusal is the status of a reply that is no answer, and what it says in words and of which
// parameter; ok is false of what is no reply at all, half a reply, or one that is no JSON.
func refusal(err error) (status int, says, param string, ok bool) {
	var e *openai.APIError
	if errors.As(err, &e) {
		if e.Param != nil {
			param = *e.Param
		}
		return e.HTTPStatusCode, e.Message, param, true
	}
	var r *openai.RequestError
	if errors.As(err, &r) {
		return r.HTTPStatusCode, strings.TrimSpace(string(r.Body)), "", true
	}
	return 0, "", "", false
}

// fault sorts what the endpoint or the way to it did with what it was asked. said is the reply's
// header, if one came.
func (c *Client) fault(err error, said http.Header, asked openai.ChatCompletionRequest) fault {
	format, sure, bound := asked.ResponseFormat != nil, asked.Temperature != 0, asked.MaxCompletionTokens != 0
	if sure && (errors.Is(err, openai.ErrReasoningModelLimitationsOther) || errors.Is(err, openai.ErrReasoningSamplingUnsupported)) {
		return c.without(&c.warm, "temperature") // the library knows the model, and did not ask it
	}
	s, message, param, ok := refusal(err)
	var words *json.SyntaxError
	var shape *json.UnmarshalTypeError
	var untrusted *tls.CertificateVerificationError
	switch {
	case ok:
	case errors.As(err, &untrusted):
		return fault{err: fmt.Errorf("%w: %s; name the file of the authority that signed its certificate in SSL_CERT_FILE, and the host in RAPPORT_VLM_URL as the certificate does", ErrRefused, c.clean(untrusted.Error())), final: true}
	case errors.Is(err, context.DeadlineExceeded):
		return fault{err: fmt.Errorf("%w: no reply within the deadline of %v; a slow model, or one that reasons, wants more seconds in RAPPORT_VLM_DEADLINE", ErrBusy, c.cfg.Deadline)}
	case errors.As(err, &words) || errors.As(err, &shape):
		return fault{err: fmt.Errorf("%w: what it replies is no chat completion in JSON but, perhaps, a page; look at RAPPORT_VLM_URL, which ends in /v1 as a rule", ErrRefused), final: true}
	default:
		return fault{err: fmt.Errorf("%w: %s", ErrBusy, c.clean(err.Error()))}
	}
	says := c.clean(message)
	if says == "" {
		says = http.StatusText(s)
	}
	of := strings.ToLower(message + " " + param)
	bad := s == http.StatusBadRequest || s == http.StatusUnprocessableEntity
	unknown := func(name string) bool { return bad && strings.Contains(of, name) }
	switch {
	case s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s == http.StatusConflict || s >= 500:
		return fault{err: fmt.Errorf("%w: status %d: %s", ErrBusy, s, says), after: after(said.Get("Retry-After"))}
	case format && unknown("response_format"):
		return c.without(&c.loose, "response_format")
	case sure && unknown("temperature"):
		return c.without(&c.warm, "temperature")
	case bound && unknown("max_completion_tokens"):
		return c.without(&c.old, "max_completion_tokens")
	case format && bad: // perhaps a grammar that it cannot make of the schema, which the text states too
		return fault{err: fmt.Errorf("%w: status %d: %s; asking without response_format", ErrMalformed, s, says), now: true, bare: true}
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return fault{err: fmt.Errorf("%w: status %d: %s; look at RAPPORT_VLM_KEY", ErrRefused, s, says), final: true}
	case s == http.StatusNotFound:
		return fault{err: fmt.Errorf("%w: status %d: %s; look at RAPPORT_VLM_URL and RAPPORT_VLM_MODEL", ErrRefused, s, says), final: true}
	default:
		return fault{err: fmt.Errorf("%w: status %d: %s", ErrRefused, s, says), final: true}
	}
}

// without has what the endpoint does not know left out from now on.
func (c *Client) without(what *bool, name string) fault {
	c.mu.Lock()
	*what = true
	c.mu.Unlock()
	return fault{err: fmt.Errorf("%w: it knows no %s; asking without", ErrMalformed, name), now: true}
}

// after reads Retry-After in seconds. A date counts as none: it would need a clock
// that both sides share.
func after(s string) time.Duration {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n > 0) {
		return 0
	}
	return time.Duration(min(n, 3600) * float64(time.Second))
}

// clean takes the key out of what others say, who may repeat it, and bounds its length.
func (c *Client) clean(s string) string {
	if c.cfg.Key != "" {
		s = strings.ReplaceAll(s, c.cfg.Key, "(key)")
	}
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
