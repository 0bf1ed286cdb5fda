package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/wire"
)

func TestCurvesAreWrittenUp(t *testing.T) {
	r := flatRun{seeds: seedSpan{4, 5}, tasks: []string{"group"}, body: "medium", kinds: []string{"bc", "rapl"}, ticks: 100, out: t.TempDir()}
	seed := func(rho, last float64) []wire.Curve {
		return []wire.Curve{
			{Kind: "bc", Points: []wire.CurvePoint{{Success: 0.5, Distance: 1}}},
			{Kind: "rapl", Rho: rho, Points: []wire.CurvePoint{{Distance: 1}, {Ticks: 100, Success: last, Distance: 0.5}}},
		}
	}
	curves := map[string][][]wire.Curve{"group": {seed(0.2, 0.8), seed(0.4, 1)}}
	table := string(r.markdown(curves))
	// Two seeds of 80 and 100 %: Student's t at one degree of freedom is 12.7, times 10.
	for _, want := range []string{"success after 100 ticks", "| group | bc | – | 50 ± 0 % |", "| group | rapl | 0.30 ± 1.27 | 90 ± 127 % | 0.50 ± 0.00 | 45 ± 64 % |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	if err := r.csv(curves); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(r.out, "curves.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n != 7 || !strings.Contains(string(b), "group,medium,,5,rapl,100,1,0.5,0.4\n") {
		t.Errorf("%d lines:\n%s", n, b)
	}
	if err := r.plot(curves); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(r.out, "curves.png")); err != nil || !strings.HasPrefix(string(b), "\x89PNG") {
		t.Errorf("the plot: %d bytes, %v", len(b), err)
	}
	if m := at(curves["group"], "rapl", 5, success); len(m) != 0 {
		t.Errorf("an evaluation that was not made: %v", m)
	}
}

func TestCurvesRefuseWhatTheyDoNotKnow(t *testing.T) {
	good := flatRun{seeds: seedSpan{1, 1}, tasks: []string{"avoid"}, body: "short", kinds: []string{"rapl"}}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(*flatRun)
		want   string
	}{
		{func(r *flatRun) { r.kinds = []string{"luck"} }, `--kinds names "luck"`},
		{func(r *flatRun) { r.kinds = []string{"rapl", "heron"} }, `--kinds names "heron"; want some of bc, rapl`},
		{func(r *flatRun) { r.tasks = nil }, "--tasks names nothing"},
		{func(r *flatRun) { r.kinds = nil }, "--kinds names nothing"},
		{func(r *flatRun) { r.kinds = []string{"bc", "bc"} }, "--kinds names bc twice"},
		{func(r *flatRun) { r.tasks = []string{"reach"} }, `--tasks names "reach"`},
		{func(r *flatRun) { r.body = "" }, `--embodiment is ""`},
		{func(r *flatRun) { r.from = "snake" }, `--from is "snake"`},
	} {
		r := good
		tt.change(&r)
		if err := r.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

// What is done is read, unless it was made with other settings.
func TestCurvesRefuseFiguresOfOtherSettings(t *testing.T) {
	dir := t.TempDir()
	of := settings{"--labels": "150", "--rollouts": "60", "--ticks": "10000", "--every": "1000", "--evaluate": "20"}
	if err := keep(filepath.Join(dir, "avoid-medium-1.json"), []flatPoint{{wire.Curve{Kind: "rapl", Points: []wire.CurvePoint{{Success: 0.5}}}, of}}); err != nil {
		t.Fatal(err)
	}
	args := []string{"reproduce", "xmagical", "--to", dir, "--seeds", "1", "--tasks", "avoid", "--kinds", "rapl"}
	for _, tt := range []struct {
		more []string
		want string // "": it is taken
	}{
		{nil, ""},
		{[]string{"--set", "learner.updates=7"}, "avoid-medium-1.json was made with learner.updates "},
		{[]string{"--ticks", "500"}, "--ticks 10000, not 500"},
		{[]string{"--set", "robot.embodiment=long"}, "that is --embodiment"},
	} {
		var out, errs bytes.Buffer
		if code := Main(append(args, tt.more...), nil, &out, &errs); (code == exitDone) != (tt.want == "") || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: exit %d, want %q: %s", tt.more, code, tt.want, errs.String())
		}
	}
}
