package mujoco

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

func TestCompareDoesTheSameWorkTwice(t *testing.T) {
	m := load(t, "push.xml")
	paces, err := Compare(m, 300, 3, rand.NewPCG(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if len(paces) != 3 {
		t.Fatalf("got %d pairs, want 3", len(paces))
	}
	for _, p := range paces {
		if p.Go <= 0 || p.C <= 0 || p.Steps != 300 {
			t.Errorf("got %+v, want 300 steps that took time", p)
		}
	}
}

func TestCompareReportsWhatBreaks(t *testing.T) {
	m := load(t, "push.xml")
	c, err := m.Copy()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetGravity([3]float64{0, 0, 1e12})
	var warned *WarningError
	if _, err := Compare(c, 300, 1, rand.NewPCG(1, 1)); !errors.As(err, &warned) {
		t.Errorf("got %v, want a warning", err)
	}
	if _, err := Compare(m, 0, 1, rand.NewPCG(1, 1)); err == nil {
		t.Error("got no error for no steps")
	}
}

func TestMedianPace(t *testing.T) {
	ms := time.Millisecond
	got := MedianPace([]Pace{{10, 4 * ms, 1 * ms}, {10, 1 * ms, 1 * ms}, {10, 2 * ms, 1 * ms}})
	if got.Ratio() != 0.5 || got.GoRate() != 5000 || got.CRate() != 10000 {
		t.Errorf("got %+v: ratio %v, %v and %v steps/s; want 0.5, 5000 and 10000", got, got.Ratio(), got.GoRate(), got.CRate())
	}
}

func BenchmarkStep(b *testing.B) {
	m := load(b, "push.xml")
	d := world(b, m)
	if err := d.ResetKey(0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Step(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAgainstC reports Go's speed over a plain C loop's.
func BenchmarkAgainstC(b *testing.B) {
	m := load(b, "push.xml")
	for b.Loop() {
		paces, err := Compare(m, 5000, 21, rand.NewPCG(1, 1))
		if err != nil {
			b.Fatal(err)
		}
		p := MedianPace(paces)
		b.ReportMetric(p.GoRate(), "Go-steps/s")
		b.ReportMetric(p.CRate(), "C-steps/s")
		b.ReportMetric(p.Ratio(), "Go/C")
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		m := load(b, "push.xml")
		d := world(b, m)
		if err := errors.Join(d.Close(), m.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
