package web_test

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
)

func TestMain(m *testing.M) {
	code := m.Run()
	closeChromium()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// patience bounds every wait of a test; none is expected to use it up.
const patience = 30 * time.Second

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("after %v: still not: %s", patience, what)
		case <-tick.C:
		}
	}
}

// rail is an arm that moves as it is told, with two cameras whose pictures
// change at every tick.
type rail struct {
	state robot.State
	n     uint64
}

func (r *rail) observe(c robot.Command) robot.Observation {
	r.n++
	r.state.Stamp = time.Unix(1000, 0).Add(time.Duration(r.n) * tickEvery)
	for i := range 3 {
		r.state.EE.P[i] += c.Delta[i]
	}
	r.state.EE.Q = [4]float64{1}
	for i := range r.state.Q {
		r.state.Q[i] = 0.5 * math.Sin(float64(r.n)/20+float64(i))
	}
	r.state.Wrench[0] = 3.25
	var fs []robot.Frame
	for _, name := range cameraNames {
		f := robot.Frame{Camera: name, Seq: r.n, Stamp: r.state.Stamp, W: 64, H: 48, Pix: make([]byte, 3*64*48)}
		for i := range f.Pix {
			f.Pix[i] = byte(i/3 + 7*int(r.n))
		}
		fs = append(fs, f)
	}
	return robot.Observation{Frames: fs, State: r.state, Applied: c}
}

func (r *rail) Reset(context.Context) (robot.Observation, error) {
	r.state.EE.P = [3]float64{0.4, 0, 0.3}
	return r.observe(robot.Command{}), nil
}
func (r *rail) Step(_ context.Context, c robot.Command) (robot.Observation, error) {
	return r.observe(c), nil
}
func (r *rail) Close() error { return nil }

const tickEvery = 20 * time.Millisecond

var cameraNames = []string{"front", "wrist"}

// session drives a rail behind a real guard over a real bus, as a session does.
type session struct {
	t    testing.TB
	srv  *bus.Server
	name string
	g    *guard.Guard

	state   *bus.Feed[robot.State]
	status  *bus.Feed[bus.Status]
	summary *bus.Feed[bus.Summary]
	rewards *bus.Feed[[]float64]
	metrics *bus.Feed[policy.Stats]
	frames  []*bus.Feed[robot.Frame]

	mu     sync.Mutex
	faults []bus.Fault
	note   string
	by     string // who is told to decide; "" is who does
	idle   bool   // no arm is told to move
	ticks  int
	stops  []bus.Stop
	deaf   error // of a stop

	quit context.CancelFunc
	done chan struct{}
}

func newSession(t testing.TB, o bus.Options) *session {
	t.Helper()
	o.StoreDir = t.TempDir()
	srv, err := bus.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return drive(t, srv, "rail-001", "success 1 of 3")
}

func drive(t testing.TB, srv *bus.Server, name, note string) *session {
	t.Helper()
	s := &session{t: t, srv: srv, name: name, note: note, done: make(chan struct{})}
	cfg := guard.Default(franka.Panda())
	cfg.Arm = nil // a rail has no joints
	cfg.Tick = tickEvery
	g, err := guard.New(&rail{}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.g = g
	if _, err := g.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := srv.Conn()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var e error
	s.state, e = bus.NewFeed(c, name, bus.StateTopic(), 2)
	must(e)
	s.status, e = bus.NewFeed(c, name, bus.StatusTopic(), 2)
	must(e)
	s.summary, e = bus.NewFeed(c, name, bus.SummaryTopic("run"), 2)
	must(e)
	s.rewards, e = bus.NewFeed(c, name, bus.RewardTopic(), 2)
	must(e)
	s.metrics, e = bus.NewFeed(c, name, bus.MetricTopic("learner"), 2)
	must(e)
	for _, cam := range cameraNames {
		f, e := bus.NewFeed(c, name, bus.FrameTopic(cam), 2)
		must(e)
		s.frames = append(s.frames, f)
	}
	stop, err := bus.ServeOperator(t.Context(), c, name, s)
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	s.quit = cancel
	go s.run(ctx)
	t.Cleanup(func() {
		cancel()
		<-s.done
		stop()
		s.state.Close()
		s.status.Close()
		s.summary.Close()
		s.rewards.Close()
		s.metrics.Close()
		for _, f := range s.frames {
			f.Close()
		}
	})
	return s
}

func (s *session) run(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var rewards []float64
	var seq uint64
	for step := 0; ; step++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if step%200 == 0 {
			rewards = nil
		}
		obs, err := s.g.Step(ctx, robot.Command{Delta: [6]float64{0: 0.002 * math.Sin(float64(step)/15)}, Grip: 1})
		if err != nil && !errors.Is(err, robot.ErrStopped) {
			s.t.Error(err)
			return
		}
		rewards = append(rewards, -1+0.4*math.Sin(float64(step)/30))
		for i, f := range obs.Frames {
			s.frames[i].Publish(f)
		}
		s.state.Publish(obs.State)
		s.rewards.Publish(rewards)
		s.mu.Lock()
		s.ticks++
		n := s.g.Counts()
		st := bus.Status{
			Role: "run", Stage: "fine-tune", Done: 3, Total: 120, Note: s.note, Moving: true, Episode: "online-00003", Way: "backward", Step: step % 200,
			By: obs.By.String(), Version: 4, Human: 2, Humans: 9,
			Guard: bus.GuardCounts{Steps: n.Steps, Clipped: n.Clipped, Scaled: n.Scaled, Held: n.Held, Lapsed: n.Lapsed, Faults: n.Faults},
		}
		st.Moving = !s.idle
		if s.by != "" {
			st.By = s.by
		}
		if s.by == "nobody" {
			st.By, st.Episode = "", ""
		}
		if s.g.Fault() != nil {
			f := s.faults[len(s.faults)-1]
			st.Fault = &f
		}
		note := s.note
		s.mu.Unlock()
		s.status.Publish(st)
		if step%10 == 0 {
			seq++
			s.summary.Publish(bus.Summary{
				Seq: seq, Stage: "fine-tune", Done: 3, Total: 120, Note: note, Cameras: cameraNames, Horizon: 200, Teleop: true,
				Success: []bus.Share{{When: "before", Hits: 41, Of: 100}, {When: "while exploring", Hits: 1, Of: 3}},
				Returns: []float64{-9, -7.5, -8, -6, -4.5, -5, -3},
			})
			s.metrics.Publish(policy.Stats{Updates: seq, Metrics: []policy.Metric{{Name: "critic_loss", Value: 0.12}, {Name: note, Value: math.NaN()}}})
		}
	}
}

// Stop, Acknowledge and Faults make a session an operator's counterpart.
func (s *session) Stop(ctx context.Context, v bus.Stop) (bus.Stopped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, v)
	if s.deaf != nil {
		return bus.Stopped{}, s.deaf
	}
	already := s.g.Fault() != nil
	if !already {
		s.faults = append(s.faults, bus.Fault{ID: int64(len(s.faults) + 1), Cause: guard.Stopped.String(), Detail: v.Who + ": " + v.Why, Episode: "online-00003", Stamp: time.Unix(1, 0).UTC(), At: time.Unix(1, 0).UTC(), Open: true})
	}
	err := s.g.Stop(ctx, v.Who+": "+v.Why)
	return bus.Stopped{Fault: s.faults[len(s.faults)-1], Already: already, Held: true, Hold: time.Millisecond}, err
}

func (s *session) Acknowledge(_ context.Context, a bus.Acknowledge) (bus.Acknowledged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := int(a.Fault) - 1
	if i < 0 || i >= len(s.faults) || !s.faults[i].Open {
		return bus.Acknowledged{}, bus.ErrNone
	}
	s.faults[i].Open, s.faults[i].By, s.faults[i].Note = false, a.Who, a.Note
	return bus.Acknowledged{Fault: s.faults[i]}, s.g.Acknowledge(a.Who)
}

func (s *session) Faults(context.Context) ([]bus.Fault, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bus.Fault(nil), s.faults...), nil
}

// tells sets who is told to decide, nobody where no hand is heard, and whether an arm moves.
func (s *session) tells(by string, moving bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by, s.idle = by, !moving
}

// deafen has stops fail until it is called with nil.
func (s *session) deafen(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = err
}

func (s *session) tickCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ticks
}

func (s *session) fault(i int) bus.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.faults) {
		return bus.Fault{}
	}
	return s.faults[i]
}

// page serves the session's page over a connection of its own.
func (s *session) page(t testing.TB) *web.Server {
	t.Helper()
	c := s.srv.Conn()
	if url := s.srv.URL(); url != "" {
		var err error
		if c, err = bus.Dial(t.Context(), url, bus.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
	}
	w, err := web.Start(web.Options{Conn: c, Session: s.name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
