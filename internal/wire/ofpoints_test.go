package wire

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// Rewards of tracked points, and what is made of them, are compared where there are points; no map
// of a picture is drawn of them, and nothing of the other rewards is lost by that.
func TestRewardsOfPointsAreComparedWhereThereAreAny(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	set(t, &c, "name=one", "reward.sees=points", "demos.good=2", "demos.bad=2", "session.episodes=1", "session.evaluate=1")
	s, err := Create(ctx, c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.prepare(withDesk(ctx, s.desk)); err != nil {
		t.Fatal(err)
	}
	dir, demo := s.Dir(), s.episodeFile("demo-00000")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The same episode, recorded by who follows no points.
	rec, err := record.Read(demo)
	if err != nil {
		t.Fatal(err)
	}
	mute := filepath.Join(t.TempDir(), "mute.mcap")
	w, err := record.Create(mute, record.Info{ID: "mute", Encoder: rec.Info.Encoder})
	if err != nil {
		t.Fatal(err)
	}
	for _, tick := range rec.Ticks {
		tick.Keys = nil
		if err := w.Tick(tick); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Rewards(rec.Rewards); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cc := CompareConfig{ReplayConfig: ReplayConfig{Session: dir, Files: []string{demo, mute}, Out: filepath.Join(t.TempDir(), "out")}, Every: 1, Saliency: 1, Patches: 2,
		Bare: true, Rewards: []string{"logged=logged", "own=own", "frozen=frozen", "both=krc:of=own+frozen", "other=session:dir=" + dir}}
	out, err := CompareRewards(ctx, cc, nil, nil, quietly())
	if err != nil || len(out.Left()) > 0 || len(out.Episodes) != 2 {
		t.Fatalf("%d episodes, left out %v, %v; want both", len(out.Episodes), out.Left(), err)
	}
	if _, err := os.Stat(filepath.Join(cc.Out, "returns.csv")); err != nil || out.Salient != "" {
		t.Errorf("no table (%v), or a map of %q", err, out.Salient)
	}
	for k, name := range out.Rewards {
		if xs := out.Episodes[0].Rewards[k]; len(xs) != out.Episodes[0].Steps {
			t.Errorf("%s gives %v", name, xs)
		}
		told := slices.ContainsFunc(out.Episodes[1].Notes, func(n string) bool { return strings.Contains(n, "the reward "+name+" goes by tracked points") })
		if xs := out.Episodes[1].Rewards[k]; (xs != nil) != (name == "logged") || told == (name == "logged") {
			t.Errorf("without points %s gives %v, notes %v", name, xs, out.Episodes[1].Notes)
		}
	}
	_, err = PlotRewards(ctx, dir, PlotConfig{Rewards: []string{"own=own"}, Of: "tool", Height: math.NaN(), Cells: 2}, nil, nil, quietly())
	wantErr(t, err, "the reward own goes by tracked points", "truth=truth")
}

// Sessions that learn from no videos need not have any that somebody preferred.
func TestRewardsOfVideosAreNotComparedWithoutThem(t *testing.T) {
	ctx := t.Context()
	c := tiny(t)
	c.Reward.Kind = "kagi"
	s := begun(t, c)
	if _, err := s.store.AddEpisode(ctx, motionless("demo-00000")); err != nil {
		t.Fatal(err)
	}
	p := parts{taste: taste{Version: tasteVersion, Kind: "kagi"}, scorer: redness{}}
	b := &bench{s: s, parts: p, log: s.log}
	specs := usualRivals(p)
	if _, err := b.rivals(ctx, specs); err != nil || len(specs) != 3 {
		t.Errorf("the usual ones are %v, %v", specs, err)
	}
	for _, kind := range []string{"gail", "tcc", "goal"} {
		_, err := (&bench{s: s, parts: p, log: s.log}).rivals(ctx, []string{"g=" + kind})
		wantErr(t, err, "reward g", "preferred videos")
	}
}

// motionless is a demonstration in which nothing happens.
func motionless(id string) policy.Episode {
	e := policy.Episode{ID: id, Origin: policy.Demo, Applied: make([]robot.Command, 2), By: make([]robot.Source, 2), Version: make([]uint64, 2), Inputs: make([]policy.Input, 3)}
	for i := range e.Inputs {
		e.Inputs[i].Features.Embed = []float32{1}
	}
	return e
}
