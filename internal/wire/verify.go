package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Tolerance is how far a reward may be from the one that was logged. Features are
// logged bit for bit, so that on the same machine the difference is 0; another
// machine may add in another order.
const Tolerance = 1e-6

// Verdict says whether the logged rewards come out again.
type Verdict struct {
	Episodes, Rewards int     // that were compared
	Worst             float64 // difference of a reward
	Episode           string  // of Worst
	Step              int     // of Worst
	Returns           int     // of session.db that were compared
	WorstReturn       float64 // difference of a return there
	ReturnOf          string
	Exact             int // rewards that were compared from lossless frames too
	ExactWorst        float64
	// From frames that are not what was scored: JPEG has changed them.
	Frames     int     // recordings that have some
	Drift      float64 // largest difference of a number of the features
	FrameWorst float64 // largest difference of a reward
	Unnamed    int     // episodes that do not say what made their numbers
	Unscored   int     // rollouts of an alignment, which people rank and no reward was logged of
	Earlier    int     // episodes that were compared by an earlier version of the session's reward
	Fails      []error // why the answer is no
}

// Err is nil if all came out again.
func (v *Verdict) Err() error { return errors.Join(v.Fails...) }

// Check compares the rewards of the logged features with the logged ones, those
// with the returns in session.db, and the names of what made them.
func (r *Replay) Check() Verdict {
	var v Verdict
	for i := range r.Takes {
		v.take(r, &r.Takes[i])
	}
	if v.Rewards == 0 {
		v.fail("wire: check: there is no logged reward to compare with")
	}
	return v
}

func (v *Verdict) fail(format string, args ...any) {
	v.Fails = append(v.Fails, fmt.Errorf(format, args...))
}

func (v *Verdict) take(r *Replay, t *Replayed) {
	if t.Err != nil {
		v.Fails = append(v.Fails, t.Err)
	}
	for _, m := range []struct{ what, was, is string }{{"encoder", t.Encoder, r.Encoder}, {"reward", t.Reward, r.Reward}} {
		if m.was == "" {
			continue
		}
		switch {
		case m.was == m.is, m.what == "reward" && t.earlier:
		case t.own:
			v.fail("wire: check: %s was made with the %s %.12s, which its session %s learned anew since, as %.12s, and does not keep any more: numbers of before cannot come out again", t.ID, m.what, m.was, r.Session, m.is)
		default:
			v.fail("wire: check: %s was made with the %s %.12s, the session %s has %.12s: its numbers are of another version and need not come out again; name its own session by --session", t.ID, m.what, m.was, r.Session, m.is)
		}
	}
	if t.Err != nil && len(t.Steps) == 0 { // it could not be read at all
		return
	}
	if t.Encoder == "" || t.Reward == "" {
		v.Unnamed++
	}
	if len(t.Steps) == 0 {
		return
	}
	framed := !math.IsNaN(t.Drift)
	if framed && !t.Lossless {
		v.Frames++
		v.Drift = max(v.Drift, t.Drift)
	}
	worst, at, n, sum, off := 0.0, 0, 0, 0.0, false
	for i, s := range t.Steps {
		if math.IsNaN(s.Logged) {
			continue
		}
		if t.framed != nil {
			s.Reward = t.framed[i]
		}
		switch d := math.Abs(s.Reward - s.Logged); {
		case framed && t.Lossless:
			v.Exact++
			v.ExactWorst = max(v.ExactWorst, d)
			if !(d <= Tolerance) && !off {
				off = true
				v.fail("wire: check: %s: from its frames the reward of step %d comes out as %.9g, %.9g was logged in %s: a difference of %.3g, want %g at most", t.ID, s.T, s.Reward, s.Logged, t.File, d, Tolerance)
			}
		case framed:
			v.FrameWorst = max(v.FrameWorst, d)
		}
		if math.IsNaN(s.Again) {
			continue
		}
		n++
		sum += s.Again
		if d := math.Abs(s.Again - s.Logged); d > worst || at == 0 {
			worst, at = d, s.T
		}
	}
	if n == 0 {
		logged := func(s Step) bool { return !math.IsNaN(s.Logged) }
		switch {
		case t.Err != nil:
		case strings.HasPrefix(t.ID, rolloutPrefix) && !slices.ContainsFunc(t.Steps, logged):
			v.Unscored++
		default:
			v.fail("wire: check: %s (%s) holds no features and rewards that could be compared", t.ID, t.File)
		}
		return
	}
	if t.earlier {
		v.Earlier++
	}
	v.Episodes++
	v.Rewards += n
	if worst > v.Worst || v.Episode == "" {
		v.Worst, v.Episode, v.Step = worst, t.ID, at
	}
	if !(worst <= Tolerance) {
		v.fail("wire: check: %s: the reward of step %d comes out as %.9g, %.9g was logged in %s: a difference of %.3g, want %g at most", t.ID, at, t.Steps[at-1].Again, t.Steps[at-1].Logged, t.File, worst, Tolerance)
	}
	for _, stored := range []struct {
		where string
		x     float64
	}{{"table episodes", t.Stored}, {"metrics", t.Metric}} {
		if math.IsNaN(stored.x) {
			continue
		}
		v.Returns++
		d := math.Abs(sum - stored.x)
		if d > v.WorstReturn || v.ReturnOf == "" {
			v.WorstReturn, v.ReturnOf = d, t.ID
		}
		if !(d <= Tolerance) {
			v.fail("wire: check: %s: the return comes out as %.9g, session.db holds %.9g (%s): a difference of %.3g, want %g at most", t.ID, sum, stored.x, stored.where, d, Tolerance)
		}
	}
}
