package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testFilter(t *testing.T, l lab) {
	list := filepath.Join(t.TempDir(), "review.csv")
	l.wants(exitDone, []string{"| episode | verdict |", "of 6 marked to be left out: " + list}, "reward", "filter", l.session(), "--quantile", "0.2", "-o", list)
	rows := readCSV(t, list)
	if len(rows) != 7 || len(rows[0]) != 10 {
		t.Fatalf("the list has %d lines of %d columns", len(rows), len(rows[0]))
	}
	scores := column(t, rows, "score")
	for i := range scores[1:] {
		if number(t, scores[i]) > number(t, scores[i+1]) {
			t.Errorf("scores %v are not sorted", scores)
		}
	}
	// Somebody looks at it, and decides that exactly the first two are left out.
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(b), ",drop,", ",keep,"), "\n")
	for i := 1; i <= 2; i++ {
		lines[i] = strings.Replace(lines[i], ",keep,", ",drop,", 1)
	}
	if err := os.WriteFile(list, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := func(name, list string) []string {
		return []string{"run", "--set", "name=" + name, "--set", "session.from=" + l.session(), "--set", "session.episodes=1",
			"--set", "learner.updates=1", "--set", "demos.filter=" + list}
	}
	l.must(begin("cleaned", list)...)
	cleaned := filepath.Join(filepath.Dir(l.session()), "cleaned")
	if files, err := filepath.Glob(filepath.Join(cleaned, "episodes", "demo-*.mcap")); err != nil || len(files) != 6 {
		t.Errorf("the session keeps %v of 6 demonstrations, %v", files, err)
	}
	l.wants(exitDone, []string{"learned from  4 episodes"}, "train", "policy", "--offline", cleaned, "--demos-only", "--set", "learner.kind=bc", "--steps", "2", "-o", filepath.Join(t.TempDir(), "p"))
	page, err := os.ReadFile(filepath.Join(cleaned, "report.html"))
	if err != nil || !bytes.Contains(page, []byte("2 demonstrations, by "+list)) || !bytes.Contains(page, []byte("cloned anew from 4 of its 6 demonstrations")) {
		t.Errorf("the report does not tell of what was left out, %v", err)
	}
	var cloned [2][]byte
	for i, dir := range []string{l.session(), cleaned} {
		files, err := filepath.Glob(filepath.Join(dir, "checkpoints", "policy-*.bin"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: cloned policies %v, %v", dir, files, err)
		}
		if cloned[i], err = os.ReadFile(files[0]); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(cloned[0], cloned[1]) {
		t.Error("the policy was not cloned anew")
	}

	wrong := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	l.wants(exitFailed, []string{"demos.filter", "no such file", "rapport reward filter"}, begin("none", "nowhere.csv")...)
	l.wants(exitFailed, []string{"line 2", "want keep or drop"}, begin("none", wrong("maybe.csv", "episode,verdict\ndemo-00000,maybe\n"))...)
	l.wants(exitFailed, []string{"line 2: demo-00099 is no demonstration of " + l.session()}, begin("strange", wrong("strange.csv", "episode,verdict\ndemo-00099,drop\n"))...)
	if _, err := os.Stat(filepath.Join(filepath.Dir(l.session()), "strange")); !os.IsNotExist(err) {
		t.Errorf("a refused list leaves a folder (%v), where the corrected command is refused", err)
	}
	l.wants(exitFailed, []string{"session.from is empty"}, "run", "--set", "name=none", "--set", "demos.filter="+list)
	l.wants(exitFailed, []string{"rapport align clones nothing"}, "align", "--set", "name=none", "--set", "session.from="+l.session(), "--set", "demos.filter="+list)
	l.wants(exitFailed, []string{"is there already"}, "reward", "filter", l.session(), "-o", list)
	l.wants(exitUsage, []string{"--quantile"}, "reward", "filter", l.session(), "--quantile", "1")
	l.wants(exitUsage, []string{"--phases"}, "reward", "filter", l.session(), "--phases", "0")
	l.wants(exitFailed, []string{"no session"}, "reward", "filter", t.TempDir(), "-o", filepath.Join(t.TempDir(), "x.csv"))
}

func testProbe(t *testing.T, l lab) {
	l.wants(exitDone, []string{"RAPL", "demo-", "rises in", "column", "probe.png"}, "reward", "probe", l.session(), "--frames", "2", "--patches", "4", "--steps", "2")
	if w, h := sized(t, filepath.Join(l.session(), "probe.png")); w < 4*192 || h != 2*192 {
		t.Errorf("a picture of %d by %d", w, h)
	}
	l.wants(exitFailed, []string{"probe.png is there already"}, "reward", "probe", l.session())
	l.wants(exitUsage, []string{"--frames"}, "reward", "probe", l.session(), "--frames", "0")
	l.wants(exitUsage, []string{"--patches"}, "reward", "probe", l.session(), "--patches", "1")
	l.wants(exitUsage, []string{"--steps"}, "reward", "probe", l.session(), "--steps", "0")
	l.wants(exitUsage, []string{"PNG"}, "reward", "probe", l.session(), "-o", "x.pdf")
	l.wants(exitFailed, []string{"no session"}, "reward", "probe", t.TempDir())
}
