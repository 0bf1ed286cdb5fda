package wire

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
)

// A session that lacks a part which nothing in it can make is refused before there is a
// folder, so that the corrected command finds its name free.
func TestWhatIsMissingIsToldBeforeThereIsAFolder(t *testing.T) {
	none := filepath.Join(t.TempDir(), "note.yaml")
	if err := os.WriteFile(none, []byte("name: one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := vlm.Config{URL: "http://localhost:8000/v1"} // no model
	for name, tt := range map[string]struct {
		set  func(*config.Config)
		want string
	}{
		"model": {func(c *config.Config) { c.Reward.Kind = "kagi" }, "RAPPORT_VLM_MODEL"},
		"judge's model": {func(c *config.Config) {
			c.Reward.Kind, c.Reward.KAGI.Source, c.Reward.KAGI.Sparse = "kagi", "task", "judge"
		}, "judge: vlm: Model is empty"},
		"endpoint": {func(c *config.Config) { c.Reward.Kind, c.Reward.KAGI.Source = "kagi", "vlm" }, "RAPPORT_VLM_URL"},
		"judge":    {func(c *config.Config) { c.Reward.Kind, c.Reward.KAGI.Sparse = "kagi", "judge" }, "RAPPORT_VLM_MODEL"},
		"update":   {func(c *config.Config) { c.Learner.Kind, c.Learner.PPO.Episodes = "ppo", 2 }, "want at least session.episodes 5"},
		"watch":    {func(c *config.Config) { c.Reward.Success, c.Reward.Classifier = "classifier", none }, none + ", which is none"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			c.Name = "one"
			tt.set(&c)
			o := quietly()
			if strings.HasSuffix(name, "model") {
				o.VLM = func(string) (kagi.Model, error) { return vlm.New(bad) }
				o.Judge = func() (judge.Model, string, error) {
					_, err := vlm.New(bad)
					return nil, "", err
				}
			}
			s, err := Create(t.Context(), c, o)
			if err == nil {
				s.Close()
			}
			wantErr(t, err, tt.want)
			wantErr(t, examined(t, c, o), tt.want)
			if _, err := os.Stat(filepath.Join(c.Out, c.Name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a folder is left (%v)", err)
			}
		})
	}
}
