package record_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foxglove/mcap/go/mcap"
	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
)

// episode makes n observations of numbers that are hard to print.
func episode(n int) record.Recording {
	rng := rand.New(rand.NewPCG(1, 2))
	rec := record.Recording{Info: record.Info{ID: "online-00007", Seq: 7, Origin: 1, Seed: math.MaxUint64, Terminal: true}}
	for t := range n {
		tick := record.Tick{Embed: make([]float32, 5)}
		tick.State.Stamp = time.Unix(0, int64(t)*50e6).UTC()
		for i := range tick.State.Q {
			tick.State.Q[i], tick.State.DQ[i] = rng.NormFloat64(), rng.NormFloat64()*1e-300
		}
		tick.State.EE = robot.Pose{P: [3]float64{rng.Float64(), math.Copysign(0, -1), 1.0 / 3}, Q: [4]float64{1, 0, 0, 0}}
		tick.State.Wrench[2], tick.State.Grip = math.Pi, 0.08
		for i := range tick.Embed {
			tick.Embed[i] = float32(rng.NormFloat64())
		}
		tick.Embed[0] = math.MaxFloat32
		tick.Seen = tick.State.Stamp.Add(-3 * time.Millisecond)
		if t%2 == 0 {
			tick.Keys = []record.Keypoint{{Name: "cup", Camera: "front", X: 1.0 / 3, Y: -2, Score: 0.9}}
		}
		pix := make([]byte, 3*16*8)
		for i := range pix {
			pix[i] = byte(10 * i % 3 * 100)
		}
		tick.Frames = []robot.Frame{{Camera: "front", Seq: uint64(t), Stamp: tick.State.Stamp, W: 16, H: 8, Pix: pix}}
		if t > 0 {
			tick.Applied = robot.Command{Delta: [6]float64{rng.NormFloat64(), 0, 0, 0, 0, 1e-17}, Grip: 0.3}
			tick.By, tick.Version = robot.ByGuard, uint64(t)<<40
			rec.Rewards = append(rec.Rewards, -rng.ExpFloat64())
		}
		rec.Ticks = append(rec.Ticks, tick)
	}
	return rec
}

func write(t testing.TB, path string, rec record.Recording, stop bool) *record.Writer {
	t.Helper()
	w, err := record.Create(path, rec.Info)
	if err != nil {
		t.Fatal(err)
	}
	for _, tick := range rec.Ticks {
		if err := w.Tick(tick); err != nil {
			t.Fatal(err)
		}
	}
	if stop {
		return w
	}
	if err := w.Rewards(rec.Rewards); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// bits makes 0 and -0 differ, which cmp takes for equal, and NaN equal to itself.
var bits = cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

func TestRoundTripIsExact(t *testing.T) {
	want := episode(46)
	path := filepath.Join(t.TempDir(), "a.mcap")
	write(t, path, want, false)
	got, err := record.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Ticks {
		f, g := got.Ticks[i].Frames, want.Ticks[i].Frames
		if len(f) != 1 || f[0].Camera != "front" || f[0].Seq != uint64(i) || f[0].W != 16 || f[0].H != 8 || !f[0].Stamp.Equal(g[0].Stamp) {
			t.Fatalf("observation %d has frames %+v", i, f)
		}
		got.Ticks[i].Frames, want.Ticks[i].Frames = nil, nil
	}
	if d := cmp.Diff(want, got, bits); d != "" {
		t.Error(d)
	}
	if _, err := os.Stat(path + ".part"); !errors.Is(err, os.ErrNotExist) {
		t.Error("the partial file is still there")
	}
}

func TestWhatJSONLacksSurvives(t *testing.T) {
	want := record.Recording{Info: record.Info{ID: "odd"}, Rewards: []float64{math.NaN()}, Ticks: make([]record.Tick, 2)}
	want.Ticks[0].State.Q = [7]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64, math.Copysign(0, -1)}
	want.Ticks[0].Embed = []float32{}
	want.Ticks[1].State.Stamp = time.Date(2262, 5, 1, 0, 0, 0, 1, time.UTC) // beyond 63 bits of nanoseconds
	want.Ticks[1].Applied.Grip = math.NaN()
	want.Ticks[1].Keys = []record.Keypoint{{X: math.NaN()}}
	path := filepath.Join(t.TempDir(), "a.mcap")
	write(t, path, want, false)
	got, err := record.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, bits); d != "" {
		t.Error(d)
	}
}

func TestReadNumbersLeavesFramesOut(t *testing.T) {
	want := episode(5)
	path := filepath.Join(t.TempDir(), "a.mcap")
	write(t, path, want, false)
	got, err := record.ReadNumbers(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Ticks {
		want.Ticks[i].Frames = nil
	}
	if d := cmp.Diff(want, got, bits); d != "" {
		t.Error(d)
	}
}

func TestLosslessKeepsEveryPixel(t *testing.T) {
	rec := episode(3)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range rec.Ticks {
		for k := range rec.Ticks[i].Frames[0].Pix {
			rec.Ticks[i].Frames[0].Pix[k] = byte(rng.Uint32())
		}
	}
	path := filepath.Join(t.TempDir(), "a.mcap")
	w, err := record.Create(path, rec.Info)
	if err != nil {
		t.Fatal(err)
	}
	w.Lossless()
	for _, tick := range rec.Ticks {
		err = errors.Join(err, w.Tick(tick))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := record.Read(path)
	if err != nil || !got.Lossless {
		t.Fatalf("lossless %v, %v", got.Lossless, err)
	}
	for i := range rec.Ticks {
		if !bytes.Equal(got.Ticks[i].Frames[0].Pix, rec.Ticks[i].Frames[0].Pix) {
			t.Errorf("frame %d has other pixels", i)
		}
	}
	_, kept, err := record.ReadEncoded(path)
	if err != nil || len(kept) != 3 || len(kept[2]) != 1 || kept[2][0].Format != "png" || kept[2][0].W != 16 || kept[2][0].Camera != "front" || kept[2][0].Seq != 2 {
		t.Errorf("as they are: %d ticks, %v", len(kept), err)
	}
}

func TestColoursSurvive(t *testing.T) {
	rec := episode(1)
	pix := rec.Ticks[0].Frames[0].Pix
	for i := 0; i < len(pix); i += 3 {
		pix[i], pix[i+1], pix[i+2] = 200, 60, 20 // blue, in BGR
	}
	path := filepath.Join(t.TempDir(), "a.mcap")
	write(t, path, rec, false)
	got, err := record.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Ticks[0].Frames[0].Pix {
		if d := int(v) - int(pix[i]); d < -6 || d > 6 { // what JPEG at 90 does to a flat colour
			t.Fatalf("byte %d is %d, want %d", i, v, pix[i])
		}
	}
}

func TestIndexedReadersReadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mcap")
	write(t, path, episode(46), false)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := mcap.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := r.Info()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"/state": 46, "/command": 45, "/features": 46, "/camera/front": 46, "/reward": 45}
	if d := cmp.Diff(want, info.ChannelCounts()); d != "" {
		t.Error(d)
	}
}

// A killed writer leaves the partial file as it is on disk: nothing is closed.
func TestKilledWriterLosesLessThanASecond(t *testing.T) {
	for name, hz := range map[string]int{"at 20 Hz": 20, "at 2 Hz": 2} {
		for _, full := range []bool{true, false} {
			rec := episode(60)
			for i := range rec.Ticks {
				rec.Ticks[i].State.Stamp = time.Unix(0, int64(i)*1e9/int64(hz)).UTC()
				if !full { // little to write, so that only time ends a chunk
					rec.Ticks[i].Frames, rec.Ticks[i].Embed, rec.Ticks[i].Keys = nil, nil, nil
				}
			}
			path := filepath.Join(t.TempDir(), "a.mcap")
			w := write(t, path, rec, true)
			got, err := record.Read(path + ".part")
			if !errors.Is(err, record.ErrTruncated) {
				t.Fatalf("%s: got %v, want ErrTruncated", name, err)
			}
			if n := len(got.Ticks); n < 60-hz {
				t.Errorf("%s, frames %v: salvaged %d of 60 observations; %d are a second", name, full, n, hz)
			}
			if got.Info.ID != "online-00007" {
				t.Errorf("salvaged an episode called %q", got.Info.ID)
			}
			if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEveryTruncationIsSalvagedOrRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mcap")
	rec := episode(20)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range rec.Ticks { // several to a chunk, which ends within one
		noise := robot.Frame{Camera: "wrist", Seq: uint64(i), Stamp: rec.Ticks[i].State.Stamp, W: 40, H: 40, Pix: make([]byte, 3*40*40)}
		for k := range noise.Pix {
			noise.Pix[k] = byte(rng.Uint32())
		}
		rec.Ticks[i].Frames = append([]robot.Frame{noise}, rec.Ticks[i].Frames...)
	}
	write(t, path, rec, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for n := 0; n < len(whole)-30; n += 397 {
		got, err := record.Decode(bytes.NewReader(whole[:n]))
		if err == nil {
			t.Fatalf("%d of %d bytes were taken for whole", n, len(whole))
		}
		if errors.Is(err, record.ErrTruncated) && len(got.Ticks) < last {
			t.Fatalf("%d bytes give %d observations, fewer bytes gave %d", n, len(got.Ticks), last)
		}
		if len(got.Ticks) == last {
			continue
		}
		last = len(got.Ticks)
		for i, tick := range got.Ticks {
			frames := rec.Ticks[i].Frames
			if len(tick.Frames) != 2 || tick.Frames[0].Camera != "wrist" || tick.Frames[1].Camera != "front" {
				t.Fatalf("%d bytes give observation %d of %d with %d of 2 frames", n, i, last, len(tick.Frames))
			}
			tick.Frames = frames // JPEG
			if d := cmp.Diff(rec.Ticks[i], tick, bits); d != "" {
				t.Fatalf("%d bytes give observation %d of %d otherwise: %s", n, i, last, d)
			}
		}
	}
	if last < 20 {
		t.Errorf("all but the footer gives %d of 20 observations", last)
	}
}

func TestErrorsNameFileAndRemedy(t *testing.T) {
	dir := t.TempDir()
	if _, err := record.Read(filepath.Join(dir, "none.mcap")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	text := filepath.Join(dir, "text.mcap")
	if err := os.WriteFile(text, []byte(strings.Repeat("not an MCAP file\n", 9)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := record.Read(text); !errors.Is(err, record.ErrCorrupt) || !strings.Contains(err.Error(), "text.mcap") {
		t.Errorf("text file: %v", err)
	}
	done := filepath.Join(dir, "done.mcap")
	write(t, done, episode(2), false)
	if _, err := record.Create(done, record.Info{}); err == nil || !strings.Contains(err.Error(), "done.mcap") {
		t.Errorf("second recording of an episode: %v", err)
	}
}

// A file-size limit makes the kernel refuse writes as a full disk does.
func TestFullDiskIsAnErrorAndNothingHalfIsTakenForWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mcap")
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	rec := episode(46)
	w, err := record.Create(path, rec.Info)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 40 << 10, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	var failed error
	for _, tick := range rec.Ticks {
		if err := w.Tick(tick); err != nil {
			failed = err
			break
		}
	}
	if err := w.Close(); err == nil {
		t.Error("Close called a file whole that lacks its end")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if failed == nil || !strings.Contains(failed.Error(), path) || !strings.Contains(failed.Error(), "free space") {
		t.Errorf("got %v, want the file and the remedy", failed)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("half a file took the name of a whole one")
	}
	got, err := record.Read(path + ".part")
	if !errors.Is(err, record.ErrTruncated) || len(got.Ticks) == 0 {
		t.Errorf("salvaged %d observations, %v", len(got.Ticks), err)
	}
}

func FuzzDecode(f *testing.F) {
	path := filepath.Join(f.TempDir(), "a.mcap")
	rec := episode(3)
	write(f, path, rec, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("\x89MCAP0\r\n"))
	lossless := filepath.Join(f.TempDir(), "b.mcap")
	w, err := record.Create(lossless, rec.Info)
	if err != nil {
		f.Fatal(err)
	}
	w.Lossless()
	if err := errors.Join(w.Tick(rec.Ticks[0]), w.Close()); err != nil {
		f.Fatal(err)
	}
	if whole, err = os.ReadFile(lossless); err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := record.Decode(bytes.NewReader(b))
		if err == nil && len(rec.Rewards) > 0 && len(rec.Rewards) != len(rec.Ticks)-1 {
			t.Error("an unequal recording passed")
		}
	})
}

func BenchmarkEpisode(b *testing.B) {
	rec := episode(46)
	dir := b.TempDir()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		path := filepath.Join(dir, "a.mcap")
		write(b, path, rec, false)
		if err := os.Remove(path); err != nil {
			b.Fatal(err)
		}
	}
}
