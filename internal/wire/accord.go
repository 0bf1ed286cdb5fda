package wire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
)

// elsewhere are the keys that the processes of a session may have other values of, besides
// the free ones: what lies elsewhere on another machine, and what the learner alone goes by.
var elsewhere = slices.Concat(free, []string{"encoder.onnx", "reward.kagi.cache", "reward.kagi.cameras", "reward.visual.goal", "reward.visual.baseline", "demos.filter", "session.from", "session.policy", "session.record", "session.lossless", "align.", "practice."})

// facts are what a session's processes must know of it besides its configuration.
type facts struct {
	ID   string `json:"id"`             // two sessions may have one name
	ONNX string `json:"onnx,omitempty"` // SHA-256 of encoder.onnx, which lies elsewhere for each
	Plan string `json:"plan,omitempty"` // that of reward.kagi.plan, likewise
	// Segmenter is that of reward.kagi.segmenter, likewise.
	Segmenter string `json:"segmenter,omitempty"`
	// Waypoints say who writes them where they pay: what reward.kagi.source came to at the
	// learner, whose demonstrations have theirs.
	Waypoints string `json:"waypoints,omitempty"`
}

// markID keeps the session's id in its folder and in its actor's.
const markID = "session id"

// lookAgain is how often the learner looks whether the server still knows the session.
const lookAgain = 5 * time.Second

// introduce puts what the others must know where they look, the configuration last: who
// finds that finds the rest.
func (s *Session) introduce(ctx context.Context) error {
	id, err := s.store.Marked(ctx, markID)
	if err == nil && id == "" {
		id = rand.Text() // of the seed, it would be that of the next session of this configuration
		err = s.store.Mark(ctx, markID, id)
	}
	if err != nil {
		return err
	}
	onnx, err := s.sameONNX(ctx)
	if err != nil {
		return err
	}
	f := facts{ID: id, ONNX: onnx}
	if keyed(s.cfg) {
		sums, err := keptFiles(s.Dir())
		if err != nil {
			return err
		}
		f.Plan, f.Segmenter = sums[keyPlan], sums[keySegmenter]
	}
	if byWaypoints(s.cfg) {
		if f.Waypoints, err = s.settled(ctx); err != nil {
			return err
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("wire: facts: %w", err)
	}
	return errors.Join(s.publishNewest(ctx, "the session's facts", subFacts, b), s.publishConfig(ctx))
}

// stayKnown tells a server that lost its store of the session anew, until ctx ends: what a role
// that is started again looks for, and last, by which this looks, that it is known.
func (s *Session) stayKnown(ctx context.Context) {
	for {
		select {
		case <-s.after(lookAgain):
		case <-ctx.Done():
			return
		}
		if _, err := s.conn.LatestParams(ctx, s.name+subFacts); !errors.Is(err, bus.ErrNone) {
			continue
		}
		err := s.repeat(ctx)
		if err == nil {
			err = s.introduce(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("wire: the server does not know the session", "err", err)
		}
	}
}

// facts are those of r's session; bus.ErrNone before its learner began.
func (r *role) facts(ctx context.Context) (f facts, err error) {
	p, err := r.conn.LatestParams(ctx, r.name+subFacts)
	if err != nil {
		return f, err
	}
	return r.decode(p.Data)
}

func (r *role) decode(b []byte) (f facts, err error) {
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("wire: the facts of session %s: %w; use the same version of rapport for all its processes", r.name, err)
	}
	return f, nil
}

// stands says whether r may go on by the facts that its learner tells, or tells again: one that is
// started again with another plan of that name publishes the same configuration.
func (r *role) stands(b []byte) error {
	f, err := r.decode(b)
	if err == nil {
		err = r.still(f)
	}
	if err == nil {
		err = r.same(f)
	}
	return err
}

// still says whether the session of these facts is the one that r is in. On a server with a
// new store another may have its name: neither r's configuration nor its folder was compared.
func (r *role) still(f facts) error {
	if f.ID == "" || r.id.CompareAndSwap(nil, &f.ID) || *r.id.Load() == f.ID {
		return nil
	}
	return fmt.Errorf("wire: session %s is another one of that name now; start its %s again to take part in that", r.name, r.what)
}

// met are the facts, once the learner has told them; none of one of before there were any.
func (r *role) met(ctx context.Context) (facts, error) {
	for {
		_, began := r.conn.LatestParams(ctx, r.name+subConfig) // told last, so asked first
		f, err := r.facts(ctx)
		if errors.Is(err, bus.ErrNone) && began == nil {
			return f, nil
		}
		if err == nil || !errors.Is(err, bus.ErrNone) && !transient(err) {
			return f, err
		}
		r.o.Tell("waiting for the learner", 0, 1, "")
		select {
		case <-r.o.After(retryAfter):
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
}

// publishConfig puts the session's configuration where the others look.
func (s *Session) publishConfig(ctx context.Context) error {
	return keepConfig(s.cfg, func(b []byte) error { return s.publishNewest(ctx, "the configuration", subConfig, b) })
}

// accords says whether r is configured as the learner of its session, where one has begun.
func (r *role) accords(ctx context.Context) error {
	p, err := r.conn.LatestParams(ctx, r.name+subConfig)
	if errors.Is(err, bus.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(r.fits(p.Data), r.sees(ctx))
}

// sees says whether the files that r loads are the learner's: a frozen backbone, a plan, and a
// network that finds things.
func (r *role) sees(ctx context.Context) error {
	if r.onnx == "" && r.plan == "" && r.segmenter == "" {
		return nil
	}
	f, err := r.facts(ctx)
	if errors.Is(err, bus.ErrNone) {
		return nil // told before the configuration, or not at all by one of before
	}
	if err != nil {
		return err
	}
	return r.same(f)
}

// same is sees of facts.
func (r *role) same(f facts) error {
	same := func(key, path, here, there string) error {
		if here == "" || there == "" || here == there {
			return nil
		}
		return fmt.Errorf("wire: session %s: %s %s is of SHA-256 %s here, and of %s at its learner; copy the learner's file here, or name it, as --set %s=FILE", r.name, key, path, short(here), short(there), key)
	}
	return errors.Join(same("encoder.onnx", r.cfg.Encoder.ONNX, r.onnx, f.ONNX), same(keyPlan, r.cfg.Reward.KAGI.Plan, r.plan, f.Plan),
		same(keySegmenter, r.cfg.Reward.KAGI.Segmenter, r.segmenter, f.Segmenter))
}

// fits compares r's configuration with the learner's: an episode of another task or scale
// would be learned from as if it were this session's.
func (r *role) fits(learners []byte) error {
	was := config.Default()
	if err := config.Decode(learners, &was); err != nil {
		return fmt.Errorf("wire: the configuration of session %s's learner: %w; use the same version of rapport for all its processes", r.name, err)
	}
	var errs []error
	k, w := r.cfg.Reward.KAGI, was.Reward.KAGI
	named := map[string]bool{keyPlan: k.Plan != "" && w.Plan != "", keySegmenter: k.Segmenter != "" && w.Segmenter != ""} // what is in them sees compares
	for _, c := range r.cfg.Changes(was) {
		if !config.Covers(elsewhere, c.Key) && !named[c.Key] {
			errs = append(errs, fmt.Errorf("wire: session %s: %s is %s here, and %s at its learner; want --set '%s=%s', or the learner's file", r.name, c.Key, c.Is, c.Was, c.Key, c.Was))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	n := was.Session.Episodes
	if r.episodes.Swap(int64(n)) != int64(n) && r.what == "actor" && n != r.cfg.Session.Episodes {
		r.o.Log.Warn("wire: the learner's session.episodes counts", "here", r.cfg.Session.Episodes, "learner", n)
	}
	return nil
}
