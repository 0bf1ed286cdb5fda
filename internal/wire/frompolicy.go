package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
)

// markPolicy is the mark of a session that begins with what session.from was fine-tuned or aligned to
// (session.policy): the sum of the parameters, and in words what they are.
const markPolicy = "policy of session.from"

// takesTuned says whether a session begins with the newest policy of session.from, and not with the one
// that was cloned there.
func takesTuned(c config.Config) bool { return c.Session.Policy == Tuned }

// tunable refuses session.policy tuned of a session that has no other policy than its cloned one.
func tunable(c config.Config) error {
	if !takesTuned(c) {
		return nil
	}
	from := c.Session.From
	if has, err := store.HasCheckpoint(from, kindTuned); err != nil || !has {
		return errors.Join(err, fmt.Errorf("wire: session.from: session.policy is tuned, but %s holds no fine-tuned policy; go on with it first: %s, or want --set session.policy=cloned", from, GoOn(from)))
	}
	return nil
}

// inheritPolicy copies the policy of the earlier session that session.policy names. Of two it says which
// is not taken: people mean by a session what it came to.
func (s *Session) inheritPolicy(ctx context.Context, earlier *store.Session) error {
	if kept, err := s.keeps(ctx, kindPolicy); err != nil || kept {
		return err
	}
	from := s.cfg.Session.From
	lost := func(kind string, err error) error {
		return fmt.Errorf("wire: session.from: %s: %w", from, remedied(from, kind, err))
	}
	n, tuned, err := earlier.LatestCheckpoint(ctx, kindTuned)
	if !takesTuned(s.cfg) {
		if err == nil && s.cfg.Learner.Kind == "diffusion" {
			s.log.Warn("wire: session.from: its policy as cloned is taken, and not its newest; to have that, begin with --set session.policy=tuned", "of", from, "newest", fineTuned(from, n, tuned))
		}
		v, b, err := earlier.LatestCheckpoint(ctx, kindPolicy)
		if err != nil {
			return lost(kindPolicy, err)
		}
		// Which may be another's fine-tuned one itself.
		if mark, err := earlier.Marked(ctx, markPolicy); err != nil || mark != "" {
			if err = errors.Join(err, s.store.Mark(ctx, markPolicy, mark)); err != nil {
				return err
			}
		}
		return s.store.SaveCheckpoint(ctx, kindPolicy, v, b)
	}
	if err != nil {
		return lost(kindTuned, err)
	}
	of := sum(tuned)
	was, err := s.store.Marked(ctx, markPolicy)
	if err != nil {
		return err
	}
	if was != "" && !strings.HasPrefix(was, of) { // prepared again, once that went on
		began, _, _ := strings.Cut(was, " ")
		b, err := earlier.Checkpoint(ctx, kindTuned, began)
		if err != nil {
			return fmt.Errorf("wire: session.from: this session began with a policy of %s (%s), of which neither keeps a copy any more (%w); begin another session", from, takenPolicy(was), err)
		}
		return s.store.SaveCheckpoint(ctx, kindPolicy, 1, b)
	}
	if err := s.store.Mark(ctx, markPolicy, of+" "+fineTuned(from, n, tuned)+", in "+from); err != nil {
		return err
	}
	return s.store.SaveCheckpoint(ctx, kindPolicy, 1, tuned) // as a cloned one: that of no episode here
}

// inheritReward copies the newest reward of the earlier session that is of this one's reward.kind: an
// alignment keeps what it ranks by (align.by) as newer ones, of kinds of their own.
func (s *Session) inheritReward(ctx context.Context, earlier *store.Session) error {
	from, kind := s.cfg.Session.From, s.cfg.Reward.Kind
	v, b, err := earlier.LatestCheckpoint(ctx, kindReward)
	for ; err == nil; v, b, err = earlier.CheckpointBefore(ctx, kindReward, v) {
		t, err := decodeTaste(b)
		if err != nil {
			return fmt.Errorf("wire: session.from: %s: %w", from, err)
		}
		if t.kind() == kind {
			return s.store.SaveCheckpoint(ctx, kindReward, v, b)
		}
		s.log.Warn("wire: session.from: a reward that its alignment ranks by is left out, since it is of another kind; the one before it is taken", "of", from, "align.by", t.kind(), "reward.kind", kind)
	}
	return fmt.Errorf("wire: session.from: %s: no reward of kind %s: %w", from, kind, remedied(from, kindReward, err))
}

// takenPolicy is what a markPolicy says in words; "" of none.
func takenPolicy(mark string) string {
	_, what, _ := strings.Cut(mark, " ")
	return what
}

// fineTuned says what the checkpoint of kindTuned of a version is, of the session in dir.
func fineTuned(dir string, version uint64, data []byte) string {
	if what := alignedBy(dir, data); what != "" {
		return what
	}
	if version == 0 {
		return "cloned, as it is after learner.warmup"
	}
	return fmt.Sprintf("fine-tuned for %d episodes", version)
}

// itsPolicy names which policy of session.from a session began with.
func itsPolicy(c config.Config) string {
	if takesTuned(c) {
		return "fine-tuned policy"
	}
	return "cloned policy"
}
