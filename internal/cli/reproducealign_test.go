package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

func TestReproduceAlignRefusesWhatItCannotDo(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--seeds 0", `"0" for "--seeds" flag: want a number of seeds`},
		{"--tasks reach", `--tasks names "reach"`},
		{"--set seed=7", "those of --seeds"},
		{"--set align.by=rlhf", "that of --by"},
		{"--by=", "--by names nothing"},
		{"--labels 1", "align.labels"},
		{"--by truth", "align.by"},
		{"--aligners sft", "align.aligner"},
		{"--aligners= --samplers best", "--aligners names nothing"},
		{"--tasks cup,cup", "--tasks names cup twice"},
		{"--labels 20,10,20", "--labels names 20 twice"},
		{"--aligners rwr,rwr", "--aligners names rwr twice"},
		{"--samplers best,best", "--samplers names best twice"},
		{"--samplers most", "policy.diffusion.sampler.kind"},
		{"--samplers nrg", "policy.diffusion.sampler.kind is nrg"},
		{"--samplers best --draws 0", "policy.diffusion.sampler.draws"},
		{"--aligners diffusion-dpo,flow-dpo", "align.aligner is flow-dpo, but policy.diffusion.process is diffusion"},
		{"--set policy.diffusion.process=flow", "want one of flow-dpo, rwr, seppo"},
	} {
		to := filepath.Join(t.TempDir(), "none")
		var out, errs bytes.Buffer
		args := append([]string{"reproduce", "align", "--to", to}, strings.Fields(tt.args)...)
		if code := Main(args, nil, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%s: exit %d, want %q: %s", tt.args, code, tt.want, errs.String())
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("%s: something was begun", tt.args)
		}
	}
}

// Some aligners want a setting that nobody set by default; what they were made with is told all the same.
func TestReproduceAlignTellsTheSettingsOfEveryAligner(t *testing.T) {
	groups := "people.groups=[{name: ann, share: 1, distance: 1}, {name: cid, share: 1, early: 1}]"
	wants := map[string][]string{ // what they want set
		"flow-dpo": {"policy.diffusion.process=flow"}, "fdpo": {"align.ask=segments"},
		"pareto": {groups}, "ppd": {groups, "align.rank=4", "align.person=ann"},
	}
	for _, aligner := range config.Aligners() {
		a := &app{sets: wants[aligner]}
		by := "labels"
		if aligner == "alignprop" || aligner == "partial" {
			by = "rapl"
		}
		now, own, err := alignVariant{labels: 20, by: by, aligner: aligner}.settings(a, "cup")
		if err != nil {
			t.Errorf("%s: %v", aligner, err)
			continue
		}
		for _, s := range a.sets {
			if key, _, _ := strings.Cut(s, "="); now[key] == "" {
				t.Errorf("%s: %s is not among its settings: %v", aligner, key, now)
			}
		}
		if own.Align.Aligner != aligner || own.Robot.Task != "cup" {
			t.Errorf("%s: by itself it would do %s on %s", aligner, own.Align.Aligner, own.Robot.Task)
		}
	}
}

// The variants of a task and seed share the answers, so they must have been asked alike.
func TestReproduceAlignAsksAllVariantsAlike(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cup-1")
	asked := func(sets ...string) error {
		t.Helper()
		a := &app{sets: sets}
		v := alignVariant{labels: 20, by: "rlhf", aligner: "diffusion-dpo"}
		now, own, err := v.settings(a, "cup")
		if err != nil {
			t.Fatal(err)
		}
		return a.askedSo(dir, now, own)
	}
	for _, sets := range [][]string{{"align.query=random"}, {"align.query=random", "align.rounds=10"}, {"align.ask=segments"}} {
		if err := asked(sets...); err != nil {
			t.Errorf("%v: %v", sets, err)
		}
	}
	for _, tt := range []struct {
		sets []string
		want string
	}{
		{nil, "align.query random, not root"},
		{[]string{"align.query=random", "align.rollouts=30"}, "align.rollouts 60, not 30"},
	} {
		if err := asked(tt.sets...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("other questions: %v, want %q", err, tt.want)
		}
	}
	// A file of before does not tell how many rollouts there were.
	if err := keep(dir+"-questions.json", settings{"align.query": "random"}); err != nil {
		t.Fatal(err)
	}
	if err := asked("align.query=random", "align.rollouts=30"); err != nil {
		t.Errorf("a file of before: %v", err)
	}
}

// What is done is read: with a file of each alignment nothing is made, and the table
// tells means and intervals, the fewest answers first.
func TestReproduceAlignReadsWhatIsDone(t *testing.T) {
	to := t.TempDir()
	put := func(seed, labels, preferred int, kl float64, how string, people ...wire.Regard) {
		share := func(n int) report.Share { return report.Share{Hits: n, Of: 50} }
		b, err := json.Marshal(alignPoint{Settings: settings{}, Aligned: wire.Aligned{
			KL: kl, Right: map[bool]float64{false: 0.9, true: -1}[how == "-guided"], People: people, Before: wire.AlignedResult{Success: share(50), Preferred: share(25), Undesired: share(25)},
			After: wire.AlignedResult{Success: share(50), Preferred: share(preferred), Undesired: share(50 - preferred)},
		}})
		if err == nil {
			err = os.WriteFile(filepath.Join(to, fmt.Sprintf("cup-%d-%d-rapl-diffusion-dpo%s.json", seed, labels, how)), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(1, 10, 30, 1, "")
	put(2, 10, 40, 1, "")
	put(1, 20, 50, 2, "")
	put(2, 20, 50, 4, "")
	for seed := range 2 {
		put(seed+1, 10, 45, 0, "-best-6")
		put(seed+1, 20, 35, 0, "-best-6", wire.Regard{Person: "ann", Served: true, Better: 25, Worse: 5, Of: 50}, wire.Regard{Person: "ben", Worse: 25, Of: 50})
		put(seed+1, 10, 25, 0, "-guided")
		put(seed+1, 20, 25, 0, "-guided")
	}
	args := []string{"reproduce", "align", "--seeds", "2", "--labels", "20,10", "--by", "rapl", "--to", to, "--samplers", "best,guided", "--draws", "6"}
	var out, errs bytes.Buffer
	if code := Main(args, nil, &out, &errs); code != exitDone {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	// Of 60 and 80 %: Student's t at one degree of freedom is 12.7, times 10.
	want := `| cup | 10 | rapl | diffusion-dpo | 100 ± 0 to 100 ± 0 | 50 ± 0 to 70 ± 127 | 50 ± 0 to 30 ± 127 | 1.0 ± 0.0 | 90 ± 0 |
| cup | 10 | rapl | searched: best of 6 | 100 ± 0 to 100 ± 0 | 50 ± 0 to 90 ± 0 | 50 ± 0 to 10 ± 0 | – | 90 ± 0 |
| cup | 10 | rapl | searched: guided | 100 ± 0 to 100 ± 0 | 50 ± 0 to 50 ± 0 | 50 ± 0 to 50 ± 0 | – | – |
| cup | 20 | rapl | diffusion-dpo | 100 ± 0 to 100 ± 0 | 50 ± 0 to 100 ± 0 | 50 ± 0 to 0 ± 0 | 3.0 ± 12.7 | 90 ± 0 |
| cup | 20 | rapl | searched: best of 6 | 100 ± 0 to 100 ± 0 | 50 ± 0 to 70 ± 0 | 50 ± 0 to 30 ± 0 | – | 90 ± 0 |
| cup | 20 | rapl | searched: guided | 100 ± 0 to 100 ± 0 | 50 ± 0 to 50 ± 0 | 50 ± 0 to 50 ± 0 | – | – |

| task | answers | aligner | person | finds it better than before, % of starts | worse, % |
|---|---|---|---|---|---|
| cup | 20 | searched: best of 6 | ann, served | 50 ± 0 | 10 ± 0 |
| cup | 20 | searched: best of 6 | ben | 0 ± 0 | 50 ± 0 |
`
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("got\n%swant rows\n%s", out.String(), want)
	}
	if code := Main(append(args, "--set", "align.rounds=3"), nil, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "cup-1-10-rapl-diffusion-dpo.json was made with align.rounds ") || !strings.Contains(errs.String(), ", not 3; name another folder") {
		t.Errorf("of other settings: exit %d: %s", code, errs.String())
	}
	if err := os.WriteFile(filepath.Join(to, "cup-2-20-rapl-diffusion-dpo.json"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	errs.Reset()
	if code := Main(args, nil, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "remove it, and it is made again") {
		t.Errorf("of a damaged file: exit %d: %s", code, errs.String())
	}
}
