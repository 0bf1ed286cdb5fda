package bus_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// ways runs a benchmark over an in-process connection and over TCP loopback.
func ways(b *testing.B, run func(b *testing.B, serve, call *bus.Conn)) {
	for _, tcp := range []bool{false, true} {
		name := "embedded"
		if tcp {
			name = "tcp"
		}
		b.Run(name, func(b *testing.B) {
			srv := start(b, bus.Options{Listen: "127.0.0.1:0"})
			if tcp {
				run(b, dial(b, srv.URL(), bus.Options{}), dial(b, srv.URL(), bus.Options{}))
				return
			}
			run(b, srv.Conn(), srv.Conn())
		})
	}
}

// fixed answers at once, so that what is measured is the way.
type fixed struct{ f perception.Features }

func (x fixed) Extract(context.Context, []robot.Frame) (perception.Features, error) { return x.f, nil }
func (x fixed) Score(_ context.Context, dst []float64, _ []perception.Features) error {
	clear(dst)
	return nil
}
func (x fixed) Act(context.Context, policy.Input) (robot.Command, error) { return robot.Command{}, nil }
func (x fixed) Load(policy.Params) error                                 { return nil }

func serving(b *testing.B, stop func(), err error) {
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
}

// trips is to be deferred before a loop of round trips: it reports how many
// there were per second of processor time, of both ends and the server together,
// which a busy machine does not change much.
func trips(b *testing.B) func() {
	cpu := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return 1e-9 * float64(u.Utime.Nano()+u.Stime.Nano())
	}
	before := cpu()
	return func() { b.ReportMetric(float64(b.N)/(cpu()-before), "trips/cpu-s") }
}

func BenchmarkExtract2x96x96(b *testing.B) {
	fs := someFrames(seeded(1), 2, 96, 96)
	x := fixed{someFeatures(seeded(1), 128, 0)}
	ways(b, func(b *testing.B, serve, call *bus.Conn) {
		stop, err := bus.ServeExtractor(b.Context(), serve, "s", x)
		serving(b, stop, err)
		e := bus.Extractor(call, "s")
		b.ReportAllocs()
		defer trips(b)()
		for b.Loop() {
			if _, err := e.Extract(b.Context(), fs); err != nil {
				b.Fatal(err)
			}
		}
	})
	peer(b, mustEncode(bus.EncodeFrames(fs, bus.RawFrames)), mustEncode(bus.EncodeFeatures(x.f)))
}

func BenchmarkScore46x64(b *testing.B) {
	traj := make([]perception.Features, 46)
	for i := range traj {
		traj[i] = someFeatures(seeded(uint64(i)), 64, 0)
	}
	dst := make([]float64, 45)
	ways(b, func(b *testing.B, serve, call *bus.Conn) {
		stop, err := bus.ServeScorer(b.Context(), serve, "s", fixed{})
		serving(b, stop, err)
		s := bus.Scorer(call, "s")
		b.ReportAllocs()
		defer trips(b)()
		for b.Loop() {
			if err := s.Score(b.Context(), dst, traj); err != nil {
				b.Fatal(err)
			}
		}
	})
	peer(b, mustEncode(bus.EncodeTrajectory(traj)), mustEncode(bus.EncodeRewards(dst)))
}

func BenchmarkAct(b *testing.B) {
	in := someInput(seeded(1), 3, 128)
	ways(b, func(b *testing.B, serve, call *bus.Conn) {
		stop, err := bus.ServePolicy(b.Context(), serve, "s", fixed{})
		serving(b, stop, err)
		p := bus.Policy(call, "s")
		b.ReportAllocs()
		defer trips(b)()
		for b.Loop() {
			if _, err := p.Act(b.Context(), in); err != nil {
				b.Fatal(err)
			}
		}
	})
	peer(b, mustEncode(bus.EncodeInput(in)), mustEncode(bus.EncodeOrder(bus.Order{})))
}

// peer measures what nats.go alone needs for the same bytes.
func peer(b *testing.B, request, reply []byte) {
	b.Run("raw-nats-tcp", func(b *testing.B) {
		srv := start(b, bus.Options{Listen: "127.0.0.1:0"})
		nc, err := nats.Connect(srv.URL())
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		far, err := nats.Connect(srv.URL())
		if err != nil {
			b.Fatal(err)
		}
		defer far.Close()
		if _, err := far.QueueSubscribe("raw", "q", func(m *nats.Msg) {
			if err := m.Respond(reply); err != nil {
				b.Error(err)
			}
		}); err != nil {
			b.Fatal(err)
		}
		if err := far.Flush(); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		defer trips(b)()
		for b.Loop() {
			if _, err := nc.RequestWithContext(b.Context(), "raw", request); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTelemetryState(b *testing.B) {
	s := someState(seeded(1))
	ways(b, func(b *testing.B, serve, call *bus.Conn) {
		p, err := bus.NewTap(call, "s", bus.StateTopic(), 16)
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		f, err := bus.NewFeed(serve, "s", bus.StateTopic(), 16)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		b.ReportAllocs()
		for b.Loop() {
			f.Publish(s)
			if _, err := p.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPublishEpisode is the way of one episode onto the local disk, to the
// server's disk and back to its acknowledgement.
func BenchmarkPublishEpisode(b *testing.B) {
	e := someEpisode(seeded(1), "e", 45, 128, 0)
	ways(b, func(b *testing.B, _, call *bus.Conn) {
		p, err := bus.NewPublisher(call, "s", b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			n++
			e.ID = fmt.Sprint("e", n)
			if err := p.Publish(b.Context(), e); err != nil {
				b.Fatal(err)
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncodeEpisode(b *testing.B) {
	e := someEpisode(seeded(1), "e", 45, 128, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.EncodeEpisode(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEpisode(b *testing.B) {
	m := mustEncode(bus.EncodeEpisode(someEpisode(seeded(1), "e", 45, 128, 0)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.DecodeEpisode(m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeView96 is what a page pays for a picture that came raw.
func BenchmarkDecodeView96(b *testing.B) {
	m := mustEncode(bus.EncodeFrames(someFrames(seeded(1), 1, 96, 96), bus.RawView))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.DecodeView(m); err != nil {
			b.Fatal(err)
		}
	}
}
