package arm

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever the ticks' phase is at first, after two seconds no image has waited longer than
// the images' rate makes inevitable; ticks are never early, and put off by a period at most.
func TestTicksComeAfterImages(t *testing.T) {
	const period = 50 * time.Millisecond
	for _, c := range []struct {
		hz   float64
		beat time.Duration // between the best and the worst image of the ticks' pattern
	}{
		{60, 0}, {20, 0}, {30, 16667 * time.Microsecond}, {25, 30 * time.Millisecond}, {15, 50 * time.Millisecond},
	} {
		for k := range 25 {
			rng := rand.New(rand.NewPCG(1, uint64(k)))
			var p phase
			p.start(period)
			first := time.Duration(k) * 2 * time.Millisecond
			now, put, worst := first, time.Duration(0), time.Duration(0)
			for n := range 300 {
				// The image before now; each comes up to half a millisecond late.
				image := time.Duration(0)
				for i := int(now.Seconds() * c.hz); i >= 0; i-- {
					at := time.Duration(float64(i)/c.hz*1e9) + time.Duration(rng.Int64N(int64(time.Millisecond/2)))
					if at <= now {
						image = at
						break
					}
				}
				wait := now - image
				if n > 60 {
					worst = max(worst, wait)
				}
				d := p.next(wait)
				if d < 0 || d > ease {
					t.Fatalf("%g Hz: put off by %v", c.hz, d)
				}
				put += d
				now += period + d
			}
			if put > period {
				t.Errorf("%g Hz from %v: put off by %v in all", c.hz, first, put)
			}
			if limit := c.beat + late + time.Millisecond; worst > limit {
				t.Errorf("%g Hz from %v: an image waited %v, want at most %v", c.hz, first, worst, limit)
			}
		}
	}
}

// Of images that come by no rate nothing is hoped for after a period.
func TestTicksAreNotPutOffForEver(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var p phase
	p.start(50 * time.Millisecond)
	put := time.Duration(0)
	for range 2000 {
		put += p.next(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
	}
	if put != 50*time.Millisecond {
		t.Errorf("put off by %v, want 50ms", put)
	}
	if d := p.next(time.Second); d != 0 {
		t.Errorf("and again by %v", d)
	}
}
