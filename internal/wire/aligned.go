package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/sim"
)

// The steps of an alignment, in their order. Each reads what the one before left in
// the session's folder, and does nothing where its own part is done.
const (
	AlignPrepare   = "prepare"   // a policy that draws chunks, cloned of both behaviours
	AlignRollouts  = "rollouts"  // episodes of it, with the chains of their chunks
	AlignRank      = "rank"      // what people say of some of them
	AlignEncoder   = "encoder"   // the reward that says so too
	AlignSynthetic = "synthetic" // how it ranks all of them
	AlignTune      = "tune"      // the policy, aligned with that
	AlignEvaluate  = "evaluate"  // both policies on fresh starts
)

// AlignSteps are all of them, in their order.
func AlignSteps() []string {
	return []string{AlignPrepare, AlignRollouts, AlignRank, AlignEncoder, AlignSynthetic, AlignTune, AlignEvaluate}
}

// alignFolder is where an alignment keeps what is no episode, label or checkpoint.
const alignFolder = "align"

// alignFree are the keys that an alignment may go on with other values of.
var alignFree = []string{"name", "out", "align.", "session.evaluate", "policy.diffusion.sampler.", "reward.gradient", "reward.steps", "reward.enough", "reward.temperature", "reward.ties", "learner.device", "encoder.onnx"}

// Alignment is a session whose policy is brought from what it was cloned of to what
// people like: a step at a time, each of which survives the death of the process.
type Alignment struct {
	s *Session
	p parts // of AlignPrepare; the zero value before

	simulated bool          // a simulated person ranks
	seen      [][]sim.Truth // of the rollouts, once they were looked for
}

// aligns are the defaults that alignments have of their own.
var aligns = []string{
	"robot.task=cup", "learner.kind=diffusion", "reward.triplets=0",
	// So many that ways overlap: of fewer, a clone learns which way goes with which
	// start, and draws one alone.
	"demos.good=60", "demos.bad=60",
	// Encoders that ended at this loss ranked as those that went on to reward.steps.
	"reward.enough=0.001",
}

// AlignConfig reads the configuration of a new alignment: of the cup, with a policy
// that draws chunks of actions, unless file, environ or sets say otherwise.
func AlignConfig(file string, environ, sets []string) (config.Config, error) {
	named := config.Named(file, environ, sets)
	if slices.Contains(named, "robot.world") {
		named = append(named, "robot.task") // tasks are a world's
	}
	first := slices.DeleteFunc(slices.Clone(aligns), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return slices.Contains(named, key)
	})
	c, err := config.Load(file, environ, slices.Concat(first, sets))
	if err != nil {
		return c, err
	}
	if c.Session.From != "" {
		if c, err = config.Load(file, environ, slices.Concat(first, asIn(c, first), sets)); err != nil {
			return c, err
		}
	}
	return c, errors.Join(alignable(c), learnable(c))
}

// AlignPinned lists the keys to which file, of which AlignConfig made c, gives their general
// defaults where alignments have others, Was: as a file does that keeps all that rapport config
// prints.
func AlignPinned(c config.Config, file string) (ps []config.Change) {
	named, changed := config.Named(file, nil, nil), c.Changes(config.Default())
	for _, kv := range aligns {
		key, value, _ := strings.Cut(kv, "=")
		is := func(ch config.Change) bool { return ch.Key == key }
		own := c
		if !slices.Contains(named, key) || slices.ContainsFunc(changed, is) || own.Set(key, value) != nil {
			continue
		}
		all := c.Changes(own)
		if i := slices.IndexFunc(all, is); i >= 0 {
			ps = append(ps, all[i])
		}
	}
	return ps
}

// asIn are the settings of first, learner.kind aside, as the session has them that c is to begin
// from: nobody asked for others.
func asIn(c config.Config, first []string) (sets []string) {
	was, err := asBegun(c.Session.From)
	if err != nil {
		return nil // which alike tells
	}
	for _, x := range c.Changes(was) {
		if x.Key != "learner.kind" && slices.ContainsFunc(first, func(kv string) bool { return strings.HasPrefix(kv, x.Key+"=") }) {
			sets = append(sets, x.Key+"="+x.Was)
		}
	}
	return sets
}

// goesOnFrom refuses to begin from a session whose reward or policy no alignment goes on with: to
// take its settings, which alike proposes, is no remedy here.
func goesOnFrom(from string) error {
	was, err := asBegun(from)
	if err != nil {
		return nil // which alike tells
	}
	var errs []error
	if k := was.Reward.Kind; k != "rapl" {
		errs = append(errs, fmt.Errorf("wire: align: session.from: reward.kind of %s is %s, which learns nothing of answers about rollouts, and an alignment goes on with the reward of the session that it begins from; name a session with reward.kind rapl, or leave session.from out, and a policy is cloned: rapport align --set robot.task=%s", from, k, was.Robot.Task))
	}
	if k := was.Learner.Kind; k != "diffusion" {
		errs = append(errs, fmt.Errorf("wire: align: session.from: learner.kind of %s is %s, whose policy draws no chunks; name a session with learner.kind diffusion, or leave session.from out, and a policy is cloned: rapport align --set robot.task=%s", from, k, was.Robot.Task))
	}
	return errors.Join(errs...)
}

// alignable says why a session is none that can be aligned.
func alignable(c config.Config) error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("wire: align: %s "+format, append([]any{key}, args...)...))
	}
	if !judgeable(c) {
		bad("robot.kind", "is %s, but rollouts are made in simulation so far; want sim", c.Robot.Kind)
	}
	if c.Learner.Kind != "diffusion" {
		bad("learner.kind", "is %s, whose policy draws no chunks; want diffusion, as where nothing names one", c.Learner.Kind)
	}
	if process, of := c.Policy.Diffusion.Process, config.AlignersOf(c.Policy.Diffusion.Process); !slices.Contains(of, c.Align.Aligner) {
		bad("align.aligner", "is %s, but policy.diffusion.process is %s; of that want one of %s", c.Align.Aligner, process, strings.Join(of, ", "))
	}
	if searched(c) {
		bad("policy.diffusion.sampler.kind", "is %s, but both policies are evaluated as they draw; want plain, and search afterwards: rapport eval RUN --set policy.diffusion.sampler.kind=%[2]s", c.Policy.Diffusion.Sampler.Kind)
	}
	if c.Reward.Kind != "rapl" {
		bad("reward.kind", "is %s, which learns nothing of answers about rollouts; want rapl (align.by chooses who ranks them)", c.Reward.Kind)
	}
	if !c.Session.Record {
		bad("session.record", "is false, but people are shown the frames; want true")
	}
	return errors.Join(errs...)
}

// learnable says why the reward of a new alignment would not be trained as is asked for. One that
// was begun so goes on.
func learnable(c config.Config) error {
	if c.Reward.Train != "all" || c.Session.From != "" || c.Reward.Triplets > 0 {
		return nil
	}
	return errors.New("wire: align: reward.train is all, but the encoder learns from answers about demonstrations, of which reward.triplets asks for none, and from those about rollouts a head alone does; want head or mlp")
}

// BeginAlign makes the folder of a new alignment, and returns it.
func BeginAlign(c config.Config) (dir string, err error) {
	if from := c.Session.From; from != "" {
		if err := goesOnFrom(from); err != nil {
			return "", errors.Join(err, unfiltered(c))
		}
	}
	if err := errors.Join(alignable(c), learnable(c), alike(c), unfiltered(c), carded(c)); err != nil {
		return "", err
	}
	name := c.Name
	if name == "" {
		if name, err = freeName(c.Out, c.Robot.Task); err != nil {
			return "", err
		}
	}
	dir = filepath.Join(c.Out, name)
	st, err := founded(dir, c)
	if err != nil {
		return "", err
	}
	// From now on it is one, whatever it is stopped in.
	if err := os.MkdirAll(filepath.Join(dir, alignFolder), 0o755); err != nil {
		return "", errors.Join(fmt.Errorf("wire: align: %w", err), st.Close())
	}
	return dir, st.Close()
}

// OpenAlign opens the alignment in dir. environ and sets may change how it goes on:
// the keys of align.
func OpenAlign(dir string, environ, sets []string, o Options) (*Alignment, error) {
	s, err := visit(dir, alignFree, "an alignment", environ, sets, o)
	if err != nil {
		return nil, err
	}
	if err := alignable(s.cfg); err != nil {
		return nil, errors.Join(Wrong{err}, s.store.Close())
	}
	if !aligned(dir) { // its own episodes and fine-tuned policy would be an alignment's from now on
		return nil, errors.Join(fmt.Errorf("wire: %s is a session, and no alignment; %s", dir, alignIt(dir)), s.store.Close())
	}
	return &Alignment{s: s}, nil
}

// Close releases the folder.
func (a *Alignment) Close() error { return a.s.store.Close() }

// Config is what the alignment goes by.
func (a *Alignment) Config() config.Config { return a.s.cfg }

// Do does a step, and says in a few words what came of it.
func (a *Alignment) Do(ctx context.Context, step string) (string, error) {
	at := slices.Index(AlignSteps(), step)
	if at < 0 {
		return "", fmt.Errorf("wire: align: there is no step %q; want one of %v", step, AlignSteps())
	}
	if err := a.mend(ctx); err != nil {
		return "", err
	}
	if step == AlignPrepare {
		return a.prepare(ctx)
	}
	if err := a.begun(ctx); err != nil {
		return "", err
	}
	return map[string]func(context.Context) (string, error){
		AlignRollouts: a.rollouts, AlignRank: a.rank, AlignEncoder: a.encoder,
		AlignSynthetic: a.synthetic, AlignTune: a.tune, AlignEvaluate: a.evaluate,
	}[step](ctx)
}

// begun reads what AlignPrepare made.
func (a *Alignment) begun(ctx context.Context) error {
	if a.p.eyes != nil {
		return nil
	}
	done, err := a.s.store.Marked(ctx, "prepared")
	if err != nil {
		return err
	}
	if done == "" {
		return a.before(AlignPrepare)
	}
	a.p, err = a.s.made(ctx)
	return err
}

// before is the error of a step whose predecessor was not done.
func (a *Alignment) before(step string) error {
	how := "align " + step
	if step == AlignPrepare {
		how = "align" // the whole, which goes on from there
	}
	return fmt.Errorf("wire: align: %s has nothing of the step %s; do that first: rapport %s %s", a.s.Dir(), step, how, Quoted(a.s.Dir()))
}

// prepare has the session cloned from both behaviours, or from an earlier session.
func (a *Alignment) prepare(ctx context.Context) (string, error) {
	var err error
	if a.p, err = a.s.prepare(ctx); err != nil {
		return "", err
	}
	if _, err := a.net(); err != nil {
		return "", err
	}
	c := a.s.cfg
	if c.Session.From != "" {
		return "the " + itsPolicy(c) + " of " + c.Session.From, nil
	}
	return fmt.Sprintf("cloned from %d demonstrations that people like and %d that they do not, %d steps", c.Demos.Good, c.Demos.Bad, c.Policy.Clone.Steps), nil
}

// net is the policy that is aligned.
func (a *Alignment) net() (*diffusion.Net, error) {
	n, err := diffusion.Decode(a.p.clone)
	if err != nil {
		return nil, fmt.Errorf("wire: align: the policy of %s draws no chunks of actions: %w; clone one with learner.kind diffusion", a.s.Dir(), err)
	}
	return n, nil
}

// Aligned is what an alignment came to.
type Aligned struct {
	Dir              string        `json:"-"`
	Aligner, By      string        `json:",omitzero"`
	Person           string        `json:",omitzero"`
	Answers, Decided int           // of people; those that say which of two is better
	Rollouts         int           // that were ranked
	Right            float64       // share of pairs of rollouts that the reward orders as the simulated person does whom it is of; -1 where there is none
	Round            int           // that was kept
	KL               float64       // nats of a chain, of that
	Before, After    AlignedResult // on the same starts
	// Worse: the policy after succeeds less often than the one before, and the Wilson
	// intervals of the two are apart.
	Worse            bool     `json:",omitzero"`
	People           []Regard `json:",omitempty"` // each of people.groups
	Policy, Rankings string   // files
}

// AlignedResult is how a policy did.
type AlignedResult struct{ Success, Preferred, Undesired report.Share }

// Regard is what a simulated person says of the policy before and after: of each start,
// in which of its two episodes things went more as that person likes.
type Regard struct {
	Person            string
	Served            bool `json:",omitzero"` // the policy was tuned for this person
	Better, Worse, Of int  // starts at which the policy after does better, worse, of how many
}

// resultFile is that of an Aligned.
const resultFile = "result.json"

// Result is what AlignEvaluate ended with.
func (a *Alignment) Result() (Aligned, error) {
	var r Aligned
	err := a.read(resultFile, &r)
	if errors.Is(err, os.ErrNotExist) {
		return r, a.before(AlignEvaluate)
	}
	r.Dir = a.s.Dir()
	return r, err
}

// file is one of the alignment's folder.
func (a *Alignment) file(name string) string { return filepath.Join(a.s.Dir(), alignFolder, name) }

// write writes v as JSON, whole or not at all.
func (a *Alignment) write(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("wire: align: %s: %w", name, err)
	}
	return grid.Put(a.file(name), func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// read reads what write wrote.
func (a *Alignment) read(name string, v any) error {
	b, err := os.ReadFile(a.file(name))
	if err != nil {
		return fmt.Errorf("wire: align: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("wire: align: %s is damaged: %w; remove it, and its step is done again", a.file(name), err)
	}
	return nil
}
