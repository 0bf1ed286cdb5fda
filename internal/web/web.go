// Package web serves the live page of a session: what the arm sees and does,
// how the learning stands, a button that stops the arm, and a gamepad in the
// browser that drives it.
//
// Why: beside an arm stands a person with a tablet, not with a terminal. The
// page is plain HTML, CSS and JavaScript inside the program, so it works where
// there is no internet. It takes part in the session over the bus alone, so that
// it can be killed, and is slow, without the session noticing.
//
//	s, err := web.Start(web.Options{Conn: conn, Session: "group-001", Listen: "127.0.0.1:8080", Log: log})
//	defer s.Close()
//	fmt.Println(s.URL()) // holds the token without which nobody sees or stops anything
//
// docs/dashboard.md says what the page shows and how it is protected.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/kagi/click"
)

// Options say what to show and where.
type Options struct {
	// Conn is the connection to the session's bus; it outlives the server. Without
	// one only what is to be labelled, or clicked, is shown.
	Conn    *bus.Conn
	Session string
	// Arm is the session whose arm is to be stopped at the moment, a nil Conn for none,
	// where it may begin or end while the page is open; nil means that of Conn.
	Arm func(ctx context.Context) (*bus.Conn, string)
	// Labels asks people about the session's episodes; nil for nothing to label,
	// with NoLabels saying why.
	Labels   *ask.Desk
	NoLabels string
	// Clicks is where an operator clicks a plan of waypoints; "" for nowhere.
	Clicks click.Folder
	// Listen is host:port; port 0 picks a free one. "" means 127.0.0.1:0.
	Listen string
	// Token is what a browser must know, as of Token; "" makes a random one.
	Token string
	Log   *slog.Logger // nil discards
}

// Server serves the page.
type Server struct {
	o    Options
	hub  *hub
	ln   net.Listener
	http *http.Server
	// over asks all sockets to end, and ctx ends those that do not; http.Server.Shutdown
	// leaves them alone.
	over   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	socks  sockets
	pilot  pilot
	once   sync.Once
}

const (
	// closeLimit is how long requests under way may take after Close.
	closeLimit = 2 * time.Second
	// lastLimit is how long the last word may take, of the session to the page and
	// of the page to its browsers.
	lastLimit = time.Second
)

// Try reports whether a page could be served at an address, so that nothing is
// begun for a page that cannot be.
func Try(listen string) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return inUse(listen, err)
	}
	return ln.Close()
}

func inUse(listen string, err error) error {
	if _, _, e := net.SplitHostPort(listen); e != nil {
		return fmt.Errorf("web: listen %s: %w; want HOST:PORT, as 127.0.0.1:8080 (port 0 picks a free one)", listen, err)
	}
	return fmt.Errorf("web: listen %s: %w; stop what uses the port, or choose another (port 0 picks a free one)", listen, err)
}

// Start listens and serves until Close.
func Start(o Options) (*Server, error) {
	if o.Conn == nil && o.Labels == nil && o.Clicks == "" || o.Session == "" {
		return nil, errors.New("web: no session to show; name one and the bus that it is on")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Token == "" {
		o.Token = newToken()
	}
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, inUse(o.Listen, err)
	}
	if a, ok := ln.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		o.Log.Warn("web: the page is served beyond this machine without encryption; whoever listens on that network can learn its token and then drive the arm", "address", a.String())
	}
	s := &Server{o: o, ln: ln, over: make(chan struct{})}
	if err := s.tune(); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    1 << 14,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // strangers' broken requests
	}
	s.wg.Go(func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("web: the page is served no more", "err", err)
		}
	})
	return s, nil
}

// tune listens to the session, if one runs.
func (s *Server) tune() (err error) {
	if s.o.Conn == nil {
		return nil
	}
	if s.hub, err = newHub(s.o.Conn, s.o.Session, s.o.Log); err != nil {
		return err
	}
	if err := s.pilot.open(s.o.Conn, s.o.Session); err != nil {
		s.hub.close()
		return err
	}
	return nil
}

// Addr is where the page is served, as host:port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// URL opens the page, with the token in the fragment, which browsers send to
// nobody.
func (s *Server) URL() string {
	switch {
	case s.o.Conn != nil:
		return s.url("")
	case s.o.Labels == nil:
		return s.ClicksURL()
	}
	return s.LabelURL()
}

// LabelURL opens the labelling page.
func (s *Server) LabelURL() string { return s.url("label") }

// ClicksURL opens the page on which a plan is clicked.
func (s *Server) ClicksURL() string { return s.url("clicks") }

// Elsewhere are the links by which other machines open what a link of s opens on this one, where
// the page is served on all addresses: one for each that this machine has beside loopback.
func (s *Server) Elsewhere(link string) (links []string) {
	a, ok := s.ln.Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		s.o.Log.Warn("web: the addresses of this machine are not known; from elsewhere put its name into the link", "err", err)
	}
	for _, o := range own {
		n, ok := o.(*net.IPNet)
		// On 0.0.0.0 nobody answers an IPv6 address.
		if !ok || !n.IP.IsGlobalUnicast() || a.IP.To4() != nil && n.IP.To4() == nil {
			continue
		}
		links = append(links, strings.Replace(link, "//"+net.JoinHostPort(local, fmt.Sprint(a.Port)), "//"+net.JoinHostPort(n.IP.String(), fmt.Sprint(a.Port)), 1))
	}
	return links
}

// local is this machine's name to itself.
const local = "localhost"

func (s *Server) url(page string) string {
	host, port, err := net.SplitHostPort(s.ln.Addr().String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = local // every address of this machine; Elsewhere has the others
	}
	return "http://" + net.JoinHostPort(host, port) + "/" + page + "#" + s.o.Token
}

// Finish is Close after a session that ran in this process: what it said at its end
// is on its way still, and without it browsers would take the end for a loss.
func (s *Server) Finish() {
	if s.o.Conn != nil {
		s.hub.finish(lastLimit)
	}
	s.Close()
}

// Close tells the browsers a last time how things stand, ends the sockets and
// requests, and returns when all is gone. The connection to the bus stays.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.over)
		late := time.AfterFunc(lastLimit, s.cancel)
		s.socks.wait()
		late.Stop()
		s.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.o.Log.Warn("web: close: requests were cut off", "err", errors.Join(err, s.http.Close()))
		}
		s.wg.Wait()
		if s.o.Conn != nil {
			s.pilot.close()
			s.hub.close()
		}
	})
}
