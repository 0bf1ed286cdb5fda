package cli

import (
	"os"
	"time"

	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
)

// vlm is the vision-language model that the environment names, as wire.Options wants
// it; nil for none.
func (a *app) vlm() func(cache string) (kagi.Model, error) {
	c := vlm.FromEnv(os.Getenv)
	if c.URL == "" {
		return nil
	}
	c.Now, c.Log = time.Now, a.log
	return func(cache string) (kagi.Model, error) {
		c.Cache = cache
		return vlm.New(c)
	}
}
