package cli

import (
	"time"

	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
)

// tries of a model in a session, whose arm stands still meanwhile: two minutes while an
// endpoint hangs, in place of more than four.
const tries = 2

// vlm is the vision-language model that the environment names, as wire.Options wants
// it; nil for none.
func (a *app) vlm() func(cache string) (kagi.Model, error) {
	c := vlm.FromEnv(a.getenv)
	if c.URL == "" {
		return nil
	}
	c.Now, c.Log, c.Tries = time.Now, a.log, tries
	return func(cache string) (kagi.Model, error) {
		c.Cache = cache
		return vlm.New(c)
	}
}

// judge is that model as one that tells success, with its name; nil for none.
func (a *app) judge() func() (judge.Model, string, error) {
	c := vlm.FromEnv(a.getenv)
	if c.URL == "" {
		return nil
	}
	c.Now, c.Log, c.Tries = time.Now, a.log, tries
	return func() (judge.Model, string, error) {
		m, err := vlm.New(c)
		if err != nil {
			return nil, "", err
		}
		return judge.Over(m), m.Model(), nil
	}
}
