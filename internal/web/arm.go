package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
)

// armed is what the pages beside the dashboard are told of the session's arm, which
// they can stop.
type armed struct {
	// Live says that a session runs, Shown that this server has its dashboard.
	Live  bool `json:"live"`
	Shown bool `json:"shown"`
	// Held is what holds its arm, nil for nothing, as the session said Age ms ago; -1:
	// it said nothing yet.
	Held *bus.Fault `json:"held,omitempty"`
	Age  int64      `json:"age"`
}

// driven is where an arm can be stopped at the moment; nil for none.
func (s *Server) driven(ctx context.Context) (*bus.Conn, string) {
	if s.o.Arm != nil {
		return s.o.Arm(ctx)
	}
	return s.o.Conn, s.o.Session
}

// arm answers with how the arm stands.
func (s *Server) arm(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), actLimit)
	defer cancel()
	conn, session := s.driven(ctx)
	v := armed{Live: conn != nil, Shown: conn != nil && s.hub != nil, Age: -1}
	switch {
	case conn == nil:
	case s.o.Arm == nil:
		v.Held, v.Age = s.hub.held()
	default: // nobody listens to its telemetry
		fs, err := conn.Faults(ctx, session)
		if err != nil {
			s.o.Log.Debug("web: how the arm stands", "err", err)
			break
		}
		v.Age = 0
		if i := slices.IndexFunc(fs, func(f bus.Fault) bool { return f.Open }); i >= 0 {
			v.Held = &fs[i]
		}
	}
	answer(w, http.StatusOK, v)
}

// held is the fault that the session told of last, and how long ago, ms.
func (h *hub) held() (f *bus.Fault, age int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.status.n == 0 {
		return nil, -1
	}
	return h.status.v.Fault, max(time.Since(h.status.at).Milliseconds(), 0)
}
