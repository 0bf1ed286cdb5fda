package xmlrpc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Fault is what the other side answers where a call failed.
type Fault struct {
	Code int
	Text string
}

// Error implements error.
func (f *Fault) Error() string { return fmt.Sprintf("xmlrpc: fault %d: %s", f.Code, f.Text) }

// client opens a connection for each call: calls are few, and a master that
// was started anew leaves no dead connection behind. It asks no proxy.
var client = &http.Client{Transport: &http.Transport{
	DialContext:       (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	DisableKeepAlives: true,
}}

// EncodeCall writes a call.
func EncodeCall(method string, args ...any) ([]byte, error) {
	b := []byte("<?xml version=\"1.0\"?>\n<methodCall><methodName>")
	b, err := appendText(b, method)
	if err != nil {
		return nil, err
	}
	b = append(b, "</methodName><params>"...)
	for i, a := range args {
		b = append(b, "<param>"...)
		if b, err = appendValue(b, a, 0); err != nil {
			return nil, fmt.Errorf("argument %d of %s: %w", i, method, err)
		}
		b = append(b, "</param>"...)
	}
	return append(b, "</params></methodCall>\n"...), nil
}

// EncodeResponse writes an answer; an err is told as a fault.
func EncodeResponse(v any, err error) []byte {
	head := []byte("<?xml version=\"1.0\"?>\n<methodResponse>")
	if err == nil {
		var b []byte
		if b, err = appendValue(append(head, "<params><param>"...), v, 0); err == nil {
			return append(b, "</param></params></methodResponse>\n"...)
		}
	}
	b := append(head, "<fault>"...)
	with, bad := appendValue(b, map[string]any{"faultCode": 1, "faultString": err.Error()}, 0)
	if bad != nil { // the text itself cannot be sent
		with, _ = appendValue(b, map[string]any{"faultCode": 1, "faultString": strconv.Quote(err.Error())}, 0)
	}
	return append(with, "</fault></methodResponse>\n"...)
}

// Call calls a method at url and waits for the answer.
func Call(ctx context.Context, url, method string, args ...any) (any, error) {
	body, err := EncodeCall(method, args...)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("xmlrpc: %w", err)
	}
	req.Header.Set("Content-Type", "text/xml")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("xmlrpc: %s: %w", method, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("xmlrpc: %s: %s answers %s; is this a ROS node?", method, url, resp.Status)
	}
	answer, err := readBody(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("xmlrpc: %s: %w", method, err)
	}
	return DecodeResponse(answer)
}

func readBody(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(b) > maxBody {
		err = fmt.Errorf("more than %d MiB in one message", maxBody>>20)
	}
	return b, err
}

// Handler serves calls by f, on whatever path they come.
func Handler(f func(ctx context.Context, method string, args []any) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "XML-RPC calls are POSTs", http.StatusMethodNotAllowed)
			return
		}
		body, err := readBody(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var v any
		method, args, err := DecodeCall(body)
		if err == nil {
			v, err = f(r.Context(), method, args)
		}
		b := EncodeResponse(v, err)
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("Content-Length", strconv.Itoa(len(b))) // C++ nodes do not read chunks
		_, _ = w.Write(b)                                      // who called is gone, then
	})
}
