package rlpd_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// BenchmarkActorBesideLearner acts at 20 Hz for five seconds while a learner of the
// paper's size learns without pause in the same process, and tells how late the
// commands were after their ticks and how many missed the next one.
func BenchmarkActorBesideLearner(b *testing.B) {
	const tick, ticks = 50 * time.Millisecond, 100
	l := benchLearner(b, 256, 256, 10)
	update(b, l)
	ps, err := l.Latest(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	net, err := bc.Decode(ps)
	if err != nil {
		b.Fatal(err)
	}
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: net.Arch.View})
	if err != nil {
		b.Fatal(err)
	}
	if err := pi.Load(ps); err != nil {
		b.Fatal(err)
	}
	in := policytest.Demos(1, 1, [2]float64{})[0].Inputs[0]
	in.Features.Embed = make([]float32, net.Arch.View.Embed)

	var late []time.Duration
	learned := 0
	for b.Loop() {
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan int)
		go func() {
			n := 0
			for ctx.Err() == nil {
				if _, err := l.Update(ctx); err != nil {
					break
				}
				n++
			}
			done <- n
		}()
		late = actAtTicks(b, pi, in, tick, ticks)
		stop()
		learned = <-done
	}
	missed := 0
	for _, d := range late {
		if d > tick {
			missed++
		}
	}
	slices.Sort(late)
	b.ReportMetric(float64(missed), "missed-ticks")
	b.ReportMetric(float64(late[len(late)/2].Microseconds())/1e3, "median-ms")
	b.ReportMetric(float64(late[len(late)-1].Microseconds())/1e3, "worst-ms")
	b.ReportMetric(float64(learned)/(ticks*tick.Seconds()), "updates/s")
	b.ReportMetric(0, "ns/op")
}

func actAtTicks(b *testing.B, pi policy.Policy, in policy.Input, tick time.Duration, n int) []time.Duration {
	var late []time.Duration
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i+1) * tick)
		time.Sleep(time.Until(due))
		in.Step = i
		if _, err := pi.Act(b.Context(), in); err != nil {
			b.Fatal(err)
		}
		late = append(late, time.Since(due))
	}
	return late
}
