package bus

import (
	"fmt"
	"unicode/utf8"
)

// Summary is what a process of a session says of its work several times a
// second, so that who begins to listen late knows all that there is to show.
// What is unknown is empty.
type Summary struct {
	Seq     uint64 // counts what this process said
	Stage   string // what it does, as "fine-tune"
	Done    int    // parts of the stage
	Total   int
	Note    string
	Cameras []string // that the arm has
	Horizon int      // control ticks of an episode
	Teleop  bool     // a person may drive the arm over the bus
	Success []Share
	// Returns are the returns of the newest episodes, the first of which is
	// number First.
	First   int
	Returns []float64
	Bye     bool // the process ends in order
}

// Share is how often something succeeded, as on fresh seeds before fine-tuning.
type Share struct {
	When string `json:"when"`
	Hits int    `json:"hits"`
	Of   int    `json:"of"`
}

type summaryMeta struct {
	Seq     uint64   `json:"seq"`
	Stage   string   `json:"stage"`
	Done    int      `json:"done"`
	Total   int      `json:"total"`
	Note    string   `json:"note,omitempty"`
	Cameras []string `json:"cameras,omitempty"`
	Horizon int      `json:"horizon"`
	Teleop  bool     `json:"teleop,omitempty"`
	Success []Share  `json:"success,omitempty"`
	First   int      `json:"first"`
	Bye     bool     `json:"bye,omitempty"`
}

// maxReturns bounds the curve of a summary; older episodes are in the store.
const maxReturns = 1000

// EncodeSummary writes a message of kind "summary". Only the newest thousand
// returns travel.
func EncodeSummary(s Summary) ([]byte, error) {
	if n := len(s.Returns) - maxReturns; n > 0 {
		s.First, s.Returns = s.First+n, s.Returns[n:]
	}
	for _, v := range append([]string{s.Stage, s.Note}, s.Cameras...) {
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("bus: encode summary: %q is not UTF-8", v)
		}
	}
	var w writer
	w.add("returns", "f8", []int{len(s.Returns)}, func(b []byte) []byte { return putF64s(b, s.Returns...) })
	return encode("summary", summaryMeta{s.Seq, s.Stage, s.Done, s.Total, s.Note, s.Cameras, s.Horizon, s.Teleop, s.Success, s.First, s.Bye}, &w)
}

// DecodeSummary reads what EncodeSummary wrote.
func DecodeSummary(b []byte) (Summary, error) {
	m, r, err := decode[summaryMeta]("summary", b)
	if err != nil {
		return Summary{}, err
	}
	n := r.count("returns", "f8", -1)
	if n > maxReturns {
		r.fail("%d returns, limit %d", n, maxReturns)
	}
	if len(m.Cameras) > maxFrames || len(m.Success) > maxFrames {
		r.fail("%d cameras and %d shares, limit %d", len(m.Cameras), len(m.Success), maxFrames)
	}
	c := cursor(r.rows("returns", "f8", -1, n))
	if err := r.done("summary"); err != nil {
		return Summary{}, err
	}
	s := Summary{m.Seq, m.Stage, m.Done, m.Total, m.Note, m.Cameras, m.Horizon, m.Teleop, m.Success, m.First, nil, m.Bye}
	if n > 0 {
		s.Returns = make([]float64, n)
		c.f64s(s.Returns)
	}
	return s, nil
}

// SummaryTopic carries what a role says of its work: "run", "learner", "actor".
func SummaryTopic(role string) Topic[Summary] {
	return Topic[Summary]{"summary." + role, EncodeSummary, DecodeSummary}
}
