package wire

import (
	"context"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/classifier"
)

// publishClassifier puts the classifier that tells success where the actor looks, if
// reward.kagi.sparse is that.
func (s *Session) publishClassifier(ctx context.Context) error {
	if !classified(s.cfg) {
		return nil
	}
	b, err := s.classifierFile(ctx)
	if err != nil {
		return err
	}
	return s.publishNewest(ctx, "the success classifier", subSuccess, b)
}

// hearClassifier waits for the classifier that the learner publishes, and returns the
// context under which it tells success, where reward.kagi.sparse says so. The learner has
// checked that it reads this encoder's embeddings, and how it was measured.
func (r *role) hearClassifier(ctx context.Context) (context.Context, error) {
	if !classified(r.cfg) {
		return ctx, nil
	}
	now := &swap[classifier.Model]{}
	err := r.await(subSuccess, func(b []byte) error {
		t, err := decodeTrained(b)
		if err != nil {
			return err
		}
		now.set(t.Model)
		return nil
	})
	if err == nil {
		err = r.ctx.Err()
	}
	return context.WithValue(ctx, tellerKey{}, confirmer{newestClassifier{now}, r.cfg.Reward.KAGI.Confirm}), err
}

// newestClassifier is a reward.Success.
type newestClassifier struct{ now *swap[classifier.Model] }

func (c newestClassifier) Succeeded(ctx context.Context, f perception.Features) (float64, error) {
	m := c.now.get()
	return m.Succeeded(ctx, f)
}
