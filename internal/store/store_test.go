package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// childDir names the folder that this test binary writes to, as the process that is killed,
// openDir the one that it opens.
const childDir, openDir = "STORE_TEST_CHILD", "STORE_TEST_OPEN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		writeForEver(dir)
	}
	if dir := os.Getenv(openDir); dir != "" {
		_, err := store.Open(dir)
		fmt.Print(err)
		return
	}
	os.Exit(m.Run())
}

func episode(n int) policy.Episode {
	e := policy.Episode{ID: fmt.Sprintf("online-%05d", n), Seq: uint64(n), Seed: math.MaxUint64 - uint64(n)}
	for t := range 5 {
		st := robot.State{Stamp: time.Unix(0, int64(t)*50e6).UTC(), Grip: 1.0 / 3}
		st.Q[3] = float64(n) + math.Pi
		f := perception.Features{Stamp: st.Stamp.Add(-time.Millisecond), Embed: []float32{float32(t), 0.1},
			Keys: []perception.Keypoint{{Name: "cup", Camera: "front", X: 1.0 / 3, Y: 2, Score: 0.5}}}
		e.Inputs = append(e.Inputs, policy.Input{Step: t, State: st, Features: f})
		if t > 0 {
			e.Applied = append(e.Applied, robot.Command{Delta: [6]float64{0.01 / 3}})
			e.By = append(e.By, robot.ByHuman)
			e.Version = append(e.Version, 9)
			e.Rewards = append(e.Rewards, -float64(t)/7)
		}
	}
	return e
}

func create(t *testing.T) (*store.Session, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "group-001")
	s, err := store.Create(dir, []byte("seed: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, dir
}

// A folder's name is no part of SQLite's address of the file in it.
func TestASessionLivesInAFolderOfAnyName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a#b%41?c d")
	s, err := store.Create(dir, []byte("seed: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if added, err := s.AddEpisode(t.Context(), episode(0)); err != nil || !added {
		t.Fatal(added, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e, err := s.Episode(episode(0).ID); err != nil || e.Len() == 0 {
		t.Errorf("%d steps, %v", e.Len(), err)
	}
}

func TestEpisodesComeBackBitForBit(t *testing.T) {
	s, dir := create(t)
	for _, n := range []int{2, 0, 1} {
		if added, err := s.AddEpisode(t.Context(), episode(n)); err != nil || !added {
			t.Fatal(added, err)
		}
	}
	if added, err := s.AddEpisode(t.Context(), episode(0)); err != nil || added {
		t.Errorf("a second time: added %v, %v", added, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.Episodes(t.Context(), policy.Online)
	if err != nil || len(rows) != 3 {
		t.Fatal(rows, err)
	}
	for i, n := range []int{2, 0, 1} {
		want := episode(n)
		got, err := s.Episode(rows[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("episode %d: %s", n, d)
		}
		if math.Abs(rows[i].Return+10.0/7) > 1e-12 { // a sum of four roundings
			t.Errorf("return %g", rows[i].Return)
		}
	}
}

func TestRecordedEpisodeIsTheSame(t *testing.T) {
	s, _ := create(t)
	e := episode(4)
	for range 2 { // the second time as after a death between file and row
		recorded(t, s, e, robot.Frame{Camera: "front", W: 2, H: 1, Pix: make([]byte, 6)})
	}
	if added, err := s.AddEpisode(t.Context(), e); err != nil || !added {
		t.Fatal(added, err)
	}
	got, err := s.Episode(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, got); d != "" {
		t.Error(d)
	}
}

// recorded has e's file written as it is lived through, with these frames at each tick.
func recorded(t *testing.T, s *store.Session, e policy.Episode, frames ...robot.Frame) {
	t.Helper()
	r, err := s.Record(e.ID, e.Seq, e.Seed, e.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range e.Inputs {
		obs := robot.Observation{State: in.State, Frames: frames}
		if i > 0 {
			obs.Applied, obs.By = e.Applied[i-1], e.By[i-1]
		}
		if err := r.Tick(obs, 9, in.Features); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Finish(e.Rewards, e.Terminal); err != nil {
		t.Fatal(err)
	}
}

// A file by itself tells whether its episode was cut off, which a reader of it alone goes by.
func TestRecordedFilesTellHowTheyEnd(t *testing.T) {
	s, dir := create(t)
	for n, terminal := range []bool{false, true} {
		e := episode(n)
		e.Terminal = terminal
		recorded(t, s, e)
		if added, err := s.AddEpisode(t.Context(), e); err != nil || !added {
			t.Fatal(added, err)
		}
		rec, err := record.ReadNumbers(filepath.Join(dir, "episodes", e.ID+".mcap"))
		if err != nil {
			t.Fatal(err)
		}
		if i := rec.Info; i.Terminal != terminal || i.ID != e.ID || i.Seed != e.Seed || len(rec.Rewards) != e.Len() {
			t.Errorf("terminal %v: %+v", terminal, i)
		}
	}
}

func TestFilesThatDisagreeWithTheEpisode(t *testing.T) {

	s, dir := create(t)
	e := episode(4)
	other := episode(4)
	other.Rewards[2] -= 1e-12
	recorded(t, s, other)
	if added, err := s.AddEpisode(t.Context(), e); err == nil || added || !strings.Contains(err.Error(), e.ID) {
		t.Errorf("another episode than this session recorded: added %v, %v", added, err)
	}
	if _, err := s.Episode(e.ID); !errors.Is(err, store.ErrNone) {
		t.Errorf("an episode that was not added: %v", err)
	}
	// The same file, left by a process that died, gives way.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e.Terminal = true
	if added, err := s.AddEpisode(t.Context(), e); err != nil || !added {
		t.Fatal(added, err)
	}
	got, err := s.Episode(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, got); d != "" {
		t.Error(d)
	}
	// What is stored is not recorded again, and stays.
	if _, err := s.Record(e.ID, e.Seq, e.Seed, e.Origin); err == nil {
		t.Error("a stored episode is recorded again")
	}
	if _, err := s.Episode(e.ID); err != nil {
		t.Error(err)
	}
	// How an episode ended is not known while it is recorded.
	last := episode(5)
	last.Terminal = true
	recorded(t, s, last)
	if added, err := s.AddEpisode(t.Context(), last); err != nil || !added {
		t.Fatal(added, err)
	}
	if got, err := s.Episode(last.ID); err != nil || !got.Terminal {
		t.Errorf("terminal %v, %v", got.Terminal, err)
	}
}

func TestCancelledIsNoFullDisk(t *testing.T) {
	s, _ := create(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Mark(ctx, "a", "b"); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "free space") {
		t.Errorf("got %v", err)
	}
}

func TestBadEpisodesAreRefused(t *testing.T) {
	s, dir := create(t)
	for name, change := range map[string]func(*policy.Episode){
		"empty id":      func(e *policy.Episode) { e.ID = "" },
		"path as id":    func(e *policy.Episode) { e.ID = "../../x" },
		"lost a reward": func(e *policy.Episode) { e.Rewards = e.Rewards[1:] },
		"NaN":           func(e *policy.Episode) { e.Rewards[0] = math.NaN() },
	} {
		e := episode(1)
		change(&e)
		if _, err := s.AddEpisode(t.Context(), e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, "episodes"))
	if err != nil || len(left) != 0 {
		t.Errorf("refused episodes left %v, %v", left, err)
	}
}

func TestCheckpoints(t *testing.T) {
	s, dir := create(t)
	ctx := t.Context()
	if _, _, err := s.LatestCheckpoint(ctx, "learner"); !errors.Is(err, store.ErrNone) {
		t.Errorf("got %v, want ErrNone", err)
	}
	for v := range uint64(4) {
		if err := s.SaveCheckpoint(ctx, "learner", v, bytes.Repeat([]byte{byte(v)}, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PruneCheckpoints(ctx, "learner", 2); err != nil {
		t.Fatal(err)
	}
	v, data, err := s.LatestCheckpoint(ctx, "learner")
	if err != nil || v != 3 || data[0] != 3 {
		t.Fatal(v, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "checkpoints", "learner-*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}

	for name, damage := range map[string]func(path string) error{
		"flipped": func(p string) error { data[500] ^= 1; return os.WriteFile(p, data, 0o644) },
		"cut":     func(p string) error { return os.Truncate(p, 10) },
		"gone":    os.Remove,
	} {
		if err := damage(files[1]); err != nil {
			t.Fatal(err)
		}
		_, _, err := s.LatestCheckpoint(ctx, "learner")
		if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), files[1]) || !strings.Contains(err.Error(), "--drop-checkpoint learner") {
			t.Errorf("%s: got %v, want file and remedy", name, err)
		}
	}
	if err := s.DropCheckpoint(ctx, "learner"); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveCheckpoint(ctx, "learner", 7, []byte("newer")); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{bytes.Repeat([]byte{2}, 1000), []byte("newer")} {
		if got, err := s.Checkpoint(ctx, "learner", fmt.Sprintf("%x", sha256.Sum256(data))); err != nil || !bytes.Equal(got, data) {
			t.Errorf("by its sum: %.20q, %v", got, err)
		}
	}
	if _, err := s.Checkpoint(ctx, "learner", fmt.Sprintf("%x", sha256.Sum256(bytes.Repeat([]byte{3}, 1000)))); !errors.Is(err, store.ErrNone) {
		t.Errorf("one that was dropped: %v, want that there is none", err)
	}
	if err := s.DropCheckpoint(ctx, "learner"); err != nil {
		t.Fatal(err)
	}
	if v, data, err := s.LatestCheckpoint(ctx, "learner"); err != nil || v != 2 || data[0] != 2 {
		t.Errorf("after the drop: version %d, %v", v, err)
	}
}

func TestLogs(t *testing.T) {
	s, _ := create(t)
	ctx := t.Context()
	for i := range uint64(3) {
		if err := s.AddMetrics(ctx, "learner", i, []policy.Metric{{Name: "loss", Value: 1 / float64(i)}, {Name: "q", Value: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Metric(ctx, "learner", "loss")
	if err != nil || len(got) != 3 || !math.IsNaN(got[0].Value) || got[2] != (store.Point{Step: 2, Value: 0.5}) {
		t.Errorf("got %v, %v", got, err)
	}
	for step, want := range []float64{math.NaN(), 1, 0.5, math.NaN()} { // 1/0 is not finite, and there is no fourth
		if v, err := s.MetricAt(ctx, "learner", "loss", uint64(step)); err != nil || v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
			t.Errorf("at step %d: got %v, %v, want %v", step, v, err, want)
		}
	}
	if err := errors.Join(s.Mark(ctx, "stage", "clone"), s.Mark(ctx, "stage", "tune")); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Marked(ctx, "stage"); err != nil || v != "tune" {
		t.Errorf("mark %q, %v", v, err)
	}
	if v, err := s.Marked(ctx, "nothing"); err != nil || v != "" {
		t.Errorf("mark %q, %v", v, err)
	}
}

func TestOneWriterAndNoOverwriting(t *testing.T) {
	s, dir := create(t)
	if _, err := store.Open(dir); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a second writer got %v", err)
	}
	if _, err := store.Create(dir, nil); err == nil || !errors.Is(err, store.ErrTaken) || !strings.Contains(err.Error(), "another name") {
		t.Errorf("a second session in the folder got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if b, err := again.Config(); err != nil || string(b) != "seed: 1\n" {
		t.Errorf("config %q, %v", b, err)
	}
	if _, err := store.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no session") {
		t.Errorf("an empty folder got %v", err)
	}
}

// A child that is just being started holds copies of all descriptors until it runs its
// program; the session that is closed meanwhile is free all the same.
func TestALockIsNotLeftWithAChild(t *testing.T) {
	s, dir := create(t)
	lock := filepath.Join(dir, "lock")
	copies := 0
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err != nil || to != lock {
			continue
		}
		n, err := strconv.Atoi(fd.Name())
		if err != nil {
			t.Fatal(err)
		}
		held, err := syscall.Dup(n)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(held)
		copies++
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if used, err := store.InUse(dir); copies != 1 || used || err != nil {
		t.Errorf("%d copies of the lock; it is in use: %t, %v", copies, used, err)
	}
}

func TestDamagedDatabaseIsAnError(t *testing.T) {
	s, dir := create(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "session.db"), bytes.Repeat([]byte("junk"), 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

// A file-size limit makes the kernel refuse writes as a full disk does.
func TestFullDisk(t *testing.T) {
	s, dir := create(t)
	ctx := t.Context()
	if err := s.SaveCheckpoint(ctx, "learner", 1, []byte("good")); err != nil {
		t.Fatal(err)
	}
	// The log that go test writes is a file too, so the limit is far above it; the
	// database's journal is brought near the limit first.
	const limit = 512 << 10
	if err := s.Mark(ctx, "filler", strings.Repeat("x", limit)); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{"checkpoint": s.SaveCheckpoint(ctx, "learner", 2, make([]byte, 1<<20))}
	_, errs["episode"] = s.AddEpisode(ctx, episode(1))
	errs["report"] = s.Put("report.html", make([]byte, 1<<20))
	other := filepath.Join(filepath.Dir(dir), "other")
	if _, err := store.Create(other, make([]byte, 1<<20)); err == nil || !strings.Contains(err.Error(), "free space") {
		t.Errorf("create: got %v, want the remedy", err)
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("half a session is left")
	}
	errs["mark"] = s.Mark(ctx, "stage", strings.Repeat("x", 1<<20))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	for what, err := range errs {
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "free space") {
			t.Errorf("%s: got %v, want the folder and the remedy", what, err)
		}
	}
	if v, data, err := s.LatestCheckpoint(ctx, "learner"); err != nil || v != 1 || string(data) != "good" {
		t.Errorf("after the failure: version %d, %q, %v", v, data, err)
	}
	// With room again, all goes on.
	if added, err := s.AddEpisode(ctx, episode(1)); err != nil || !added {
		t.Errorf("with room again: added %v, %v", added, err)
	}
	if e, err := s.Episode("online-00001"); err != nil || e.Len() != 4 {
		t.Errorf("with room again: %d transitions, %v", e.Len(), err)
	}
}

// SQLite needs 32 KiB beside the database to read it at all.
func TestFullDiskIsNoDamage(t *testing.T) {
	s, dir := create(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -f 32; exec "$0"`, os.Args[0]) // of 512 bytes
	cmd.Env = append(os.Environ(), openDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if got := string(out); err != nil || !strings.Contains(got, "disk I/O error") || !strings.Contains(got, "free space") || strings.Contains(got, "damaged") {
		t.Errorf("%s, %v", got, err)
	}
}

// writeForEver adds episodes and prints the number of each once it is stored.
func writeForEver(dir string) {
	s, err := store.Create(dir, nil)
	for n := 0; err == nil; n++ {
		if _, err = s.AddEpisode(context.Background(), episode(n)); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilledProcessLosesNothingThatWasStored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "killed")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for last < 20 {
		if _, err := fmt.Fscan(out, &last); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := fmt.Fscan(out, &last); err != nil {
			break
		}
	}
	_ = cmd.Wait()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.Episodes(t.Context(), policy.Online)
	if err != nil || len(rows) <= last {
		t.Fatalf("%d episodes are left of %d, %v", len(rows), last+1, err)
	}
	for i, r := range rows {
		if _, err := s.Episode(r.ID); err != nil || r.Seq != uint64(i) {
			t.Errorf("episode %d: seq %d, %v", i, r.Seq, err)
		}
	}
	// The episode in flight can be stored again.
	if added, err := s.AddEpisode(t.Context(), episode(len(rows))); err != nil || !added {
		t.Errorf("going on: added %v, %v", added, err)
	}
}

func TestCopyTakesAnEpisodeAsItIs(t *testing.T) {
	from, dir := create(t)
	e := episode(3)
	e.Terminal = true
	r, err := from.Record(e.ID, e.Seq, e.Seed, e.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range e.Inputs {
		obs := robot.Observation{State: in.State, Frames: []robot.Frame{{Camera: "front", W: 2, H: 1, Pix: []byte{1, 2, 3, 40, 50, 60}}}}
		if i > 0 {
			obs.Applied, obs.By = e.Applied[i-1], e.By[i-1]
		}
		if err := r.Tick(obs, 9, in.Features); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Finish(e.Rewards, e.Terminal); err != nil {
		t.Fatal(err)
	}
	if _, err := from.AddEpisode(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	to, there := create(t)
	for _, want := range []bool{true, false} { // once
		if added, err := to.Copy(t.Context(), from, e.ID); err != nil || added != want {
			t.Errorf("added %v, %v; want %v", added, err, want)
		}
	}
	got, err := to.Episode(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, got); d != "" {
		t.Error(d)
	}
	a, err := os.ReadFile(filepath.Join(dir, "episodes", e.ID+".mcap"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(there, "episodes", e.ID+".mcap")); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the file is another one, %v", err)
	}
	if _, err := to.Copy(t.Context(), from, "none"); !errors.Is(err, store.ErrNone) {
		t.Errorf("an episode that is not there: %v", err)
	}
}

// A folder of another version is refused with what to do.
func TestAnotherVersionIsRefused(t *testing.T) {
	s, dir := create(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "session.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("PRAGMA user_version = 99")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir); err == nil || !strings.Contains(err.Error(), "is of version 99") || !strings.Contains(err.Error(), "another version of rapport made it; use that one") {
		t.Errorf("got %v", err)
	}
}
