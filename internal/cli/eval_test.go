package cli

import (
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/wire"
)

// Neither is gone on with, so that nothing is said to be kept.
func TestInterruptedEvaluationAndTrainingBeginAgain(t *testing.T) {
	t.Parallel()
	l := ended(t)
	for _, args := range [][]string{
		{"eval", l.session(), "--seeds", "50"},
		{"train", "policy", "--offline", l.session(), "--steps", "1000000", "-o", filepath.Join(l.dir, "never")},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		code, out := l.run(ctx, &console{on: "", do: cancel}, args...)
		cancel()
		if code != exitInterrupted || strings.Contains(out, "kept") || !strings.Contains(out, "begin again with: the same command") {
			t.Errorf("%s: exit code %d:\n%s", args[0], code, out)
		}
	}
}

// A finished session's policy does again what it did at the session's end, and
// an evaluation changes nothing.
func TestEval(t *testing.T) {
	t.Parallel()
	l := ended(t)
	table, n := "", 0
	rows := func(args ...string) [][]string {
		t.Helper()
		n++
		table = filepath.Join(l.dir, fmt.Sprintf("trials-%d.csv", n))
		l.must(append([]string{"eval", "--csv", table}, args...)...)
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		got, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	out := l.must("eval", "--seeds", "4")
	for _, want := range []string{l.session(), "fine-tuned for 6 episodes", " of 4 (", "95 % interval", "by none of " + l.file} {
		if !strings.Contains(out, want) {
			t.Errorf("the evaluation does not say %q:\n%s", want, out)
		}
	}
	four := rows("--seeds", "4")
	if len(four) != 5 || four[0][3] != "return" || four[1][3] == "0" || four[0][4] != "cut_off" || four[1][4] != "false" {
		t.Fatalf("want a head and a row with a return for each of 4 starts, got %v", four)
	}
	if diff := cmp.Diff(four[:3], rows("--seeds", "2", l.session())); diff != "" {
		t.Errorf("the first starts depend on how many there are:\n%s", diff)
	}
	if diff := cmp.Diff(four, rows("--seeds", "4", "--policy", "cloned")); diff == "" {
		t.Error("the cloned policy does what the fine-tuned one does")
	}
	if other := rows("--seeds", "4", "--set", "seed=6"); other[1][1] == four[1][1] || other[1][3] == four[1][3] {
		t.Error("another seed gives the same starts")
	}
	file, err := filepath.Glob(filepath.Join(l.session(), "checkpoints", "tuned-*"))
	if err != nil || len(file) == 0 {
		t.Fatalf("no checkpoint of the fine-tuned policy: %v", err)
	}
	if diff := cmp.Diff(four, rows("--seeds", "4", "--policy", file[len(file)-1])); diff != "" {
		t.Errorf("the policy's file does something else than the session's policy:\n%s", diff)
	}
	// A table that cannot be written is told before the evaluation, and one that is there stays.
	for path, want := range map[string]string{table: "is there already", filepath.Join(l.dir, "nowhere", "e.csv"): "name a file in a folder that is there"} {
		code, out := l.run(t.Context(), &console{}, "eval", "--csv", path)
		if code != exitFailed || !strings.Contains(out, want) || strings.Contains(out, "evaluate") {
			t.Errorf("--csv %s: exit code %d, want %q before anything runs:\n%s", path, code, want, out)
		}
	}
	fresh := filepath.Join(l.dir, "fresh.csv")
	if code, _ := l.run(t.Context(), &console{}, "eval", "--csv", fresh, "--policy", "cloned-by-hand"); code != exitFailed {
		t.Errorf("no such policy: exit code %d", code)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("an evaluation that failed left an empty table")
	}
}

// An evaluation says that chunks were searched for, and how.
func TestEvalTellsItsSearch(t *testing.T) {
	t.Parallel()
	for searched, want := range map[string]string{"": "policy   cloned\nsuccess", "best of 8 chunks": "policy   cloned\nsearched by the critic, best of 8 chunks\nsuccess"} {
		var out strings.Builder
		if err := printEvaluation(&out, wire.Evaluation{Policy: "cloned", Trials: make([]wire.Trial, 2)}, searched); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%v, no %q in\n%s", err, want, out.String())
		}
	}
}

// A start that the guard cut off has no return: 0 would be the best of a reward of distances.
func TestStartsThatWereCutOffHaveNoReturn(t *testing.T) {
	t.Parallel()
	cut := wire.Trial{CutOff: true}
	for _, tt := range []struct {
		trials []wire.Trial
		want   string
		row    string
	}{
		{[]wire.Trial{{Return: -10}, {Return: -12}, cut}, "cut off  1 of 3 by the guard: failures, which have no return\nreturn   -11.000, 95 % interval -23.706 to 1.706, of the 2 starts that were not cut off\n", "0,0,false,,true\n"},
		{[]wire.Trial{{Return: -10}, cut}, "return   -10.000, of the start that was not cut off\n", "0,0,false,-10,false\n"},
		{[]wire.Trial{cut, cut}, "return   none\n", "0,0,false,,true\n"},
		{[]wire.Trial{{Return: -10}, {Return: -12}}, "return   -11.000, 95 % interval -23.706 to 1.706\n", "0,0,false,-12,false\n"},
	} {
		var out, table strings.Builder
		if err := printEvaluation(&out, wire.Evaluation{Trials: tt.trials}, ""); err != nil || !strings.HasSuffix(out.String(), tt.want) {
			t.Errorf("%v, want %q at the end of\n%s", err, tt.want, out.String())
		}
		if err := writeTrials(&table, wire.Evaluation{Trials: tt.trials}); err != nil || !strings.Contains(table.String(), tt.row) {
			t.Errorf("%v, want %q in\n%s", err, tt.row, table.String())
		}
	}
}

func TestEvalRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if code, out := l.run(t.Context(), &console{}, "eval"); code != exitFailed || !strings.Contains(out, "rapport run") {
		t.Errorf("without a session: exit code %d:\n%s", code, out)
	}
	l.interrupted("features", "run")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"too early", []string{"eval"}, exitFailed, "--resume"},
		{"one seed", []string{"eval", "--seeds", "1"}, exitUsage, "--seeds is 1"},
		{"no session", []string{"eval", filepath.Join(l.dir, "nothing")}, exitFailed, "no session's folder"},
		{"two sessions", []string{"eval", "a", "b"}, exitUsage, "at most 1"},
		{"another task", []string{"eval", "--set", "robot.task=group"}, exitFailed, "robot.task is group, was reach when the session began; an evaluation cannot change it"},
		{"what was learned", []string{"eval", "--set", "policy.scale=0.01"}, exitFailed, "policy.scale is 0.01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, out := l.run(t.Context(), &console{}, tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tt.code, tt.want, out)
			}
		})
	}
	l.must("run", "--resume", "--set", "session.episodes=2")
	if code, out := l.run(t.Context(), &console{}, "eval", "--policy", "cloned-by-hand"); code != exitFailed || !strings.Contains(out, "neither tuned nor cloned") {
		t.Errorf("no such policy: exit code %d:\n%s", code, out)
	}
	if code, out := l.run(t.Context(), &console{}, "eval", "--policy", filepath.Join(l.session(), "config.yaml")); code != exitFailed || !strings.Contains(out, "config.yaml holds no parameters of a policy") || !strings.Contains(out, "want tuned, cloned, or a file") {
		t.Errorf("a file of something else: exit code %d:\n%s", code, out)
	}
}

func TestDoctor(t *testing.T) {
	l := newLab(t)
	if taken, err := net.Listen("tcp", defaultPage); err == nil { // else it is taken by another
		defer taken.Close()
	}
	out := l.must("doctor")
	for _, want := range []string{"note  pages            127.0.0.1:8080 is taken", "--dashboard=", "MuJoCo 2.", "OpenCV 4.", "front 64x64", "NATS server inside", "GiB free", "learning on"} {
		if !strings.Contains(out, want) {
			t.Errorf("the doctor does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "FAIL") {
		t.Errorf("something is wrong with this machine:\n%s", out)
	}
	marked := []string{"doctor", "--set", "robot.task=stack", "--set", "reward.kind=kagi", "--set", "policy.keys=false", "--set", "policy.sees=features", "--set", "robot.markers=[../../docs/front.yaml]"}
	if out := l.must(append(marked, "--set", "robot.disturb.turn=0.05")...); !strings.Contains(out, " of its 6 markers") || !strings.Contains(out, "from where it stands now") || !strings.Contains(out, "waypoints        the plan of the task") {
		t.Errorf("the doctor does not tell of a camera that was moved:\n%s", out)
	}
	if code, out := l.run(t.Context(), &console{}, append(marked, "--set", "reward.kagi.plan=none.json")...); code != exitFailed || !strings.Contains(out, "FAIL  waypoints") || !strings.Contains(out, "none.json") {
		t.Errorf("a plan that is not there: exit code %d:\n%s", code, out)
	}
	if code, out := l.run(t.Context(), &console{}, "doctor", "--set", "reward.kind=kagi", "--set", "reward.kagi.source=vlm", "--set", "session.from=nowhere"); code != exitFailed || strings.Count(out, "FAIL") != 2 ||
		!strings.Contains(out, "FAIL  waypoints        wire: reward.kagi.source is vlm, but there is no endpoint") || !strings.Contains(out, "FAIL  session.from     wire: session.from: nowhere is no session's folder") {
		t.Errorf("no endpoint and no earlier session: exit code %d:\n%s", code, out)
	}
	file := filepath.Join(l.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := l.run(t.Context(), &console{}, "doctor", "--set", "out="+filepath.Join(file, "runs"), "--set", "bus.url=nats://127.0.0.1:1")
	if code != exitFailed || strings.Count(out, "FAIL") != 2 || !strings.Contains(out, "--set out=FOLDER") || !strings.Contains(out, "is a server running there") {
		t.Errorf("no folder and no server: exit code %d:\n%s", code, out)
	}
}

// Where a session's folder decides, a file that is named besides is not passed over in silence:
// limits of the guard that it tightens would seem to have been kept.
func TestAFileThatDoesNotCountIsTold(t *testing.T) {
	t.Parallel()
	l := ended(t)
	if err := os.WriteFile(l.file, []byte("robot: {kind: ros}\n"), 0o600); err != nil { // which wants a --set session.from
		t.Fatal(err)
	}
	for _, tt := range []struct {
		code int
		args []string
	}{
		{exitDone, []string{"guard", "check", "--policy", l.session(), "--allow", "1"}},
		{exitDone, []string{"run", "--resume"}},
		{exitDone, []string{"replay", filepath.Join(l.session(), "episodes", "demo-00000.mcap")}},
		{exitDone, []string{"reward", "compare", filepath.Join(l.session(), "episodes", "demo-00000.mcap"), "--session", l.session(), "--saliency", "0", "--bare", "--reward", "own=rapl"}},
		{exitDone, []string{"reward", "explain", l.session(), "best", "-o", filepath.Join(l.dir, "best.png")}},
		{exitFailed, []string{"pipeline", "offline-vlm", l.session(), "--goal", "light", "-o", filepath.Join(l.dir, "vlm.safetensors")}}, // nobody to ask
	} {
		code, out := l.run(t.Context(), &console{}, tt.args...)
		if want := "note: " + l.session() + " goes by the settings of its own folder, and by none of " + l.file; code != tt.code || strings.Count(out, want) != 1 {
			t.Errorf("%v: %d, want %d and once %q:\n%s", tt.args, code, tt.code, want, out)
		}
	}
}
