package wire

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

// listed is how many violations a dry run lists; the rest are counted.
const listed = 1000

// Check says what a dry run is of.
type Check struct {
	// Policy is a session's folder or a file of parameters. Of a session it is
	// what acts next: the newest fine-tuned parameters, else the cloned ones.
	Policy     string
	Recordings []string // files; none: the session's episodes
	// Allow is the share of steps that the guard may alter, 0 to 1. A command that
	// is not finite is never allowed.
	Allow float64
	// Explore judges what the policy does while it learns, not its best guess.
	Explore bool
	File    string // of the configuration, for a policy without a session
}

// Violation is one limit that a command of the policy would have broken.
type Violation struct {
	Recording string     `json:"recording"`
	Step      int        `json:"step"`
	Limit     string     `json:"limit"`
	Got       number     `json:"got"`
	Max       number     `json:"max"`
	Unit      string     `json:"unit"`
	Wish      [7]number  `json:"wish"`    // delta, grip
	Applied   [7]float64 `json:"applied"` // what the guard would have left of it
}

// Dry is the result of a dry run.
type Dry struct {
	Policy     string         `json:"policy"`
	Digest     string         `json:"digest"` // SHA-256 of the parameters
	Limits     string         `json:"limits"` // SHA-256 of the guard's limits
	Recordings int            `json:"recordings"`
	Steps      int            `json:"steps"`
	Altered    int            `json:"altered"`    // steps
	NonFinite  int            `json:"non_finite"` // steps
	Allow      float64        `json:"allow"`
	ByLimit    map[string]int `json:"by_limit"` // violations
	Violations []Violation    `json:"violations"`
	Unlisted   int            `json:"unlisted"`
	Torn       []string       `json:"torn,omitempty"` // recordings that are not whole, of which the rest was judged
	Passed     bool           `json:"passed"`
	Kept       string         `json:"-"` // the session that the result was stored in, "" if none
}

// CheckPolicy runs a policy over recordings through the guard's filter and, where
// it is of a session, stores there whether it passed.
func CheckPolicy(ctx context.Context, k Check, environ, sets []string, o Options) (d Dry, err error) {
	c, s, err := k.open(environ, sets, o)
	if err != nil {
		return d, err
	}
	if s != nil {
		defer func() { err = errors.Join(err, s.store.Close()) }()
	}
	params, eyes, err := k.params(ctx, s, &d)
	if err != nil {
		return d, err
	}
	named := k.Recordings
	if len(named) == 0 && s != nil {
		named = []string{s.Dir()}
	}
	var files []string
	for _, f := range named {
		in := []string{f}
		if _, err := os.Stat(filepath.Join(f, database)); err == nil { // a session: all its episodes
			if in, err = filepath.Glob(filepath.Join(f, "episodes", "*.mcap")); err != nil {
				return d, err
			}
		}
		files = append(files, in...)
	}
	if len(files) == 0 {
		return d, errors.New("wire: no recordings to run the policy over; name some, as runs/group-001/episodes/*.mcap")
	}
	d.Digest, d.Limits, d.Allow, d.ByLimit = digest(params), limitsDigest(c), k.Allow, map[string]int{}
	for i, f := range files {
		o.Tell("dry run", i, len(files), "")
		if err := d.run(ctx, c, params, eyes, k.Explore, f, uint64(i)); err != nil {
			return d, err
		}
	}
	o.Tell("dry run", len(files), len(files), "")
	d.Passed = d.NonFinite == 0 && float64(d.Altered) <= k.Allow*float64(d.Steps)
	if s == nil {
		return d, nil
	}
	b, err := json.Marshal(d)
	if err != nil {
		return d, fmt.Errorf("wire: dry run: %w", err)
	}
	d.Kept = s.Dir()
	return d, s.store.AddGate(ctx, store.Gate{At: s.now(), Policy: d.Digest, Limits: d.Limits, Passed: d.Passed, Report: b})
}

// Session is the folder of the session that the policy is of and whose settings it is judged
// by, "" if it is of none.
func (k *Check) Session() (string, error) {
	dir := k.Policy
	if st, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("wire: the policy %q is neither a session's folder nor a file of parameters: %w", k.Policy, err)
	} else if !st.IsDir() {
		// A checkpoint lies in a folder of its session.
		dir = filepath.Dir(filepath.Dir(dir))
		if _, err := os.Stat(filepath.Join(dir, database)); err != nil {
			return "", nil
		}
	}
	return dir, nil
}

// open returns the configuration of the dry run, and the session that the policy
// is of, if it is of one.
func (k *Check) open(environ, sets []string, o Options) (config.Config, *Session, error) {
	dir, err := k.Session()
	if err != nil {
		return config.Config{}, nil, err
	}
	if dir == "" {
		c, err := config.Load(k.File, environ, sets)
		return c, nil, err
	}
	s, err := visit(dir, judged, "a dry run", environ, sets, o)
	if err != nil {
		return config.Config{}, nil, err
	}
	return s.cfg, s, nil
}

// params reads what acts, and by which eyes it sees; none: as was recorded.
func (k *Check) params(ctx context.Context, s *Session, d *Dry) (policy.Params, perception.Extractor, error) {
	if s == nil {
		b, err := os.ReadFile(k.Policy)
		d.Policy = k.Policy
		return policy.Params{Version: 1, Data: b}, nil, err
	}
	p, err := s.made(ctx)
	if err != nil {
		return policy.Params{}, nil, fmt.Errorf("%w; a policy is run dry once the demonstrations are cloned", err)
	}
	if st, err := os.Stat(k.Policy); err == nil && !st.IsDir() {
		ps, what, err := s.params(ctx, p, k.Policy)
		d.Policy = what
		return ps, p.eyes, err
	}
	ps, what, err := s.acting(ctx, p)
	d.Policy = what
	return ps, p.eyes, err
}

// acting are the stored parameters that act next, and what they are in words.
func (s *Session) acting(ctx context.Context, p parts) (policy.Params, string, error) {
	ps, what, err := s.params(ctx, p, Tuned)
	if errors.Is(err, store.ErrNone) {
		return s.params(ctx, p, Cloned)
	}
	return ps, what, err
}

func digest(p policy.Params) string { return fmt.Sprintf("%x", sha256.Sum256(p.Data)) }

// limitsDigest tells limits from others: a policy that passed within some may not
// within others.
func limitsDigest(c config.Config) string {
	g := guardConfig(c)
	b, err := json.Marshal([]any{g.Box, g.Speed, g.Turn, g.Acc, g.TurnAcc, g.Lead, g.LeadTurn, g.Arm, g.Damping, g.Opening, g.Tick})
	if err != nil {
		panic("wire: the guard's limits are not JSON") // they are finite numbers and names
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// run takes the policy along one recording.
func (d *Dry) run(ctx context.Context, c config.Config, params policy.Params, eyes perception.Extractor, explore bool, file string, n uint64) error {
	v, chunks, err := viewOf(params)
	if err != nil {
		return fmt.Errorf("wire: %s: %w", d.Policy, err)
	}
	pi, err := newPlayer(ctx, c, v, chunks, explore)
	if err != nil {
		return err
	}
	if err := pi.Load(params); err != nil {
		return fmt.Errorf("wire: %s: %w", d.Policy, err)
	}
	pi.Begin(n)
	dry, err := guard.NewDry(guardConfig(c))
	if err != nil {
		return err
	}
	d.Recordings++
	var last *page
	t := 0
	err = playback(ctx, c, file, func(p page) error {
		if last == nil {
			dry.Start(&p.state)
		} else {
			in := policy.Input{Step: t, State: last.state}
			if in.Features, err = last.features(ctx, eyes); err != nil {
				return err
			}
			if len(v.Cameras) > 0 {
				in.Frames = last.frames
			}
			wish, err := pi.Act(ctx, in)
			if err != nil {
				return fmt.Errorf("%w; is it of another session's encoder or cameras?", err)
			}
			d.judge(dry, file, t, &last.state, wish)
			dry.Moved(p.applied)
			t++
		}
		last = &p
		return nil
	})
	if torn := (tornError{}); t > 0 && errors.As(err, &torn) {
		d.Torn = append(d.Torn, fmt.Sprintf("%s: %v", file, torn))
		err = nil
	}
	if err != nil {
		return fmt.Errorf("wire: %s, step %d: %w", file, t, err)
	}
	if t == 0 {
		return fmt.Errorf("wire: %s has less than two observations", file)
	}
	return nil
}

func (d *Dry) judge(dry *guard.Dry, file string, t int, st *robot.State, wish robot.Command) {
	d.Steps++
	r := dry.Judge(st, wish)
	if len(r.Breaches) == 0 {
		return
	}
	d.Altered++
	finite := !slices.ContainsFunc(append(wish.Delta[:], wish.Grip), func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
	if !finite {
		d.NonFinite++
	}
	for _, b := range r.Breaches {
		d.ByLimit[b.Limit]++
		if len(d.Violations) == listed {
			d.Unlisted++
			continue
		}
		v := Violation{Recording: filepath.Base(file), Step: t, Limit: b.Limit, Got: number(b.Got), Max: number(b.Max), Unit: b.Unit}
		for i := range 6 {
			v.Wish[i], v.Applied[i] = number(wish.Delta[i]), r.Applied.Delta[i]
		}
		v.Wish[6], v.Applied[6] = number(wish.Grip), r.Applied.Grip
		d.Violations = append(d.Violations, v)
	}
}

// gateMode is guard.gate, with auto resolved.
func gateMode(c config.Config) string {
	if logged(c) {
		return "off" // nothing moves
	}
	if c.Guard.Gate != "auto" {
		return c.Guard.Gate
	}
	if real(c) {
		return "require"
	}
	return "off"
}

// checkClone is checkGate for what the evaluation before fine-tuning moves, while that is to come.
func (s *Session) checkClone(ctx context.Context, p parts) error {
	if !judgeable(s.cfg) {
		return nil // nothing moves before the learner's policy does
	}
	if judged, err := s.store.Marked(ctx, "success before"); err != nil || judged != "" {
		return err
	}
	return s.checkGate(ctx, p)
}

// checkLearned is checkGate for the policy of a learner after n online episodes. One that has just
// been learned, from the demonstrations or again from episodes after the last checkpoint, is
// stored first, so that a dry run is of what moves the arm.
func (s *Session) checkLearned(ctx context.Context, p parts, l policy.Keeper, n int) error {
	if gateMode(s.cfg) == "off" {
		return nil
	}
	next, err := l.Latest(ctx)
	if err != nil {
		return err
	}
	stored, _, err := s.acting(ctx, p)
	if err != nil {
		return err
	}
	if digest(next) != digest(stored) {
		if err := s.saveLearner(ctx, l, n); err != nil {
			return err
		}
	}
	return s.checkGate(ctx, p)
}

// checkGate refuses to let parameters act that have not passed a dry run within
// the session's limits, as guard.gate says.
func (s *Session) checkGate(ctx context.Context, p parts) error {
	mode := gateMode(s.cfg)
	if mode == "off" {
		return nil
	}
	params, what, err := s.acting(ctx, p)
	if err != nil {
		return err
	}
	g, err := s.store.LatestGate(ctx, digest(params), limitsDigest(s.cfg))
	if err == nil && g.Passed {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNone) {
		return err
	}
	why := fmt.Sprintf("was not run dry within these limits of guard; end this session, run: rapport guard check --policy %s, look at what it lists, and go on with --resume", Quoted(s.Dir()))
	if err == nil {
		why = fmt.Sprintf("did not pass its dry run; teach it more, or slow it (policy.scale), in the session that it came from, or, where what rapport guard check --policy %s lists is harmless, allow more of it (--allow) and go on with --resume", Quoted(s.Dir()))
	}
	err = fmt.Errorf("wire: the policy %s %s (guard.gate is %s)", what, why, s.cfg.Guard.Gate)
	if mode == "warn" {
		s.log.Warn(err.Error())
		return nil
	}
	return err
}
