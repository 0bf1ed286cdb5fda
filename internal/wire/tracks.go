package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
)

// tracks records the running episode and shows it on the bus.
type tracks struct {
	s        *Session
	arm      *arm
	actor    *loop.Actor // whose parameters act
	rec      *store.Recorder
	state    *bus.Feed[robot.State]
	features *bus.Feed[perception.Features]
	cameras  []*bus.Feed[robot.Frame]
	learner  *bus.Feed[policy.Stats]
	scorer   reward.Scorer // shows the reward while the episode runs; nil where it is elsewhere
	override override
	hand     func() // ends the listening to a person's hand
}

// depth is how many values a feed keeps while the bus is busy: half a second.
const depth = 10

func (s *Session) newTracks(ctx context.Context, a *arm) (*tracks, error) {
	t := &tracks{s: s, arm: a}
	c, on := s.conn, s.armOn()
	var errs [3]error
	t.state, errs[0] = bus.NewFeed(c, on, bus.StateTopic(), depth)
	t.features, errs[1] = bus.NewFeed(c, on, bus.FeatureTopic(), depth)
	t.learner, errs[2] = bus.NewFeed(c, s.name, bus.MetricTopic("learner"), depth)
	err := errors.Join(errs[:]...)
	if err == nil {
		t.override, t.hand, err = s.newOverride(ctx, a)
	}
	for _, cam := range s.cfg.Robot.Cameras {
		f, e := bus.NewFeed(c, on, bus.FrameTopic(cam.Name), depth)
		err = errors.Join(err, e)
		t.cameras = append(t.cameras, f)
	}
	return t, err
}

// watch is the actor's Watch.
func (t *tracks) watch(_ context.Context, step int, obs robot.Observation, in policy.Input) error {
	t.state.Publish(obs.State)
	t.features.Publish(in.Features)
	for i, f := range obs.Frames {
		t.cameras[i].Publish(f)
	}
	if step == 0 {
		t.s.show.begin(t.scorer)
	}
	t.s.show.tick(in.Features)
	version := uint64(0)
	if step > 0 {
		version = t.actor.Version()
	}
	t.s.desk.tick(episodeID(t.arm.next-1), step, &obs, t.actor.Version(), t.arm)
	if !t.s.cfg.Session.Record {
		return nil
	}
	if step == 0 {
		n := t.arm.next - 1
		var err error
		t.rec, err = t.s.store.Record(episodeID(n), uint64(n), t.s.seedOf(n), policy.Online)
		if err != nil {
			return err
		}
	}
	return t.rec.Tick(obs, version, in.Features)
}

// episodeID names the n-th online episode.
func episodeID(n int) string { return fmt.Sprintf("online-%05d", n) }

func (t *tracks) finish(rewards []float64, terminal bool) error {
	t.s.show.scored(rewards)
	if t.rec == nil {
		return nil
	}
	rec := t.rec
	t.rec = nil
	return rec.Finish(rewards, terminal)
}

// abort removes the file of an episode that did not end: it has no reward.
func (t *tracks) abort() error {
	if t.rec == nil {
		return nil
	}
	rec := t.rec
	t.rec = nil
	return rec.Abort()
}

func (t *tracks) close() {
	if t.hand != nil {
		t.hand()
	}
	t.state.Close()
	t.features.Close()
	t.learner.Close()
	for _, f := range t.cameras {
		f.Close()
	}
}
