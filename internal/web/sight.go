package web

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
)

// number is a float64 that JSON can hold: what is not finite is null.
type number float64

func (x number) MarshalJSON() ([]byte, error) {
	if f := float64(x); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return strconv.AppendFloat(nil, f, 'g', 7, 64), nil
	}
	return []byte("null"), nil
}

func numbers(v []float64) []number {
	out := make([]number, len(v))
	for i, x := range v {
		out[i] = number(x)
	}
	return out
}

// sight is what a browser is told ten times a second. Ages are milliseconds
// since a thing came here; the page adds what has passed since then, and shows
// nothing old as if it were live.
type sight struct {
	N       uint64      `json:"n"`
	Session string      `json:"session"`
	Bus     bool        `json:"bus"`   // connected just now
	Delay   int64       `json:"delay"` // ms, of the last message to this browser and back
	Status  *status     `json:"status,omitempty"`
	State   *state      `json:"state,omitempty"`
	Work    []work      `json:"work,omitempty"`
	Peers   []peer      `json:"peers,omitempty"`
	Metrics []metrics   `json:"metrics,omitempty"`
	Cameras []camera    `json:"cameras,omitempty"`
	Success []bus.Share `json:"success,omitempty"`
	Rewards *curve      `json:"rewards,omitempty"` // absent while nothing changed
	Returns *curve      `json:"returns,omitempty"`
	Teleop  bool        `json:"teleop"`           // the session hears who drives
	Pilot   string      `json:"pilot,omitempty"`  // who drives through this page
	Yours   bool        `json:"yours,omitempty"`  // it is this browser
	Clicks  bool        `json:"clicks,omitempty"` // there is a plan to be clicked
}

type status struct {
	Age int64 `json:"age"`
	bus.Status
	Horizon int `json:"horizon,omitempty"`
}

type state struct {
	Age    int64    `json:"age"`
	Q      []number `json:"q"`      // rad
	DQ     []number `json:"dq"`     // rad/s
	P      []number `json:"p"`      // m, base frame
	R      []number `json:"r"`      // wxyz
	Wrench []number `json:"wrench"` // N, Nm
	Grip   number   `json:"grip"`   // m
}

type work struct {
	Role  string `json:"role"`
	Age   int64  `json:"age"`
	Stage string `json:"stage"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
	Note  string `json:"note,omitempty"`
	Bye   bool   `json:"bye,omitempty"`
}

type peer struct {
	Role  string `json:"role"`
	Name  string `json:"name"`
	Alive bool   `json:"alive"`
}

type metrics struct {
	Role    string   `json:"role"`
	Age     int64    `json:"age"`
	Updates uint64   `json:"updates"`
	Values  []metric `json:"values"`
}

type metric struct {
	Name  string `json:"name"`
	Value number `json:"value"`
}

type camera struct {
	Name string `json:"name"`
	Age  int64  `json:"age"` // -1: no picture came yet
	// Lag is how much older than the arm's newest state the picture is, ms by the
	// backend's clock.
	Lag int64 `json:"lag"`
}

type curve struct {
	Age    int64    `json:"age"`
	First  int      `json:"first"`
	Values []number `json:"values"`
}

// seen is how far a browser has been told, by counts of hub's values.
type seen struct {
	rewards uint64
	returns string // what the returns were like
	frames  map[string]uint64
}

// sight reads the newest of everything, and of what is long only what the
// browser has not seen.
func (h *hub) sight(s *seen) sight {
	v := sight{Session: h.session, Bus: h.conn.Connected()}
	for _, p := range h.peers.List() {
		v.Peers = append(v.Peers, peer{p.Role, p.Name, p.Alive})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	age := func(at time.Time) int64 { return max(now.Sub(at).Milliseconds(), 0) }
	if l := &h.status; l.n > 0 {
		v.Status = &status{Age: age(l.at), Status: l.v}
	}
	if l := &h.state; l.n > 0 {
		x := &l.v
		v.State = &state{age(l.at), numbers(x.Q[:]), numbers(x.DQ[:]), numbers(x.EE.P[:]), numbers(x.EE.Q[:]), numbers(x.Wrench[:]), number(x.Grip)}
	}
	if l := &h.rewards; l.n > s.rewards {
		s.rewards = l.n
		v.Rewards = &curve{age(l.at), 0, numbers(l.v)}
	}
	for i, role := range roles {
		if l := &h.summary[i]; l.n > 0 {
			x := &l.v
			v.Work = append(v.Work, work{role, age(l.at), x.Stage, x.Done, x.Total, x.Note, x.Bye})
			if v.Status != nil && x.Horizon > 0 {
				v.Status.Horizon = x.Horizon
			}
			v.Teleop = v.Teleop || x.Teleop && !x.Bye && role != "learner"
			if role == "actor" {
				continue // the learner knows how all of the session's episodes went
			}
			v.Success = append(v.Success, x.Success...)
			if mark := returnsMark(x); mark != s.returns && len(x.Returns) > 0 {
				s.returns = mark
				v.Returns = &curve{age(l.at), x.First, numbers(x.Returns)}
			}
		}
		if l := &h.metrics[i]; l.n > 0 {
			m := metrics{Role: role, Age: age(l.at), Updates: l.v.Updates}
			for _, x := range l.v.Metrics {
				m.Values = append(m.Values, metric{x.Name, number(x.Value)})
			}
			v.Metrics = append(v.Metrics, m)
		}
	}
	for _, name := range h.names {
		c := camera{Name: name, Age: -1}
		if l := h.views[name]; l != nil && l.v.JPEG != nil {
			c.Age = age(l.at)
			if h.state.n > 0 {
				c.Lag = max(h.state.v.Stamp.Sub(l.v.Stamp).Milliseconds(), 0)
			}
		}
		v.Cameras = append(v.Cameras, c)
	}
	return v
}

func returnsMark(s *bus.Summary) string {
	mark := strconv.Itoa(s.First) + " " + strconv.Itoa(len(s.Returns))
	if n := len(s.Returns); n > 0 {
		mark += " " + strconv.FormatFloat(s.Returns[n-1], 'g', -1, 64)
	}
	return mark
}

// frameHead describes a picture to the page; the JPEG follows it.
type frameHead struct {
	Camera string `json:"camera"`
	Seq    uint64 `json:"seq"`
	Age    int64  `json:"age"`
	W      int    `json:"w"`
	H      int    `json:"h"`
}

// frames calls send with each camera's picture that the browser has not seen:
// uint16 n, big-endian, n bytes of JSON, JPEG.
func (h *hub) frames(s *seen, send func([]byte) error) error {
	h.mu.Lock()
	var out [][]byte
	for _, name := range h.names {
		l := h.views[name]
		if l == nil || l.v.JPEG == nil || l.n <= s.frames[name] {
			continue
		}
		s.frames[name] = l.n
		head, err := json.Marshal(frameHead{name, l.v.Seq, time.Since(l.at).Milliseconds(), l.v.W, l.v.H})
		if err != nil {
			panic("web: a picture's head is a plain struct")
		}
		b := make([]byte, 0, 2+len(head)+len(l.v.JPEG))
		b = append(b, byte(len(head)>>8), byte(len(head)))
		out = append(out, append(append(b, head...), l.v.JPEG...))
	}
	h.mu.Unlock()
	for _, b := range out {
		if err := send(b); err != nil {
			return err
		}
	}
	return nil
}
