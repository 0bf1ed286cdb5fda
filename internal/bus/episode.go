package bus

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

type episodeMeta struct {
	ID       string `json:"id"`
	Seq      uint64 `json:"seq"`
	Seed     uint64 `json:"seed"`
	Origin   string `json:"origin"` // "online" or "demo"
	Terminal bool   `json:"terminal"`
	Labelled bool   `json:"labelled"`
	names
}

// origins are the words for policy.Origin, by its number.
func origins() []string { return []string{policy.Online: "online", policy.Demo: "demo"} }

// EncodeEpisode writes a message of kind "episode": the inputs (T+1), command
// (T,7), by (T,), version (T,) and, once labelled, rewards (T,). The episode
// must be valid. Frames are no part of it.
func EncodeEpisode(e policy.Episode) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("bus: encode: %w", err)
	}
	if !utf8.ValidString(e.ID) || int(e.Origin) >= len(origins()) {
		return nil, fmt.Errorf("bus: encode episode %q: id is not UTF-8, or origin %d is unknown", e.ID, e.Origin)
	}
	for i, s := range e.By {
		if s > robot.ByLog {
			return nil, fmt.Errorf("bus: encode episode %s: step %d was decided by %d, which is unknown", e.ID, i, s)
		}
	}
	var w writer
	n, err := w.inputs(e.Inputs)
	if err != nil {
		return nil, err
	}
	w.commands(e.Applied)
	w.add("by", "u1", []int{e.Len()}, func(b []byte) []byte {
		for _, s := range e.By {
			b = append(b, byte(s))
		}
		return b
	})
	w.add("version", "u8", []int{e.Len()}, func(b []byte) []byte {
		for _, v := range e.Version {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b
	})
	if e.Rewards != nil {
		w.add("rewards", "f8", []int{e.Len()}, func(b []byte) []byte { return putF64s(b, e.Rewards...) })
	}
	m := episodeMeta{ID: e.ID, Seq: e.Seq, Seed: e.Seed, Origin: origins()[e.Origin], Terminal: e.Terminal, Labelled: e.Rewards != nil, names: n}
	return encode("episode", m, &w)
}

// DecodeEpisode reads what EncodeEpisode wrote; the episode is valid.
func DecodeEpisode(b []byte) (policy.Episode, error) {
	m, r, err := decode[episodeMeta]("episode", b)
	if err != nil {
		return policy.Episode{}, err
	}
	T := r.count("command", "f8", commandWidth)
	n := r.count("step", "i8", -1)
	e := policy.Episode{
		ID: m.ID, Seq: m.Seq, Seed: m.Seed, Terminal: m.Terminal,
		Inputs: make([]policy.Input, n), Applied: make([]robot.Command, T),
		By: make([]robot.Source, T), Version: make([]uint64, T),
	}
	r.inputs(m.names, e.Inputs)
	r.commands(e.Applied)
	for i, s := range r.rows("by", "u1", -1, T) {
		if e.By[i] = robot.Source(s); e.By[i] > robot.ByLog {
			r.fail("step %d was decided by %d", i, s)
		}
	}
	c := cursor(r.rows("version", "u8", -1, T))
	for i := 0; i < T && r.err == nil; i++ {
		e.Version[i] = c.u64()
	}
	if m.Labelled {
		c := cursor(r.rows("rewards", "f8", -1, T))
		if r.err == nil {
			e.Rewards = make([]float64, T)
			c.f64s(e.Rewards)
		}
	}
	known := false
	for i, s := range origins() {
		if s == m.Origin {
			e.Origin, known = policy.Origin(i), true
		}
	}
	if !known {
		r.fail("origin %.20q", m.Origin)
	}
	if err := r.done("episode"); err != nil {
		return policy.Episode{}, err
	}
	if err := e.Validate(); err != nil {
		return policy.Episode{}, fmt.Errorf("%w: %v", ErrWire, err)
	}
	return e, nil
}
