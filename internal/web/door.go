package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

//go:embed page
var files embed.FS

// A page may stop and drive an arm, so a request must show the token, in a
// header or as a WebSocket subprotocol. Neither is sent by a browser of its own
// accord as a cookie is, so no other site can act in a person's name; requests
// that say that they come from another site are refused besides.
const (
	bearer   = "Bearer "
	protocol = "rapport.v1" // the subprotocol that the socket speaks
	tokenTag = "token."     // what heads the subprotocol that carries the token
)

// policyHeader lets the page load from this server alone, and nobody frame it:
// a hidden frame could make a person click on what he does not see.
const policyHeader = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// tokenFile is where a session's folder keeps the token of its pages. Its owner alone may read it.
const tokenFile = "page-token"

// newToken is of 128 random bits or more, in letters and digits.
func newToken() string { return rand.Text() }

// Token is that of the pages of the session in dir, made when it is first asked for, so that a page that is
// open, and a link that was kept, are good after the session went on. One that others could have read is
// made anew.
func Token(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 == 0 {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("web: token: %w", err)
		}
		if t := strings.TrimSpace(string(b)); len(t) == len(newToken()) {
			return t, nil
		}
	}
	t := newToken()
	// A new file, since the mode of an old one would stay.
	tmp, err := os.CreateTemp(dir, tokenFile+".*") // of mode 0600
	if err != nil {
		return "", fmt.Errorf("web: token: %w", err)
	}
	_, err = tmp.WriteString(t + "\n")
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("web: token: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return t, nil
}

func (s *Server) handler() http.Handler {
	pages, err := fs.Sub(files, "page")
	if err != nil {
		panic("web: the page is not inside the program")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(pages))
	if s.o.Conn != nil {
		mux.Handle("GET /live", s.known(http.HandlerFunc(s.live)))
		mux.Handle("POST /acknowledge", s.known(http.HandlerFunc(s.acknowledge)))
	} else { // nothing runs that could be shown
		page := "/label"
		if s.o.Labels == nil {
			page = "/clicks"
		}
		mux.Handle("GET /{$}", http.RedirectHandler(page, http.StatusSeeOther))
	}
	if s.o.Conn != nil || s.o.Arm != nil {
		mux.Handle("POST /stop", s.known(http.HandlerFunc(s.stop)))
	}
	mux.Handle("GET /arm", s.known(http.HandlerFunc(s.arm)))
	s.labels(mux)
	s.clicks(mux)
	same := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policyHeader)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store") // a page from yesterday's program would show today's session
		h.Set("Permissions-Policy", "gamepad=(self)")
		same.Handler(mux).ServeHTTP(w, r)
	})
}

// known lets through who shows the token.
func (s *Server) known(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(s.o.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(shown(r)))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			refuse(w, http.StatusUnauthorized, "this page has no valid token; open the link that the program printed")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// shown is the token that a request shows, or "".
func shown(r *http.Request) string {
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer); ok {
		return t
	}
	for _, v := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(v, ",") {
			if t, ok := strings.CutPrefix(strings.TrimSpace(p), tokenTag); ok {
				return t
			}
		}
	}
	return ""
}

func refuse(w http.ResponseWriter, code int, why string) {
	answer(w, code, map[string]string{"error": why})
}

func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("web: answers are plain structs")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(b) // who asked may have left
}
