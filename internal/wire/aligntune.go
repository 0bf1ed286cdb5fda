package wire

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// sum is a SHA-256 in hexadecimal.
func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

const (
	tuneFile   = "tune.json"
	runFile    = "run.bin"             // of an alignment that was interrupted
	policyFile = "aligned.safetensors" // the parameters, for rapport eval --policy
)

// tunedBy is what AlignTune left.
type tunedBy struct {
	Of     string // rankings and settings
	By     string // the aligner
	Report align.Report
	// The policy: the version of its checkpoint and its sum; 0 and "" of before these were kept.
	Version uint64  `json:",omitzero"`
	Policy  string  `json:",omitzero"`
	Held    float64 // share of held-out pairs that the critic orders as the reward does; -1: not measured
}

// Rounds between two savings of an alignment.
const savedEvery = 5

// coarse is where Diffusion-DPO compares chunks: where noise leaves no more than half of
// their variance (docs/align/diffusion-dpo.md, "Where to compare").
const coarse = 0.5

// betaOf is the beta of align.beta: 0 is, of a diffusion, what was chosen on the cup and the fork
// (docs/align-pipeline.md), for rewards of 0 to 1 and what is rehearsed beside them; Diffusion-DPO's
// package has the published 20. Other aligners, and flows, keep their package's, 0.
func betaOf(c config.Align, process diffusion.Kind) float64 {
	if slices.Contains([]string{"diffusion-dpo", "ppd", "dragon", "prdp", "rwr", "seppo"}, c.Aligner) && process == diffusion.Diffusion {
		return cmp.Or(c.Beta, 0.1)
	}
	return c.Beta
}

// aligner makes the configured aligner of t. slope is that of the critic.
func aligner(t *align.Tuned, c config.Align, slope align.Slope) (align.Aligner, error) {
	process := t.Net().Arch.Process.Kind
	c.Beta = betaOf(c, process)
	switch c.Aligner {
	case "d3po":
		return align.NewD3PO(t, align.D3POConfig{Beta: c.Beta})
	case "diffusion-dpo":
		return align.NewDiffusionDPO(t, align.DiffusionDPOConfig{Beta: c.Beta, Coarse: coarse})
	case "flow-dpo":
		return align.NewFlowDPO(t, align.DiffusionDPOConfig{Beta: c.Beta})
	case "prdp":
		return align.NewPRDP(t, align.PRDPConfig{Beta: c.Beta})
	case "dppo":
		return align.NewDPPO(t, align.DPPOConfig{})
	case "rwr": // with KL weighed by beta, p_ref exp(r/beta) is the best
		return align.NewRWR(t, align.RWRConfig{Heat: c.Beta})
	case "seppo":
		return align.NewSePPO(t, align.SePPOConfig{Beta: c.Beta})
	case "fdpo": // without Keep, good and bad marks together can make all that is marked unlikely
		return align.NewFDPO(t, align.FDPOConfig{Beta: c.Beta, Keep: 1})
	case "rm-filter": // of chunks whose rewards are alike, RWR is plain imitation
		return align.NewRWR(t, align.RWRConfig{})
	case "ppd": // by DPO, with Keep as FDPO
		dpo := align.NewDiffusionDPO
		if process == diffusion.Flow {
			dpo = align.NewFlowDPO
		}
		return dpo(t, align.DiffusionDPOConfig{Beta: c.Beta, Keep: 1})
	case "dragon": // by DPO, where sets are compared as single chunks are
		if process == diffusion.Flow {
			return align.NewFlowDPO(t, align.DiffusionDPOConfig{Beta: c.Beta})
		}
		return align.NewDiffusionDPO(t, align.DiffusionDPOConfig{Beta: c.Beta, Coarse: coarse})
	case "pareto":
		return align.NewDPPO(t, align.DPPOConfig{Given: true})
	case "alignprop":
		return align.NewAlignProp(t, slope, align.AlignPropConfig{})
	case "partial":
		return align.NewPartial(t, slope, align.PartialConfig{})
	}
	return nil, fmt.Errorf("wire: align.aligner is %q; want one of %v", c.Aligner, config.Aligners())
}

// choice is how the round that is kept is chosen.
func choice(c config.Align) align.RunConfig {
	return align.RunConfig{
		Rounds: c.Rounds, Patience: c.Patience, Budget: c.Budget, Near: c.Near,
		Lambda: max(c.Lambda, math.SmallestNonzeroFloat64), // 0 is the package's default, and no align.lambda
	}
}

// manyRewards is how many rewards align.Pareto is good for.
const manyRewards = 4

// learning is the policy as an aligner begins with it, and what it learns from. cs are
// whom it is tuned for, of whom one is served; nil: for all alike.
func (a *Alignment) learning(ctx context.Context, r rankings) (t *align.Tuned, l lessons, cs []client, served int, err error) {
	net, err := a.net()
	if err != nil {
		return nil, l, nil, 0, err
	}
	tuning := a.tuning()
	c := a.s.cfg.Align
	if c.Several() {
		if cs, err = a.clients(ctx); err != nil {
			return nil, l, nil, 0, err
		}
	}
	if c.Aligner == "pareto" {
		if len(cs) > manyRewards {
			return nil, l, nil, 0, fmt.Errorf("wire: align: the answers of %d people compare rollouts, but of more than %d, whom pareto all pleases, nearly no chunk is worse to everybody than another; want another align.aligner, as ppd for one of them", len(cs), manyRewards)
		}
		if t, err = align.Tune(net, tuning); err == nil {
			l, err = a.theirs(ctx, t, cs, everybody)
		}
		return t, l, nil, 0, err
	}
	if cs != nil {
		if served, err = whose("align.person", c.Person, namesOf(cs)); err != nil {
			return nil, l, nil, 0, fmt.Errorf("wire: align: %w", err)
		}
		tuning.Taste = len(cs[0].taste)
	}
	if t, err = align.Tune(net, tuning); err != nil {
		return nil, l, nil, 0, err
	}
	if cs != nil {
		l, err = a.theirs(ctx, t, cs, served)
	} else {
		l, err = a.lessons(ctx, t, r)
	}
	return t, l, cs, served, err
}

// tune aligns the policy with the rankings.
func (a *Alignment) tune(ctx context.Context) (string, error) {
	c := a.s.cfg.Align
	r, of, err := a.ranking()
	if err != nil {
		return "", err
	}
	j, judged, err := a.judged(ctx)
	if err != nil {
		return "", err
	}
	if !r.answers(judged, a.s.cfg.Align) {
		return "", a.other(AlignSynthetic)
	}
	out := tunedBy{Of: of, By: c.Aligner}
	was, err := a.lastTuning()
	known := err == nil // what is damaged is made again
	again, err := a.untuned(ctx, was)
	if err != nil {
		return "", err
	}
	switch {
	case !known || was.Of != out.Of:
		again = ""
	case again == "":
		_, data, err := a.s.latest(ctx, kindTuned)
		if err != nil {
			return "", err
		}
		return was.note() + ", made before", a.offer(data)
	default:
		again = "; done again, since " + again
	}
	t, l, cs, served, err := a.learning(ctx, r)
	if err != nil {
		return "", err
	}
	if cs != nil {
		out.By = "ppd for " + cs[served].name
	}
	out.Held = l.right
	by, err := aligner(t, c, l.critic.Steer(t.Net()).Slope)
	if err != nil {
		return "", err
	}
	if err := a.exemplary(l, r, j.Count); err != nil {
		return "", err
	}
	if c.Rehearse > 0 && len(l.good) == 0 {
		a.s.log.Warn("wire: align: nothing is rehearsed beside what the aligner learns, since "+a.unbeaten()+"; raise align.best, or give more answers", "align.best", c.Best, "align.labels", c.Labels)
	}
	if c.Rehearse > 0 && len(l.good) > 0 {
		if by, err = align.Rehearse(by, l.good, align.RehearsalConfig{Steps: c.Rehearse, Tastes: tastesOf(cs)}); err != nil {
			return "", err
		}
	}
	rc := choice(c)
	rc.Train, rc.Held, rc.Value, rc.Tastes, rc.Sound = histories(l.train), histories(l.held), l.value, tastesOf(cs), l.sound
	if rc.Trial, err = a.trials(ctx, t, r); err != nil {
		return "", err
	}
	if rc.Weigh, err = a.weigher(ctx, l); err != nil {
		return "", err
	}
	judge := align.Kept
	switch c.Aligner {
	case "dragon":
		// So many that a covariance of the chunks of each set is more than noise.
		rc.Observations = 64
		if judge, err = nearExemplars(better(l.train, c.Best), t.Net().Arch.View.Action.Dim()); err != nil {
			return "", err
		}
	case "pareto":
		rc.Each = 8
		var rewards []func(*align.Sample) float64
		for _, k := range l.critics {
			rewards = append(rewards, k.Of)
		}
		judge = align.Pareto(rewards...)
	case "prdp":
		rc.Each = 8
		fallthrough
	case "dppo":
		judge = align.Rated(l.critic.Of, 0)
	case "rwr", "alignprop": // which looks at the histories alone
		rc.Bring = stored(l.train)
	case "seppo", "partial":
		rc.Bring = stored(better(l.train, c.Best))
	case "fdpo":
		rc.Bring = stored(l.marked)
	case "rm-filter":
		rc.Bring = stored(l.good)
	default:
		rc.Bring = l.bring
	}
	var run *align.Run
	rc.Looked = func(k align.Look) error {
		note := fmt.Sprintf("liked %.2f  kl %.2f", k.Value, k.KL)
		if len(l.sound) > 0 {
			note += fmt.Sprintf("  drift %.2f", k.Drift)
		}
		if k.Tried != nil {
			note += fmt.Sprintf("  tried %.2f", *k.Tried)
		}
		a.s.tell("align", k.Round, c.Rounds, note)
		if k.Round == 0 || k.Round%savedEvery != 0 {
			return nil
		}
		return grid.Put(a.file(runFile), func(w io.Writer) error {
			if _, err := io.WriteString(w, out.Of); err != nil {
				return err
			}
			return run.Save(w)
		})
	}
	if run, err = align.NewRun(by, judge, rc); err != nil {
		return "", err
	}
	if b, err := os.ReadFile(a.file(runFile)); err == nil && bytes.HasPrefix(b, []byte(out.Of)) {
		if err := run.Restore(bytes.NewReader(b[len(out.Of):])); err != nil {
			return "", fmt.Errorf("%w; remove %s, and the alignment begins anew", err, a.file(runFile))
		}
	}
	if out.Report, err = run.Go(ctx); err != nil {
		return "", err
	}
	if cs != nil {
		if err := t.Serve(cs[served].taste); err != nil {
			return "", err
		}
	}
	if out.Version, err = a.version(ctx, was); err != nil {
		return "", err
	}
	ps, err := t.Net().Encode(out.Version)
	if err != nil {
		return "", err
	}
	out.Policy = sum(ps.Data)
	if err := a.s.store.SaveCheckpoint(ctx, kindTuned, ps.Version, ps.Data); err != nil {
		return "", err
	}
	if err := a.s.keepCritic(ctx, l.critic, t.Reference(), ps.Version); err != nil {
		return "", err
	}
	if err := a.offer(ps.Data); err != nil {
		return "", err
	}
	if err := a.write(tuneFile, out); err != nil {
		return "", err
	}
	if err := os.Remove(a.file(runFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("wire: align: %w", err)
	}
	return out.note() + again, nil
}

// lastTuning is what AlignTune left.
func (a *Alignment) lastTuning() (t tunedBy, err error) {
	if err = a.read(tuneFile, &t); err == nil && len(t.Report.Looks) == 0 {
		err = fmt.Errorf("wire: align: %s is damaged: it tells of no look at the policy; remove it, and its step is done again: %s", a.file(tuneFile), a.Again(AlignTune))
	}
	return t, err
}

// kept is the look at the round that was kept.
func (t tunedBy) kept() align.Look {
	for _, l := range t.Report.Looks {
		if l.Round == t.Report.Best {
			return l
		}
	}
	return align.Look{}
}

func (t tunedBy) note() string {
	k, n := t.kept(), len(t.Report.Looks)
	s := fmt.Sprintf("%s, round %d kept of %d, KL %.2f nats", t.By, k.Round, t.Report.Looks[n-1].Round, k.KL)
	// A policy that learned drifts: where none did, it was not measured.
	if slices.ContainsFunc(t.Report.Looks, func(l align.Look) bool { return l.Drift != 0 }) {
		s += fmt.Sprintf(", drift %.2f", k.Drift)
	}
	if k.Tried != nil {
		s += fmt.Sprintf(", tried episodes better than %.0f %% of the rollouts", 100**k.Tried)
	}
	if t.Report.Spent {
		s += " (the budget ended it)"
	} else if t.Report.Stalled {
		s += " (align.patience ended it)"
	}
	if t.Report.Best == 0 {
		s += ": " + Stays
	}
	return s
}
