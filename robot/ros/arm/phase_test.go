package arm

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const soaked = 50 * time.Millisecond // the ticks' period

// ticked is how long images had waited for n ticks, and by how much these were put off
// in all. The images come at hz from first before the first tick on, each up to jitter late.
func ticked(t *testing.T, hz float64, first, jitter time.Duration, n int) (waits []time.Duration, put time.Duration) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(first)))
	var p phase
	p.start(soaked)
	came := func(i int) time.Duration {
		late := rand.New(rand.NewPCG(uint64(i), uint64(first))).Int64N(int64(jitter))
		return time.Duration(float64(i)/hz*1e9) + time.Duration(late)
	}
	now := first + time.Duration(rng.Int64N(1000))
	for range n {
		i := int(now.Seconds() * hz)
		for i > 0 && came(i) > now {
			i--
		}
		wait := now - came(i)
		waits = append(waits, wait)
		d := p.next(wait)
		if d < 0 || d > ease {
			t.Fatalf("%g Hz: put off by %v", hz, d)
		}
		put += d
		now += soaked + d
	}
	return waits, put
}

// Whatever the ticks' phase is at first, after three seconds no image has waited longer
// than the images' rate makes inevitable.
func TestTicksComeAfterImages(t *testing.T) {
	for _, c := range []struct {
		hz   float64
		beat time.Duration // between the best and the worst image of the ticks' pattern
	}{
		{60, 0}, {20, 0}, {30, 16667 * time.Microsecond}, {25, 30 * time.Millisecond}, {15, 50 * time.Millisecond},
	} {
		for k := range 25 {
			first := time.Duration(k) * 2 * time.Millisecond
			waits, put := ticked(t, c.hz, first, time.Millisecond/2, 300)
			if put > soaked+soaked/10 {
				t.Errorf("%g Hz from %v: put off by %v in all", c.hz, first, put)
			}
			if worst, limit := slices.Max(waits[60:]), c.beat+late+slack+ease; worst > limit {
				t.Errorf("%g Hz from %v: an image waited %v, want at most %v", c.hz, first, worst, limit)
			}
		}
	}
}

// For ten minutes, of a camera whose clock is 100 ppm off, either way, and whose images
// come up to 2 ms late: one in a hundred waits longer than 25 ms at most.
func TestTicksFollowADriftingCamera(t *testing.T) {
	for _, hz := range []float64{30 * (1 - 1e-4), 30 * (1 + 1e-4)} {
		for k := range 10 {
			first := time.Duration(k) * 5 * time.Millisecond
			waits, put := ticked(t, hz, first, 2*time.Millisecond, 12000)
			slices.Sort(waits)
			if p99 := waits[len(waits)*99/100]; p99 > 25*time.Millisecond {
				t.Errorf("%g Hz from %v: p99 of the waits is %v, want at most 25ms", hz, first, p99)
			}
			if put > 300*time.Millisecond {
				t.Errorf("%g Hz from %v: put off by %v in all", hz, first, put)
			}
		}
	}
}

// Of images that come by no rate nothing is hoped for after a period.
func TestTicksAreNotPutOffForEver(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var p phase
	p.start(soaked)
	put := time.Duration(0)
	const n = 20000
	for range n {
		put += p.next(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
	}
	if limit := soaked + n*ease/held; put < soaked || put > limit {
		t.Errorf("put off by %v, want at least %v and at most %v", put, soaked, limit)
	}
}
