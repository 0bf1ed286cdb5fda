package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/label"
)

const (
	// maxAnswer bounds an answer of a page, bytes: 200 marks and 8 clips with their
	// cameras fit.
	maxAnswer = 1 << 16
	// labelLimit is how long storing an answer and finding the next question may
	// take; a page that waits longer asks again.
	labelLimit = 20 * time.Second
)

// labelled is what the page is told.
type labelled struct {
	ask.State
	// Live says that a session runs, whose arm the page can stop.
	Live bool `json:"live"`
}

// labels adds the requests of the labelling page to mux.
func (s *Server) labels(mux *http.ServeMux) {
	mux.HandleFunc("GET /label", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "page/label.html") })
	for pattern, f := range map[string]http.HandlerFunc{
		"GET /label/state": func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			s.desk(w, r, func(ctx context.Context) (ask.State, error) {
				if way := q.Get("way"); way != "" {
					if err := s.o.Labels.Prefer(q.Get("annotator"), way); err != nil {
						return ask.State{}, err
					}
				}
				return s.o.Labels.State(ctx, q.Get("annotator"), label.Kind(q.Get("kind")))
			})
		},
		"POST /label/answer": func(w http.ResponseWriter, r *http.Request) {
			var l label.Label
			if hear(w, r, &l, labelDoc) {
				s.desk(w, r, func(ctx context.Context) (ask.State, error) { return s.o.Labels.Answer(ctx, l) })
			}
		},
		"POST /label/undo": func(w http.ResponseWriter, r *http.Request) {
			var v struct{ Annotator, ID string }
			if hear(w, r, &v, labelDoc) {
				s.desk(w, r, func(ctx context.Context) (ask.State, error) { return s.o.Labels.Undo(ctx, v.Annotator, v.ID) })
			}
		},
		"GET /label/frames": s.frames,
	} {
		mux.Handle(pattern, s.known(s.asking(f)))
	}
}

// asking lets requests through where there is something to label.
func (s *Server) asking(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.o.Labels == nil {
			why := s.o.NoLabels
			if why == "" {
				why = "this page was started without a session's episodes"
			}
			refuse(w, http.StatusNotFound, "nothing can be labelled here: "+why)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hear reads a body that holds v alone; doc says what is wanted.
func hear(w http.ResponseWriter, r *http.Request, v any, doc string) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows it")
		}
	}
	if err == nil {
		return true
	}
	code := http.StatusBadRequest
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		code = http.StatusRequestEntityTooLarge
	}
	refuse(w, code, "web: "+doc+": "+err.Error())
	return false
}

// desk answers with what the desk says.
func (s *Server) desk(w http.ResponseWriter, r *http.Request, f func(context.Context) (ask.State, error)) {
	// Who closes the page on answering has answered.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), labelLimit)
	defer cancel()
	v, err := f(ctx)
	if err != nil {
		s.unlabelled(w, r, err)
		return
	}
	conn, _ := s.driven(ctx)
	answer(w, http.StatusOK, labelled{v, conn != nil})
}

func (s *Server) unlabelled(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusBadGateway
	switch {
	case errors.Is(err, ask.ErrNonsense):
		code = http.StatusBadRequest
	case errors.Is(err, ask.ErrNone):
		code = http.StatusNotFound
	default:
		s.o.Log.Warn("web: label", "path", r.URL.Path, "err", err)
	}
	// People need not know which package says so.
	words := strings.TrimPrefix(err.Error(), ask.ErrNonsense.Error()+": ")
	refuse(w, code, strings.TrimPrefix(words, "ask: "))
}

// frames sends a stretch of what a camera saw.
func (s *Server) frames(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var at [2]int
	for i, name := range []string{"from", "to"} {
		if v := q.Get(name); v != "" {
			var err error
			if at[i], err = strconv.Atoi(v); err != nil {
				refuse(w, http.StatusBadRequest, "web: label: "+name+" is no number of a step")
				return
			}
		}
	}
	b, err := s.o.Labels.Frames(r.Context(), q.Get("episode"), q.Get("camera"), at[0], at[1])
	if err != nil {
		s.unlabelled(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // who asked may have left
}
