package cli

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// One session, whose frames are kept without loss, is compared and drawn in every way.
func TestReward(t *testing.T) {
	l := newLab(t)
	l.lasts(30)
	l.must("run", "--set", "session.episodes=2", "--set", "session.lossless=true")
	t.Run("compare", func(t *testing.T) { testCompare(t, l) })
	t.Run("plot", func(t *testing.T) { testPlot(t, l) })
	t.Run("explain", func(t *testing.T) { testExplain(t, lab{t, l.dir, l.file, l.env}) })
	t.Run("classifier", func(t *testing.T) { testClassifier(t, lab{t, l.dir, l.file, l.env}) })
	t.Run("judge", func(t *testing.T) { testJudge(t, lab{t, l.dir, l.file, l.env}) }) // after classifier, which marks frames
	t.Run("offline-vlm", func(t *testing.T) { testOfflineVLM(t, lab{t, l.dir, l.file, l.env}) })
	t.Run("filter", func(t *testing.T) { testFilter(t, lab{t, l.dir, l.file, l.env}) })
	t.Run("probe", func(t *testing.T) { testProbe(t, lab{t, l.dir, l.file, l.env}) })
	t.Run("align", func(t *testing.T) { testAlign(t, lab{t, l.dir, l.file, l.env}) }) // the last: it changes the reward
}

// column is one of a table, by its head.
func column(t *testing.T, rows [][]string, head string) []string {
	t.Helper()
	for i, h := range rows[0] {
		if h != head {
			continue
		}
		var out []string
		for _, r := range rows[1:] {
			out = append(out, r[i])
		}
		return out
	}
	t.Fatalf("no column %q in %v", head, rows[0])
	return nil
}

func sized(t *testing.T, path string) (w, h int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := png.DecodeConfig(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c.Width, c.Height
}

func testCompare(t *testing.T, l lab) {
	in := func(t *testing.T) lab { return lab{t, l.dir, l.file, l.env} }
	const steps, episodes = 30, 8

	t.Run("tables and pictures", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "out")
		l.wants(exitDone, []string{"recordings 8 of 8 rated, 240 steps", "rapl-gamma1", "STARC", "every 4. frame", "saliency.png of online-00001"},
			"reward", "compare", l.session(), "--out", out, "--reward", "near=distance", "--reward", "twin=session:dir="+l.session(),
			"--reward", "krc=krc:of=rapl+frozen,potential=0.9", "--reward", "mean=harmonic:of=rapl+frozen,lambda=0.3,lo=-2", "--saliency", "2", "--patches", "4")
		frames := readCSV(t, filepath.Join(out, "frames.csv"))
		if len(frames) != 1+episodes*steps {
			t.Fatalf("%d rows of frames", len(frames))
		}
		logged, rapl, twin, near := column(t, frames, "logged"), column(t, frames, "rapl"), column(t, frames, "twin"), column(t, frames, "near")
		truth, distance, frozen := column(t, frames, "truth"), column(t, frames, "distance"), column(t, frames, "frozen")
		for i := range logged {
			// The session's reward of the logged features, and of the very frames.
			if logged[i] == "" || logged[i] != rapl[i] || rapl[i] != twin[i] {
				t.Fatalf("row %d: %q was logged, %q comes out, %q from the frames", i, logged[i], rapl[i], twin[i])
			}
			// Every episode could be lived through again.
			if truth[i] == "" || number(t, distance[i]) != -number(t, near[i]) || number(t, distance[i]) < 0 {
				t.Fatalf("row %d: truth %q, distance %q, near %q", i, truth[i], distance[i], near[i])
			}
			if frozen[i] == rapl[i] {
				t.Fatalf("row %d: the frozen encoder's reward is the aligned one's", i)
			}
		}
		pairs := map[string][]string{}
		for _, r := range readCSV(t, filepath.Join(out, "pairs.csv"))[1:] {
			pairs[r[0]+" "+r[1]] = r
		}
		if len(pairs) != 10*9/2 {
			t.Errorf("%d pairs of 10 rewards", len(pairs))
		}
		if p := pairs["logged rapl"]; p[4] != "1" || p[5] != "1" || p[6] != "0" {
			t.Errorf("a reward and itself: %v", p)
		}
		for _, p := range pairs {
			if d := number(t, p[6]); !(d >= 0 && d <= 1) {
				t.Errorf("%v: a STARC distance of %v", p, d)
			}
		}
		for _, r := range readCSV(t, filepath.Join(out, "truth.csv"))[1:] {
			// All but 1: what is below 0.1 mm is a tie to the measure.
			if r[0] == "near" && (number(t, r[1]) < 0.95 || number(t, r[3]) < 0.95 || number(t, r[6]) < 0.8) {
				t.Errorf("the distance agrees with itself by %v", r)
			}
			if x := number(t, r[3]); math.Abs(x) > 1 || r[4] == "0" {
				t.Errorf("%v: want a correlation, of some episodes", r)
			}
		}
		for name, atLeast := range map[string][2]int{"curves.png": {1000, 500}, "pairs.png": {1200, 400}, "saliency.png": {2 * 192, 7 * 192}} {
			if w, h := sized(t, filepath.Join(out, name)); w < atLeast[0] || h < atLeast[1] {
				t.Errorf("%s is %dx%d", name, w, h)
			}
		}
		l.wants(exitFailed, []string{"is not empty"}, "reward", "compare", l.session(), "--out", out)
	})

	t.Run("rewards made anew from what was said", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "out")
		l.wants(exitDone, []string{"8 of 8 rated", "made anew from 8 comparisons", "made anew from 5 comparisons", "made anew from the preferred videos"},
			"reward", "compare", l.session(), "--bare", "--out", out, "--saliency", "0", "--reward", "rapl=own", "--reward", "again=rapl:labels=99", "--reward", "few=rapl:labels=5",
			"--reward", "rlhf=rlhf", "--reward", "goal=goal", "--reward", "tcc=tcc:form=goal", "--reward", "gail=gail")
		frames := readCSV(t, filepath.Join(out, "frames.csv"))
		own := column(t, frames, "rapl")
		for _, name := range frames[0][4:] {
			// The same answers give the same reward again; all others differ.
			if same := slices.Equal(own, column(t, frames, name)); same != (name == "again") {
				t.Errorf("%s is the session's reward: %v", name, same)
			}
		}

		// Two people answer, one by what the session's reward says, and one against it.
		worth := map[string]float64{}
		for i, id := range column(t, frames, "episode") {
			worth[id] += number(t, own[i])
		}
		ids := slices.Sorted(maps.Keys(worth))
		var ls []label.Label
		for i, a := range ids {
			for j, b := range ids[:i] {
				for k, who := range []string{"ann", "ben"} {
					l := label.Label{ID: fmt.Sprintf("%s-%d-%d", who, i, j), Annotator: who, Stamp: time.Unix(1, 0), Choice: label.Left}
					l.Query = label.Query{ID: "q" + l.ID, Kind: label.Pair, Clips: []label.Clip{{Episode: a}, {Episode: b}}}
					if (worth[a] > worth[b]) != (k == 0) {
						l.Choice = label.Right
					}
					if k == 0 && j%2 == 0 {
						l.Tags = []string{"near"}
					}
					ls = append(ls, l)
				}
			}
		}
		var said bytes.Buffer
		file := filepath.Join(t.TempDir(), "said.jsonl")
		if err := errors.Join(label.Write(&said, ls), os.WriteFile(file, said.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
		l.must("label", "import", file, l.session())
		out = filepath.Join(t.TempDir(), "out")
		l.wants(exitDone, []string{"PAL, ann of 3 people", "VPL, ben among 3 people", "a stranger", "regret, ann, from 28 comparisons", "RLHF, ben alone, from ", "BTT, ben alone, davidson of strength 2.00", "-1 of near from ", "HERON, decided by path "},
			"reward", "compare", l.session(), "--bare", "--out", out, "--saliency", "0", "--reward", "rapl=own", "--reward", "ann=pal:person=ann,prototypes=3",
			"--reward", "ben=pal:person=ben,model=b", "--reward", "new=vpl:steps=5", "--reward", "vpl=vpl:person=ben,steps=200", "--reward", "pains=regret:person=ann,components=3", "--reward", "alone=rlhf:person=ben",
			"--reward", "ties=btt:person=ben,model=davidson,strength=2", "--reward", "far=btt:axes=near,weights=-1", "--reward", "order=heron:order=path+time,margin=0.2")
		for _, r := range readCSV(t, filepath.Join(out, "pairs.csv"))[1:] {
			// Of episodes that the models were fitted to: whose view it is must show.
			if d := number(t, r[5]); r[0] == "rapl" && (r[1] == "ann" && d < 0.7 || r[1] == "ben" && d > -0.7 || r[1] == "vpl" && d > -0.7 || r[1] == "alone" && d > -0.7 || r[1] == "ties" && d > -0.7 || r[1] == "far" && d > -0.7 || r[1] == "pains" && d < 0.7) {
				t.Errorf("returns by what %s likes agree by %v with what ann judges by and ben against", r[1], d)
			}
		}
	})

	t.Run("of a bag, an episode and a dataset", func(t *testing.T) {
		l, dir := in(t), t.TempDir()
		episode := filepath.Join(l.session(), "episodes", "demo-00000.mcap")
		l.wants(exitDone, []string{"recordings 1 of 1 rated, 30 steps", "truth"}, "reward", "compare", episode)
		loose := filepath.Join(dir, "loose.mcap")
		b, err := os.ReadFile(episode)
		if err == nil {
			err = os.WriteFile(loose, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		monday, lerobot := filepath.Join(dir, "monday.bag"), filepath.Join(dir, "lerobot")
		bagged(t, episode, monday, nil)
		l.must("data", "export", "--lerobot", l.session(), lerobot, "--images")
		for _, path := range []string{loose, monday, lerobot} {
			out := filepath.Join(t.TempDir(), "out")
			args := []string{"reward", "compare", path, "--session", l.session(), "--out", out, "--saliency", "1", "--patches", "2"}
			if path == monday {
				args = append(args, "--map", "front=/front/image_raw/compressed")
			}
			said := l.wants(exitDone, []string{"rated"}, args...)
			if strings.Contains(said, "Spearman with the true") {
				t.Errorf("%s: a truth, of a recording whose world is not known:\n%s", path, said)
			}
			if w, h := sized(t, filepath.Join(out, "saliency.png")); w != 192 || h != 5*192 {
				t.Errorf("%s: saliency.png is %dx%d", path, w, h)
			}
			frames := readCSV(t, filepath.Join(out, "frames.csv"))
			for i, x := range column(t, frames, "rapl") {
				if number(t, x) > 0 || column(t, frames, "truth")[i] != "" || (column(t, frames, "logged")[i] == "") != (path == monday) {
					t.Fatalf("%s: row %v", path, frames[i+1])
				}
			}
			if path == lerobot && len(frames) < 1+episodes*(steps-1) {
				t.Errorf("the dataset has %d rows", len(frames))
			}
		}
		l.wants(exitFailed, []string{"--session"}, "reward", "compare", lerobot)
	})

	t.Run("a damaged episode is told and the rest goes on", func(t *testing.T) {
		l, dir := in(t), l.copied()
		cut := filepath.Join(dir, "episodes", "demo-00001.mcap")
		b, err := os.ReadFile(cut)
		if err == nil {
			err = os.WriteFile(cut, b[:2*len(b)/3], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.wants(exitFailed, []string{"recordings 8 of 8 rated", "demo-00001.mcap: file ends before its footer"}, "reward", "compare", dir)
	})

	t.Run("an episode that went otherwise has no truth", func(t *testing.T) {
		l, dir := in(t), l.copied()
		path := filepath.Join(dir, "episodes", "demo-00002.mcap")
		rec, err := record.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		rec.Info.Seed++
		rec.Ticks[9].Applied.Delta[0] += 0.02
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w, err := record.Create(path, rec.Info)
		for _, tick := range rec.Ticks {
			if err == nil {
				err = w.Tick(tick)
			}
		}
		if err == nil {
			err = w.Rewards(rec.Rewards)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		l.wants(exitDone, []string{"demo-00002: no truth: lived through again, joint"}, "reward", "compare", dir)
	})

	t.Run("refuses", func(t *testing.T) {
		l := in(t)
		l.wants(exitUsage, []string{"name recordings"}, "reward", "compare")
		l.wants(exitUsage, []string{"--every"}, "reward", "compare", l.session(), "--every", "0")
		l.wants(exitUsage, []string{"--discount"}, "reward", "compare", l.session(), "--discount", "1")
		l.wants(exitUsage, []string{"--saliency"}, "reward", "compare", l.session(), "--saliency", "9")
		l.wants(exitUsage, []string{"--patches"}, "reward", "compare", l.session(), "--patches", "1")
		l.wants(exitUsage, []string{"--bare"}, "reward", "compare", l.session(), "--bare")
		l.wants(exitUsage, []string{"--map"}, "reward", "compare", l.session(), "--map", "front")
		for spec, want := range map[string]string{
			"soft":                                "NAME=KIND",
			"soft=nothing":                        "there is no kind",
			"rapl=rapl":                           "two rewards are called",
			"soft=rapl:gamma":                     "KEY=VALUE",
			"soft=rapl:gamma=big":                 "want a number",
			"soft=rapl:gamma=-1":                  "gamma is -1",
			"soft=rapl:colour=red":                "has no colour",
			"soft=frozen:cost=manhattan":          "manhattan",
			"soft=rlhf:labels=1":                  "labels is 1",
			"soft=rapl:labels=-1":                 "labels is -1",
			"soft=pal:person=carl":                "one of those who answered: ann, ben, simulated",
			"soft=regret":                         "one of those who answered",
			"soft=pal:model=c":                    "model is",
			"soft=rlhf:person=ann,labels=3":       "has no labels",
			"soft=heron:order=speed":              "success, force, time, path",
			"soft=heron:margin=-1":                "want at least 0",
			"soft=btt:model=elo":                  "rao-kupper",
			"soft=btt:strength=0.5":               "want above 1",
			"soft=btt:weights=1":                  "weights are of axes",
			"soft=btt:axes=smooth":                "no answer gives as its reason",
			"soft=regret:person=carl":             "one of those who answered",
			"soft=vpl:steps=0":                    "whole number",
			"soft=goal:labels=9":                  "learns from no comparisons",
			"soft=goal:gama=9":                    "has no gama",
			"soft=session":                        "dir=",
			"soft=session:dir=/nowhere":           "no session's folder",
			"soft=krc:of=truth":                   "of names",
			"soft=harmonic:of=rapl":               "want two",
			"soft=krc:of=rapl,lo=1":               "want a lower",
			"soft=harmonic:of=rapl+rapl,lambda=2": "lambda",
		} {
			l.wants(exitFailed, []string{want}, "reward", "compare", l.session(), "--reward", spec)
		}
		l.wants(exitFailed, []string{"no recording called"}, "reward", "compare", l.session(), "--episode", "demo-9", "--out", filepath.Join(t.TempDir(), "x"))
	})
}

func testPlot(t *testing.T, l lab) {
	in := func(t *testing.T) lab { return lab{t, l.dir, l.file, l.env} }
	const cells = 9

	t.Run("the truth peaks at the ball", func(t *testing.T) {
		l, dir := in(t), t.TempDir()
		out := filepath.Join(dir, "map.png")
		l.wants(exitDone, []string{"demo-00001, at its end, with tool elsewhere", "rapl", "at most", "written"},
			"reward", "plot", l.session(), "--episode", "demo-00001", "--cells", "9", "--area", "0.4,-0.16,0.64,0.16", "--out", out)
		if w, h := sized(t, out); w < 700 || h < 300 {
			t.Errorf("the picture is %dx%d", w, h)
		}
		rows := readCSV(t, filepath.Join(dir, "map.csv"))
		if len(rows) != 1+cells*cells {
			t.Fatalf("%d rows", len(rows))
		}
		rec, err := record.ReadNumbers(filepath.Join(l.session(), "episodes", "demo-00001.mcap"))
		if err != nil {
			t.Fatal(err)
		}
		w, err := tabletop.New(tabletop.Config{Task: tabletop.Reach, Render: tabletop.None})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.ResetSeed(t.Context(), rec.Info.Seed); err != nil {
			t.Fatal(err)
		}
		ball := w.Truth().Bodies[0].Pose.P
		best := math.Inf(-1)
		var at [2]float64
		rapl := map[string]bool{}
		for _, r := range rows[1:] {
			rapl[r[2]] = true
			if r[3] == "" {
				continue
			}
			if z := number(t, r[3]); z > best {
				best, at = z, [2]float64{number(t, r[0]), number(t, r[1])}
			}
		}
		if math.Abs(at[0]-ball[0]) > 0.03 || math.Abs(at[1]-ball[1]) > 0.04 {
			t.Errorf("the truth peaks at %v, more than a cell from the ball at %v", at, ball)
		}
		if len(rapl) < cells {
			t.Errorf("the session's reward has %d values over the table", len(rapl))
		}
	})

	t.Run("of an object", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "ball.png")
		l.wants(exitDone, []string{"online-00001, at its end, with ball elsewhere at 0.120 m", "twin"},
			"reward", "plot", "--of", "ball", "--cells", "3", "--reward", "twin=session:dir="+l.session(), "--reward", "frozen=frozen", "--out", out)
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
		l.wants(exitFailed, []string{"ball.csv is there already"}, "reward", "plot", "--of", "ball", "--cells", "3", "--out", out)
	})

	t.Run("refuses", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "x.png")
		l.wants(exitUsage, []string{"PNG"}, "reward", "plot", l.session())
		l.wants(exitUsage, []string{"--cells"}, "reward", "plot", l.session(), "--out", out, "--cells", "1")
		l.wants(exitUsage, []string{"--area"}, "reward", "plot", l.session(), "--out", out, "--area", "1,2")
		l.wants(exitFailed, []string{"leave no area"}, "reward", "plot", l.session(), "--out", out, "--area", "0.5,0,0.4,1")
		l.wants(exitFailed, []string{"box9", "ball"}, "reward", "plot", l.session(), "--out", out, "--of", "box9")
		l.wants(exitFailed, []string{"no episode"}, "reward", "plot", l.session(), "--out", out, "--episode", "demo-9")
		l.wants(exitFailed, []string{"reaches none"}, "reward", "plot", l.session(), "--out", out, "--cells", "2", "--height", "2")
		l.wants(exitFailed, []string{"says nothing"}, "reward", "plot", l.session(), "--out", out, "--cells", "2", "--reward", "logged=logged")
	})
}
