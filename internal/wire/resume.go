package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

// Resume goes on with a session: the one called name or, if it is empty, the
// newest below out. Its configuration is that of its folder; environ and sets
// may change how long it goes on and where its bus is, and nothing else.
func Resume(ctx context.Context, out, name string, environ, sets []string, o Options) (*Session, error) {
	if name == "" {
		var err error
		if name, err = newest(out); err != nil {
			return nil, err
		}
	}
	return resume(ctx, out, name, o, func(dir string) (config.Config, error) {
		return configOf(dir, environ, sets)
	})
}

// Reopen goes on with the session that cfg names, which must have begun as cfg
// configures it.
func Reopen(ctx context.Context, cfg config.Config, o Options) (*Session, error) {
	return resume(ctx, cfg.Out, cfg.Name, o, func(string) (config.Config, error) { return cfg, nil })
}

// resume opens the session's folder with the configuration that load gives.
func resume(ctx context.Context, out, name string, o Options, load func(dir string) (config.Config, error)) (*Session, error) {
	dir := filepath.Join(out, name)
	if err := store.Lost(dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, database)); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("wire: there is no session %s in %s; name another, or begin one with: rapport run", name, out)
	}
	if of := actorOf(dir); of != "" {
		return nil, fmt.Errorf("wire: %s is what the actor of session %s keeps, and no session of its own; start its processes as before (rapport actor, rapport learner), or name a session: --set name=%[2]s", dir, of)
	}
	if err := fineTunes(dir); err != nil {
		return nil, err
	}
	st, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	cfg, err := agree(ctx, st, func(dir string) (config.Config, error) {
		c, err := load(dir)
		if err == nil {
			err = carded(c)
		}
		return c, err
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := masters(ctx, cfg, o); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	once, err := fleeting(dir, cfg)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if len(once) > 0 {
		o.Log.Warn("wire: these keys hold for this start alone: give them again when it goes on again", "keys", strings.Join(once, " "))
	}
	return begin(ctx, cfg, name, st, o)
}

// fleeting are the keys, with their values, of which the folder keeps others than cfg has: the next
// start goes by those. How to reach the session is everyone's to say.
func fleeting(dir string, cfg config.Config) (once []string, err error) {
	kept, err := asBegun(dir)
	if err != nil {
		return nil, err
	}
	for _, c := range cfg.Changes(rooted(kept)) {
		if !config.Covers([]string{"name", "out", "bus."}, c.Key) {
			once = append(once, c.Key+"="+c.Is)
		}
	}
	return once, nil
}

// free are the keys, and those that end in a dot their groups, that a session
// may go on with other values of: what was recorded and learned stays true. encoder.onnx may lie
// elsewhere, if it is the same file (sameONNX). A learner's checkpoint is of no device.
var free = []string{"name", "out", "session.episodes", "session.evaluate", "session.checkpoint", "session.orphan", "session.realign", "bus.", "robot.pace", "robot.markers", "robot.moved", "robot.ros.master", "robot.ros.wait", "robot.ros.again", "guard.gate", "guard.recover.", "practice.hours", "practice.reminder", "teleop.", "perception.", "reward.success", "reward.classifier", "encoder.onnx", "learner.device"}

// bearing are the free keys by which what a session comes to is another all the same. Who lets go
// of the arm's faults is not among them: reproductions of before had nobody who did.
var bearing = []string{"perception.", "robot.markers", "robot.moved", "reward.classifier", "session.realign"}

// Otherwise lists what c configures otherwise than the session of its name began, of all keys by
// which the figures of one would not be those of the other; nothing where there is no session yet.
func Otherwise(c config.Config) ([]config.Change, error) {
	dir := filepath.Join(c.Out, c.Name)
	if _, err := os.Stat(filepath.Join(dir, database)); err != nil {
		return nil, nil // whoever opens it says why
	}
	was, err := asBegun(dir)
	if err != nil {
		return nil, err
	}
	c, was = rooted(asKept(c, was)), rooted(was)
	moved := movedOrigins(was, c)
	return slices.DeleteFunc(c.Changes(was), func(ch config.Change) bool {
		return config.Covers(free, ch.Key) && !config.Covers(bearing, ch.Key) || slices.Contains(moved, ch.Key)
	}), nil
}

// agree returns the configuration to go on with. A session whose parts were made
// under different configurations could not be reproduced, and its report would
// name only one of them, so anything but the free keys must be as it was. What
// changed is written to the session's folder.
func agree(ctx context.Context, st *store.Session, load func(dir string) (config.Config, error)) (config.Config, error) {
	was, err := asBegun(st.Dir())
	if err != nil {
		return was, err
	}
	now, err := load(st.Dir())
	if err != nil {
		return now, err
	}
	begun := was
	was, now = rooted(was), rooted(asKept(now, was))
	moved, err := movedFiles(st.Dir(), was, now)
	if err != nil {
		return now, err
	}
	moved = append(moved, movedOrigins(was, now)...)
	var fixed []error
	kept := len(moved) > 0
	for _, c := range now.Changes(was) {
		if slices.Contains(moved, c.Key) {
			continue
		}
		if config.Covers(free, c.Key) {
			kept = kept || config.Covers([]string{"session.", "robot.markers", "robot.moved", "reward.success", "reward.classifier", "encoder.onnx", "learner.device", "practice.hours", "practice.reminder"}, c.Key)
			continue
		}
		fixed = append(fixed, fmt.Errorf("wire: %s: %v when the session began; leave it so, or begin another session", st.Dir(), c))
	}
	if err := errors.Join(fixed...); err != nil {
		return now, err
	}
	if !kept {
		return now, keepFiles(st, now)
	}
	done, err := st.Episodes(ctx, policy.Online)
	if err != nil {
		return now, err
	}
	if n := now.Session.Episodes; n < len(done) { // nothing that is refused is kept
		return now, fmt.Errorf("wire: %s holds %d episodes, but session.episodes is %d; want at least %d", st.Dir(), len(done), n, len(done))
	}
	if _, err := (&Session{cfg: now, store: st}).sameONNX(ctx); err != nil {
		return now, err
	}
	if was.Session.Episodes != now.Session.Episodes {
		if err := keepSpan(ctx, st, was, len(done)); err != nil {
			return now, err
		}
	}
	was.Encoder.ONNX, was.Learner.Device = now.Encoder.ONNX, now.Learner.Device
	was.Session, was.Robot.Markers, was.Robot.Moved = now.Session, now.Robot.Markers, now.Robot.Moved
	was.Reward.Success, was.Reward.Classifier = now.Reward.Success, now.Reward.Classifier
	was.Practice.Hours, was.Practice.Reminder = now.Practice.Hours, now.Practice.Reminder
	was.Reward.KAGI.Plan, was.Reward.KAGI.Cameras, was.Reward.KAGI.Segmenter = now.Reward.KAGI.Plan, now.Reward.KAGI.Cameras, now.Reward.KAGI.Segmenter
	// Where those of a session of before were is not for the folder that one stands in to say.
	for key, name := range origins(&was) {
		if *name = *origins(&begun)[key]; slices.Contains(moved, key) {
			*name = *origins(&now)[key]
		}
	}
	was.Robot.Bag = begun.Robot.Bag
	if err := keepFiles(st, now); err != nil {
		return now, err
	}
	return now, keepConfig(was, func(b []byte) error { return st.Put("config.yaml", b) })
}

// markSpan is the mark of how many episodes IQL's rate falls over, where session.episodes is
// another by now.
const markSpan = "rate falls over"

// keepSpan keeps over how many episodes the rate falls in a session that learned already, of
// which did are done: another length would let it jump, and what was learned before could not
// be learned again from its episodes.
func keepSpan(ctx context.Context, st *store.Session, was config.Config, did int) error {
	if was.Learner.Kind != "iql" || !was.Learner.IQL.Decay {
		return nil
	}
	if v, err := st.Marked(ctx, markSpan); err != nil || v != "" {
		return err
	}
	_, _, err := st.LatestCheckpoint(ctx, kindLearner)
	if errors.Is(err, store.ErrNone) && (did == 0 || logged(was)) {
		return nil
	}
	return st.Mark(ctx, markSpan, strconv.Itoa(was.Session.Episodes))
}

// span is how many episodes IQL's rate falls over.
func (s *Session) span(ctx context.Context) (int, error) {
	v, err := s.store.Marked(ctx, markSpan)
	if err != nil || v == "" {
		return s.cfg.Session.Episodes, err
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, fmt.Errorf("wire: %s: mark %q: %w", s.Dir(), markSpan, err)
	}
	return n, nil
}

// keepConfig writes a configuration for the folder and the report, which people
// pass on: without the password.
func keepConfig(c config.Config, write func([]byte) error) error {
	c.Bus.Password = ""
	b, err := c.YAML()
	if err != nil {
		return err
	}
	return write(b)
}
