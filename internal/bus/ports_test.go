package bus_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// route is one way between a port's server and its caller.
type route struct {
	name         string
	serve, calls *bus.Conn // nil: direct
}

func routes(t *testing.T) []route {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	return []route{
		{name: "direct"},
		{"embedded", srv.Conn(), srv.Conn()},
		{"tcp", dial(t, srv.URL(), bus.Options{Name: "server"}), dial(t, srv.URL(), bus.Options{Name: "caller"})},
	}
}

// conform runs suite over each route and wants what it returns to be the same,
// bit for bit. remote says whether errors come from far.
func conform(t *testing.T, suite func(t *testing.T, r route, session string) []any) {
	t.Helper()
	var want []any
	for _, r := range routes(t) {
		t.Run(r.name, func(t *testing.T) {
			got := suite(t, r, r.name)
			if want == nil {
				want = got
			}
			bits := cmp.Transformer("bits", math.Float64bits)
			bits32 := cmp.Transformer("bits32", math.Float32bits)
			if d := cmp.Diff(want, got, bits, bits32); d != "" {
				t.Errorf("differs from a direct call (-direct +%s):\n%s", r.name, d)
			}
		})
	}
}

// text is err as far as it is the same near and far.
func sentinel(err error) string {
	for _, e := range []error{robot.ErrStale, robot.ErrStopped, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "none of the known"
}

func must(t *testing.T, stop func(), err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

func TestExtractorIsTheSameNearAndFar(t *testing.T) {
	conform(t, func(t *testing.T, r route, session string) (out []any) {
		var x perception.Extractor = pool{8}
		if r.serve != nil {
			stop, err := bus.ServeExtractor(t.Context(), r.serve, session, x)
			must(t, stop, err)
			x = bus.Extractor(r.calls, session)
		}
		rng := seeded(1)
		for _, size := range [][2]int{{96, 96}, {224, 224}, {1, 1}, {17, 3}} {
			f, err := x.Extract(within(t), someFrames(rng, 2, size[0], size[1]))
			out = append(out, f, err)
		}
		_, err := x.Extract(within(t), nil)
		out = append(out, sentinel(err))
		late, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		_, err = x.Extract(late, someFrames(rng, 1, 2, 2))
		return append(out, sentinel(err))
	})
}

func TestScorerIsTheSameNearAndFar(t *testing.T) {
	conform(t, func(t *testing.T, r route, session string) (out []any) {
		type scorer interface {
			Score(context.Context, []float64, []perception.Features) error
		}
		var s scorer = nearness{}
		if r.serve != nil {
			stop, err := bus.ServeScorer(t.Context(), r.serve, session, s)
			must(t, stop, err)
			s = bus.Scorer(r.calls, session)
		}
		rng := seeded(2)
		for _, n := range []int{2, 3, 46} {
			traj := make([]perception.Features, n)
			for i := range traj {
				traj[i] = someFeatures(rng, 64, i%3)
			}
			dst := make([]float64, n-1)
			err := s.Score(within(t), dst, traj)
			out = append(out, dst, err)
		}
		ragged := []perception.Features{someFeatures(rng, 3, 0), someFeatures(rng, 4, 0), someFeatures(rng, 5, 0)}
		return append(out, sentinel(s.Score(within(t), make([]float64, 2), ragged)))
	})
}

func TestPolicyIsTheSameNearAndFar(t *testing.T) {
	conform(t, func(t *testing.T, r route, session string) (out []any) {
		var p policy.Policy = &linear{}
		if r.serve != nil {
			stop, err := bus.ServePolicy(t.Context(), r.serve, session, p)
			must(t, stop, err)
			p = bus.Policy(r.calls, session)
		}
		rng := seeded(3)
		for v := range 3 {
			err := p.Load(gains(uint64(v), [7]float64{0.1, -0.2, 1e-300, math.Inf(1), 0, math.Copysign(0, -1), float64(v)}))
			out = append(out, err)
			for step := range 3 {
				c, err := p.Act(within(t), someInput(rng, step, 64*v))
				out = append(out, c, err)
			}
		}
		out = append(out, p.Load(policy.Params{Data: []byte("short")}) != nil)
		bad := someInput(rng, 0, 1)
		bad.State.Q[0] = 4
		_, err := p.Act(within(t), bad)
		return append(out, sentinel(err))
	})
}

func TestLearnerIsTheSameNearAndFar(t *testing.T) {
	conform(t, func(t *testing.T, r route, session string) (out []any) {
		var l policy.Learner = &averager{}
		if r.serve != nil {
			stop, err := bus.ServeLearner(t.Context(), r.serve, session, l)
			must(t, stop, err)
			l = bus.Learner(r.calls, session)
		}
		rng := seeded(4)
		for _, id := range []string{"a", "b", "a"} {
			out = append(out, l.Add(within(t), someEpisode(rng, id, 12, 64, 2)))
			s, err := l.Update(within(t))
			out = append(out, s, err)
			p, err := l.Latest(within(t))
			out = append(out, p, err)
		}
		blank := someEpisode(rng, "c", 3, 2, 0)
		blank.Rewards = nil
		return append(out, l.Add(within(t), blank) != nil)
	})
}

func TestErrorsNameThePeer(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	server := dial(t, srv.URL(), bus.Options{Name: "eyes-7"})
	stop, err := bus.ServeExtractor(t.Context(), server, "s", pool{2})
	must(t, stop, err)
	_, err = bus.Extractor(srv.Conn(), "s").Extract(within(t), nil)
	var remote *bus.RemoteError
	if !errors.As(err, &remote) || remote.Peer != "eyes-7" || !strings.Contains(err.Error(), "eyes-7") || !errors.Is(err, robot.ErrStale) {
		t.Errorf("got %v; want a RemoteError of eyes-7 that is ErrStale", err)
	}
}

func TestNobodyServesIsSaidAtOnce(t *testing.T) {
	srv := start(t, bus.Options{})
	c := srv.Conn()
	_, extract := bus.Extractor(c, "s").Extract(within(t), someFrames(seeded(1), 1, 2, 2))
	_, act := bus.Policy(c, "s").Act(within(t), policy.Input{})
	_, update := bus.Learner(c, "s").Update(within(t))
	for name, err := range map[string]error{"extract": extract, "act": act, "update": update} {
		if !errors.Is(err, bus.ErrNoService) {
			t.Errorf("%s: got %v, want ErrNoService", name, err)
		}
	}
	if _, err := bus.Extractor(c, "no.dots").Extract(within(t), nil); err == nil {
		t.Error("a session named no.dots was accepted")
	}
}

func TestSecondLearnerIsRefused(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	stop, err := bus.ServeLearner(t.Context(), srv.Conn(), "s", &averager{})
	must(t, stop, err)
	other := dial(t, srv.URL(), bus.Options{})
	if _, err := bus.ServeLearner(t.Context(), other, "s", &averager{}); !errors.Is(err, bus.ErrTaken) {
		t.Errorf("got %v, want ErrTaken", err)
	}
	stop2, err := bus.ServeLearner(t.Context(), other, "t", &averager{})
	must(t, stop2, err)
	stop()
	stop3, err := bus.ServeLearner(t.Context(), other, "s", &averager{})
	must(t, stop3, err)
}

// gate is an extractor that waits until it is let go.
type gate struct{ entered, leave chan struct{} }

func (g gate) Extract(ctx context.Context, _ []robot.Frame) (perception.Features, error) {
	g.entered <- struct{}{}
	select {
	case <-g.leave:
		return perception.Features{}, nil
	case <-ctx.Done():
		return perception.Features{}, ctx.Err()
	}
}

func TestServersShareCalls(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	g := gate{make(chan struct{}), make(chan struct{})}
	for range 2 {
		c := dial(t, srv.URL(), bus.Options{})
		stop, err := bus.ServeScorer(t.Context(), c, "s", gateScorer{g})
		must(t, stop, err)
	}
	// Each server scores one at a time, so that two at once are on two servers.
	// A call lands on a busy server half of the time; more calls than both
	// servers' queues hold are refused, never lost.
	ctx := within(t)
	done := make(chan error, 32)
	for range 32 { // one server alone gets them all once in 2^31
		go func() {
			done <- bus.Scorer(srv.Conn(), "s").Score(ctx, make([]float64, 1), make([]perception.Features, 2))
		}()
	}
	for range 2 {
		select {
		case <-g.entered:
		case <-ctx.Done():
			t.Fatal("two servers never worked at once")
		}
	}
	close(g.leave)
	go func() {
		for range g.entered {
		}
	}()
	for range 32 {
		if err := <-done; err != nil && !errors.Is(err, bus.ErrBusy) {
			t.Error(err)
		}
	}
	close(g.entered)
}

type gateScorer struct{ g gate }

func (s gateScorer) Score(ctx context.Context, dst []float64, _ []perception.Features) error {
	_, err := s.g.Extract(ctx, nil)
	return err
}

func TestCallerGetsItsDeadlineAndServerIsToldOfIt(t *testing.T) {
	srv := start(t, bus.Options{})
	g := gate{make(chan struct{}, 1), make(chan struct{})}
	stop, err := bus.ServeExtractor(t.Context(), srv.Conn(), "s", g)
	must(t, stop, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = bus.Extractor(srv.Conn(), "s").Extract(ctx, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	// The handler above ended by the deadline that travelled along; nobody let
	// it go, so that stop would hang otherwise.
	stop()
}

func TestStoppingServerTellsItsCallers(t *testing.T) {
	srv := start(t, bus.Options{})
	g := gate{make(chan struct{}, 8), make(chan struct{})}
	stop, err := bus.ServeScorer(t.Context(), srv.Conn(), "s", gateScorer{g})
	must(t, stop, err)
	done := make(chan error, 2)
	for range 2 { // one at work, one in the queue
		go func() {
			done <- bus.Scorer(srv.Conn(), "s").Score(within(t), make([]float64, 1), make([]perception.Features, 2))
		}()
	}
	<-g.entered
	stop()
	for range 2 {
		if err := <-done; !errors.Is(err, bus.ErrLost) && !errors.Is(err, bus.ErrNoService) {
			t.Errorf("got %v, want ErrLost or ErrNoService", err)
		}
		if errors.Is(err, context.Canceled) {
			t.Error("the server's end looks like the caller's own cancellation")
		}
	}
}

func TestCallWithoutAConnectionFailsAtOnce(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	c, err := bus.Dial(t.Context(), srv.URL(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	srv.Close()
	eventually(t, "disconnected", func() bool { return !c.Connected() })
	if _, err := bus.Extractor(c, "s").Extract(t.Context(), nil); !errors.Is(err, bus.ErrLost) {
		t.Errorf("extract: got %v, want ErrLost", err)
	}
	if err := bus.Scorer(c, "s").Score(t.Context(), make([]float64, 1), make([]perception.Features, 2)); !errors.Is(err, bus.ErrLost) {
		t.Errorf("score: got %v, want ErrLost", err)
	}
}

type bomb struct{}

func (bomb) Extract(context.Context, []robot.Frame) (perception.Features, error) { panic("boom") }

func TestPanicOfAHandlerIsAnError(t *testing.T) {
	srv := start(t, bus.Options{})
	stop, err := bus.ServeExtractor(t.Context(), srv.Conn(), "s", bomb{})
	must(t, stop, err)
	for range 2 {
		if _, err := bus.Extractor(srv.Conn(), "s").Extract(within(t), nil); err == nil || !strings.Contains(err.Error(), "boom") {
			t.Errorf("got %v, want the panic", err)
		}
	}
}

// Containers on one host have its name and the same process number each.
func TestConnectionsHaveNamesOfTheirOwn(t *testing.T) {
	srv := start(t, bus.Options{Listen: "127.0.0.1:0"})
	a, b := dial(t, srv.URL(), bus.Options{}), dial(t, srv.URL(), bus.Options{})
	if a.Name() == b.Name() {
		t.Errorf("both are called %s", a.Name())
	}
}
