package bus

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// stateWidth is the number of columns of a state: Q 7, DQ 7, position 3,
// quaternion wxyz 4, wrench 6, grip 1.
const stateWidth = 7 + 7 + 3 + 4 + 6 + 1

// commandWidth is the number of columns of a command: delta 6, grip 1.
const commandWidth = 6 + 1

// states adds n states: state_stamp (n,2), state (n,28).
func (w *writer) states(n int, at func(int) *robot.State) {
	w.add("state_stamp", "i8", []int{n, 2}, func(b []byte) []byte {
		for i := range n {
			b = putTime(b, at(i).Stamp)
		}
		return b
	})
	w.add("state", "f8", []int{n, stateWidth}, func(b []byte) []byte {
		for i := range n {
			s := at(i)
			b = putF64s(b, s.Q[:]...)
			b = putF64s(b, s.DQ[:]...)
			b = putF64s(b, s.EE.P[:]...)
			b = putF64s(b, s.EE.Q[:]...)
			b = putF64s(b, s.Wrench[:]...)
			b = putF64s(b, s.Grip)
		}
		return b
	})
}

func (r *reader) states(n int, at func(int) *robot.State) {
	r.times("state_stamp", n, func(i int, t time.Time) { at(i).Stamp = t })
	c := cursor(r.rows("state", "f8", stateWidth, n))
	for i := 0; i < n && r.err == nil; i++ {
		s := at(i)
		c.f64s(s.Q[:])
		c.f64s(s.DQ[:])
		c.f64s(s.EE.P[:])
		c.f64s(s.EE.Q[:])
		c.f64s(s.Wrench[:])
		s.Grip = c.f64()
	}
}

// commands adds commands (n,7).
func (w *writer) commands(v []robot.Command) {
	w.add("command", "f8", []int{len(v), commandWidth}, func(b []byte) []byte {
		for i := range v {
			b = putF64s(b, v[i].Delta[:]...)
			b = putF64s(b, v[i].Grip)
		}
		return b
	})
}

func (r *reader) commands(v []robot.Command) {
	c := cursor(r.rows("command", "f8", commandWidth, len(v)))
	for i := 0; i < len(v) && r.err == nil; i++ {
		c.f64s(v[i].Delta[:])
		v[i].Grip = c.f64()
	}
}

// inputs adds n inputs: step (n,), the features and the states.
func (w *writer) inputs(in []policy.Input) (names, error) {
	w.add("step", "i8", []int{len(in)}, func(b []byte) []byte {
		for i := range in {
			b = binary.LittleEndian.AppendUint64(b, uint64(int64(in[i].Step)))
		}
		return b
	})
	m, err := w.features(len(in), func(i int) *perception.Features { return &in[i].Features })
	w.states(len(in), func(i int) *robot.State { return &in[i].State })
	return m, err
}

func (r *reader) inputs(m names, in []policy.Input) {
	c := cursor(r.rows("step", "i8", -1, len(in)))
	for i := 0; i < len(in) && r.err == nil; i++ {
		in[i].Step = int(int64(c.u64()))
	}
	r.features(m, len(in), func(i int) *perception.Features { return &in[i].Features })
	r.states(len(in), func(i int) *robot.State { return &in[i].State })
}

// EncodeState writes a message of kind "state".
func EncodeState(s robot.State) ([]byte, error) {
	var w writer
	w.states(1, func(int) *robot.State { return &s })
	return encode("state", struct{}{}, &w)
}

// DecodeState reads what EncodeState wrote.
func DecodeState(b []byte) (robot.State, error) {
	var s robot.State
	_, r, err := decode[struct{}]("state", b)
	if err != nil {
		return s, err
	}
	r.states(1, func(int) *robot.State { return &s })
	return s, r.done("state")
}

// EncodeInput writes a message of kind "input".
func EncodeInput(in policy.Input) ([]byte, error) {
	var w writer
	m, err := w.inputs([]policy.Input{in})
	if err != nil {
		return nil, err
	}
	return encode("input", m, &w)
}

// DecodeInput reads what EncodeInput wrote.
func DecodeInput(b []byte) (policy.Input, error) {
	m, r, err := decode[names]("input", b)
	if err != nil {
		return policy.Input{}, err
	}
	in := make([]policy.Input, 1)
	r.inputs(m, in)
	if err := r.done("input"); err != nil {
		return policy.Input{}, err
	}
	return in[0], nil
}

// Order is a command with its lease: commands cross a network only with a
// number and a time to live.
type Order struct {
	// Seq counts the orders of one commander. A receiver drops what is not
	// newer than the last.
	Seq uint64
	// Lease is for how long after the observation was sent out the command may
	// be applied, as the receiver's own clock measures it.
	Lease   time.Duration
	Command robot.Command
}

type orderMeta struct {
	Seq   uint64 `json:"seq"`
	Lease int64  `json:"lease_ns"`
}

// EncodeOrder writes a message of kind "command".
func EncodeOrder(o Order) ([]byte, error) {
	var w writer
	w.commands([]robot.Command{o.Command})
	return encode("command", orderMeta{o.Seq, int64(o.Lease)}, &w)
}

// DecodeOrder reads what EncodeOrder wrote.
func DecodeOrder(b []byte) (Order, error) {
	m, r, err := decode[orderMeta]("command", b)
	if err != nil {
		return Order{}, err
	}
	v := make([]robot.Command, 1)
	r.commands(v)
	if err := r.done("command"); err != nil {
		return Order{}, err
	}
	return Order{m.Seq, time.Duration(m.Lease), v[0]}, nil
}

// EncodeParams writes a message of kind "params".
func EncodeParams(p policy.Params) ([]byte, error) {
	var w writer
	w.add("data", "u1", []int{len(p.Data)}, func(b []byte) []byte { return append(b, p.Data...) })
	return encode("params", struct {
		Version uint64 `json:"version"`
	}{p.Version}, &w)
}

// DecodeParams reads what EncodeParams wrote. Data aliases b.
func DecodeParams(b []byte) (policy.Params, error) {
	m, r, err := decode[struct {
		Version uint64 `json:"version"`
	}]("params", b)
	if err != nil {
		return policy.Params{}, err
	}
	data, n := r.take("data", "u1", -1)
	if err := r.done("params"); err != nil {
		return policy.Params{}, err
	}
	if n == 0 {
		data = nil
	}
	return policy.Params{Version: m.Version, Data: data}, nil
}

type statsMeta struct {
	Updates uint64   `json:"updates"`
	Names   []string `json:"names"`
}

// EncodeStats writes a message of kind "stats".
func EncodeStats(s policy.Stats) ([]byte, error) {
	m := statsMeta{Updates: s.Updates, Names: make([]string, len(s.Metrics))}
	var w writer
	v := make([]float64, len(s.Metrics))
	for i, x := range s.Metrics {
		if !utf8.ValidString(x.Name) {
			return nil, fmt.Errorf("bus: encode stats: metric %q is not UTF-8", x.Name)
		}
		m.Names[i], v[i] = x.Name, x.Value
	}
	w.add("value", "f8", []int{len(v)}, func(b []byte) []byte { return putF64s(b, v...) })
	return encode("stats", m, &w)
}

// DecodeStats reads what EncodeStats wrote.
func DecodeStats(b []byte) (policy.Stats, error) {
	m, r, err := decode[statsMeta]("stats", b)
	if err != nil {
		return policy.Stats{}, err
	}
	c := cursor(r.rows("value", "f8", -1, len(m.Names)))
	if err := r.done("stats"); err != nil {
		return policy.Stats{}, err
	}
	s := policy.Stats{Updates: m.Updates}
	for _, n := range m.Names {
		s.Metrics = append(s.Metrics, policy.Metric{Name: n, Value: c.f64()})
	}
	return s, nil
}
