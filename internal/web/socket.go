package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// tickEvery is how often a browser may be sent pictures, and every second time
	// all the rest.
	tickEvery = 50 * time.Millisecond
	// window is how many messages a browser may owe an acknowledgement for: with
	// ten a second, what it shows is at most about half a second older than its
	// network. A slow browser is sent less, never later.
	window = 4
	// deafAfter is how long a browser may be silent before it counts as gone.
	deafAfter = 5 * time.Second
	// writeLimit bounds the sending of one message.
	writeLimit = 3 * time.Second
	// maxWord bounds a message of a browser, bytes.
	maxWord = 4096
	// maxBrowsers bounds how many look at once.
	maxBrowsers = 32
)

// sockets counts the browsers, since http.Server.Shutdown does not wait for
// them.
type sockets struct {
	mu   sync.Mutex
	n    int
	over bool
	wg   sync.WaitGroup
}

func (s *sockets) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.n >= maxBrowsers {
		return false
	}
	s.n++
	s.wg.Add(1)
	return true
}

func (s *sockets) leave() {
	s.mu.Lock()
	s.n--
	s.mu.Unlock()
	s.wg.Done()
}

func (s *sockets) wait() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.wg.Wait()
}

// browser is one open page.
type browser struct {
	s    *Server
	c    *websocket.Conn
	seen seen
	hand hand // what it drives with

	sent  uint64 // messages with a number, by the writer
	acked atomic.Uint64
	heard atomic.Int64 // when it last said something, Unix ms
	delay atomic.Int64 // ms, of the last message and back
	mu    sync.Mutex
	when  [window + 1]time.Time // when the last messages were sent
}

// live is the socket of a page.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	if !s.socks.enter() {
		refuse(w, http.StatusServiceUnavailable, "too many pages are open, or the program ends")
		return
	}
	defer s.socks.leave()
	// Accept refuses pages of other origins.
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		s.o.Log.Debug("web: socket", "err", err)
		return
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(maxWord)
	b := &browser{s: s, c: c, seen: seen{frames: make(map[string]uint64)}, hand: newHand(r.RemoteAddr)}
	b.heard.Store(time.Now().UnixMilli())
	s.hub.looking.Add(1)
	defer s.hub.looking.Add(-1)
	defer s.pilot.leave(&b.hand)

	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		if err := b.write(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Debug("web: browser lost", "address", r.RemoteAddr, "err", err)
		}
	})
	if err := b.read(ctx); errors.Is(err, errWord) {
		_ = c.Close(websocket.StatusPolicyViolation, "malformed message")
	}
	cancel()
	wg.Wait()
}

var (
	errWord = errors.New("web: malformed message of a browser")
	errDeaf = errors.New("web: browser does not answer")
)

// word is what a browser says.
type word struct {
	Ack    uint64   `json:"ack"`
	Teleop *reading `json:"teleop"`
}

func (b *browser) read(ctx context.Context) error {
	for {
		typ, m, err := b.c.Read(ctx)
		if err != nil {
			return err
		}
		var v word
		if typ != websocket.MessageText || json.Unmarshal(m, &v) != nil {
			return errWord
		}
		b.heard.Store(time.Now().UnixMilli())
		if v.Ack > b.acked.Load() {
			b.took(v.Ack)
		}
		if v.Teleop == nil {
			continue
		}
		if err := v.Teleop.check(); err != nil {
			return errWord
		}
		b.s.pilot.take(&b.hand, v.Teleop)
	}
}

func (b *browser) took(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.sent {
		return // it was never sent
	}
	b.acked.Store(n)
	b.delay.Store(time.Since(b.when[n%uint64(len(b.when))]).Milliseconds())
}

func (b *browser) write(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		if time.Since(time.UnixMilli(b.heard.Load())) > deafAfter {
			return errDeaf
		}
		if b.sent-b.acked.Load() < window {
			if err := b.s.hub.frames(&b.seen, func(m []byte) error { return b.send(ctx, websocket.MessageBinary, m) }); err != nil {
				return err
			}
			if i%2 == 0 {
				if err := b.tell(ctx); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.s.over:
			// Even who owes acknowledgements is told how it ended.
			if err := b.tell(ctx); err != nil {
				return err
			}
			return b.c.Close(websocket.StatusGoingAway, "the program ends")
		case <-tick.C:
		}
	}
}

func (b *browser) tell(ctx context.Context) error {
	v := b.s.hub.sight(&b.seen)
	v.Pilot, v.Yours = b.s.pilot.who(&b.hand)
	v.Clicks = b.s.o.Clicks != ""
	v.Delay = b.delay.Load()
	b.mu.Lock()
	b.sent++
	b.when[b.sent%uint64(len(b.when))] = time.Now()
	v.N = b.sent
	b.mu.Unlock()
	m, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.send(ctx, websocket.MessageText, m)
}

func (b *browser) send(ctx context.Context, typ websocket.MessageType, m []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	return b.c.Write(ctx, typ, m)
}
