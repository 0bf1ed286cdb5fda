package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// explainer is a scorer that can say why.
type explainer interface {
	Explain(ctx context.Context, traj []perception.Features) (rapl.Explanation, error)
}

// Explained is why an episode was worth what it was. As JSON it is the file
// explained-EPISODE.json of a session's folder (docs/rapl.md).
type Explained struct {
	Episode string `json:"episode"`
	// Encoder and Judge are the SHA-256 of the encoder and of the reward.
	Encoder string `json:"encoder"`
	Judge   string `json:"reward"`
	rapl.Explanation
	pairs report.Reward // what is shown
}

// Return is the sum of the rewards.
func (e Explained) Return() float64 {
	var sum float64
	for _, r := range e.Rewards {
		sum += r
	}
	return sum
}

// Draw writes the explanation as a PNG.
func (e Explained) Draw(w io.Writer) error { return report.Explained(w, e.pairs) }

// Encode is the explanation's file.
func (e Explained) Encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("wire: explanation: %w", err)
	}
	return append(b, '\n'), nil
}

// The episodes that may be named by what they are: of the online ones by their
// returns.
const (
	Best  = "best"
	Worst = "worst"
	Last  = "last"
)

// Explain tells what is behind the reward of an episode of the session in dir: its
// id, or Best, Worst or Last. The session's newest reward judges.
func Explain(ctx context.Context, dir, episode string, environ, sets []string, o Options) (e Explained, err error) {
	s, err := visit(dir, judged, "an explanation", environ, sets, o)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	p, err := s.judges(ctx)
	if err != nil {
		return e, err
	}
	id, err := s.chosen(ctx, episode)
	if err != nil {
		return e, err
	}
	return s.explained(ctx, p, id)
}

// chosen is the id of the episode that is meant.
func (s *Session) chosen(ctx context.Context, episode string) (string, error) {
	if episode != Best && episode != Worst && episode != Last {
		return episode, nil
	}
	rows, err := s.store.Episodes(ctx, policy.Online)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("wire: %s holds no online episode yet; name a demonstration, as demo-00000", s.Dir())
	}
	at := rows[len(rows)-1]
	if episode == Last {
		return at.ID, nil
	}
	at = rows[0]
	for _, r := range rows {
		if episode == Best && r.Return > at.Return || episode == Worst && r.Return < at.Return {
			at = r
		}
	}
	return at.ID, nil
}

// explained scores a stored episode and says why.
func (s *Session) explained(ctx context.Context, p parts, id string) (e Explained, err error) {
	x, ok := any(p.scorer).(explainer)
	if !ok {
		err := fmt.Errorf("wire: the reward of %s (reward.kind %s) matches no frames with a video's, so there is no plan of transport to show", s.Dir(), p.taste.kind())
		if p.taste.KAGI != nil {
			err = fmt.Errorf("%w; %s", err, onFilm(s.Dir()))
		}
		return e, err
	}
	ep, err := s.store.Episode(id)
	if errors.Is(err, store.ErrNone) {
		return e, fmt.Errorf("%w; see its folder episodes, or name %s, %s or %s", err, Best, Worst, Last)
	}
	if err != nil {
		return e, err
	}
	e.Episode = id
	if e.Encoder, e.Judge, err = s.makers(ctx); err != nil {
		return e, err
	}
	if e.Explanation, err = x.Explain(ctx, ep.Trajectory()); err != nil {
		return e, fmt.Errorf("wire: explain %s: %w", id, err)
	}
	e.pairs = report.Reward{Name: fmt.Sprintf("%s against %s", id, e.Name), Rewards: e.Rewards, Expert: e.Expert, Matched: e.Match}
	for i := range e.T {
		e.pairs.Plan = append(e.pairs.Plan, e.Plan[i*e.Frames:(i+1)*e.Frames])
	}
	seen, err := s.framesOf(id)
	if err != nil {
		return e, err
	}
	liked, err := s.framesOf(e.Name)
	if err != nil {
		return e, err
	}
	for k := range shots {
		// Step and match count from the frame after the reset.
		step := k * (e.T - 1) / (shots - 1)
		if m := e.Match[step]; step < len(seen) && m < len(liked) {
			e.pairs.Pairs = append(e.pairs.Pairs, above(picture(seen[step]), picture(liked[m])))
		}
	}
	return e, nil
}

// onFilm says how a reward of tracked points of the session in dir is looked at.
func onFilm(dir string) string {
	return "to see what it goes by: rapport replay " + Quoted(dir) + " --out DIR --film"
}

// framesOf are the first camera's frames of an episode after the reset's; none
// where nothing was recorded.
func (s *Session) framesOf(id string) ([]robot.Frame, error) {
	path := filepath.Join(s.Dir(), "episodes", id+".mcap")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	rec, err := record.Read(path)
	if err != nil {
		return nil, err
	}
	var fs []robot.Frame
	for _, t := range rec.Ticks[min(1, len(rec.Ticks)):] {
		if len(t.Frames) > 0 {
			fs = append(fs, t.Frames[0])
		}
	}
	return fs, nil
}

// explainChosen explains the best and the worst online episode for the report, and
// keeps the explanations in the folder.
func (s *Session) explainChosen(ctx context.Context, p parts) ([]report.Reward, error) {
	if _, ok := any(p.scorer).(explainer); !ok {
		return nil, nil
	}
	var out []report.Reward
	done := ""
	for _, which := range []string{Best, Worst} {
		id, err := s.chosen(ctx, which)
		if err != nil {
			return nil, err
		}
		if id == done { // one episode is both
			continue
		}
		done = id
		e, err := s.explained(ctx, p, id)
		if err != nil {
			return nil, err
		}
		b, err := e.Encode()
		if err != nil {
			return nil, err
		}
		if err := s.store.Put("explained-"+id+".json", b); err != nil {
			return nil, err
		}
		e.pairs.Name = fmt.Sprintf("The %s online episode by the visual return, %s", which, e.pairs.Name)
		out = append(out, e.pairs)
	}
	return out, nil
}
