package align_test
import ("testing";"math";"github.com/rapport-rl/rapport/policy/align";"github.com/rapport-rl/rapport/policy/align/aligntest")
var inf = math.Inf(1)
func TestTry(t *testing.T) {
	w := ways(t)
	for _, rank := range []int{0,4} {
	lr := 3e-4; if rank>0 {lr=1e-3}
	for _,beta:=range []float64{.1,1} {
	a, err := align.NewD3PO(tune(t, w, align.Config{LR: lr,Rank:rank}), align.D3POConfig{Pairs:64,Beta:beta})
	if err != nil { t.Fatal(err) }
	t.Log("d3po",rank,beta)
	run(t, w, a, align.RunConfig{Rounds: 100, Observations: 64, Every: 2, Budget: 10,Near:inf})
	}
	for _,beta:=range []float64{10,20,40,80} {
	a, err := align.NewDiffusionDPO(tune(t, w, align.Config{LR: lr,Rank:rank}), align.DiffusionDPOConfig{Beta:beta})
	if err != nil { t.Fatal(err) }
	t.Log("ddpo",rank,beta)
	run(t, w, a, align.RunConfig{Rounds: 30, Observations: 64, Every: 2, Budget: 10,Near:inf})
	}
	for _,beta:=range []float64{0.5,2} {
	a, err := align.NewPRDP(tune(t, w, align.Config{LR: lr,Rank:rank}), align.PRDPConfig{Beta:beta})
	if err != nil { t.Fatal(err) }
	t.Log("prdp",rank,beta)
	run(t, w, a, align.RunConfig{Rounds: 60, Observations: 16,Each:8, Every: 2, Budget: 10,Near:inf})
	}
	a, err := align.NewDPPO(tune(t, w, align.Config{LR: lr,Rank:rank}), align.DPPOConfig{})
	if err != nil { t.Fatal(err) }
	t.Log("dppo",rank)
	run(t, w, a, align.RunConfig{Rounds: 40, Observations: 16,Each:8, Every: 2, Budget: 10,Near:inf})
	for _,back:=range []int{0,1,5,10} {
	a, err := align.NewAlignProp(tune(t, w, align.Config{LR: lr,Rank:rank}), aligntest.Climb,align.AlignPropConfig{Back:back})
	if err != nil { t.Fatal(err) }
	t.Log("alignprop",rank,back)
	run(t, w, a, align.RunConfig{Rounds: 100, Observations: 32,Each:1, Every: 2, Budget: 10,Near:inf,Value: func(ss []align.Sample) float64 {return aligntest.Share(ss)}})
	}
	}
}
