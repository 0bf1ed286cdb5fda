package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rapport-rl/rapport/internal/config"
)

// Search evaluates the policy as it was cloned, with sampler searching among its chunks
// by the critic that AlignTune would keep of the rankings as they are, on the fresh
// starts of AlignEvaluate. The critic does not depend on how the policy is tuned, so it
// needs AlignSynthetic alone, and what AlignTune left stays.
func (a *Alignment) Search(ctx context.Context, sampler config.Sampler) (Aligned, error) {
	if err := a.begun(ctx); err != nil {
		return Aligned{}, err
	}
	var r rankings
	if err := a.read(rankingFile, &r); errors.Is(err, os.ErrNotExist) {
		return Aligned{}, a.before(AlignSynthetic)
	} else if err != nil {
		return Aligned{}, err
	}
	critic, err := a.critic(ctx, r)
	if err != nil {
		return Aligned{}, err
	}
	out, err := a.told(ctx, r)
	if err != nil {
		return out, err
	}
	out.Aligner = "none, searched by " + sampler.Kind
	before, err := a.did(ctx, "before", a.p.clone, &out.Before)
	if err != nil {
		return out, err
	}
	c := a.s.cfg
	c.Policy.Diffusion.Sampler = sampler
	n, stage := c.Session.Evaluate, "search by "+sampler.Kind
	a.s.tell(stage, 0, n, "")
	ends, err := evaluate(searchedBy(ctx, critic, a.s.Dir(), a.s.now), c, evaluation, a.p.eyes, nil, a.p.view, a.p.clone, n, func(done int, note string) { a.s.tell(stage, done, n, note) })
	if err != nil {
		return out, fmt.Errorf("wire: align: %s: %w", stage, err)
	}
	after := verdictOf("", ends)
	out.After, out.People = resultOf(after, mannerOf(c, ends)), a.regards(before, after)
	return out, nil
}

// critic is the critic of rankings, saved: that which AlignTune keeps.
func (a *Alignment) critic(ctx context.Context, r rankings) ([]byte, error) {
	t, l, _, _, err := a.learning(ctx, r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = l.critic.Save(&b, t.Reference())
	return b.Bytes(), err
}
