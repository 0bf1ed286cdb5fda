package store

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"

	"github.com/rapport-rl/rapport/policy"
)

// unfit names what of e is no number to learn from. A Recorder takes such numbers,
// for the record of a fault.
func unfit(e policy.Episode) string {
	bad := func(xs ...float64) bool {
		for _, x := range xs {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return true
			}
		}
		return false
	}
	for t, in := range e.Inputs {
		st := &in.State
		if bad(st.Q[:]...) || bad(st.DQ[:]...) || bad(st.EE.P[:]...) || bad(st.EE.Q[:]...) || bad(st.Wrench[:]...) || bad(st.Grip) {
			return fmt.Sprintf("state %d", t)
		}
		for _, x := range in.Features.Embed {
			if bad(float64(x)) {
				return fmt.Sprintf("embedding %d", t)
			}
		}
	}
	for t, c := range e.Applied {
		if bad(c.Delta[:]...) || bad(c.Grip) {
			return fmt.Sprintf("command %d", t)
		}
	}
	for t, r := range e.Rewards {
		if bad(r) {
			return fmt.Sprintf("reward %d", t)
		}
	}
	return ""
}

// digest tells episodes apart, bit for bit, but for Terminal, which files of
// recorded episodes did not have once, and for the kind of a NaN.
func digest(e policy.Episode) [sha256.Size]byte {
	h := sha256.New()
	put := func(v ...any) { fmt.Fprintln(h, v...) }
	float := func(xs ...float64) {
		for _, x := range xs {
			put(strconv.FormatFloat(x, 'x', -1, 64))
		}
	}
	put(e.ID, e.Seq, e.Origin, e.Seed, len(e.Inputs), e.Rewards == nil)
	for _, in := range e.Inputs {
		st, f := &in.State, &in.Features
		put(st.Stamp.Unix(), st.Stamp.Nanosecond(), f.Stamp.Unix(), f.Stamp.Nanosecond(), f.Embed == nil, len(f.Embed), len(f.Keys))
		float(st.Q[:]...)
		float(st.DQ[:]...)
		float(st.EE.P[:]...)
		float(st.EE.Q[:]...)
		float(st.Wrench[:]...)
		float(st.Grip)
		for _, x := range f.Embed {
			put(math.Float32bits(x))
		}
		for _, k := range f.Keys {
			put(k.Name, k.Camera)
			float(k.X, k.Y, k.Score)
		}
	}
	for t, c := range e.Applied {
		put(e.By[t], e.Version[t])
		float(c.Delta[:]...)
		float(c.Grip)
	}
	float(e.Rewards...)
	return [sha256.Size]byte(h.Sum(nil))
}
