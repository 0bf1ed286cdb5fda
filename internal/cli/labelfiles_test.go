package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/reward/label"
)

// opinions are those of two people who agree about one of two pairs.
func opinions() []label.Label {
	var ls []label.Label
	for _, x := range []struct {
		id, who, left, right string
		c                    label.Choice
	}{{"1", "ann", "a", "b", label.Left}, {"2", "ben", "b", "a", label.Right}, {"3", "ann", "c", "d", label.Left}, {"4", "ben", "c", "d", label.Right}} {
		ls = append(ls, label.Label{
			ID: x.id, Annotator: x.who, Stamp: time.Unix(1, 5).UTC(), Choice: x.c, Tags: []string{"smooth"},
			Query: label.Query{ID: "q" + x.id, Kind: label.Pair, Clips: []label.Clip{{Episode: x.left}, {Episode: x.right}}},
		})
	}
	return append(ls, label.Label{ID: "5", Annotator: "ann", Stamp: time.Unix(2, 0).UTC(), Retracts: "0"})
}

func TestLabelsGoIntoFilesAndComeBack(t *testing.T) {
	l := newLab(t)
	l.interrupted("demonstrations", "run")
	dir, file := l.session(), filepath.Join(t.TempDir(), "labels.jsonl")
	var want bytes.Buffer
	if err := label.Write(&want, opinions()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, want.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := l.must("label", "agreement", dir); !strings.Contains(out, "nobody was asked what another was") {
		t.Errorf("before any label:\n%s", out)
	}
	for _, new := range []string{"5", "0"} {
		if out := l.must("label", "import", file, dir); !strings.Contains(out, "5 read, "+new+" of them new") {
			t.Errorf("got %s, want %s new", out, new)
		} else if !strings.Contains(out, "note: 4 of them are about episodes that "+dir+" does not hold, as a:") {
			t.Errorf("episodes that nobody has are not told of:\n%s", out)
		}
	}
	if got := l.must("label", "export", dir); got != want.String() {
		t.Error(cmp.Diff(want.String(), got))
	}
	again := filepath.Join(t.TempDir(), "again.jsonl")
	l.must("label", "export", "-o", again) // the newest session
	if b, err := os.ReadFile(again); err != nil || !bytes.Equal(b, want.Bytes()) {
		t.Errorf("%v\n%s", err, cmp.Diff(want.String(), string(b)))
	}
	out := l.must("label", "agreement", dir)
	for _, s := range []string{"ann, ben    2          0.50         0.00", "alpha 0.12"} {
		if !strings.Contains(out, s) {
			t.Errorf("lacks %q:\n%s", s, out)
		}
	}
	// A session that runs is reached by its bus.
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	far := []string{"--nats", srv.URL(), "--session", "far"}
	l.must(append([]string{"label", "import", file}, far...)...)
	if ls, err := srv.Conn().Book("far").Labels(t.Context()); err != nil || !cmp.Equal(ls, opinions()) {
		t.Errorf("%v\n%s", err, cmp.Diff(opinions(), ls))
	}
	if got := l.must(append([]string{"label", "export"}, far...)...); got != want.String() {
		t.Error(cmp.Diff(want.String(), got))
	}

	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	lines := strings.Replace(want.String(), `"annotator":"ben"`, `"annotatr":"ben"`, 1)
	if err := os.WriteFile(bad, []byte(strings.ReplaceAll(lines, `"id":"`, `"id":"x`)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no file":       {[]string{"import"}, exitUsage, "name a file"},
		"missing file":  {[]string{"import", "nowhere.jsonl", dir}, exitFailed, "nowhere.jsonl"},
		"a bad line":    {[]string{"import", bad, dir}, exitFailed, "line 2"},
		"two sessions":  {[]string{"export", dir, dir}, exitUsage, "at most 1"},
		"named twice":   {[]string{"export", dir, "--session", dir}, exitUsage, "named twice"},
		"no session":    {[]string{"agreement", "nowhere"}, exitUsage, "neither a session's folder"},
		"no server":     {[]string{"export", "--nats", "nats://127.0.0.1:1"}, exitFailed, "is a server running there"},
		"cannot create": {[]string{"export", dir, "-o", filepath.Join(dir, "no", "where")}, exitFailed, "no such file"},
	} {
		code, out := l.run(t.Context(), &console{}, append([]string{"label"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: ended with %d, want %d and %q in:\n%s", name, code, tt.code, tt.want, out)
		}
	}
	if got := l.must("label", "export", dir); got != want.String() {
		t.Errorf("a bad file left something:\n%s", cmp.Diff(want.String(), got))
	}
}

// The way back of a practice is on the first session's bus, under its own name.
func TestTheWayBackIsLabelledWhileBothRun(t *testing.T) {
	l := newLab(t)
	at, conn := l.at("both")
	out := filepath.Join(l.dir, "runs")
	l.driven(out, "both", at, "name=both", "robot.task=stack", "practice.mate=both-back")
	back := l.driven(out, "both-back", bus.Address{}, "name=both-back", "robot.task=stack", "robot.way=backward", "practice.mate=both")
	dir, file := back.Dir(), filepath.Join(t.TempDir(), "labels.jsonl")
	var want bytes.Buffer
	if err := errors.Join(label.Write(&want, opinions()), os.WriteFile(file, want.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if out := l.must("label", "import", file, dir); !strings.Contains(out, "5 read, 5 of them new") {
		t.Errorf("import said:\n%s", out)
	}
	if got := l.must("label", "export", dir); got != want.String() {
		t.Error(cmp.Diff(want.String(), got))
	}
	for name, want := range map[string]int{"both": 0, "both-back": 5} {
		if ls, err := conn.Book(name).Labels(t.Context()); err != nil || len(ls) != want {
			t.Errorf("the journal of %s has %d labels, %v; want %d", name, len(ls), err, want)
		}
	}
	page := &foundBook{d: &drivers{a: &app{log: slog.New(slog.DiscardHandler)}}, dir: dir}
	defer page.close()
	if ls, err := page.Labels(t.Context()); err != nil || len(ls) != 5 {
		t.Errorf("the page has %d labels, %v; want 5", len(ls), err)
	}
	if _, session := page.arm(t.Context()); session != "both" {
		t.Errorf("the page stops the arm of %q; want both", session)
	}
	if err := back.Close(); err != nil { // as before it has begun, or after it ended
		t.Fatal(err)
	}
	if got := l.must("label", "export", dir); got != "" {
		t.Errorf("the folder that nobody has open holds %s", got)
	}
}
