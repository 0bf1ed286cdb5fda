package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
)

// examineSession asks what else a session is refused for at once, by what refuses it (Create). One
// that goes on needs nothing of what it began from.
func examineSession(ctx context.Context, c config.Config, o Options) (fs []Finding) {
	whole, err := wholeFolder(ctx, c)
	from := c.Session.From
	switch {
	case err != nil:
		fs = append(fs, Finding{What: "session", Err: err})
	case whole != "":
		fs = append(fs, Finding{What: "session.from", Detail: whole + " holds the session already, which goes on without another"})
	case from != "" && c.Bus.URL != "" && !there(filepath.Join(from, database)):
		fs = append(fs, Finding{What: "session.from", Detail: from + ", which is not on this machine: rapport learner wants it on its own, and so does rapport run"})
	case from != "":
		detail := from + ", which was configured alike"
		if far, _ := starts(c); far != "" {
			detail += "; but " + far
		}
		fs = append(fs, Finding{"session.from", detail, errors.Join(alike(c), reviewed(ctx, c))})
	default:
		err := errors.Join(founding(c), reviewed(ctx, c))
		switch {
		case err != nil && c.Bus.URL != "":
			fs = append(fs, Finding{What: "session.from", Detail: fmt.Sprintf("none, which rapport learner, and rapport run, would refuse: %v", err)})
		case err != nil:
			fs = append(fs, Finding{What: "session.from", Err: err})
		}
	}
	if byJudge(c) || byClassifier(c) {
		detail, err := trySuccess(ctx, c, o)
		fs = append(fs, Finding{"success", detail, err})
	}
	err = errors.Join(trunked(c), searchable(c), understood(c))
	if whole == "" {
		err = errors.Join(err, handed(c), lasting(c))
	}
	if err != nil {
		fs = append(fs, Finding{What: "session", Err: err})
	}
	return fs
}

// wholeFolder is the folder of c's session once it is prepared: whole without session.from. It is
// empty where a session is yet to begin.
func wholeFolder(ctx context.Context, c config.Config) (dir string, err error) {
	name := c.Name
	if c.Bus.URL != "" {
		name = SessionName(c)
	}
	dir = filepath.Join(c.Out, name)
	if name == "" || !there(filepath.Join(dir, database)) {
		return "", nil
	}
	st, err := store.Open(dir)
	if errors.Is(err, store.ErrInUse) { // it runs
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	done, err := st.Marked(ctx, "prepared")
	if done == "" {
		dir = ""
	}
	return dir, err
}

// tryWaypoints says who writes the waypoints of a new session.
func tryWaypoints(c config.Config, o Options) (string, error) {
	from := cmp.Or(c.Reward.KAGI.Plan, "the plan of the task")
	switch {
	case byClicks(c):
		from = "clicked when the session begins"
	case asksModel(c, o):
		from = fmt.Sprintf("%s is asked once a reset; where it gives none, %s", cmp.Or(o.Endpoint, "a model"), from)
	}
	return from, errors.Join(readable(c), askable(c, o))
}

// trySuccess says which judge or classifier tells success.
func trySuccess(ctx context.Context, c config.Config, o Options) (string, error) {
	if err := tellable(ctx, c, o); err != nil {
		return "", err
	}
	from := c.Session.From
	if !byJudge(c) {
		return "a classifier: " + cmp.Or(c.Reward.Classifier, from, "one that the session is yet to have"), nil
	}
	_, name, err := o.Judge()
	if err != nil {
		return "", err
	}
	m, err := judgeIn(filepath.Join(c.Out, c.Name), from)
	if err == nil {
		err = m.by(name, from)
	}
	return fmt.Sprintf("the judge %s: %v", cmp.Or(o.Endpoint, name), m.Rep), err
}
