package align

import (
	"math"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// misser is an aligner that learns from misses, with its graph.
type misser struct {
	name string
	Aligner
	filler
	g    *nn.Graph
	loss *nn.Node
	all  []int // items of drawn(t, p, 4)
}

// missers are those of p.
func missers(t *testing.T, p *Tuned) []misser {
	t.Helper()
	dpo := NewDiffusionDPO
	if p.flows() {
		dpo = NewFlowDPO
	}
	d, err1 := dpo(p, DiffusionDPOConfig{Pairs: 4, Times: 3, Beta: 3})
	k, err2 := dpo(p, DiffusionDPOConfig{Pairs: 4, Times: 3, Beta: 3, Keep: 0.5})
	r, err3 := NewRWR(p, RWRConfig{Chunks: 8, Times: 3})
	f, err4 := NewFDPO(p, FDPOConfig{Segments: 8, Times: 3, Beta: 3, Keep: 0.5})
	s, err5 := NewSePPO(p, SePPOConfig{Chunks: 8, Times: 3, Beta: 3})
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return []misser{
		{"dpo", d, d, d.g, d.loss, []int{3, 1, 0, 2}},
		{"dpo that keeps", k, k, k.g, k.loss, []int{3, 1, 0, 2}},
		{"rwr", r, r, r.g, r.loss, []int{7, 1, 2, 3, 4, 5, 6, 0}},
		{"fdpo", f, f, f.g, f.loss, []int{7, 1, 2, 3, 4, 5, 6, 0}},
		{"seppo", s, s, s.g, s.loss, []int{1, 0, 2}},
	}
}

// ready does what Step does before it fills the graph.
func (m misser) ready(b *Batch) {
	switch a := m.Aligner.(type) {
	case *RWR:
		a.tilt = Tilt(a.tilt, b.Samples, a.cfg.Heat)
	case *FDPO:
		a.cut(b)
	case *SePPO:
		a.liked = []int{0, 2, 5}
	}
}

// kinds are policies of each kind, moved from their reference.
func kinds(t *testing.T, rank int) map[string]*Tuned {
	t.Helper()
	ps := map[string]*Tuned{"epsilon": tiny(t, diffusion.Epsilon, rank), "sample": tiny(t, diffusion.Sample, rank), "flow": tinyFlow(t, rank)}
	for _, p := range ps {
		moved(p, 0.02)
	}
	return ps
}

func TestGradientsByMisses(t *testing.T) {
	for _, rank := range []int{0, 2} {
		for kind, p := range kinds(t, rank) {
			b := drawn(t, p, 4)
			moved(p, 0.01)
			for _, m := range missers(t, p) {
				t.Run(kind+" "+m.name, func(t *testing.T) {
					m.ready(b)
					if !m.put(b, m.all) {
						t.Fatal("nothing weighs anything")
					}
					if s, ok := m.Aligner.(*SePPO); ok {
						shift(s.past.net.Denoiser(), 0.05) // or misses would not differ
					}
					graph(t, p, m.g, m.loss, 0.01)
				})
			}
		}
	}
}

// TestGradientsThroughAFlow of AlignProp, from noise and from noised chunks.
func TestGradientsThroughAFlow(t *testing.T) {
	for _, rank := range []int{0, 2} {
		for _, c := range []AlignPropConfig{{Chains: 4, Back: 5}, {Chains: 4, Back: 3, Start: 0.6}} {
			p := tinyFlow(t, rank)
			moved(p, 0.02)
			b := drawn(t, p, 2)
			a, err := NewAlignProp(p, bumpy, c)
			if err != nil {
				t.Fatal(err)
			}
			loss := func() float64 {
				p.pcg.Seed(1, 2)
				a.begin(b, []int{0, 1, 2, 3})
				nn.ZeroGrad(p.params)
				l, _ := a.climb(b, []int{0, 1, 2, 3}, a.Draw())
				return l
			}
			loss()
			agree(t, p.params, loss, 1e-2, 1e-3)
			if c.Start == 0 {
				continue
			}
			// A chunk begins at the time of the first step, on the line from noise.
			p.pcg.Seed(1, 2)
			a.begin(b, []int{0, 1, 2, 3})
			x := append([]float32(nil), a.x[a.first][:4]...)
			s := b.Samples[0]
			for i := range s.Chunk() {
				s.Chunk()[i]++
			}
			p.pcg.Seed(1, 2)
			a.begin(b, []int{0, 1, 2, 3})
			for i, v := range a.x[a.first][:4] {
				if got, want := float64(v-x[i]), p.hops[a.first].Bar; math.Abs(got-want) > 1e-5 || want != 0.4 {
					t.Errorf("one more in the chunk is %v more at the time %v, want 0.4", got, want)
				}
			}
		}
	}
}

// TestMissersDoNotAllocate in their steps, nor learn from what weighs nothing, not even
// by momentum.
func TestMissersDoNotAllocate(t *testing.T) {
	for kind, p := range kinds(t, 2) {
		b, none := drawn(t, p, 4), drawn(t, p, 4)
		for i := range none.Samples {
			none.Samples[i].Weight = 0
		}
		for _, m := range missers(t, p) {
			if m.Tuned() != p {
				t.Errorf("%s tunes another policy", m.name)
			}
			step := func(b *Batch) Stats {
				st, err := m.Step(t.Context(), b)
				if err != nil {
					t.Fatalf("%s of a %s: %v", m.name, kind, err)
				}
				return st
			}
			step(b)
			if n := testing.AllocsPerRun(3, func() { step(b) }); n != 0 && !raced {
				t.Errorf("%s of a %s allocates %v times", m.name, kind, n)
			}
			was := keep(p.params)
			st := step(none)
			for i, q := range p.params {
				if st.Steps != 0 || !slices.Equal(q.Data, was[i]) {
					t.Fatalf("%s: a batch without weight moved the policy by %d steps", m.name, st.Steps)
				}
			}
		}
	}
}

// TestMissOfAFlowByHand: from the net's own velocity.
func TestMissOfAFlowByHand(t *testing.T) {
	p := tinyFlow(t, 0)
	moved(p, 0.05)
	b := drawn(t, p, 2)
	s, L := &b.Samples[1], p.len()
	g := nn.NewGraph()
	m := NewMiss(p, g, 1)
	m.look()
	m.show(0, s)
	if m.bar < 0 || m.bar >= 1 || m.time != 100*m.bar {
		t.Errorf("the time is %v of %v", m.time, m.bar)
	}
	x, emb, seen := g.Input(1, 2, 2), g.Input(1, 4), g.Input(1, p.net.Seen())
	out, ref := p.Denoise(g, x, emb, seen), p.Refer(g, x, emb, seen)
	for i, a := range s.Chunk() {
		x.Value[i] = float32(m.bar)*a + float32(1-m.bar)*m.eps[i]
	}
	copy(seen.Value, s.Seen)
	nn.Sinusoid(emb.Value, m.time)
	g.Forward()
	var now, was float64
	for i, a := range s.Chunk() {
		v := float64(a - m.eps[i])
		now += (v - float64(out.Value[i])) * (v - float64(out.Value[i]))
		was += (v - float64(ref.Value[i])) * (v - float64(ref.Value[i]))
	}
	if math.Abs(float64(m.Out.Value[0])-now) > 1e-4 || math.Abs(float64(m.Ref.Value[0])-was) > 1e-4 || now == was {
		t.Errorf("misses %v and %v, want %v and %v", m.Out.Value[0], m.Ref.Value[0], now, was)
	}
	// Its chain is Euler's, without noise, and so without densities; the KL tells how far
	// steps end from the reference's.
	S, kl := len(p.hops), 0.0
	for k := range S {
		h := p.hops[k]
		copy(x.Value, s.X[k*L:(k+1)*L])
		nn.Sinusoid(emb.Value, h.Time)
		g.Forward()
		for j := range L {
			want := s.X[k*L+j] + out.Value[j]/float32(S)
			if got := s.X[(k+1)*L+j]; math.Abs(float64(got-want)) > 1e-5 {
				t.Errorf("state %d has %v, want %v", k+1, got, want)
			}
			d := float64(out.Value[j]-ref.Value[j]) / float64(S) / 0.3
			kl += d * d / 2
		}
		if s.LogP[k] != 0 || s.Ref[k] != 0 || h.Sigma != 0 {
			t.Errorf("step %d has the log-densities %v and %v and the noise %v, want none", k, s.LogP[k], s.Ref[k], h.Sigma)
		}
	}
	if math.Abs(s.KL-kl) > 1e-4*kl || kl == 0 {
		t.Errorf("the KL is %v, want %v", s.KL, kl)
	}
}

// TestLossOfDPOByHand from its misses, of a diffusion and of a flow, which halves Beta.
func TestLossOfDPOByHand(t *testing.T) {
	for kind, p := range kinds(t, 0) {
		b := drawn(t, p, 4)
		beta := 3.0
		if kind == "flow" {
			beta = 1.5
		}
		for i, keep := range []float64{0, 0.5} {
			m := missers(t, p)[i]
			d := m.Aligner.(*DiffusionDPO)
			d.put(b, []int{2, 0})
			d.g.ForwardTo(d.loss)
			want := 0.0
			for i, pair := range []Pair{b.Pairs[2], b.Pairs[0]} {
				for j := range 3 {
					row := 2 * (3*i + j)
					out, ref := d.miss.Out.Value[row:row+2], d.miss.Ref.Value[row:row+2]
					margin := beta * float64((out[0]-ref[0])-(out[1]-ref[1]))
					want += b.weight(pair) / 6 * (math.Log(1+math.Exp(margin)) + keep*float64(out[0]))
				}
			}
			if got := float64(d.loss.Value[0]); math.Abs(got-want) > 1e-5*math.Abs(want) {
				t.Errorf("%s, Keep %v: the loss is %v, want %v", kind, keep, got, want)
			}
		}
	}
}

// Pairs are compared at much noise alone, if so configured, and at all of that.
func TestDPOComparesWhatIsCoarse(t *testing.T) {
	for kind, p := range kinds(t, 0) {
		b, lo, hi := drawn(t, p, 4), 0.0, 1.0
		if !p.flows() {
			lo, hi = p.bars[len(p.bars)-1], p.bars[0]
		}
		coarse := (lo + hi) / 2
		d, err := newDPO(p, DiffusionDPOConfig{Pairs: 1, Times: 1, Coarse: coarse}, kind)
		if err != nil {
			t.Fatal(err)
		}
		least, most := 1.0, 0.0
		for range 200 {
			d.put(b, []int{0})
			least, most = min(least, d.miss.bar), max(most, d.miss.bar)
		}
		if least > lo+0.05 || most > coarse || most < (lo+coarse)/2 {
			t.Errorf("%s: compared where noise leaves %v to %v of the variance, want %v to %v", kind, least, most, lo, coarse)
		}
	}
}

func TestTiltByHand(t *testing.T) {
	ss := []Sample{{Reward: 1, Weight: 1}, {Reward: 2, Weight: 1}, {Reward: 900}, {Reward: 1, Weight: 2}}
	sum := 3*math.Exp(1/0.7) + math.Exp(2/0.7)
	want := []float64{4 * math.Exp(1/0.7) / sum, 4 * math.Exp(2/0.7) / sum, 0, 8 * math.Exp(1/0.7) / sum}
	for i, got := range Tilt(nil, ss, 0.7) {
		if math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("sample %d weighs %v, want %v", i, got, want[i])
		}
	}
	for _, w := range Tilt(nil, []Sample{{Reward: 5}, {Reward: 7}}, 1) {
		if w != 0 {
			t.Errorf("a sample without weight weighs %v", w)
		}
	}
}

// TestLossOfFDPOByHand: each segment by its own actions' misses; what is unmarked has no
// gradient at all.
func TestLossOfFDPOByHand(t *testing.T) {
	for kind, p := range kinds(t, 0) {
		b := drawn(t, p, 2)
		b.Samples[0].Marks = []Mark{Good, Bad}
		b.Samples[1].Marks = []Mark{Bad, Bad}
		b.Samples[2].Marks = []Mark{Unmarked, Good}
		b.Samples[3].Marks = nil
		f, err := NewFDPO(p, FDPOConfig{Segments: 5, Times: 2, Beta: 2, Keep: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		f.cut(b)
		want := []segment{{0, 0, 1, Good}, {0, 1, 2, Bad}, {1, 0, 2, Bad}, {2, 1, 2, Good}}
		if !slices.Equal(f.segments, want) {
			t.Fatalf("the segments are %v, want %v", f.segments, want)
		}
		f.put(b, []int{3, 0, 2, 1})
		f.g.ForwardTo(f.loss)
		sum, beta := 0.0, 2.0
		if kind == "flow" {
			beta = 1
		}
		for i, j := range []int{3, 0, 2, 1} {
			for k := range 2 {
				now, was := 0.0, 0.0
				for e := 2 * want[j].from; e < 2*want[j].to; e++ {
					now += float64(f.miss.now.Value[(2*i+k)*4+e])
					was += float64(f.miss.was.Value[(2*i+k)*4+e])
				}
				w := b.Samples[want[j].sample].Weight / 8
				if want[j].mark == Good {
					sum += w * (math.Log(1+math.Exp(beta*(now-was))) + 0.5*now)
				} else {
					sum += w * math.Log(1+math.Exp(-beta*(now-was)))
				}
			}
		}
		if got := float64(f.loss.Value[0]); math.Abs(got-sum) > 1e-5*sum {
			t.Errorf("%s: the loss is %v, want %v", kind, got, sum)
		}
		// Row 0 is of sample 2, whose first action is unmarked.
		was := f.loss.Value[0]
		f.miss.target.Value[0] += 3
		if f.g.ForwardTo(f.loss); f.loss.Value[0] != was {
			t.Errorf("%s: an unmarked action counts", kind)
		}
		clear(f.mask.Value)
		clear(f.good.Value)
		f.g.ForwardTo(f.loss)
		nn.ZeroGrad(p.params)
		f.g.Backward(f.loss)
		if n := nn.GradNorm(p.params); n != 0 {
			t.Errorf("%s: what is unmarked has the gradient %v, want 0", kind, n)
		}
	}
}

// TestSignOfSePPO is that of the rule, in a thousand rows, and the loss goes by it.
func TestSignOfSePPO(t *testing.T) {
	p := tiny(t, diffusion.Sample, 0)
	moved(p, 0.02)
	b := drawn(t, p, 16)
	s, err := NewSePPO(p, SePPOConfig{Chunks: 32, Times: 32, Beta: 3})
	if err != nil {
		t.Fatal(err)
	}
	var idx []int
	for i := range b.Samples {
		s.liked, idx = append(s.liked, i), append(idx, i)
	}
	s.put(b, idx)
	for _, same := range []bool{true, false} { // as the policy
		if !same {
			shift(s.past.net.Denoiser(), 0.05)
		}
		s.g.ForwardTo(s.loss)
		want, turned := 0.0, 0
		for r := range 32 * 32 {
			a := float64(s.miss.Out.Value[2*r] - s.miss.Ref.Value[2*r])
			o := float64(s.miss.Out.Value[2*r+1] - s.miss.Ref.Value[2*r+1])
			sign := 1.0
			if a > 0 {
				sign = -1
				turned++
			}
			if same && a != 0 {
				t.Fatalf("misses of the policy and of itself differ by %v", a)
			}
			if got := float64(s.sign.Value[r]); got != sign {
				t.Fatalf("row %d has the sign %v where the liked chunk's miss is %v above the earlier policy's", r, got, a)
			}
			want += b.Samples[r/32].Weight / 1024 * math.Log(1+math.Exp(3*(a-sign*o)))
		}
		if got := float64(s.loss.Value[0]); math.Abs(got-want) > 1e-4*want {
			t.Errorf("the loss is %v, want %v", got, want)
		}
		if got := s.clipped(32); got != float64(turned)/1024 || !same && (turned == 0 || turned == 1024) {
			t.Errorf("%v are turned, want %d of 1024", got, turned)
		}
	}
}

// TestSePPORemembers the policies of its last steps, adapter and all, and compares with
// one of them.
func TestSePPORemembers(t *testing.T) {
	for _, rank := range []int{0, 2} {
		p := tiny(t, diffusion.Sample, rank)
		p.adam.LR = 0.01
		b := drawn(t, p, 4)
		for i := range b.Samples {
			b.Samples[i].Reward = 1
		}
		s, err := NewSePPO(p, SePPOConfig{Chunks: 4, Epochs: 1, Past: 3, Every: 2})
		if err != nil {
			t.Fatal(err)
		}
		var was [][][]float32 // the policies before every second step
		drew := map[int]bool{}
		for range 12 { // Step takes two
			was = append(was, keep(p.Net().Denoiser()))
			if _, err := s.Step(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			newest := len(was) - 1
			for i := max(0, newest-2); i <= newest; i++ {
				for j, q := range s.kept[i%3] {
					for e, v := range q.Data {
						if math.Abs(float64(v-was[i][j][e])) > 1e-6 {
							t.Fatalf("rank %d: policy %d is not remembered", rank, i)
						}
					}
				}
				if slices.Equal(s.past.net.Denoiser()[0].Data, s.kept[i%3][0].Data) {
					drew[newest-i] = true
				}
			}
		}
		if len(drew) != 3 {
			t.Errorf("rank %d: of three policies, those of the ages %v were compared with", rank, drew)
		}
	}
}

func TestSoundnessByHand(t *testing.T) {
	if got, want := Soundness([]float64{0.5, 0.25}), (math.Log(0.5)+math.Log(0.75))/2; math.Abs(got-want) > 1e-12 {
		t.Errorf("the soundness is %v, want %v", got, want)
	}
	if Soundness(nil) != 0 || math.IsInf(Soundness([]float64{1}), 0) {
		t.Error("no segment is not sound, or a surely bad one is beyond numbers")
	}
}

// TestStepsAreOfOneUser: items of a user come together, each once, and steps serve whose
// they are.
func TestStepsAreOfOneUser(t *testing.T) {
	b := &Batch{Tastes: [][]float64{{1}, {2}, {3}}}
	for _, u := range []int{0, 1, 0, 2, 1, 0, 0} {
		b.Samples = append(b.Samples, Sample{User: u})
	}
	items, seen := []int{0, 1, 2, 3, 4, 5, 6}, map[int]bool{}
	var steps [][2]int // user and items
	for rest := items; len(rest) > 0; {
		n := together(rest, min(len(rest), 3), b, &RWR{})
		for _, i := range rest[:n] {
			if seen[i] || b.Samples[i].User != b.Samples[rest[0]].User {
				t.Fatalf("a step has the items %v", rest[:n])
			}
			seen[i] = true
		}
		steps = append(steps, [2]int{b.Samples[rest[0]].User, n})
		rest = rest[n:]
	}
	total := 0
	for _, s := range steps {
		total += s[1]
	}
	if want := [2]int{0, 3}; steps[0] != want || total != 7 || len(steps) != 4 {
		t.Errorf("steps of users and items %v, want 3 of user 0 first, 7 in 4 steps", steps)
	}
}
