package wire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// taken are the keys that a session has as the one that it begins from: what an
// encoder, a reward and a policy were made with and for.
var taken = []string{"robot.world", "robot.task", "robot.way", "robot.horizon", "robot.cameras", "guard.workspace.", "encoder.", "reward.", "policy."}

// untaken are those of them that nothing was made with, or that it is made with anew: whose
// the reward is (servesAnother), all of the reward by waypoints, which the demonstrations are
// given again (prepared) by the waypoints that they carry, who tells success, since a
// classifier is trained on an earlier session's frames, and how chunks are searched for,
// by the critic of an alignment. That a policy sees the same
// points is for inherit to check.
var untaken = []string{"reward.person", "reward.kagi.", "reward.success", "reward.classifier", "policy.diffusion.sampler."}

// markAgain is the mark of a session with session.from that is prepared again, since a checkpoint
// was dropped: what it learned of its own stays.
const markAgain = "prepared again"

// keeps says whether such a session holds a checkpoint of a kind, which the earlier session's,
// that went on since, must not replace.
func (s *Session) keeps(ctx context.Context, kind string) (bool, error) {
	again, err := s.store.Marked(ctx, markAgain)
	if err != nil || again == "" {
		return false, err
	}
	_, _, err = s.latest(ctx, kind)
	if errors.Is(err, store.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// inherit copies the parts of the earlier session that session.from names, so that
// this session's folder is whole without it.
func (s *Session) inherit(ctx context.Context) (p parts, err error) {
	from := s.cfg.Session.From
	st, err := store.Open(from)
	if err != nil {
		return p, fmt.Errorf("wire: session.from: %w", mislaid("session.from", "FOLDER", err))
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	done, err := st.Marked(ctx, "prepared")
	if err != nil {
		return p, err
	}
	if done == "" {
		return p, fmt.Errorf("wire: session.from: %s is not prepared yet; go on with it first: %s", from, GoOn(from))
	}
	kept, err := s.keeps(ctx, kindReward)
	if err != nil {
		return p, err
	}
	if s.cfg.Encoder.Kind != "onnx" {
		v, b, err := st.LatestCheckpoint(ctx, kindEncoder)
		if err != nil {
			return p, fmt.Errorf("wire: session.from: %s: %w", from, remedied(from, kindEncoder, err))
		}
		if err := s.store.SaveCheckpoint(ctx, kindEncoder, v, b); err != nil {
			return p, err
		}
	}
	if !kept {
		if err := s.inheritReward(ctx, st); err != nil {
			return p, err
		}
	}
	if s.cfg.Demos.Filter == "" {
		if err := s.inheritPolicy(ctx, st); err != nil {
			return p, err
		}
	}
	for _, kind := range []string{kindSuccess, kindCritic} {
		if err := s.inheritMore(ctx, st, kind); err != nil {
			return p, err
		}
	}
	// A policy commands so much a tick, whatever a tick is.
	if cloned := 1 / tabletop.Period.Seconds(); real(s.cfg) && s.cfg.Robot.ROS.Rate != cloned {
		s.log.Warn("the policy was cloned at another rate; it moves the arm at another speed now", "ticks_a_second", s.cfg.Robot.ROS.Rate, "cloned_at", cloned)
	}
	if far, _ := starts(s.cfg); far != "" { // alike refused what must not be
		s.log.Warn("wire: session.from: " + far)
	}
	rows, err := st.Episodes(ctx, policy.Demo)
	if err != nil {
		return p, err
	}
	for i, r := range rows {
		if err := s.adopt(ctx, st, r.ID); err != nil {
			return p, err
		}
		s.tell("demonstrations", i+1, len(rows), "of "+from)
	}
	if err := s.inheritLabels(ctx, st); err != nil {
		return p, err
	}
	if !kept {
		if err := s.inheritMarks(ctx, st); err != nil {
			return p, err
		}
	}
	if err := s.servesAnother(ctx); err != nil {
		return p, err
	}
	if s.cfg.Demos.Filter != "" {
		if err := s.leaveOut(ctx); err != nil {
			return p, err
		}
	}
	if err := s.reask(ctx, st); err != nil {
		return p, err
	}
	if p, err = s.prepared(ctx); err != nil {
		return p, err
	}
	v, _, err := viewOf(p.clone)
	if err != nil {
		return p, err
	}
	if !reflect.DeepEqual(v, p.view) {
		return p, fmt.Errorf("wire: session.from: the policy of %s sees and commands otherwise than this session: %+v, want %+v", from, v, p.view)
	}
	return p, s.store.Mark(ctx, "prepared", "yes")
}

// servesAnother makes the inherited reward the configured one, if that is by waypoints, or that
// of reward.person, if the earlier session's is another's, from all that was said there.
func (s *Session) servesAnother(ctx context.Context) error {
	v, b, err := s.store.LatestCheckpoint(ctx, kindReward)
	if err != nil {
		return err
	}
	t, err := decodeTaste(b)
	if err != nil || t.kind() != s.cfg.Reward.Kind {
		return err
	}
	if t.KAGI != nil {
		if t.KAGI, err = s.kagi(); err != nil {
			return err
		}
		if b, err = json.Marshal(t); err != nil {
			return fmt.Errorf("wire: reward: %w", err)
		}
		return s.store.SaveCheckpoint(ctx, kindReward, v, b)
	}
	if t.Person == s.cfg.Reward.Person {
		return nil
	}
	t.Person = s.cfg.Reward.Person
	s.tell("preferences", 0, 1, "of "+s.cfg.Session.From)
	_, re, err := s.realign(ctx, t)
	if err != nil {
		return err
	}
	s.tell("preferences", 1, 1, fmt.Sprintf("%d answers, %.0f %% of the held-out ones told right", re.Answers, 100*re.After.Accuracy))
	return nil
}

// alike refuses what was configured otherwise in the earlier session that a new
// one is to begin from.
func alike(cfg config.Config) error {
	from := cfg.Session.From
	if from == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(from, database)); err != nil {
		return fmt.Errorf("wire: session.from: %s is no session's folder (%w); name one, as runs/group-001", from, err)
	}
	was, err := asBegun(from)
	if err != nil {
		return fmt.Errorf("wire: session.from: %w", err)
	}
	if err := was.Reward.Unfit(cfg.Robot.Kind); err != nil { // none of its settings would be a remedy
		return fmt.Errorf("wire: session.from: of %s %w; want another session, whose reward may be one here, as reward.kind rapl with reward.sees features", from, err)
	}
	var errs []error
	// Points are of a task's things, and a policy that sees them of no other.
	if seen := seenKeys(withClicks(was, from)); !byClicks(cfg) && was.Policy.Keys == cfg.Policy.Keys && !slices.Equal(seen, seenKeys(cfg)) {
		errs = append(errs, fmt.Errorf("wire: session.from: the policy of %s (task %s) sees the points %s, that of this session (task %s) would see %s; want the task, policy.keys and plan of %[1]s, or another session", from, was.Robot.Task, enumerated(seen), cfg.Robot.Task, enumerated(seenKeys(cfg))))
	}
	_, astray := starts(cfg)
	errs = append(errs, toldOf(cfg, was), drawsAlike(cfg, was), tunable(cfg), astray)
	for _, c := range rooted(cfg).Changes(rooted(was)) {
		if c.Key == "robot.way" {
			errs = append(errs, fmt.Errorf("wire: session.from: robot.way is %v in %s, and %s here; name a session of this way: of a practice, NAME goes there and NAME-back goes back", c.Was, from, cfg.Robot.Way))
		} else if c.Key == "robot.render" && cfg.Robot.Kind == "sim" && was.Robot.Kind == "sim" && !flat(cfg) {
			errs = append(errs, fmt.Errorf("wire: session.from: %v in %s, and what draws other pictures shows its encoder and policy what they were not trained on; want --set '%s=%s'", c, from, c.Key, c.Was))
		} else if face, beyond := faces(cfg, was, c.Key); face != "" {
			if floor := was.Guard.Workspace.Min[2]; c.Key == "guard.workspace.min" && cfg.Reward.Kind == "kagi" && cfg.Reward.KAGI.Marks == "candidates" && cfg.Guard.Workspace.Min[2] != floor {
				errs = append(errs, fmt.Errorf("wire: session.from: %v in %s, and reward.kagi.marks is candidates, which are taken to lie on the floor of that box: its points would be seen elsewhere; want one that begins at %g m", c, from, floor))
			} else if beyond {
				errs = append(errs, fmt.Errorf("wire: session.from: %v in %s, whose policy never was beyond that; a narrower box is taken, as --set '%s=%s'", c, from, c.Key, face))
			}
		} else if config.Covers(taken, c.Key) && !config.Covers(untaken, c.Key) {
			errs = append(errs, fmt.Errorf("wire: session.from: %v in %s; want --set '%s=%s'", c, from, c.Key, c.Was))
		}
	}
	if byWaypoints(cfg) && cfg.Reward.KAGI.Sparse == "truth" && was.Reward.KAGI.Sparse == "none" {
		errs = append(errs, fmt.Errorf("wire: session.from: reward.kagi.sparse is truth, but the demonstrations of %s tell no success, which was none there; want --set reward.kagi.sparse=none, or another session", from))
	}
	if classified(cfg) && cfg.Reward.Classifier == "" {
		if has, err := store.HasCheckpoint(from, kindSuccess); err != nil || !has {
			errs = append(errs, errors.Join(err, fmt.Errorf("wire: session.from: reward.kagi.sparse is classifier, but %s has none; mark frames and train one there (rapport reward classifier collect, then train), or name a file of one by reward.classifier", from)))
		}
	}
	return errors.Join(errs...)
}

// faces is the one of guard.workspace's ends that a key names, as far out as here and in the earlier
// session alike, and whether this session's is beyond it; "" of another key. A box may be narrower,
// as around a table that has something on it: nothing was made with it but how places are seen,
// which the policy keeps (made).
func faces(cfg, was config.Config, key string) (face string, beyond bool) {
	is, at, inner := cfg.Guard.Workspace.Min, was.Guard.Workspace.Min, math.Max
	switch key {
	case "guard.workspace.min":
	case "guard.workspace.max":
		is, at, inner = cfg.Guard.Workspace.Max, was.Guard.Workspace.Max, math.Min
	default:
		return "", false
	}
	for i := range at {
		at[i] = inner(at[i], is[i])
	}
	return "[" + triple(at) + "]", at != is
}

// drawsAlike refuses the policy of an earlier session that no learner of this one's kind goes on
// with: it draws chunks and they do not, or the other way. Where demos.filter is, one is cloned anew.
func drawsAlike(cfg, was config.Config) error {
	here, there := cfg.Learner.Kind, was.Learner.Kind
	if (here == "diffusion") == (there == "diffusion") || cfg.Demos.Filter != "" {
		return nil
	}
	draws := map[bool]string{true: "draws chunks of actions", false: "draws no chunks of actions"}[there == "diffusion"]
	return fmt.Errorf("wire: session.from: learner.kind of %s is %s, whose policy %s, and is %s here; want --set learner.kind=%[2]s, or another session", cfg.Session.From, there, draws, here)
}

// enumerated are names as a sentence has them.
func enumerated(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }

// founding refuses, of a session that begins from no other, what only another can have.
func founding(cfg config.Config) error {
	if cfg.Session.From != "" {
		return nil
	}
	var errs []error
	if classified(cfg) && (cfg.Reward.Classifier == "" || cfg.Encoder.Kind != "onnx") {
		errs = append(errs, errors.New("wire: reward.kagi.sparse is classifier, but a session that trains its encoder has none of it: "+firstClassifier))
	}
	if searched(cfg) {
		errs = append(errs, fmt.Errorf("wire: policy.diffusion.sampler.kind is %s, but a new session has no critic to search by; begin from an aligned one (--set session.from=runs/NAME), or take plain", cfg.Policy.Diffusion.Sampler.Kind))
	}
	return errors.Join(errs...)
}

// equipped refuses, before a folder is made for it, a session whose model has no endpoint or
// one that cannot be asked, whose file of a classifier is none, whose card is not there, whose arm has no
// hand to grip with, or that ends before anything is learned.
func equipped(ctx context.Context, cfg config.Config, o Options) error {
	return errors.Join(carded(cfg), handed(cfg), lasting(cfg), askable(cfg, o), tellable(ctx, cfg, o))
}

// askable is equipped of who writes waypoints.
func askable(cfg config.Config, o Options) error {
	if !asksModel(cfg, o) {
		return nil
	}
	if o.VLM == nil {
		return errNoPlanner
	}
	_, err := o.VLM("")
	if err != nil {
		err = fmt.Errorf("wire: waypoints: %w", err)
	}
	return errors.Join(err, markable(cfg))
}

// tellable is equipped of who tells success.
func tellable(ctx context.Context, cfg config.Config, o Options) error {
	var errs []error
	switch {
	case !byJudge(cfg):
	case o.Judge == nil:
		errs = append(errs, errNoJudge)
	default:
		if _, _, err := o.Judge(); err != nil {
			errs = append(errs, fmt.Errorf("wire: judge: %w", err))
		}
	}
	if cfg.Reward.Classifier != "" && byClassifier(cfg) {
		_, err := (&Session{cfg: cfg}).classifierModel(ctx)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// byClassifier says whether a classifier tells success, to the reward or to the watch over it.
func byClassifier(cfg config.Config) bool {
	return classified(cfg) || cfg.Reward.Success == "classifier"
}

// handed refuses a session on an arm whose policy grips without a hand: nothing would be gripped, but
// recorded and learned from as if. Sessions that began so go on as they did.
func handed(cfg config.Config) error {
	if cfg.Robot.Kind != "ros" || cfg.Robot.ROS.Gripper.Kind != "none" || !gripping(cfg) {
		return nil
	}
	return errors.New("wire: policy.axes has grip, but robot.ros.gripper.kind is none: nothing would be gripped, but recorded and learned from as if; want robot.ros.gripper.kind franka, or policy.axes without grip, as a session.from must have that was trained so")
}

// lasting refuses a session of PPO that ends with the policy that it began with: an update is made
// beside the episode after its last one (loop.Session), and the first fits the value alone (newKeeper).
// Sessions that began so go on as they did.
func lasting(cfg config.Config) error {
	of := cfg.Learner.PPO.Episodes
	if cfg.Learner.Kind != "ppo" || cfg.Session.Episodes > 2*of {
		return nil
	}
	return fmt.Errorf("wire: session.episodes is %d, but ppo changes its policy first beside episode %d, since learner.ppo.episodes is %d and its first update fits the value alone; want at least session.episodes %[2]d, as --set session.episodes=%d, or a smaller learner.ppo.episodes", cfg.Session.Episodes, 2*of+1, of, 10*of)
}

// masters refuses, before anything is made for it, a session whose arm a person takes by a device
// on ROS where no master answers.
func masters(ctx context.Context, cfg config.Config, o Options) error {
	if !onROS(cfg) {
		return nil
	}
	n, err := openNode(ctx, cfg, "rapport_teleop", o.Log)
	if err != nil {
		return fmt.Errorf("wire: teleop.input is %s: %w", cfg.Teleop.Input, err)
	}
	return n.Close()
}

// adopt copies a demonstration. Its frames are taken as they lie in the file, so that a
// policy that sees pixels learns from those that it was cloned from.
func (s *Session) adopt(ctx context.Context, st *store.Session, id string) error {
	if s.cfg.Session.Record {
		_, err := s.store.Copy(ctx, st, id)
		return err
	}
	e, err := st.Episode(id)
	if err != nil {
		return err
	}
	_, err = s.store.AddEpisode(ctx, e)
	return err
}

// inheritMore copies a checkpoint of the session that this one begins from, if it has
// one of the kind, and this one keeps none that is whole.
func (s *Session) inheritMore(ctx context.Context, from *store.Session, kind string) error {
	if kept, err := s.keeps(ctx, kind); kept || err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	v, b, err := from.LatestCheckpoint(ctx, kind)
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wire: session.from: %s: %w", s.cfg.Session.From, remedied(s.cfg.Session.From, kind, err))
	}
	return s.store.SaveCheckpoint(ctx, kind, v, b)
}
