package wire

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/kagi"
)

// waysFile keeps, beside a session's database, who writes its waypoints.
const waysFile = "waypoints.json"

// ways is what is kept.
type ways struct {
	Source string `json:"source"` // what reward.kagi.source came to: vlm, task or clicks
	// Demos are the waypoints, by episode, that a model wrote for the demonstrations of
	// session.from; none where those that they came with are a model's already.
	Demos map[string][]kagi.Leg `json:"demos,omitempty"`
}

// readWays reads that of the session in dir; without one the error wraps fs.ErrNotExist.
func readWays(dir string) (w ways, err error) {
	err = readBeside(dir, waysFile, &w, "bring it back from a copy, or begin a session anew")
	return w, err
}

func (s *Session) keepWays(w ways) error { return keepBeside(s.store, waysFile, w) }

// sourceIn is who writes the waypoints of the session in dir, which is configured as c; "" if
// that is not settled yet.
func sourceIn(dir string, c config.Config) (string, error) {
	if k := c.Reward.KAGI; k.Source != "auto" {
		return k.Source, nil
	}
	w, err := readWays(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return w.Source, err
	}
	if _, err := os.Stat(saidIn(dir)); err == nil { // of before it was kept
		return "vlm", nil
	}
	if c.Reward.KAGI.Plan != "" {
		return "task", nil
	}
	return "", nil
}

// settled is who writes this session's waypoints, once and for all: a shell that has an endpoint,
// or none, changes nothing of a session that goes on.
func (s *Session) settled(ctx context.Context) (string, error) {
	source, err := sourceIn(s.Dir(), s.cfg)
	if err != nil {
		return "", err
	}
	if source == "" {
		prepared, err := s.store.Marked(ctx, "prepared")
		if err != nil {
			return "", err
		}
		source = "task"
		if s.vlm != nil && prepared == "" {
			source = "vlm"
		}
	}
	_, err = readWays(s.Dir())
	if errors.Is(err, fs.ErrNotExist) {
		err = s.keepWays(ways{Source: source})
	}
	return source, err
}

// asksModel says whether a new session's waypoints are a model's.
func asksModel(c config.Config, o Options) bool {
	k := c.Reward.KAGI
	return byWaypoints(c) && (k.Source == "vlm" || k.Source == "auto" && k.Plan == "" && o.VLM != nil)
}
