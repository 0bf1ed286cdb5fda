package buffer_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
)

// kept fills a folder with film and closes it.
func kept(t *testing.T, quality int) buffer.Config {
	t.Helper()
	c := buffer.Config{View: sight(), Gamma: 0.9, JPEG: quality, Dir: t.TempDir()}
	b := open(t, c)
	add(t, b, film()...)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFramesAreNamedAndCanBeForgotten(t *testing.T) {
	for _, quality := range []int{0, 90} {
		t.Run(fmt.Sprint("JPEG ", quality), func(t *testing.T) {
			c := kept(t, quality)
			path := filepath.Join(c.Dir, "ring-00000002.seg")
			for at, part := range map[int64]string{5: "row", 60: "frames"} { // of "ended": rows take 36 bytes
				flip(t, path, at)
				b, err := buffer.New(c)
				if err != nil {
					t.Fatal(err)
				}
				dst := buffer.NewBatch(200, c.View)
				for name, err := range map[string]error{"Sample": b.Sample(dst, 100, seed(1)), "Verify": b.Verify()} {
					var d *buffer.Damaged
					if !errors.Is(err, buffer.ErrDamaged) || !errors.As(err, &d) {
						t.Fatalf("%s: error = %v, want ErrDamaged", name, err)
					}
					if d.File != path || d.Episode != "ended" || d.Part != part || !strings.Contains(err.Error(), "Forget the episode") {
						t.Errorf("%s: error = %v, want one about the %s of ended in %s, with a remedy", name, err, part, path)
					}
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				flip(t, path, at) // mended
			}
			flip(t, path, 60)
			b := open(t, c)
			if ok, err := b.Forget("ended"); !ok || err != nil {
				t.Fatalf("Forget = %v, %v", ok, err)
			}
			check := func() {
				t.Helper()
				dst := buffer.NewBatch(200, c.View)
				if err := errors.Join(b.Sample(dst, 100, seed(1)), b.Verify()); err != nil {
					t.Fatal(err)
				}
				checkBatch(t, c, dst, byID(film()...))
				for i := range dst.Reward {
					if id, _ := dst.At(i); id == "ended" {
						t.Fatal("the forgotten episode was drawn")
					}
				}
			}
			check()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = open(t, c)
			check()
			add(t, b, film()[1]) // from its recording
			if n := b.Count(); n.Online != 4+5+1 {
				t.Errorf("online = %d, want 10", n.Online)
			}
		})
	}
}

func TestDamagedJournalIsAnErrorWhereverItIs(t *testing.T) {
	c := kept(t, 90)
	path := filepath.Join(c.Dir, "journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		b, err := buffer.New(c)
		if err == nil {
			b.Close()
		}
		if !errors.Is(err, buffer.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "put the file back") {
			t.Fatalf("%s: error = %v, want ErrDamaged with the file and the remedy", name, err)
		}
	}
	for at := range whole {
		if at >= 20 && at < 32 {
			continue // room in the head that says nothing
		}
		bad := append([]byte(nil), whole...)
		bad[at] ^= 0x41
		refused(fmt.Sprint("byte ", at), bad)
		if at%5 == 0 {
			refused(fmt.Sprint("cut to ", at), whole[:at])
		}
	}
	// What was never promised is left out.
	if err := os.WriteFile(path, append(whole, whole[32:90]...), 0o644); err != nil {
		t.Fatal(err)
	}
	b := open(t, c)
	if n := b.Count().Episodes; n != 5 {
		t.Errorf("behind the end is nonsense: %d episodes, want 5", n)
	}
}

func TestDamagedFolderIsAnError(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		spoil      func(dir string) error
	}{
		{"segment missing", "keep-00000001.seg is missing, and holds episode demo", func(d string) error { return os.Remove(filepath.Join(d, "keep-00000001.seg")) }},
		{"segment cut off", "ring-00000002.seg has 100 bytes, of ", func(d string) error { return os.Truncate(filepath.Join(d, "ring-00000002.seg"), 100) }},
		{"journal missing", "journal is missing beside 2 segments", func(d string) error { return os.Remove(filepath.Join(d, "journal")) }},
		{"journal empty", "journal is not a journal", func(d string) error { return os.Truncate(filepath.Join(d, "journal"), 0) }},
		{"two of a number", "two segments of number 1", func(d string) error { return os.WriteFile(filepath.Join(d, "ring-00000001.seg"), nil, 0o644) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := kept(t, 0)
			if err := tt.spoil(c.Dir); err != nil {
				t.Fatal(err)
			}
			if _, err := buffer.New(c); !errors.Is(err, buffer.ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want ErrDamaged with %q", err, tt.want)
			}
		})
	}
}

func TestFolderBelongsToOneBufferAndOneView(t *testing.T) {
	c := kept(t, 0)
	b := open(t, c)
	if _, err := buffer.New(c); !errors.Is(err, buffer.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("second buffer: error = %v, want ErrLocked with the process", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	other := c
	other.View.Embed = 2
	if _, err := buffer.New(other); err == nil || errors.Is(err, buffer.ErrDamaged) || !strings.Contains(err.Error(), "Embed is 2 and 1") {
		t.Errorf("another view: error = %v, want one that names Embed", err)
	}
	// All else may change: the quality concerns new episodes, the rewards are kept as given.
	c.JPEG, c.Scale, c.Steps, c.Gamma, c.Capacity = 90, 3, 2, 0.5, 7
	b = open(t, c)
	dst := buffer.NewBatch(100, c.View)
	if err := b.Sample(dst, 50, seed(1)); err != nil {
		t.Fatal(err)
	}
	c.JPEG = 0
	checkBatch(t, c, dst, byID(film()...))
	if demo, online := b.Len(); demo != 3+2+2 || online != 5+1 {
		t.Errorf("demo %d, online %d; want 7 and 6 of capacity 7", demo, online)
	}
}

func TestClosedBufferSaysSo(t *testing.T) {
	c := kept(t, 0)
	b := open(t, c)
	dst := buffer.NewBatch(2, c.View)
	chunks, err := buffer.NewChunks(2, buffer.Window{History: 1, Actions: 1}, c.View)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, add := b.Add(filmed("x", policy.Online, 0, 1))
	_, label := b.Relabel("demo", []float64{1, 2, 3})
	_, forget := b.Forget("demo")
	for name, err := range map[string]error{
		"Add": add, "Relabel": label, "Forget": forget, "Rewind": b.Rewind(0), "Verify": b.Verify(),
		"Sample": b.Sample(dst, 1, seed(1)), "SampleChunks": b.SampleChunks(chunks, 1, seed(1)),
	} {
		if !errors.Is(err, buffer.ErrClosed) {
			t.Errorf("%s after Close: error = %v, want ErrClosed", name, err)
		}
	}
}

func TestRewindForgetsWhatCameAfter(t *testing.T) {
	for name, store := range storages(t) {
		t.Run(name, func(t *testing.T) {
			c := buffer.Config{View: sight(), Gamma: 0.9}
			store(&c)
			m := c
			m.Dir, m.Segment = "", 0
			b, want := open(t, c), open(t, m)
			add(t, want, film()[:2]...)
			add(t, b, film()...)
			for _, n := range []int{-1, 6} {
				if err := b.Rewind(n); err == nil {
					t.Errorf("Rewind(%d) of 5 was done", n)
				}
			}
			if err := b.Rewind(2); err != nil {
				t.Fatal(err)
			}
			same(t, b, want, c)
			if c.Dir != "" {
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				b = open(t, c)
				same(t, b, want, c)
			}
			for _, x := range []*buffer.Buffer{b, want} {
				add(t, x, film()[2:]...) // ids are free again
			}
			same(t, b, want, c)
		})
	}
}

func TestSegmentsGoRound(t *testing.T) {
	c := small(t.TempDir())
	c.JPEG = 0
	b := open(t, c)
	for i := range 200 {
		add(t, b, filmed(fmt.Sprint(i), policy.Online, float32(i%100), 5))
	}
	names, total := sizes(t, c.Dir)
	// 30 transitions are 6 episodes of 4.7 kB; of segments there are as many as
	// hold those, one that is begun, one that has just ended and one spare.
	if total > 5*25_000 {
		t.Errorf("%d files of %d bytes after 200 episodes, want what 6 take and a few", names, total)
	}
}

func TestRoomOfForgottenEpisodesIsUsedAgain(t *testing.T) {
	c := buffer.Config{View: sight(), Gamma: 0.9, Dir: t.TempDir()}
	b := open(t, c)
	for i := range 50 {
		add(t, b, filmed("demo", policy.Demo, float32(i), 5), filmed("online", policy.Online, float32(i), 5))
		if i%2 == 0 {
			if err := b.Rewind(0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, id := range []string{"demo", "online"} {
			if ok, err := b.Forget(id); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	// Two episodes of 4.7 kB, and what the journal says of all a hundred.
	if names, total := sizes(t, c.Dir); total > 2*4700+100*200 {
		t.Errorf("%d files of %d bytes, want what two episodes take", names, total)
	}
}

// sizes is the number of files in a folder, and their bytes.
func sizes(t *testing.T, dir string) (files int, total int64) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		st, err := n.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	return len(names), total
}

// limit keeps files of this process below n bytes, as a full disk does.
func limit(t *testing.T, n uint64) (lift func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDiskLeavesTheReplayAsItWas(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	for name, v := range map[string]view.Config{"frames": sight(), "numbers": look()} {
		t.Run(name, func(t *testing.T) {
			c := buffer.Config{View: v, Gamma: 0.9, Capacity: 8, Dir: t.TempDir()}
			m := c
			m.Dir = ""
			b, want := open(t, c), open(t, m)
			for _, x := range []*buffer.Buffer{b, want} {
				add(t, x, film()...)
			}
			st, err := os.Stat(filepath.Join(c.Dir, "journal"))
			if err != nil {
				t.Fatal(err)
			}
			// With frames a part of those fits; of numbers the segment is the smaller
			// file, and a part of the journal's record fits.
			size, inJournal := uint64(st.Size()), 0
			for i, n := range []uint64{10, size + 1, size + 30, size + 300} {
				for _, origin := range []policy.Origin{policy.Demo, policy.Online} {
					e := filmed(fmt.Sprint(origin, i), origin, float32(i), 40)
					lift := limit(t, n)
					_, err := b.Add(e)
					lift()
					if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "was not added") {
						t.Fatalf("limit %d: error = %v, want one that says so", n, err)
					}
					if strings.Contains(err.Error(), "journal") {
						inJournal++
					}
					same(t, b, want, c)
				}
			}
			if wanted := map[string]int{"frames": 0, "numbers": 6}[name]; inJournal != wanted {
				t.Errorf("%d writes failed in the journal, want %d", inJournal, wanted)
			}
			for _, x := range []*buffer.Buffer{b, want} {
				add(t, x, filmed("more", policy.Online, 50, 3))
			}
			same(t, b, want, c)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = open(t, c)
			same(t, b, want, c)
			if err := b.Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Rows of more than is held back are written while the episode is converted.
func TestFullDiskIsToldOfLargeRows(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	v := look()
	v.Embed = 1 << 19 // 2 MiB
	wide := func(id string) policy.Episode {
		e := episode(id, policy.Online, 1, 2)
		for i := range e.Inputs {
			e.Inputs[i].Features.Embed = make([]float32, v.Embed)
		}
		return e
	}
	b := open(t, buffer.Config{View: v, Gamma: 0.9, Dir: t.TempDir()})
	lift := limit(t, 512<<10)
	_, err := b.Add(wide("cut"))
	lift()
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "was not added") {
		t.Errorf("error = %v, want one that says so", err)
	}
	add(t, b, wide("cut"))
	if err := b.Verify(); err != nil {
		t.Error(err)
	}
}
