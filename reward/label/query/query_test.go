package query_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
)

// The sum over members and answers of p(m, y) log p(m, y)/(p(m) p(y)).
func enumerated(p []float64) float64 {
	M := float64(len(p))
	var left float64
	for _, x := range p {
		left += x / M
	}
	sum := 0.0
	for _, x := range p {
		for _, y := range [][2]float64{{x, left}, {1 - x, 1 - left}} {
			if y[0] > 0 {
				sum += y[0] / M * math.Log2(y[0]/y[1])
			}
		}
	}
	return sum
}

func TestGainIsTheMutualInformation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 20).Draw(t, "p")
		got, want := query.Gain(p), enumerated(p)
		if math.Abs(got-want) > 1e-12 || got < 0 || got > 1 {
			t.Fatalf("gain of %v is %v, want %v", p, got, want)
		}
	})
	for _, tt := range []struct {
		name string
		p    []float64
		want float64
	}{
		{"nobody", nil, 0},
		{"all sure and opposed", []float64{0, 1, 1, 0}, 1},
		{"all sure and of one mind", []float64{1, 1}, 0},
		{"all unsure", []float64{0.5, 0.5}, 0},
		{"by hand", []float64{0.25, 0.75}, 1 - query.Entropy(0.25)},
	} {
		if got := query.Gain(tt.p); math.Abs(got-tt.want) > 1e-15 {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func pairOf(id, left, right string) label.Query {
	return label.Query{ID: id, Kind: label.Pair, Clips: []label.Clip{{Episode: left}, {Episode: right}}}
}

func TestTheQuestionThatMembersContradictEachOtherAboutIsChosen(t *testing.T) {
	worth := map[string][]float64{"a": {3, -3}, "b": {0, 0}, "c": {0.1, 0.1}, "d": {9, 9}}
	belief := &query.Utilities{Of: func(c label.Clip) ([]float64, error) { return worth[c.Episode], nil }}
	candidates := []label.Query{pairOf("alike", "b", "c"), pairOf("clear", "d", "b"), pairOf("open", "a", "b")}
	i, gain, err := query.Informative{Belief: belief}.Choose(candidates)
	if want := query.Gain([]float64{1 / (1 + math.Exp(-3)), 1 / (1 + math.Exp(3))}); err != nil || i != 2 || math.Abs(gain-want) > 1e-15 {
		t.Errorf("chose %d with %v bits, %v; want 2 with %v", i, gain, err, want)
	}
	triplet := candidates[2]
	triplet.Kind, triplet.Clips = label.Triplet, append([]label.Clip{{Episode: "d"}}, triplet.Clips...)
	if _, again, err := (query.Informative{Belief: belief}).Choose([]label.Query{triplet}); err != nil || again != gain {
		t.Errorf("a triplet of the same sides teaches %v, %v; want %v", again, err, gain)
	}
}

func TestWhatCannotBeChosenIsSaid(t *testing.T) {
	worth := map[string][]float64{"a": {1}, "b": {1, 2}}
	belief := &query.Utilities{Of: func(c label.Clip) ([]float64, error) { return worth[c.Episode], nil }}
	for name, tt := range map[string]struct {
		c    query.Chooser
		from []label.Query
		want string
	}{
		"nothing at random": {query.Random{Rand: rand.New(rand.NewPCG(1, 1))}, nil, "nothing to choose"},
		"nothing":           {query.Informative{Belief: belief}, nil, "nothing to choose"},
		"a ranking":         {query.Informative{Belief: belief}, []label.Query{{ID: "q", Kind: label.Ranking}}, "q is a ranking"},
		"members":           {query.Informative{Belief: belief}, []label.Query{pairOf("q", "a", "b")}, "1 members on the left, 2"},
	} {
		if _, _, err := tt.c.Choose(tt.from); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, tt.want)
		}
	}
}

func TestFitFindsThePosterior(t *testing.T) {
	// One weight: mode and, for Laplace, curvature on a fine grid.
	answers := []query.Answer{{X: []float64{1}, Left: 1}, {X: []float64{2}, Left: 1}, {X: []float64{-1}, Left: 1}, {X: []float64{0.5}, Left: 0.5}}
	const prior, members = 1.5, 20000
	log := func(w float64) float64 {
		l := -w * w / (2 * prior * prior)
		for _, a := range answers {
			p := 1 / (1 + math.Exp(-w*a.X[0]))
			l += a.Left*math.Log(p) + (1-a.Left)*math.Log(1-p)
		}
		return l
	}
	mode, top := 0.0, math.Inf(-1)
	for w := -3.0; w < 3; w += 1e-4 {
		if l := log(w); l > top {
			mode, top = w, l
		}
	}
	const h = 1e-3
	deviation := 1 / math.Sqrt(-(log(mode+h)-2*log(mode)+log(mode-h))/(h*h))
	l, err := query.Fit(answers, 1, query.Config{Prior: prior, Members: members, Source: rand.NewPCG(1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Weights()[0]; math.Abs(got-mode) > 2e-4 {
		t.Errorf("mode %v, want %v", got, mode)
	}
	u, err := l.Of(func(label.Clip) ([]float64, error) { return []float64{1}, nil }).(*query.Utilities).Of(label.Clip{})
	if err != nil || len(u) != members {
		t.Fatalf("%d members, %v", len(u), err)
	}
	var mean, square float64
	for _, x := range u {
		mean += x / members
	}
	for _, x := range u {
		square += (x - mean) * (x - mean) / members
	}
	// Four standard errors of a mean and of a deviation.
	if math.Abs(mean-mode) > 4*deviation/math.Sqrt(members) || math.Abs(math.Sqrt(square)-deviation) > 4*deviation/math.Sqrt(2*members) {
		t.Errorf("members lie about %v with deviation %v, want %v with %v", mean, math.Sqrt(square), mode, deviation)
	}
}

// Fewer answers than features: the mode is where the gradient of all of them vanishes, and the
// members have the covariance H⁻¹ in every direction, within what was asked and across it.
func TestFitWithFewerAnswersThanFeatures(t *testing.T) {
	const dim, prior, members = 5, 1.5, 20000
	answers := []query.Answer{
		{X: []float64{1, 2, 0, -1, 0.5}, Left: 1},
		{X: []float64{0, 1, 1, 0, -2}, Left: 0.5},
		{X: []float64{2, 4, 0, -2, 1}, Left: 1}, // along the first
	}
	l, err := query.Fit(answers, dim, query.Config{Prior: prior, Members: members, Source: rand.NewPCG(1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	w := l.Weights()
	h := mat.NewSymDense(dim, nil)
	grad := make([]float64, dim)
	for k := range dim {
		grad[k] = w[k] / (prior * prior)
		h.SetSym(k, k, 1/(prior*prior))
	}
	for _, a := range answers {
		p := 1 / (1 + math.Exp(-floats.Dot(w, a.X)))
		floats.AddScaled(grad, p-a.Left, a.X)
		h.SymRankOne(h, p*(1-p), mat.NewVecDense(dim, a.X))
	}
	if n := floats.Norm(grad, 2); n > 1e-8 {
		t.Errorf("the gradient is %v long at the mode, want 0", n)
	}
	var chol mat.Cholesky
	chol.Factorize(h)
	for _, d := range [][]float64{answers[0].X, answers[1].X, {0, 0, 1, 0, 0}, {1, -1, 1, 1, 1}} {
		u, err := l.Of(func(label.Clip) ([]float64, error) { return d, nil }).(*query.Utilities).Of(label.Clip{})
		if err != nil || len(u) != members {
			t.Fatalf("%d members, %v", len(u), err)
		}
		var v mat.VecDense
		if err := chol.SolveVecTo(&v, mat.NewVecDense(dim, d)); err != nil {
			t.Fatal(err)
		}
		want := math.Sqrt(mat.Dot(&v, mat.NewVecDense(dim, d)))
		// Four standard errors of a mean and of a deviation.
		if mean, dev := stat.MeanStdDev(u, nil); math.Abs(mean-floats.Dot(w, d)) > 4*want/math.Sqrt(members) || math.Abs(dev-want) > 4*want/math.Sqrt(2*members) {
			t.Errorf("along %v members lie about %v with deviation %v, want %v with %v", d, mean, dev, floats.Dot(w, d), want)
		}
	}
}

// BenchmarkFit is of the mean and the end of an ONNX backbone's 2048 numbers, before any answer
// and after 50.
func BenchmarkFit(b *testing.B) {
	const dim = 2 * 2048
	for _, n := range []int{0, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			answers := make([]query.Answer, n)
			for i := range answers {
				answers[i] = query.Answer{X: make([]float64, dim), Left: float64(i % 2)}
				for k := range dim {
					answers[i].X[k] = 3 * rng.NormFloat64() / math.Sqrt(dim)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := query.Fit(answers, dim, query.Config{Source: rand.NewPCG(1, 2)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestFitRefusesWhatIsNoAnswer(t *testing.T) {
	src := rand.NewPCG(1, 1)
	for name, tt := range map[string]struct {
		answers []query.Answer
		dim     int
		c       query.Config
	}{
		"no features":   {nil, 0, query.Config{Source: src}},
		"no source":     {nil, 2, query.Config{}},
		"other width":   {[]query.Answer{{X: []float64{1}, Left: 1}}, 2, query.Config{Source: src}},
		"no choice":     {[]query.Answer{{X: []float64{1}, Left: math.NaN()}}, 1, query.Config{Source: src}},
		"infinite":      {[]query.Answer{{X: []float64{math.Inf(1)}, Left: 1}}, 1, query.Config{Source: src}},
		"one of two":    {[]query.Answer{{X: []float64{1, math.Inf(1)}, Left: 1}}, 2, query.Config{Source: src}},
		"not a feature": {[]query.Answer{{X: []float64{math.NaN()}, Left: 1}}, 1, query.Config{Source: src}},
	} {
		if _, err := query.Fit(tt.answers, tt.dim, tt.c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	l, err := query.Fit(nil, 2, query.Config{Source: src, Prior: 2, Members: 10000})
	if err != nil || l.Weights()[0] != 0 {
		t.Fatalf("without an answer: %v, %v; want the prior", l, err)
	}
	u, err := l.Of(func(label.Clip) ([]float64, error) { return []float64{3, 4}, nil }).(*query.Utilities).Of(label.Clip{})
	if mean, dev := stat.MeanStdDev(u, nil); err != nil || math.Abs(mean) > 0.4 || math.Abs(dev-10) > 0.3 { // four standard errors
		t.Errorf("members without an answer: %v ± %v, %v; want 0 ± 10", mean, dev, err)
	}
}
