package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
)

// hosted is a learner's folder of a new session of that configuration.
func hosted(t *testing.T, srv *bus.Server, c config.Config) *Session {
	t.Helper()
	c.Out = t.TempDir()
	s, err := openOrCreate(t.Context(), c.Name, srv.Conn(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.store.Close() })
	return s
}

// Two sessions one after the other have one name where the broker's store and the learner's
// folder are new. What is left of the first at the actor is none of the second.
func TestActorOfAnotherSessionIsRefused(t *testing.T) {
	c := tiny(t)
	was := broker(t, &c)
	acts := func(o Options) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return Act(ctx, c, o)
	}
	r, err := guest(t.Context(), c, "actor", byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	s, err := openOrCreate(t.Context(), c.Name+"-actor", r.conn, c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	one := hosted(t, was, c)
	if err := one.introduce(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Of before ids were kept: it goes on, and is the session's from now on. One that knows
	// itself to be the session's stays.
	if err := errors.Join(s.stays(r), s.settles(t.Context(), r), s.stays(r), s.settles(t.Context(), r)); err != nil {
		t.Error(err)
	}
	id, err := s.store.Marked(t.Context(), markID)
	if own, _ := one.store.Marked(t.Context(), markID); err != nil || id == "" || id != own {
		t.Errorf("the actor's folder is of session %q, %v; want %q", id, err, own)
	}
	if err := one.introduce(t.Context()); err != nil { // its learner was restarted
		t.Fatal(err)
	}
	if err := s.stays(r); err != nil {
		t.Error(err)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	r.close()
	dir := s.Dir()

	now := broker(t, &c)
	done, waits := make(chan error, 1), make(chan struct{}, 100)
	o := byTheClock()
	o.Tell = func(stage string, _, _ int, _ string) {
		if stage == "waiting for the learner" {
			waits <- struct{}{}
		}
	}
	go func() { done <- acts(o) }()
	<-waits // there is no learner yet, and nobody knows
	if err := hosted(t, now, c).introduce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), dir+" is an actor's folder of another session") {
		t.Errorf("an actor that was there first: %v", err)
	}
	if err := acts(byTheClock()); err == nil || !strings.Contains(err.Error(), "move it away or remove it") {
		t.Errorf("an actor that came later: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "spool")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it would have sent what it holds: %v", err)
	}
}

// Nor does who is running stay from one to the other.
func TestAnotherSessionsLearnerEndsTheOthers(t *testing.T) {
	c := tiny(t)
	addr := porttest.Address(t)
	serve := func() *bus.Server {
		srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir(), Listen: addr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		c.Name, c.Bus.URL = "labelled", srv.URL()
		return srv
	}
	srv := serve()
	s := hosted(t, srv, c)
	if err := s.introduce(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := guest(t.Context(), c, "scorer", byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	eventually(t, "it knows the session", func() bool { return r.id.Load() != nil })
	for _, own := range []bool{true, false} {
		srv.Close()
		srv = serve()
		if !own {
			s = hosted(t, srv, c)
		}
		s.conn = srv.Conn()
		if err := s.introduce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if own {
			time.Sleep(time.Second) // what would end it comes at once
			if err := context.Cause(r.ctx); err != nil {
				t.Fatalf("its own learner, which told a new server: %v", err)
			}
		}
	}
	eventually(t, "it ends", func() bool { return r.ctx.Err() != nil })
	if err := r.end(nil); err == nil || !strings.Contains(err.Error(), "is another one of that name now; start its scorer again") {
		t.Errorf("got %v", err)
	}
}

// A learner that goes on names its files from the root on, and they are the same ones. One that finds
// other bytes in the plan ends who loads it, though its configuration is as it was.
func TestLearnerThatIsStartedAgainEndsNobody(t *testing.T) {
	t.Chdir(t.TempDir())
	b, err := plans.ReadFile("plans/reach.json")
	if err := errors.Join(err, os.WriteFile("plan.json", b, 0o600), os.WriteFile("copy.json", b, 0o600), os.WriteFile("other.json", append(b, '\n'), 0o600)); err != nil {
		t.Fatal(err)
	}
	c := waypointed(t, "reach")
	set(t, &c, "reward.kagi.source=clicks", "reward.kagi.plan=plan.json")
	c.Demos.Filter, c.Reward.Visual.Goal, c.Reward.Visual.Baseline = "list.json", "goal.json", "base.json" // the learner's alone
	srv := broker(t, &c)
	s := hosted(t, srv, c)
	if err := s.introduce(t.Context()); err != nil {
		t.Fatal(err)
	}
	guests := map[string]*role{}
	for what, file := range map[string]string{"actor": "plan.json", "perception": "copy.json", "scorer": "copy.json"} {
		c := c
		c.Reward.KAGI.Plan = file
		r, err := guest(t.Context(), c, what, byTheClock())
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		guests[what] = r
	}
	c.Out = s.cfg.Out
	again := func() {
		t.Helper()
		if err := s.store.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = openOrCreate(t.Context(), c.Name, srv.Conn(), c, byTheClock()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.store.Close() })
		if err := s.introduce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again()
	time.Sleep(time.Second) // what would end them comes at once
	for what, r := range guests {
		if err := errors.Join(context.Cause(r.ctx), r.accords(t.Context())); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	c.Reward.KAGI.Plan = s.cfg.Reward.KAGI.Plan
	if err := os.WriteFile("plan.json", append(b, "\n\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	again()
	eventually(t, "the actor ends", func() bool { return guests["actor"].ctx.Err() != nil })
	wantErr(t, guests["actor"].end(nil), "reward.kagi.plan plan.json is of SHA-256")
	for _, what := range []string{"perception", "scorer"} {
		if err := context.Cause(guests[what].ctx); err != nil {
			t.Errorf("%s, which loads no plan: %v", what, err)
		}
	}
	for file, want := range map[string]string{"other.json": "reward.kagi.plan other.json is of SHA-256", "gone.json": "--set reward.kagi.plan=FILE", "": `reward.kagi.plan is "" here`} {
		c.Reward.KAGI.Plan, c.Reward.KAGI.Source = file, "task"
		r, err := guest(t.Context(), c, "actor", byTheClock())
		if err == nil {
			r.close()
		}
		wantErr(t, err, want)
	}
}

// The others end as soon as they join a session that is over, so that its learner would
// wait for more episodes for ever.
func TestLearnerOfASessionThatIsOverRefusesMoreEpisodes(t *testing.T) {
	c := tiny(t)
	srv := broker(t, &c)
	s := hosted(t, srv, c)
	if _, err := s.store.AddEpisode(t.Context(), policy.Episode{ID: "online-00000", Origin: policy.Online, Rewards: []float64{1}, Applied: make([]robot.Command, 1), By: make([]robot.Source, 1), Version: make([]uint64, 1), Inputs: make([]policy.Input, 2)}); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	c.Out = s.cfg.Out
	over := func(episodes int) error {
		c.Session.Episodes = episodes
		r := &role{cfg: c, name: c.Name, conn: srv.Conn(), ctx: t.Context()}
		return r.checkOver()
	}
	if err := over(2); err != nil {
		t.Errorf("it is not over yet: %v", err)
	}
	if err := s.announce(t.Context(), Result{}); err != nil {
		t.Fatal(err)
	}
	if err := over(1); err != nil {
		t.Errorf("it has all its episodes: %v", err)
	}
	if err := over(2); err == nil || !strings.Contains(err.Error(), "is over, with 1 episodes, and session.episodes is 2 now") {
		t.Errorf("more episodes: %v", err)
	}
}

// Two arms that make episodes of one session are none that anybody asked for. One that was
// killed is none.
func TestSecondActorIsRefused(t *testing.T) {
	c := tiny(t)
	srv := broker(t, &c)
	first, err := bus.Dial(t.Context(), srv.URL(), bus.Options{Name: "rapport-1@far"})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, end := context.WithCancel(t.Context())
	stop, err := first.Beat(ctx, c.Name, "actor", beatEvery)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	time.Sleep(3 * beatEvery) // it is there for a while
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = Act(soon, c, byTheClock())
	if err == nil || !strings.Contains(err.Error(), "has an actor already, rapport-1@far; end that one first") {
		t.Errorf("a second actor: %v", err)
	}
	end() // whose good-bye is heard, or as if it were not
	stop()
	r, err := guest(t.Context(), c, "actor", byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	peers, err := r.conn.WatchPeers(r.name, gone, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	last, err := first.Beat(t.Context(), c.Name, "actor", time.Hour) // one beat that was on its way
	if err != nil {
		t.Fatal(err)
	}
	defer last()
	if err := r.sole(peers); err != nil {
		t.Errorf("after the first was killed: %v", err)
	}
	// The first one stays where a second one comes.
	second, err := bus.Dial(t.Context(), srv.URL(), bus.Options{Name: "a-later-one"})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	later, err := second.Beat(t.Context(), c.Name, "actor", beatEvery)
	if err != nil {
		t.Fatal(err)
	}
	defer later()
	if err := r.sole(peers); err != nil {
		t.Errorf("the one that was there first: %v", err)
	}
}

// Two learners that prepare one session in two folders are not told apart by what is published.
func TestSecondLearnerIsRefused(t *testing.T) {
	c := tiny(t)
	srv := broker(t, &c)
	first, err := bus.Dial(t.Context(), srv.URL(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	stop, err := first.Beat(t.Context(), c.Name, "learner", beatEvery)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	time.Sleep(3 * beatEvery) // it is there for a while
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err = Learn(soon, c, byTheClock()); err == nil || !strings.Contains(err.Error(), "has a learner already, "+first.Name()+"; end that one first") {
		t.Errorf("a second learner: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.Out, c.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made its folder: %v", err)
	}
}

// Demonstrations have the waypoints that the learner's shell led to. An actor whose shell has
// another endpoint, or none, does not go by others.
func TestActorGoesByTheLearnersWaypoints(t *testing.T) {
	for _, learner := range []string{"vlm", "task"} {
		c := waypointed(t, "reach")
		s := hosted(t, broker(t, &c), c)
		s.vlm, s.endpoint = nil, ""
		if learner == "vlm" {
			s.vlm = func(string) (kagi.Model, error) { return nil, errors.New("the learner's alone") }
		}
		if err := s.introduce(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, enough := context.WithTimeout(t.Context(), time.Minute)
		o := byTheClock()
		var said string
		o.Tell = func(stage string, _, _ int, note string) {
			if stage == "waypoints" {
				said = note
				enough()
			}
		}
		if learner == "task" {
			o.VLM = func(string) (kagi.Model, error) { return nil, errors.New("the actor's alone") }
		}
		err := Act(ctx, c, o)
		enough()
		switch {
		case learner == "vlm" && !errors.Is(err, errNoPlanner):
			t.Errorf("an actor without the learner's endpoint: %v", err)
		case learner == "task" && !strings.Contains(said, "no model is asked"):
			t.Errorf("an actor with an endpoint of its own: %q, %v", said, err)
		}
	}
}

// A server that lost its store is told of the session again.
func TestLearnerIntroducesItselfToAServerWithoutItsStore(t *testing.T) {
	c := tiny(t)
	s := hosted(t, broker(t, &c), c)
	if err := errors.Join(s.publish(t.Context(), parts{eyes: blindfold{}, taste: taste{Version: tasteVersion, Kind: "goal"}}),
		s.put(t.Context(), "", policy.Params{Version: 6, Data: []byte("older")}), s.put(t.Context(), "", policy.Params{Version: 7, Data: []byte("newest")})); err != nil {
		t.Fatal(err)
	}
	s.conn = broker(t, &c).Conn()
	ticks := make(chan time.Time)
	s.after = func(d time.Duration) <-chan time.Time {
		if d == lookAgain {
			return ticks
		}
		return time.After(d)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.stayKnown(ctx); close(done) }()
	ticks <- time.Time{}
	r := &role{name: c.Name, conn: s.conn}
	eventually(t, "it is known", func() bool {
		_, err := s.conn.LatestParams(ctx, c.Name+subConfig)
		return err == nil
	})
	if f, err := r.facts(ctx); err != nil || f.ID == "" {
		t.Errorf("%+v, %v", f, err)
	}
	for sub, want := range map[string]uint64{"": 7, subEncoder: 1, subReward: 1} {
		p, err := s.conn.LatestParams(ctx, c.Name+sub)
		if err != nil || p.Version != want || sub == "" && string(p.Data) != "newest" {
			t.Errorf("parameters%s are version %d, %v; want %d", sub, p.Version, err, want)
		}
	}
	end()
	<-done
}

// blindfold is an encoder that can be published.
type blindfold struct{ eyes }

func (blindfold) Encode() ([]byte, error) { return []byte("encoder"), nil }

// What waits is what lies in the queue, whoever put it there, and nothing that nobody will learn from.
func TestActorWaitsForWhatIsQueuedAlone(t *testing.T) {
	c := tiny(t)
	set(t, &c, "session.episodes=100")
	srv := broker(t, &c)
	r := &role{cfg: c, name: c.Name, conn: srv.Conn(), ctx: t.Context()}
	stop, err := srv.Conn().Beat(t.Context(), c.Name, "learner", beatEvery)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	peers, err := srv.Conn().WatchPeers(c.Name, gone, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	dir := t.TempDir()
	said := 0
	acts := func() (*driver, func()) {
		spool, err := bus.NewPublisher(srv.Conn(), c.Name, dir)
		if err != nil {
			t.Fatal(err)
		}
		s := hosted(t, srv, c)
		s.tell = func(stage string, _, _ int, _ string) {
			if stage == "waits for the learner" {
				said++
			}
		}
		return &driver{s: s, r: r, spool: spool, peers: peers, params: policy.Params{Version: 1}}, spool.Close
	}
	looks := 0
	may := func(d *driver) bool {
		ok, err := d.may(t.Context(), looks)
		looks++
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	eventually(t, "the learner beats", func() bool { return peers.Alive("learner") })
	d, end := acts()
	for i := range ahead {
		if !may(d) {
			t.Fatalf("it waits with %d episodes queued", i)
		}
		e := policytest.Demos(1, 2, [2]float64{})[0]
		e.ID, e.Origin = episodeID(i), policy.Online
		if err := errors.Join(d.spool.Publish(t.Context(), e), d.spool.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second look says so
		if may(d) {
			t.Error("it goes on")
		}
	}
	if said == 0 {
		t.Errorf("it does not say that it waits for %d episodes", ahead)
	}
	end()
	if d, end = acts(); may(d) {
		t.Error("started again, it knows nothing of what it queued before")
	}
	defer end()
	ctx, enough := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // none of them becomes a policy's
		q := bus.Consumer{Conn: srv.Conn(), Session: c.Name, Sole: true}
		done <- q.Run(ctx, func(context.Context, policy.Episode) error { return bus.ErrReject })
	}()
	eventually(t, "it goes on without those that were buried", func() bool { return may(d) })
	enough()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
