package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
)

// backbones has c see through a copy of a small backbone, and returns what makes another of
// the copy that loads as well.
func backbones(t *testing.T, c *config.Config) (replace func()) {
	t.Helper()
	b, err := os.ReadFile("../../perception/vision/testdata/tiny.onnx")
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(c.Encoder.ONNX, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Encoder.Kind, c.Encoder.ONNX, c.Encoder.Size = "onnx", filepath.Join(t.TempDir(), "tiny.onnx"), 16
	put(b)
	return func() { put(append(b, 0x32, 1, 'x')) } // a doc_string
}

// A session goes on, and is evaluated, with the frozen backbone that it began with alone.
func TestAnotherBackboneIsRefused(t *testing.T) {
	c := tiny(t)
	c.Name = "frozen"
	replace := backbones(t, &c)
	s, err := Create(t.Context(), c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.openEyes(t.Context(), nil); err != nil {
		t.Errorf("before anything was kept: %v", err)
	}
	if err := s.store.SaveCheckpoint(t.Context(), kindReward, 1, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := s.keepMakers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.openEyes(t.Context(), nil); err != nil {
		t.Errorf("the same file: %v", err)
	}
	dir := s.Dir()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	replace()
	_, err = Evaluate(t.Context(), dir, Cloned, 2, nil, nil, quietly())
	if wantErr(t, err, "is another file now"); strings.Contains(err.Error(), "once its demonstrations are cloned") {
		t.Errorf("%v; to go on with the session is no remedy", err)
	}
	if s, err = visit(dir, judged, "looking", nil, nil, quietly()); err != nil {
		t.Fatal(err)
	}
	defer s.store.Close()
	_, err = s.openEyes(t.Context(), nil)
	for _, want := range []string{c.Encoder.ONNX + " is another file now, of SHA-256 ", "bring that back"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("another file: %v; want %s", err, want)
		}
	}
}

// Each process has the file where it likes; what is in it is the learner's.
func TestPerceptionOfAnotherBackboneIsRefused(t *testing.T) {
	c := tiny(t)
	srv := broker(t, &c)
	replace := backbones(t, &c)
	begin := func(c config.Config) {
		t.Helper()
		if err := hosted(t, srv, c).introduce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	perceives := func(ctx context.Context, c config.Config) (done chan error, serves chan struct{}) {
		done, serves = make(chan error, 1), make(chan struct{}, 1)
		o := byTheClock()
		o.Tell = func(s string, _, _ int, _ string) {
			if strings.HasPrefix(s, "serving") {
				serves <- struct{}{}
			}
		}
		go func() { done <- ServePerception(ctx, c, o) }()
		return done, serves
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	refused := func(what string, err error) {
		t.Helper()
		for _, want := range []string{"encoder.onnx /", " is of SHA-256 ", "at its learner; copy the learner's file"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %s", what, err, want)
			}
		}
	}
	ends := func(what string, end context.CancelFunc, done chan error) {
		t.Helper()
		end()
		if err := <-done; err != nil && !strings.Contains(err.Error(), "canceled") {
			t.Errorf("%s: %v", what, err)
		}
	}
	here, end := context.WithCancel(ctx)
	same, serves := perceives(here, c)
	<-serves
	begin(c)
	late, serves := perceives(here, c)
	<-serves
	ends("that of the same file", end, same)
	ends("that of the same file, later", end, late)

	other := c
	other.Name = "other"
	backbones(t, &other)()
	done, serves := perceives(ctx, other)
	<-serves
	hosts := c
	hosts.Name = other.Name
	begin(hosts)
	refused("there before the learner", <-done)
	replace()
	done, _ = perceives(ctx, c)
	refused("after the learner", <-done)
}

// A session names its backbone so that it is found from any folder, and where it lies elsewhere by
// now, the same file is named by a setting.
func TestABackboneMayLieElsewhere(t *testing.T) {
	c := tiny(t)
	c.Name = "moved"
	replace := backbones(t, &c)
	there := c.Encoder.ONNX
	t.Chdir(filepath.Dir(there))
	c.Encoder.ONNX = filepath.Base(there)
	s, err := Create(t.Context(), c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Dir()
	if err := errors.Join(s.store.SaveCheckpoint(t.Context(), kindReward, 1, []byte("{}")), s.keepMakers(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	looks := func(sets ...string) error {
		t.Helper()
		s, err := visit(dir, judged, "looking", nil, sets, quietly())
		if err != nil {
			return err
		}
		_, err = s.openEyes(t.Context(), nil)
		return errors.Join(err, s.store.Close())
	}
	goesOn := func(sets ...string) error {
		t.Helper()
		s, err := Resume(t.Context(), c.Out, c.Name, nil, sets, quietly())
		if err != nil {
			return err
		}
		return s.Close()
	}
	if err := errors.Join(looks(), goesOn()); err != nil {
		t.Errorf("from another folder: %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "same.onnx")
	b, err := os.ReadFile(there)
	if err := errors.Join(err, os.WriteFile(elsewhere, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	c.Encoder.ONNX = there
	replace()
	wantErr(t, goesOn("encoder.onnx="+there, "session.episodes=5"), "is another file now")
	if err := os.Remove(there); err != nil {
		t.Fatal(err)
	}
	wantErr(t, looks(), "encoder.onnx", "cannot be read")
	if err := errors.Join(looks("encoder.onnx="+elsewhere), goesOn("encoder.onnx="+elsewhere), looks()); err != nil {
		t.Errorf("named by a setting, and kept: %v", err)
	}
}

// A session of another version is no riddle.
func TestSettingsOfAnotherVersionAreToldAsSuch(t *testing.T) {
	c := tiny(t)
	s, err := Create(t.Context(), c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Dir()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.yaml")
	b, err := os.ReadFile(file)
	if err := errors.Join(err, os.WriteFile(file, append(b, "garbage: 1\n"...), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = visit(dir, judged, "looking", nil, nil, quietly())
	wantErr(t, err, "garbage", "if another version of rapport made the session, use that one")
}

// A session by waypoints finds its files from any folder, and where they lie elsewhere by now, the
// same ones are named by a setting.
func TestFilesOfWaypointsMayLieElsewhere(t *testing.T) {
	c := tiny(t)
	c.Name, c.Reward.Kind, c.Reward.KAGI.Plan = "moved", "kagi", "plan.json"
	bench, other := t.TempDir(), t.TempDir()
	plan, err := plans.ReadFile("plans/reach.json")
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(bench, "plan.json"), plan)
	put(filepath.Join(bench, "front.yaml"), []byte(fourMarkers))
	put(filepath.Join(bench, "cameras.json"), []byte("{}")) // which a simulation does not read
	put(filepath.Join(other, "cameras.json"), []byte("{ }"))
	c.Robot.Markers, c.Reward.KAGI.Cameras, c.Reward.KAGI.Cache = []string{"front.yaml"}, "cameras.json", "said"
	t.Chdir(bench)
	s, err := Create(t.Context(), c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Dir()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	looks := func(sets ...string) (config.Config, error) {
		t.Helper()
		s, err := visit(dir, judged, "looking", nil, sets, quietly())
		if err != nil {
			return c, err
		}
		return s.cfg, errors.Join(readable(s.cfg), s.store.Close())
	}
	goesOn := func(sets ...string) error {
		t.Helper()
		s, err := Resume(t.Context(), c.Out, c.Name, nil, sets, quietly())
		if err != nil {
			return err
		}
		return errors.Join(readable(s.cfg), s.Close())
	}
	t.Chdir(other) // whose cameras are others
	got, err := looks()
	if err := errors.Join(err, goesOn()); err != nil {
		t.Errorf("from another folder: %v", err)
	}
	if k := got.Reward.KAGI; k.Cameras != filepath.Join(bench, "cameras.json") || k.Cache != filepath.Join(bench, "said") {
		t.Errorf("from another folder: the cameras are %s, and what was said is in %s", k.Cameras, k.Cache)
	}
	put(filepath.Join(other, "plan.json"), append(plan, '\n'))
	for _, sets := range []string{"reward.kagi.plan=plan.json", "reward.kagi.cameras=cameras.json"} {
		_, err := looks(sets)
		wantErr(t, err, "is another file, of SHA-256")
		wantErr(t, goesOn(sets), "is another file, of SHA-256")
	}
	for _, name := range []string{"plan.json", "front.yaml"} {
		if err := os.Rename(filepath.Join(bench, name), filepath.Join(other, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = looks()
	wantErr(t, err, "reward.kagi.plan", "no such file", "elsewhere now: --set reward.kagi.plan=FILE")
	ros := c
	ros.Robot.Kind, ros.Reward.KAGI.Cameras = "ros", "gone.json"
	wantErr(t, readable(ros), "elsewhere now: --set reward.kagi.cameras=FILE")
	// A start that finds no plan forgets nothing of the one before.
	wantErr(t, goesOn(), "reward.kagi.plan", "no such file")
	put(filepath.Join(other, "other.json"), append(plan, '\n'))
	wantErr(t, goesOn("reward.kagi.plan=other.json"), "is another file, of SHA-256")
	sets := []string{"reward.kagi.plan=plan.json", "robot.markers=[front.yaml]"}
	_, err = looks(sets...)
	if err := errors.Join(err, goesOn(sets...)); err != nil {
		t.Errorf("named by settings: %v", err)
	}
	t.Chdir(bench)
	if _, err = looks(); err != nil {
		t.Errorf("what was named is not kept: %v", err)
	}
	// One of before has what it was begun with, and keeps no sums.
	was, err := asBegun(dir)
	if err != nil {
		t.Fatal(err)
	}
	was.Reward.KAGI.Plan = "plan.json"
	b, err := was.YAML()
	if err != nil {
		t.Fatal(err)
	}
	put(filepath.Join(dir, "config.yaml"), b)
	if err := os.Remove(filepath.Join(dir, filesFile)); err != nil {
		t.Fatal(err)
	}
	if _, err = looks("reward.kagi.plan=" + filepath.Join(other, "plan.json")); err != nil {
		t.Errorf("a plan of before that is not where its name says: %v", err)
	}
	t.Chdir(other)
	if _, err := looks(); err != nil {
		t.Errorf("a plan of before, from where the session was begun: %v", err)
	}
}
