package bus

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Status is what a process of a session says of itself several times a second,
// so that who begins to listen late knows all there is to show. What is unknown
// is empty.
type Status struct {
	Seq     uint64 // counts what this process said
	Stage   string // what it does, as "fine-tune"
	Done    int    // parts of the stage
	Total   int
	Note    string
	Cameras []string // that it publishes
	// Episode is the one that runs, or the last; Step is its control tick, of
	// Horizon.
	Episode string
	Step    int
	Horizon int
	By      string // who decided the last command: policy, human, guard, log
	Version uint64 // of the parameters that act
	Guard   []Count
	Fault   *Fault // nil while none is latched
	Success []Share
	// Returns are the returns of the newest episodes, the first of which is
	// number First.
	First   int
	Returns []float64
}

// Count is how often something happened.
type Count struct {
	Name string `json:"name"`
	N    uint64 `json:"n"`
}

// Share is how often something succeeded, as on fresh seeds before fine-tuning.
type Share struct {
	When string `json:"when"`
	Hits int    `json:"hits"`
	Of   int    `json:"of"`
}

// Fault is a latched fault as others see it; the guard's own has the past too.
type Fault struct {
	Cause  string    `json:"cause"`
	Detail string    `json:"detail"`
	Stamp  time.Time `json:"stamp"` // by the backend's clock
}

type statusMeta struct {
	Seq     uint64   `json:"seq"`
	Stage   string   `json:"stage"`
	Done    int      `json:"done"`
	Total   int      `json:"total"`
	Note    string   `json:"note,omitempty"`
	Cameras []string `json:"cameras,omitempty"`
	Episode string   `json:"episode,omitempty"`
	Step    int      `json:"step"`
	Horizon int      `json:"horizon"`
	By      string   `json:"by,omitempty"`
	Version uint64   `json:"version"`
	Guard   []Count  `json:"guard,omitempty"`
	Fault   *Fault   `json:"fault,omitempty"`
	Success []Share  `json:"success,omitempty"`
	First   int      `json:"first"`
}

// maxReturns bounds the curve of a status; older episodes are in the store.
const maxReturns = 1000

// EncodeStatus writes a message of kind "status". Only the newest thousand
// returns travel.
func EncodeStatus(s Status) ([]byte, error) {
	if n := len(s.Returns) - maxReturns; n > 0 {
		s.First, s.Returns = s.First+n, s.Returns[n:]
	}
	m := statusMeta{s.Seq, s.Stage, s.Done, s.Total, s.Note, s.Cameras, s.Episode, s.Step, s.Horizon, s.By, s.Version, s.Guard, s.Fault, s.Success, s.First}
	for _, v := range append([]string{s.Stage, s.Note, s.Episode, s.By}, s.Cameras...) {
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("bus: encode status: %q is not UTF-8", v)
		}
	}
	var w writer
	w.add("returns", "f8", []int{len(s.Returns)}, func(b []byte) []byte { return putF64s(b, s.Returns...) })
	return encode("status", m, &w)
}

// DecodeStatus reads what EncodeStatus wrote.
func DecodeStatus(b []byte) (Status, error) {
	m, r, err := decode[statusMeta]("status", b)
	if err != nil {
		return Status{}, err
	}
	n := r.count("returns", "f8", -1)
	if n > maxReturns {
		r.fail("%d returns, limit %d", n, maxReturns)
	}
	if len(m.Cameras) > maxFrames {
		r.fail("%d cameras, limit %d", len(m.Cameras), maxFrames)
	}
	c := cursor(r.rows("returns", "f8", -1, n))
	if err := r.done("status"); err != nil {
		return Status{}, err
	}
	s := Status{m.Seq, m.Stage, m.Done, m.Total, m.Note, m.Cameras, m.Episode, m.Step, m.Horizon, m.By, m.Version, m.Guard, m.Fault, m.Success, m.First, nil}
	if n > 0 {
		s.Returns = make([]float64, n)
		c.f64s(s.Returns)
	}
	return s, nil
}

// StatusTopic carries what a role says of itself: "run", "learner" or "actor".
func StatusTopic(role string) Topic[Status] {
	return Topic[Status]{"status." + role, EncodeStatus, DecodeStatus}
}
