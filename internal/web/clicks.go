package web

import (
	"errors"
	"net/http"

	"github.com/rapport-rl/rapport/reward/kagi/click"
)

// clicked is what the page is told.
type clicked struct {
	click.State
	Session string `json:"session"`
	Live    bool   `json:"live"` // a session runs, whose arm the page can stop
}

// clicks adds the requests of the page on which a plan is clicked to mux.
func (s *Server) clicks(mux *http.ServeMux) {
	mux.HandleFunc("GET /clicks", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "page/clicks.html") })
	for pattern, f := range map[string]http.HandlerFunc{
		"GET /clicks/state": func(w http.ResponseWriter, _ *http.Request) {
			st, err := s.o.Clicks.State()
			s.clickedTo(w, clicked{st, s.o.Session, s.o.Conn != nil}, err)
		},
		"GET /clicks/picture": func(w http.ResponseWriter, r *http.Request) {
			b, err := s.o.Clicks.Picture(r.URL.Query().Get("camera"))
			if err != nil {
				s.clickedTo(w, nil, err)
				return
			}
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write(b) // who asked may have left
		},
		"POST /clicks/lift": func(w http.ResponseWriter, r *http.Request) {
			var v click.Sight
			if hear(w, r, &v, clicksDoc) {
				p, err := s.o.Clicks.Lift(v)
				s.clickedTo(w, p, err)
			}
		},
		"POST /clicks/save": func(w http.ResponseWriter, r *http.Request) {
			var v click.Draft
			if hear(w, r, &v, clicksDoc) {
				err := s.o.Clicks.Save(v)
				if err == nil {
					s.o.Log.Info("web: a plan was clicked", "file", s.o.Clicks.PlanFile())
				}
				s.clickedTo(w, map[string]string{"file": s.o.Clicks.PlanFile()}, err)
			}
		},
		"POST /clicks/again": func(w http.ResponseWriter, r *http.Request) {
			s.clickedTo(w, struct{}{}, s.o.Clicks.Again())
		},
	} {
		mux.Handle(pattern, s.known(s.clicking(f)))
	}
}

const (
	clicksDoc = "click: want one JSON object as docs/kagi.md has it"
	labelDoc  = "label: want one JSON object as docs/labelling.md has it"
)

// clicking lets requests through where there is something to click.
func (s *Server) clicking(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.o.Clicks == "" {
			refuse(w, http.StatusNotFound, "nothing is to be clicked here: the session has no reward.kagi.source clicks without a plan, or its folder is on another machine; open the page there")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// clickedTo answers with v, or with what is wrong.
func (s *Server) clickedTo(w http.ResponseWriter, v any, err error) {
	switch {
	case err == nil:
		answer(w, http.StatusOK, v)
	case errors.Is(err, click.ErrNone):
		refuse(w, http.StatusNotFound, "no picture has come yet: a session with reward.kind kagi and reward.kagi.source clicks shows its first reset here")
	case errors.Is(err, click.ErrRefused):
		refuse(w, http.StatusBadRequest, err.Error())
	default:
		s.o.Log.Warn("web: clicks", "err", err)
		refuse(w, http.StatusInternalServerError, err.Error())
	}
}
