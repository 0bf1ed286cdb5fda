package web

import (
	"net/http"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
)

// armed is what the pages beside the dashboard are told of the session's arm, which
// they can stop.
type armed struct {
	// Live says that a session runs.
	Live bool `json:"live"`
	// Held is what holds its arm, nil for nothing, as the session said Age ms ago; -1:
	// it said nothing yet.
	Held *bus.Fault `json:"held,omitempty"`
	Age  int64      `json:"age"`
}

// arm answers with how the arm stands.
func (s *Server) arm(w http.ResponseWriter, _ *http.Request) {
	v := armed{Age: -1}
	if s.hub != nil {
		v.Live = true
		v.Held, v.Age = s.hub.held()
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
