package cli

import (
	"database/sql"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot/record"
)

// say runs a command and returns its exit code and what it says.
func (l lab) say(args ...string) (int, string) {
	l.t.Helper()
	return l.run(l.t.Context(), &console{}, args...)
}

// wants runs a command that must end with a code and say all of these.
func (l lab) wants(code int, said []string, args ...string) string {
	l.t.Helper()
	got, out := l.say(args...)
	if got != code {
		l.t.Errorf("rapport %s ended with %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	for _, s := range said {
		if !strings.Contains(out, s) {
			l.t.Errorf("rapport %s does not say %q:\n%s", strings.Join(args, " "), s, out)
		}
	}
	return out
}

// copied is a copy of the session's folder that may be harmed.
func (l lab) copied() string {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "copy-001")
	if err := os.CopyFS(dir, os.DirFS(l.session())); err != nil {
		l.t.Fatal(err)
	}
	return dir
}

func alter(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "session.db"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := db.Exec(statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d rows altered, %v", n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func readCSV(t *testing.T, path string) [][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// One session is replayed, harmed, exported and converted in every way; what harms it
// works on copies.
func TestRecordings(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.lasts(30)
	l.must("run", "--set", "session.episodes=2")
	l.must("run", "--set", "seed=6", "--set", "session.lossless=true", "--set", "session.episodes=1", "--set", "name=lossless")
	t.Run("replay", func(t *testing.T) { testReplay(t, l) })
	t.Run("export", func(t *testing.T) { testExport(t, l) })
	t.Run("bags", func(t *testing.T) { testBags(t, l) })
	t.Run("sessions over bags", func(t *testing.T) { testBagSessions(t, l) })
}

func testReplay(t *testing.T, l lab) {
	in := func(t *testing.T) lab { return lab{t, l.dir, l.file, l.env} }
	const steps, episodes = 30, 8

	t.Run("writes tables, curves and films", func(t *testing.T) {
		l, out := in(t), filepath.Join(t.TempDir(), "out")
		l.wants(exitDone, []string{"recordings 8 of 8 whole, 240 steps", "quantiles", "frames     248", "0 gaps"}, "replay", l.session(), "--out", out, "--film", "--live")
		rows := readCSV(t, filepath.Join(out, "steps.csv"))
		if len(rows) != 1+episodes*steps || rows[0][3] != "reward" || rows[1][0] != "demo-00000" {
			t.Fatalf("%d rows, of which the first are %v", len(rows), rows[:2])
		}
		for i, r := range rows[1:] {
			logged, again := r[4], r[5]
			if logged != again || logged == "" {
				t.Fatalf("row %d: %s was logged, %s comes out of the logged features", i, logged, again)
			}
			// The last prefix is the whole episode, to the solver's tolerance; the first
			// reward is not that of the whole.
			if live, reward := number(t, r[6]), number(t, r[3]); r[1] == strconv.Itoa(steps) && (live-reward > 0.01 || reward-live > 0.01) {
				t.Errorf("row %d: the whole prefix is worth %v live, %v in the end", i, live, reward)
			}
		}
		for _, name := range []string{"steps.parquet", "curves.png"} {
			if st, err := os.Stat(filepath.Join(out, name)); err != nil || st.Size() < 1000 {
				t.Errorf("%s: %v", name, err)
			}
		}
		v, err := vision.OpenVideo(filepath.Join(out, "films", "online-00001.mp4"))
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if w, h := v.Size(); v.Frames() != steps+1 || w != 512 || h != 352 || v.FPS() != 20 {
			t.Errorf("the film has %d frames of %dx%d pixels at %v Hz", v.Frames(), w, h, v.FPS())
		}
		l.wants(exitFailed, []string{"is not empty"}, "replay", l.session(), "--out", out)
	})

	t.Run("the logged rewards come out again", func(t *testing.T) {
		l := in(t)
		l.wants(exitDone, []string{"240 rewards of 8 episodes", "largest difference 0 (", "10 in session.db: largest difference 0 (", "the logged rewards come out again"}, "replay", l.session(), "--check")
		l.wants(exitDone, []string{"30 rewards of 1 episodes"}, "replay", filepath.Join(l.session(), "episodes", "online-00001.mcap"), "--check")
	})

	t.Run("frames kept without loss give the same rewards", func(t *testing.T) {
		l := in(t)
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(l.dir, "runs", "lossless"))); err != nil {
			t.Fatal(err)
		}
		l.wants(exitDone, []string{"210 rewards from frames kept without loss: largest difference 0,"}, "replay", dir, "--check")
		// A pixel that was altered is found, though the logged numbers agree.
		path := filepath.Join(dir, "episodes", "online-00000.mcap")
		rec, err := record.Read(path)
		if err := errors.Join(err, os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		pix := rec.Ticks[7].Frames[0].Pix
		for i := range pix[:len(pix)/2] {
			pix[i] = 255 - pix[i]
		}
		w, err := record.Create(path, rec.Info)
		if err != nil {
			t.Fatal(err)
		}
		w.Lossless()
		for _, tick := range rec.Ticks {
			err = errors.Join(err, w.Tick(tick))
		}
		if err := errors.Join(err, w.Rewards(rec.Rewards), w.Close()); err != nil {
			t.Fatal(err)
		}
		l.wants(exitFailed, []string{"online-00000: from its frames the reward of step"}, "replay", dir, "--check")
	})

	t.Run("check finds an altered database", func(t *testing.T) {
		l := in(t)
		for statement, want := range map[string]string{
			"UPDATE episodes SET return = return + 2e-6 WHERE id = 'online-00001'":                           "online-00001: the return comes out as",
			"UPDATE metrics SET value = value - 1 WHERE series = 'episode' AND name = 'return' AND step = 0": "online-00000: the return comes out as",
			"UPDATE episodes SET id = 'demo-00099' WHERE id = 'demo-00002'":                                  "demo-00099.mcap is missing, though session.db counts it",
		} {
			dir := l.copied()
			alter(t, dir, statement)
			l.wants(exitFailed, []string{want}, "replay", dir, "--check")
		}
	})

	t.Run("check finds an altered reward", func(t *testing.T) {
		l, dir := in(t), l.copied()
		path := filepath.Join(dir, "episodes", "demo-00003.mcap")
		rec, err := record.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Info.Encoder == "" || rec.Info.Reward == "" {
			t.Errorf("the episode does not name what made it: %+v", rec.Info)
		}
		rec.Rewards[4] += 1e-5
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w, err := record.Create(path, rec.Info)
		if err != nil {
			t.Fatal(err)
		}
		for _, tick := range rec.Ticks {
			err = errors.Join(err, w.Tick(tick))
		}
		if err := errors.Join(err, w.Rewards(rec.Rewards), w.Close()); err != nil {
			t.Fatal(err)
		}
		l.wants(exitFailed, []string{"demo-00003: the reward of step 5 comes out as"}, "replay", dir, "--check")
	})

	t.Run("a damaged episode is told and the rest goes on", func(t *testing.T) {
		l, dir, out := in(t), l.copied(), filepath.Join(t.TempDir(), "out")
		cut := filepath.Join(dir, "episodes", "demo-00001.mcap")
		b, err := os.ReadFile(cut)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(cut, b[:2*len(b)/3], 0o600); err != nil {
			t.Fatal(err)
		}
		noise := filepath.Join(dir, "episodes", "online-00000.mcap")
		if b, err = os.ReadFile(noise); err != nil {
			t.Fatal(err)
		}
		for i := len(b) / 3; i < len(b)/3+200; i++ {
			b[i] ^= 0x55
		}
		if err := os.WriteFile(noise, b, 0o600); err != nil {
			t.Fatal(err)
		}
		l.wants(exitFailed, []string{"recordings 6 of 8 whole", "demo-00001.mcap: file ends before its footer", "online-00000.mcap: not a recording, or a damaged one"}, "replay", dir, "--out", out)
		// A repaired copy would be nobody's episode any more.
		l.wants(exitFailed, []string{"demo-00001.mcap is an episode of a session", "rapport replay " + cut}, "bag", "repair", cut, filepath.Join(out, "mended.mcap"))
		l.wants(exitLoss, []string{"rapport replay shows what is whole"}, "bag", "info", "--check", cut)
		l.wants(exitFailed, []string{"robot.bag.files: " + cut, "leave it out, or bring it back from a copy"}, "run", "--set", "name=cut", "--set", "robot.kind=bag", "--set", "session.from="+dir, "--set", "robot.bag.files=["+cut+"]")
		ids := map[string]int{}
		for _, r := range readCSV(t, filepath.Join(out, "steps.csv"))[1:] {
			ids[r[0]]++
		}
		// What is whole of the cut one counts.
		if ids["online-00001"] != steps || ids["demo-00001"] == 0 || ids["demo-00001"] >= steps || ids["online-00000"] != 0 {
			t.Errorf("rows by episode: %v", ids)
		}
		l.wants(exitFailed, []string{"demo-00001.mcap", "online-00000.mcap"}, "replay", dir, "--check")
	})

	t.Run("another session's encoder and reward say so", func(t *testing.T) {
		l := in(t)
		other := filepath.Join(l.dir, "runs", "lossless")
		l.wants(exitFailed, []string{"was made with the encoder", "was made with the reward", "--session"}, "replay", filepath.Join(l.session(), "episodes", "demo-00000.mcap"), "--session", other, "--check")
		l.wants(exitDone, []string{"recordings 8 of 8 whole"}, "replay", l.session(), "--session", other)
	})

	t.Run("refuses", func(t *testing.T) {
		l, dir := in(t), t.TempDir()
		text := filepath.Join(dir, "a.txt")
		loose := filepath.Join(dir, "loose.mcap")
		b, err := os.ReadFile(filepath.Join(l.session(), "episodes", "demo-00000.mcap"))
		if err := errors.Join(err, os.WriteFile(text, []byte("no recording"), 0o600), os.WriteFile(loose, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		l.wants(exitUsage, []string{"name recordings"}, "replay")
		l.wants(exitUsage, []string{"--map"}, "replay", l.session(), "--map", "front")
		l.wants(exitUsage, []string{"twice"}, "replay", l.session(), "--map", "a=/b", "--map", "a=/c")
		l.wants(exitUsage, []string{"--speed"}, "replay", l.session(), "--speed", "-1")
		l.wants(exitUsage, []string{"--out"}, "replay", l.session(), "--film")
		l.wants(exitFailed, []string{"no such file"}, "replay", filepath.Join(dir, "none.bag"))
		l.wants(exitFailed, []string{"--session"}, "replay", loose)
		l.wants(exitDone, []string{"recordings 1 of 1 whole"}, "replay", loose, "--session", l.session())
	})
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
