package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
)

// actLimit is how long the session may take to answer an act. A person who
// pressed STOP must know soon that nobody heard it.
const actLimit = 1500 * time.Millisecond

// maxRest bounds what is read of a stop's body after its answer, bytes.
const maxRest = 1 << 20

// stopReply is what the page is told of a stop.
type stopReply struct {
	bus.Stopped
	Took float64 `json:"took_ms"` // from the request's arrival here to the answer
}

// stop holds the arm. A body that cannot be read stops all the same.
func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	var v struct{ Who, Why string }
	_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, maxWord)).Decode(&v)
	if v.Who = strings.TrimSpace(cut(v.Who, maxName)); v.Who == "" {
		v.Who = "somebody at the page"
	}
	if v.Why == "" {
		v.Why = "stopped at the page"
	}
	// The person may close the page on pressing STOP.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actLimit)
	defer cancel()
	conn, session := s.driven(ctx)
	if conn == nil {
		refuse(w, http.StatusConflict, "no session runs whose arm could be stopped")
		return
	}
	out, err := conn.Stop(ctx, session, bus.Stop{Who: v.Who, Why: v.Why})
	if err != nil {
		s.o.Log.Error("web: a stop was not delivered", "who", v.Who, "err", err)
		refuse(w, failure(err), err.Error())
		return
	}
	answer(w, http.StatusOK, stopReply{out, 1e-6 * float64(time.Since(began).Nanoseconds())})
	// A connection closed over unread bytes is reset, and the answer may be lost with it.
	_ = http.NewResponseController(w).Flush()
	_, _ = io.CopyN(io.Discard, r.Body, maxRest)
}

// acknowledge clears the fault that the person has seen.
func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request) {
	var v struct {
		Fault     int64
		Who, Note string
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxWord)).Decode(&v); err != nil {
		refuse(w, http.StatusBadRequest, "web: acknowledge: want JSON with fault, who and note: "+err.Error())
		return
	}
	if v.Who = strings.TrimSpace(v.Who); v.Who == "" {
		refuse(w, http.StatusBadRequest, "a fault is acknowledged by a named person who has seen the arm; give your name")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actLimit)
	defer cancel()
	out, err := s.o.Conn.Acknowledge(ctx, s.o.Session, bus.Acknowledge{Fault: v.Fault, Who: v.Who, Note: cut(v.Note, maxNote)})
	if err != nil {
		refuse(w, failure(err), err.Error())
		return
	}
	answer(w, http.StatusOK, out)
}

// failure is the status code of an act that failed.
func failure(err error) int {
	switch {
	case errors.Is(err, bus.ErrNone):
		return http.StatusConflict
	case errors.Is(err, bus.ErrReject):
		return http.StatusBadRequest
	}
	return http.StatusBadGateway
}
