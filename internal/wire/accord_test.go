package wire

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
)

func TestProcessesOfAnotherConfigurationAreRefused(t *testing.T) {
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	with := func(name string, sets ...string) config.Config {
		t.Helper()
		c, err := config.Load("", nil, append(sets, "name="+name, "bus.url="+srv.URL(), "out="+t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	publish := func(c config.Config) {
		t.Helper()
		c.Bus.Password = "secret"
		if err := (&Session{cfg: c, name: c.Name, conn: srv.Conn(), log: byTheClock().Log, after: time.After}).publishConfig(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	roles := map[string]func(context.Context, config.Config, Options) error{"actor": Act, "perception": ServePerception, "scorer": ServeScorer}
	refused := func(what string, err error) {
		t.Helper()
		for _, want := range []string{"robot.task is group here, and reach at its learner; want --set 'robot.task=reach'", "robot.horizon is 30 here, and 45", "policy.scale is 0.03 here"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want that %s", what, err, want)
			}
		}
	}
	other := []string{"robot.task=group", "robot.horizon=30", "policy.scale=0.03"}
	publish(with("begun", "robot.task=reach"))
	for what, run := range roles {
		refused(what, run(t.Context(), with("begun", other...), byTheClock()))

		// One that was there before the learner is told as soon as that begins.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		waits, done := make(chan struct{}, 1), make(chan error, 1)
		o := byTheClock()
		o.Tell = func(stage string, _, _ int, _ string) {
			if stage == "waiting for the learner" {
				waits <- struct{}{}
			}
		}
		go func() { done <- run(ctx, with(what, other...), o) }()
		<-waits
		publish(with(what, "robot.task=reach"))
		refused(what+" before the learner", <-done)
		cancel()
	}

	// What lies elsewhere or says how long is each process's own.
	r, err := guest(t.Context(), with("begun", "robot.task=reach", "session.episodes=3", "learner.device=cpu", "session.record=false"), "actor", byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := errors.Join(r.accords(t.Context()), r.ctx.Err()); err != nil {
		t.Error(err)
	}
	// The learner ends the session, so that it says after how many episodes; started again,
	// it may say otherwise.
	d := &driver{s: &Session{cfg: r.cfg}, r: r}
	if got, want := d.total(), config.Default().Session.Episodes; got != want {
		t.Errorf("the actor is to make %d episodes, and the learner to have %d", got, want)
	}
	publish(with("begun", "robot.task=reach", "session.episodes=60"))
	eventually(t, "the actor is to make 60 episodes", func() bool { return d.total() == 60 })
	if p, err := srv.Conn().LatestParams(t.Context(), "begun"+subConfig); err != nil || strings.Contains(string(p.Data), "secret") {
		t.Errorf("published %s, %v; want no password", p.Data, err)
	}
}
