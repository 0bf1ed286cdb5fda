package wire

import (
	"encoding/json"
	"math"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// stage notes how far the session is.
func (d *desk) stage(stage string, done, total int, note string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	d.status.Stage, d.status.Done, d.status.Total, d.status.Note = stage, done, total, note
	d.mu.Unlock()
	d.publish()
}

// begin notes that the arm is brought to the start of an episode.
func (d *desk) begin(episode string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ahead(episode)
}

// ahead notes that an episode is ahead, "" where none is that a hand can take part in. What a
// person did in one that begins anew is dropped with it. d.mu is held.
func (d *desk) ahead(episode string) {
	s := &d.status
	if episode == s.Episode {
		s.Humans -= s.Human
	}
	s.Episode, s.Step, s.Human, s.By = episode, 0, 0, ""
}

// turn notes which way it is that acts, where two take turns. Both number their episodes alike:
// the other's is no episode that begins anew.
func (d *desk) turn(way tabletop.Direction) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.Way != way.String() {
		d.ahead("")
	}
	d.status.Way = way.String()
}

// tick notes what was just observed in an episode under way.
func (d *desk) tick(episode string, step int, obs *robot.Observation, version uint64, a *arm) {
	if d == nil {
		return
	}
	n := a.guard.Counts()
	d.mu.Lock()
	s := &d.status
	if step == 0 {
		d.ahead(episode)
	}
	s.Step, s.By, s.Version, s.Bad = step, "", version, a.bad
	if step > 0 {
		s.By = obs.By.String()
		if obs.By == robot.ByHuman {
			s.Human++
			s.Humans++
		}
	}
	s.Guard = bus.GuardCounts{Steps: n.Steps, Clipped: n.Clipped, Scaled: n.Scaled, Held: n.Held, Lapsed: n.Lapsed, Faults: n.Faults}
	d.mu.Unlock()
	d.publish()
}

// handled adds steps that a person decided before this process began.
func (d *desk) handled(steps int) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Humans += steps
}

func (d *desk) publish() {
	d.mu.Lock()
	s := d.status
	d.mu.Unlock()
	d.feed.Publish(s)
}

// number is a float64 whose JSON tells NaN and the infinities as null: a fault
// may be about them, and its detail says which.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

func numbers(v []float64) []number {
	out := make([]number, len(v))
	for i, x := range v {
		out[i] = number(x)
	}
	return out
}

// toldState and toldMoment are what a fault's report holds, in SI units and in
// the order of robot.State and robot.Command.
type toldState struct {
	Stamp  string   `json:"stamp"`
	Q      []number `json:"q"`
	DQ     []number `json:"dq"`
	P      []number `json:"position"`
	O      []number `json:"orientation"`
	Wrench []number `json:"wrench"`
	Grip   number   `json:"grip"`
}

type toldMoment struct {
	State   toldState `json:"state"`
	Wish    []number  `json:"wish"`
	Applied []number  `json:"applied"`
	By      string    `json:"by"`
	Verdict uint8     `json:"verdict"`
}

type toldFault struct {
	State  toldState    `json:"state"`
	Recent []toldMoment `json:"recent"`
}

func tellState(s *robot.State) toldState {
	return toldState{s.Stamp.Format("2006-01-02T15:04:05.000000000Z07:00"), numbers(s.Q[:]), numbers(s.DQ[:]), numbers(s.EE.P[:]), numbers(s.EE.Q[:]), numbers(s.Wrench[:]), number(s.Grip)}
}

// tellFault is the state that caused f and the two seconds before, JSON.
func tellFault(f *guard.Fault) json.RawMessage {
	t := toldFault{State: tellState(&f.State)}
	for i := range f.Recent {
		m := &f.Recent[i]
		t.Recent = append(t.Recent, toldMoment{tellState(&m.State), numbers(append(m.Wish.Delta[:], m.Wish.Grip)), numbers(append(m.Applied.Delta[:], m.Applied.Grip)), m.By.String(), uint8(m.Verdict)})
	}
	b, err := json.Marshal(t)
	if err != nil {
		panic("wire: a fault's report is not JSON") // every number of it is written by number
	}
	return b
}
