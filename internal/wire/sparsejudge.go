package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/reward/judge"
)

// judgeFile keeps, beside a session's database, how a judge was measured on its frames.
const judgeFile = "judge.json"

// measuredJudge is a judge that was precise enough on marked frames.
type measuredJudge struct {
	Model string       `json:"model"` // the endpoint's name of it
	Task  string       `json:"task"`
	Times int          `json:"times"`
	Rep   judge.Report `json:"report"`
}

// keepJudge writes down that a judge was measured.
func keepJudge(st *store.Session, m measuredJudge) error {
	return keepBeside(st, judgeFile, m)
}

// readJudge reads that of the session in dir; without one the error wraps fs.ErrNotExist.
func readJudge(dir string) (m measuredJudge, err error) {
	err = readBeside(dir, judgeFile, &m, "measure the judge again: rapport reward judge "+Quoted(dir))
	return m, err
}

// judgeOf is readJudge of session.from, which must have one.
func judgeOf(from string) (measuredJudge, error) {
	m, err := readJudge(from)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("wire: reward.kagi.sparse is judge, but none was measured in session.from; mark frames there (rapport reward classifier collect), then: rapport reward judge %s --task TEXT", Quoted(from))
	}
	return m, err
}

// judgeIn is that of the session in dir, which has kept it if it ran, or judgeOf.
func judgeIn(dir, from string) (measuredJudge, error) {
	m, err := readJudge(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return judgeOf(from)
	}
	return m, err
}

// by refuses another model than was measured.
func (m measuredJudge) by(name, from string) error {
	if name == m.Model {
		return nil
	}
	return fmt.Errorf("wire: the judge was measured with model %s, but RAPPORT_VLM_MODEL is %s; name that, or measure this one: rapport reward judge %s --task TEXT", m.Model, name, Quoted(from))
}

// byJudge says whether a judge tells the success that KAGI's reward pays.
func byJudge(c config.Config) bool { return byWaypoints(c) && c.Reward.KAGI.Sparse == "judge" }

var errNoJudge = errors.New("wire: reward.kagi.sparse is judge, but there is no endpoint; set RAPPORT_VLM_URL and RAPPORT_VLM_MODEL")

// refereed returns the context under which a judge tells success at the ends of
// episodes, where reward.kagi.sparse says so, and what closes its answers' file. A judge
// that was not measured, or another model than was, is refused.
func (s *Session) refereed(ctx context.Context) (_ context.Context, done func() error, err error) {
	none := func() error { return nil }
	if !byJudge(s.cfg) {
		return ctx, none, nil
	}
	m, err := judgeIn(s.Dir(), s.cfg.Session.From)
	if err != nil {
		return ctx, none, err
	}
	if s.eye == nil {
		return ctx, none, errNoJudge
	}
	model, name, err := s.eye()
	if err != nil {
		return ctx, none, err
	}
	if err := m.by(name, s.cfg.Session.From); err != nil {
		return ctx, none, err
	}
	if err := keepJudge(s.store, m); err != nil { // so that the folder is whole without session.from
		return ctx, none, err
	}
	kept, err := judge.Remember(model, name, filepath.Join(s.Dir(), answersFile))
	if err != nil {
		return ctx, none, err
	}
	s.tell("success", 1, 1, fmt.Sprintf("told by the judge %s, which is shown the end of each episode: %v", cmp.Or(s.endpoint, name), m.Rep))
	r := &referee{judge: judge.Judge{Model: kept, Task: m.Task, Times: m.Times}, log: s.log}
	return context.WithValue(ctx, refereeKey{}, r), kept.Close, nil
}
