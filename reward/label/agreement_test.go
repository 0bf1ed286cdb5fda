package label

import (
	"math"
	"testing"
)

// The example with 4 coders, 12 units and 7 gaps of Krippendorff 2011, section D:
// alpha is 0.743 nominal and 0.849 interval.
func TestAlphaIsKrippendorffs(t *testing.T) {
	units := [][]float64{
		{1, 1, 1}, {2, 2, 3, 2}, {3, 3, 3, 3}, {3, 3, 3, 3}, {2, 2, 2, 2}, {1, 2, 3, 4},
		{4, 4, 4, 4}, {1, 1, 2, 1}, {2, 2, 2, 2}, {5, 5, 5}, {1, 1}, {3},
	}
	for _, tt := range []struct {
		name     string
		distance func(a, b float64) float64
		want     float64
	}{{"nominal", Nominal, 0.743}, {"interval", Interval, 0.849}} {
		if got := Alpha(units, tt.distance); math.Abs(got-tt.want) > 5e-4 {
			t.Errorf("%s: %.4f, want %.3f", tt.name, got, tt.want)
		}
	}
	if got := Alpha([][]float64{{1, 1}, {1, 1, 1}}, Nominal); got != 0 {
		t.Errorf("without variation: %v, want 0", got)
	}
}

// Of 50 answers 20 and 15 are the same, 5 and 10 differ: p_o 0.7, p_e 0.5, κ 0.4.
func TestKappaIsCohens(t *testing.T) {
	var a, b []int
	for _, c := range []struct{ n, a, b int }{{20, 1, 1}, {5, 1, 0}, {10, 0, 1}, {15, 0, 0}} {
		for range c.n {
			a, b = append(a, c.a), append(b, c.b)
		}
	}
	if got := Kappa(a, b); math.Abs(got-0.4) > 1e-12 {
		t.Errorf("got %v, want 0.4", got)
	}
	if got := Kappa([]int{1, 1}, []int{1, 1}); got != 0 {
		t.Errorf("without variation: %v, want 0", got)
	}
}

func TestAgreementIsAboutTheSameClips(t *testing.T) {
	by := func(who string, l Label) Label { l.Annotator, l.ID = who, who+l.ID; return l }
	ranking := said("3", Ranking, "c", "b", "a")
	ranking.Places = []int{1, 2, 3}
	ls := []Label{
		by("ann", chose(Left, said("1", Pair, "a", "b"))), by("ben", chose(Right, said("1", Pair, "b", "a"))), // the same
		by("ann", chose(Left, said("2", Pair, "c", "d"))), by("ben", chose(Left, said("2", Pair, "d", "c"))), // opposed
		by("ann", chose(Tie, said("4", Pair, "e", "f"))), by("ben", chose(Tie, said("4", Pair, "e", "f"))),
		by("ann", chose(Unsure, said("5", Pair, "g", "h"))), by("ben", chose(Left, said("5", Pair, "g", "h"))),
		by("ann", chose(Left, said("6", Triplet, "a", "c", "d"))), by("ben", chose(Left, said("6", Triplet, "b", "c", "d"))), // other anchors
		by("cid", ranking), // about a and b: b
	}
	got := Agree(ls)
	// a,b has three answers: +1 +1 −1; c,d two: +1 −1; e,f two: 0 0.
	if got.Questions != 3 || math.Abs(got.Share-2.0/5) > 1e-12 || len(got.Between) != 3 {
		t.Fatalf("got %+v, want 3 questions, share 0.4, 3 pairs", got)
	}
	if b := got.Between[0]; b.A != "ann" || b.B != "ben" || b.Questions != 3 || math.Abs(b.Share-2.0/3) > 1e-12 {
		t.Errorf("got %+v, want ann and ben with 3 questions and share 2/3", b)
	}
	// Cohen over both orders: p_o 2/3, and a third of each category: p_e 1/3.
	if k := got.Between[0].Kappa; math.Abs(k-0.5) > 1e-12 {
		t.Errorf("kappa %v, want 0.5", k)
	}
	if k := got.Between[1].Kappa; k != -1 {
		t.Errorf("kappa of ann and cid %v, want -1", k)
	}
	// n = 14. Of each order of a,b: δ of (+1 +1 −1) is 4 over 4 ordered pairs, by m−1 = 2:
	// 8; of c,d 4 over 2: 8; in both orders 32 = n D_o. All values are 5 times +1, 5
	// times −1 and 4 times 0.
	want := 1 - 32.0*13/(2*(5*5*4)+4*5*4)
	if math.Abs(got.Alpha-want) > 1e-12 {
		t.Errorf("alpha %v, want %v", got.Alpha, want)
	}
	if a := Agree(ls[:1]); a.Questions != 0 || a.Share != 0 || a.Alpha != 0 {
		t.Errorf("one annotator agrees with nobody, got %+v", a)
	}
}
