package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/label"
)

// little makes an alignment small.
var little = []string{
	"--set", "policy.diffusion.channels=[8]", "--set", "policy.diffusion.draws=3", "--set", "policy.diffusion.steps=10", "--set", "policy.diffusion.horizon=8", "--set", "policy.diffusion.exec=7",
	"--set", "align.rollouts=6", "--set", "align.labels=4", "--set", "align.pairs=10", "--set", "align.rounds=2", "--set", "align.rehearse=1",
}

// A person answers at the page, and the alignment goes on by itself to its end.
func TestAlignAsksAPerson(t *testing.T) {
	l := newLab(t)
	dir := l.session()
	l.wants(exitUsage, []string{"--person is \"nobody\""}, "align", "--person", "nobody")
	l.wants(exitUsage, []string{"want the folder of an alignment"}, "align", "rollouts")
	bare := l
	bare.file = "" // what goes on is configured by its folder
	bare.wants(exitFailed, []string{"no session's folder"}, "align", "tune", dir)
	l.wants(exitUsage, []string{`there is no step "rnk"; want one of rollouts, rank, encoder, synthetic, tune, evaluate`}, "align", "rnk", dir)

	var said sync.WaitGroup
	url := regexp.MustCompile(`label +(http://[^/]+)/\S*[#?&](?:token=)?(\S+)`)
	c := &console{on: "label      http"}
	said.Add(1)
	c.do = func() {
		go func() {
			defer said.Done()
			m := url.FindStringSubmatch(c.String())
			if m == nil {
				t.Errorf("no URL in\n%s", c.String())
				return
			}
			p := person{t: t, who: "ann", url: m[1], token: m[2]}
			v := p.state(label.Pair)
			if !slices.Equal(v.Kinds, []label.Kind{label.Pair, label.Ranking}) {
				t.Errorf("the page offers %v", v.Kinds)
			}
			v = p.answer(v, label.Unsure) // which does not count
			met := map[string]int{}       // rollouts, by when
			for i := range 4 {
				if n := v.Together; n == nil || n.Answers != i || n.Asked != 4 || n.Done {
					t.Errorf("before answer %d the page counts %+v", i+1, n)
				}
				for _, clip := range v.Question.Query.Clips {
					if !strings.HasPrefix(clip.Episode, "rollout-") {
						t.Errorf("asked about %s, which is no rollout", clip.Episode)
					}
				}
				for _, clip := range v.Question.Query.Clips {
					if _, ok := met[clip.Episode]; !ok {
						met[clip.Episode] = len(met)
					}
				}
				better := label.Left // whatever was met later: whoever contradicts himself says nothing
				if cs := v.Question.Query.Clips; met[cs[0].Episode] < met[cs[1].Episode] {
					better = label.Right
				}
				if v = p.answer(v, better); v.Question == nil && i < 3 {
					t.Errorf("after answer %d no question is left", i+1)
					return
				}
				if i == 3 && v.Question == nil && v.Last != nil { // the last is taken back once
					if n := v.Together; n == nil || !n.Done || !strings.Contains(v.Note, "That is all") {
						t.Errorf("at the end the page counts %+v and says %q", n, v.Note)
					}
					time.Sleep(2 * counted)
					code, body := p.ask("POST", "/label/undo", map[string]string{"annotator": p.who, "id": v.Last.ID})
					var again ask.State
					if err := json.Unmarshal([]byte(body), &again); err != nil || code != 200 || again.Question == nil {
						t.Errorf("the last answer cannot be taken back: %d %s", code, body)
						return
					}
					p.answer(again, better)
				}
			}
		}()
	}
	code, out := l.run(t.Context(), c, append([]string{"align", "--listen", "127.0.0.1:0"}, little...)...)
	said.Wait()
	for _, want := range []string{"0 of 4 answers are there", "answers          4/4", "rank       4 answers by ann", "diffusion-dpo, round", "success    before", "aligned.safetensors"} {
		if code != exitDone || !strings.Contains(out, want) {
			t.Fatalf("code %d, no %q in\n%s", code, want, out)
		}
	}
	for _, args := range [][]string{{"align", dir}, {"align", "tune", dir}} {
		l.wants(exitUsage, []string{"-c " + l.file + " is for a new alignment"}, args...)
	}
	l = bare
	// What is done is not done again, nor asked.
	out = l.must("align", dir)
	if strings.Count(out, "made before") != 4 {
		t.Errorf("done again:\n%s", out)
	}
	if out := l.must("align", "evaluate", dir); !strings.Contains(out, "success    before") {
		t.Errorf("no result in\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "align", "rankings.json")); err != nil {
		t.Error(err)
	}
	testAlignSaysThatNothingWasBetter(t, dir)
	testAlignSaysWhatIsWorse(t, dir)
	for _, args := range [][]string{{"align", dir}, {"align", "tune", dir}} {
		l.wants(exitUsage, []string{"align.aligner"}, append(args, "--set", "align.aligner=best")...)
		l.wants(exitUsage, []string{"want one of"}, append(args, "--set", "align.aligner=flow-dpo")...)
		l.wants(exitUsage, []string{"an alignment cannot change it"}, append(args, "--set", "robot.horizon=31")...)
	}
	l.wants(exitFailed, []string{dir + " is an alignment; go on with: rapport align " + dir}, "run", "--resume")
	// It was recorded before the answers, of which a reward was learned since.
	l.wants(exitDone, []string{"1 episodes were scored by a reward of before", "1 rollouts, which people ranked", "the logged rewards come out again"},
		"replay", filepath.Join(dir, "episodes", "demo-00000.mcap"), filepath.Join(dir, "episodes", "rollout-00000.mcap"), "--check")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if code, out := l.run(ctx, &console{}, "align", dir, "--set", "align.rounds=3"); code != exitInterrupted || !strings.Contains(out, "go on with: rapport align "+dir+" --set align.rounds=3\n") {
		t.Errorf("interrupted: %d\n%s", code, out)
	}
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	code, out = l.run(ctx, &console{on: "label      http", do: stop}, "align", dir, "--listen", "127.0.0.1:0", "--set", "align.labels=5")
	if code != exitInterrupted || !strings.Contains(out, "go on with: rapport align "+dir+" --listen 127.0.0.1:0 --set align.labels=5\n") {
		t.Errorf("interrupted at the page: %d\n%s", code, out)
	}
}

// What goes on with an alignment says again what its folder does not hold, as shells take it.
func TestAlignGoesOnWithWhatWasSet(t *testing.T) {
	for _, tt := range []struct {
		dir, person, listen string
		given               bool
		sets                []string
		want                string
	}{
		{"runs/a", "browser", defaultPage, true, nil, "rapport align runs/a"},
		{"runs/new", "browser", "0.0.0.0:8080", false, nil, "rapport align runs/new --listen 0.0.0.0:8080"},
		{"runs/a", "simulated", defaultPage, true, []string{"align.aligner=d3po", "align.person=ann's"}, `rapport align runs/a --person simulated --set align.aligner=d3po --set 'align.person=ann'\''s'`},
		{"my runs/a", "browser", defaultPage, true, []string{"policy.diffusion.sampler.kind=plain", "name="}, "rapport align 'my runs/a' --set policy.diffusion.sampler.kind=plain --set name="},
		{"runs/new", "simulated", defaultPage, false, []string{"align.labels=4"}, "rapport align runs/new --person simulated"},
	} {
		g := &aligning{a: &app{sets: tt.sets}, person: tt.person, listen: tt.listen}
		if got := g.again(tt.dir, tt.given); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// testAlignSaysThatNothingWasBetter: round 0 is the policy as cloned.
func testAlignSaysThatNothingWasBetter(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "align", "result.json")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	round := regexp.MustCompile(`"Round": \d+`)
	for n, want := range map[string]string{"0": "aligned    not by diffusion-dpo: no round was better than the policy as cloned; it stays\n", "2": "aligned    diffusion-dpo, round 2, KL"} {
		if err := os.WriteFile(file, round.ReplaceAll(b, []byte(`"Round": `+n)), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		g := &aligning{a: &app{stdout: &out, log: slog.New(slog.DiscardHandler)}}
		if err := g.print(dir); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("round %s: %v, no %q in\n%s", n, err, want, out.String())
		}
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// testAlignSaysWhatIsWorse: with a remedy that is a command.
func testAlignSaysWhatIsWorse(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "align", "result.json")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, worse := range []bool{false, true} {
		var out bytes.Buffer
		g := &aligning{a: &app{stdout: &out, log: slog.New(slog.DiscardHandler)}}
		if worse {
			b = bytes.Replace(b, []byte("{"), []byte(`{"Worse": true,`), 1)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.print(dir); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"worse      success fell", "--policy cloned", "sampler.kind=best", "align.trials=20", "align.rehearse=64", "align.labels=8"} {
			if strings.Contains(out.String(), want) != worse {
				t.Errorf("worse %t, %q in\n%s", worse, want, out.String())
			}
		}
	}
}
