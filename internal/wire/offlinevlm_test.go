package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/blob"
)

// places is an encoder of the blob world: where what is dark, what is red and what is
// green lies in the image.
func places(f robot.Frame) []float32 {
	var sum [3][3]float64
	for y := range f.H {
		for x := range f.W {
			p := f.Pix[3*(y*f.W+x):]
			b, g, r := int(p[0]), int(p[1]), int(p[2])
			k := -1
			switch {
			case r+g+b < 180:
				k = 0
			case r > g+60 && r > b+60:
				k = 1
			case g > r+40 && g > b+40:
				k = 2
			}
			if k >= 0 {
				sum[k][0] += float64(x) / float64(f.W)
				sum[k][1] += float64(y) / float64(f.H)
				sum[k][2]++
			}
		}
	}
	var out []float32
	for _, s := range sum {
		n := max(s[2], 1)
		out = append(out, float32(s[0]/n), float32(s[1]/n))
	}
	return out
}

// onlooker is a model that sees the blob world's pictures and tells which is nearer to
// the goal; of 10 % of its questions it says the contrary.
type onlooker struct {
	rng   *rand.Rand
	calls int
}

func (o *onlooker) Ask(_ context.Context, p judge.Prompt) ([]byte, error) {
	o.calls++
	if strings.Contains(string(p.Schema), "difference") {
		return []byte(`{"first":"discs","second":"discs","difference":"one is nearer"}`), nil
	}
	far := func(f robot.Frame) float64 {
		x := places(f)
		return math.Hypot(float64(x[0]-x[4]), float64(x[1]-x[5]))
	}
	first := far(p.Images[0]) < far(p.Images[1])
	if o.rng.Float64() < 0.1 {
		first = !first
	}
	if first {
		return []byte(`{"better":0}`), nil
	}
	return []byte(`{"better":1}`), nil
}

const blobHorizon = 20

func blobInput(s blob.State, t int) policy.Input {
	f := robot.Frame{Camera: blob.Camera, W: 64, H: 64, Pix: make([]byte, 3*64*64), Stamp: time.Unix(0, int64(t)*5e7)}
	blob.Draw(f.Pix, blob.Config{Side: 64}, s)
	in := policy.Input{Step: t, Features: perception.Features{Stamp: f.Stamp, Embed: places(f)}, Frames: []robot.Frame{f}}
	in.State.EE.Q = [4]float64{1}
	return in
}

// suboptimal are recorded ways of the gripper, of which a fifth end in the green ring;
// the others end at places above it.
func suboptimal(n int) []policy.Episode {
	w := blob.New(blob.Config{}, rand.NewPCG(11, 12))
	rng := rand.New(rand.NewPCG(13, 14))
	var out []policy.Episode
	for k := range n {
		s := w.Start()
		to := s.Goal
		if k%5 != 0 {
			to.X, to.Y = to.X-0.1-0.1*rng.Float64(), to.Y-0.2-0.15*rng.Float64()
		}
		e := policy.Episode{ID: fmt.Sprintf("way-%03d", k), Seq: uint64(k)}
		for t := range blobHorizon + 1 {
			e.Inputs = append(e.Inputs, blobInput(s, t))
			if t == blobHorizon {
				break
			}
			s = stride(&e, s, to, rng)
		}
		out = append(out, e)
	}
	return out
}

// arrivals counts the episodes of a policy that end with the gripper in the ring.
func arrivals(t *testing.T, v view.Config, p policy.Params, n int) int {
	t.Helper()
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: v})
	if err != nil {
		t.Fatal(err)
	}
	if err := pi.Load(p); err != nil {
		t.Fatal(err)
	}
	w := blob.New(blob.Config{}, rand.NewPCG(99, 1))
	hits := 0
	for range n {
		s := w.Start()
		for step := range blobHorizon {
			c, err := pi.Act(t.Context(), blobInput(s, step))
			if err != nil {
				t.Fatal(err)
			}
			s = s.Push(c.Delta[0], c.Delta[1])
		}
		if math.Hypot(s.Gripper.X-s.Goal.X, s.Gripper.Y-s.Goal.Y) < 0.09 {
			hits++
		}
	}
	return hits
}

// The acceptance of capability card 34, on the blob world with a model that errs in a
// tenth of its answers.
func TestPolicyFromAModelsAnswersBeatsImitation(t *testing.T) {
	ctx := t.Context()
	es := suboptimal(80)
	held := func(e policy.Episode, steps []int) (out [][]robot.Frame, err error) {
		for _, s := range steps {
			out = append(out, e.Inputs[s].Frames)
		}
		return out, nil
	}
	see := &onlooker{rng: rand.New(rand.NewPCG(1, 2))}
	path := filepath.Join(t.TempDir(), "answers.jsonl")
	var first Answered
	for round := range 2 {
		m, err := judge.Remember(see, "onlooker", path)
		if err != nil {
			t.Fatal(err)
		}
		before := see.calls
		v := OfflineVLM{Model: m, Goal: "to bring the dark disc into the green ring", Pairs: 800}
		pairs, j, err := v.ask(ctx, es, 5, held, quietly().Tell)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if round == 1 {
			if see.calls != before {
				t.Errorf("%d calls on the rerun, want none", see.calls-before)
			}
			if fmt.Sprint(j.Asked, j.Swapped, j.None, len(pairs)) != fmt.Sprint(first.Asked, first.Swapped, first.None, first.Train+first.Held) {
				t.Errorf("the rerun heard %+v, the first %+v", j, first)
			}
			continue
		}
		net, err := v.fit(ctx, pairs, 6, &j)
		if err != nil {
			t.Fatal(err)
		}
		first = j
		// Held out are all pairs that were not asked about, of which these are some; and
		// nobody errs. The answers held out (j.Accuracy) err themselves.
		right, rng := 0, rand.New(rand.NewPCG(21, 22))
		for range 1000 {
			var far, worth [2]float64
			for k := range 2 {
				x := es[rng.IntN(len(es))].Inputs[1+rng.IntN(blobHorizon)].Features.Embed
				far[k] = math.Hypot(float64(x[0]-x[4]), float64(x[1]-x[5]))
				if worth[k], err = net.Utility(preference.Clip{D: len(x), Embed: x}); err != nil {
					t.Fatal(err)
				}
			}
			if (far[0] < far[1]) == (worth[0] > worth[1]) {
				right++
			}
		}
		t.Logf("%d of 1000 pairs told right", right)
		if right < 900 {
			t.Errorf("the reward tells %d of 1000 pairs right, want 900", right)
		}
		if err := relabel(ctx, net, es); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d asked, %d by place, %d answers learned from; accuracy %.3f of %d", first.Asked, first.Swapped, first.Train, first.Accuracy, first.Held)

	c := tiny(t)
	c.Policy.Hidden, c.Learner.Hidden, c.Learner.Batch = []int{64, 64}, []int{64, 64}, 128
	c.Learner.Rate, c.Policy.Clone.Rate, c.Learner.Updates, c.Policy.Clone.Batch = 1e-3, 1e-3, 100, 128
	c.Learner.IQL.Expectile, c.Learner.IQL.Beta, c.Learner.Gamma, c.Learner.Steps, c.Learner.Scale = 0.7, 3, 0.9, 1, 10
	data := corpus{view: view.Config{Embed: 6, Action: view.Action{Axes: []int{0, 1}, Scale: 0.06}}, episodes: es}
	hits := map[string][]int{}
	total := map[string]int{}
	const seeds, of = 3, 50
	for seed := range uint64(seeds) {
		c.Seed = seed
		for _, kind := range []string{"bc", "iql"} {
			c.Learner.Kind = kind
			got, err := train(ctx, c, data, 1500, quietly().Tell)
			if err != nil {
				t.Fatal(err)
			}
			n := arrivals(t, data.view, got.Params, of)
			hits[kind] = append(hits[kind], n)
			total[kind] += n
		}
	}
	t.Logf("successes of %d: %v", of, hits)
	if total["iql"]-total["bc"] < seeds*of*3/10 {
		t.Errorf("successes of %d by seed: %v, want 30 points more by iql", of, hits)
	}
}

// nearness is a reward of what is seen itself.
type nearness struct{}

func (nearness) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	for t := range dst {
		dst[t] = float64(traj[t+1].Embed[0])
	}
	return nil
}

// Who does the task ends the episode, and behind that nothing is paid any more: it must not be worth
// less than to stay where the task is nearly done.
func TestOfflineVLMPaysDoingTheTaskMoreThanNearlyDoingIt(t *testing.T) {
	way := func(id string, terminal bool, seen ...float32) policy.Episode {
		e := policy.Episode{ID: id, Terminal: terminal, Applied: make([]robot.Command, len(seen)-1)}
		for _, x := range seen {
			e.Inputs = append(e.Inputs, policy.Input{Features: perception.Features{Embed: []float32{x}}})
		}
		return e
	}
	near := []float32{0, 0.3, 0.6}
	for range 30 {
		near = append(near, 0.8)
	}
	es := []policy.Episode{way("done", true, 0, 0.3, 0.6, 1), way("near", false, near...)}
	if err := relabel(t.Context(), nearness{}, es); err != nil {
		t.Fatal(err)
	}
	var worth [2]float64
	for i, e := range es {
		for t, r := range e.Rewards {
			worth[i] += math.Pow(0.97, float64(t)) * r
		}
	}
	if !(worth[0] > worth[1]) {
		t.Errorf("the task done is worth %.3g, nearly done %.3g; want more for doing it", worth[0], worth[1])
	}
	if lo, hi := slices.Min(es[0].Rewards), slices.Max(es[0].Rewards); lo != -1 || hi != 0 {
		t.Errorf("rewards are from %v to %v, want -1 to 0", lo, hi)
	}
}

func TestOfflineVLMErrors(t *testing.T) {
	ctx := t.Context()
	see := &onlooker{rng: rand.New(rand.NewPCG(1, 2))}
	dir := filepath.Join(t.TempDir(), "run")
	st, err := founded(dir, tiny(t))
	if err == nil {
		err = st.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"ppo", "bc", "diffusion"} {
		_, _, err := TrainByVLM(ctx, dir, OfflineVLM{Model: see, Goal: "x"}, nil, []string{"learner.kind=" + kind}, quietly())
		wantErr(t, err, "learner.kind is "+kind+", which does not learn by a reward", "want iql, calql or rlpd")
	}
	if _, _, err := (OfflineVLM{Model: see, Goal: "x", Pairs: 3}).ask(ctx, nil, 1, nil, quietly().Tell); err == nil || !strings.Contains(err.Error(), "10 at least") {
		t.Errorf("3 pairs: error %v", err)
	}
	if _, err := (OfflineVLM{}).fit(ctx, nil, 1, &Answered{Asked: 50}); err == nil || !strings.Contains(err.Error(), "word the goal more exactly") {
		t.Errorf("no answers: error %v", err)
	}
}

// silent is a model whose endpoint does not answer any more.
type silent struct{ calls int }

func (s *silent) Ask(context.Context, judge.Prompt) ([]byte, error) {
	s.calls++
	return nil, fmt.Errorf("%w: no route to host", vlm.ErrBusy)
}

// A dead endpoint ends the asking, and is not taken for a goal in bad words.
func TestOfflineVLMEndsWhereTheEndpointIsSilent(t *testing.T) {
	es := suboptimal(2)
	held := func(e policy.Episode, steps []int) (out [][]robot.Frame, err error) {
		for _, s := range steps {
			out = append(out, e.Inputs[s].Frames)
		}
		return out, nil
	}
	m := &silent{}
	_, _, err := (OfflineVLM{Model: m, Goal: "x", Pairs: 20}).ask(t.Context(), es, 1, held, quietly().Tell)
	if !errors.Is(err, vlm.ErrBusy) || !strings.Contains(err.Error(), "run it again once the endpoint answers") || m.calls != 1 {
		t.Errorf("error %v after %d askings, want ErrBusy, with a remedy, after one", err, m.calls)
	}
}

// stride is a noisy step of the gripper to a place, which is kept in e.
func stride(e *policy.Episode, s blob.State, to blob.Point, rng *rand.Rand) blob.State {
	dx, dy := to.X-s.Gripper.X+0.01*rng.NormFloat64(), to.Y-s.Gripper.Y+0.01*rng.NormFloat64()
	if l := math.Hypot(dx, dy); l > 0.06 {
		dx, dy = dx*0.06/l, dy*0.06/l
	}
	e.Applied = append(e.Applied, robot.Command{Delta: [6]float64{dx, dy}})
	e.By, e.Version = append(e.By, robot.ByPolicy), append(e.Version, 0)
	return s.Push(dx, dy)
}
