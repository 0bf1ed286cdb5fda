package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

func TestReproduceRobustRefusesWhatItCannotDo(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--seeds", "0"}, `"0" for "--seeds"`},
		{[]string{"--tasks", "cup"}, `--tasks names "cup"`}, // no plan comes with it
		{[]string{"--tasks", ""}, "--tasks names nothing"},
		{[]string{"--set", "seed=7"}, "those of --seeds"},
		{[]string{"--set", "robot.disturb.turn=0.1"}, "the rows of the table"},
		{[]string{"--starts", "0"}, "--starts is 0"},
		{[]string{"--rollouts", "0"}, "--rollouts 0"},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"reproduce", "robust", "--to", t.TempDir()}, tt.args...)
		if code := Main(args, nil, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs.String())
		}
	}
}

// What was finished is read, and a session that is gone is not missed.
func TestReproduceRobustReadsWhatItFinished(t *testing.T) {
	dir := t.TempDir()
	for seed, won := range map[string]int{"1": 90, "2": 70} {
		var ps []robustPoint
		for _, l := range robustLevels {
			ps = append(ps, robustPoint{l.name, report.Share{Hits: won, Of: 100}, wire.Sighting{Lost: 1, Points: 5, Beside: []float64{0.001, 0.002, 0.003, 0.02}, Follows: []float64{0.8, 1}}, nil})
			won--
		}
		if err := keep(filepath.Join(dir, "robust-reach-"+seed+".json"), ps); err != nil {
			t.Fatal(err)
		}
		for i := range ps {
			ps[i].Success.Hits = 99
		}
		if err := keep(filepath.Join(dir, "robust-reach-markers-"+seed+".json"), ps); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"reproduce", "robust", "--to", dir, "--seeds", "2"}
	var out, errs bytes.Buffer
	if code := Main(args, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	for _, want := range []string{
		"| reach | nothing | 160 of 200 | 74 to 85 % | 70, 90 % | 20.0 % | 2.5, 20.0 | 0.90 ± 0.00 |",
		"| reach | camera shifted by 1 cm | 158 of 200 | 73 to 84 % | 69, 89 % |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	out.Reset() // those with markers are kept beside
	if code := Main(append(args, "--set", "robot.markers=[front.yaml]"), nil, &out, &errs); code != 0 || !strings.Contains(out.String(), "| reach | nothing | 198 of 200 |") {
		t.Errorf("with markers: exit %d: %s\n%s", code, errs.String(), out.String())
	}
	file := filepath.Join(dir, "robust-reach-2.json")
	if err := os.WriteFile(file, []byte(`[{"level":"fog"}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	errs.Reset()
	if code := Main(args, nil, &out, &errs); code == 0 || !strings.Contains(errs.String(), file) || !strings.Contains(errs.String(), "remove it") {
		t.Errorf("a file of another version: exit %d: %s", code, errs.String())
	}
}
