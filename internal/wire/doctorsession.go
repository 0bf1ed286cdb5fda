package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
)

// examineSession asks what else a session is refused for at once, by what refuses it (Create).
func examineSession(ctx context.Context, c config.Config, o Options) (fs []Finding) {
	if from := c.Session.From; from != "" {
		fs = append(fs, Finding{"session.from", from + ", which was configured alike", errors.Join(alike(c), reviewed(ctx, c))})
	} else if err := errors.Join(founding(c), reviewed(ctx, c)); err != nil {
		fs = append(fs, Finding{What: "session.from", Err: err})
	}
	if byJudge(c) || byClassifier(c) {
		detail, err := trySuccess(ctx, c, o)
		fs = append(fs, Finding{"success", detail, err})
	}
	if err := errors.Join(trunked(c), lasting(c), understood(c)); err != nil {
		fs = append(fs, Finding{What: "session", Err: err})
	}
	return fs
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
	m, err := judgeOf(from)
	if err == nil {
		err = m.by(name, from)
	}
	return fmt.Sprintf("the judge %s: %v", cmp.Or(o.Endpoint, name), m.Rep), err
}
