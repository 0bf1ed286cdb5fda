package buffer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/robot"
)

// Episodes that end and that are cut off, of a person, mixed and of the policy.
func film() []policy.Episode {
	ended := filmed("ended", policy.Online, 100, 4)
	ended.Terminal = true
	mixed := filmed("mixed", policy.Online, 200, 5)
	mixed.By[0], mixed.By[3] = robot.ByHuman, robot.ByHuman
	won := filmed("won", policy.Demo, 400, 2)
	won.Terminal = true
	return []policy.Episode{filmed("demo", policy.Demo, 0, 3), ended, mixed, filmed("cut", policy.Online, 300, 1), won}
}

func TestEveryStorageGivesTheRowsAndFramesOfItsEpisodes(t *testing.T) {
	for name, store := range storages(t) {
		for _, steps := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				c := buffer.Config{View: sight(), Gamma: 0.5, Steps: steps, Scale: 2, Shift: -1, Returns: true, Tail: buffer.TailSteady}
				store(&c)
				b := open(t, c)
				add(t, b, film()...)
				for range 2 { // the second time from what was written
					dst := buffer.NewBatch(200, c.View)
					if err := b.Sample(dst, 100, seed(1)); err != nil {
						t.Fatal(err)
					}
					checkBatch(t, c, dst, byID(film()...))
					seen := map[string]bool{}
					for i := range dst.Reward {
						id, _ := dst.At(i)
						seen[id] = true
					}
					if len(seen) != 5 {
						t.Errorf("drew of %d episodes, want 5", len(seen))
					}
					if c.Dir == "" {
						return
					}
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
					b = open(t, c)
				}
			})
		}
	}
}

func TestFramesAreKeptOnce(t *testing.T) {
	dir := t.TempDir()
	b := open(t, buffer.Config{View: sight(), Gamma: 0.9, Dir: dir})
	T := 40
	add(t, b, filmed("e", policy.Online, 0, T))
	st, err := os.Stat(filepath.Join(dir, "ring-00000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	// Observation and action of one number each; the last input has no action.
	if want := int64((T+1)*sight().Pixels() + 4*(2*T+1)); st.Size() != want {
		t.Errorf("an episode of %d steps takes %d bytes, want %d", T, st.Size(), want)
	}
}

func TestFramesThatTheViewDoesNotWantAreRefused(t *testing.T) {
	for _, tt := range []struct {
		want  string
		spoil func(e *policy.Episode)
	}{
		{`episode e: view: step 2 has no frame of camera "wrist"`, func(e *policy.Episode) { e.Inputs[2].Frames = e.Inputs[2].Frames[:1] }},
		{`episode e: view: step 1: camera "side" gave`, func(e *policy.Episode) { e.Inputs[1].Frames[0].W++ }},
	} {
		for name, store := range storages(t) {
			t.Run(name, func(t *testing.T) {
				c := buffer.Config{View: sight(), Gamma: 0.9}
				store(&c)
				b := open(t, c)
				e := filmed("e", policy.Online, 0, 3)
				tt.spoil(&e)
				if _, err := b.Add(e); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error = %v, want one with %q", err, tt.want)
				}
				if got := b.Count(); got != (buffer.Count{}) {
					t.Errorf("count = %+v after a refusal, want nothing", got)
				}
				add(t, b, filmed("e", policy.Online, 0, 3))
			})
		}
	}
}

func TestBatchOfAnotherViewIsRefused(t *testing.T) {
	b := open(t, buffer.Config{View: sight(), Gamma: 0.9})
	add(t, b, film()...)
	if err := b.Sample(buffer.NewBatch(4, look()), 2, seed(1)); err != nil {
		t.Errorf("a batch that lacks frames gets room for them: %v", err)
	}
	wide, dim := sight(), sight()
	wide.Cameras[0].W++
	dim.Fingers = true
	chunks := buffer.Window{History: 2, Actions: 3}
	for name, dst := range map[string]*buffer.Batch{"frames": buffer.NewBatch(4, wide), "numbers": buffer.NewBatch(4, dim)} {
		if err := b.Sample(dst, 2, seed(1)); err == nil || !strings.Contains(err.Error(), "make it for the buffer's view") {
			t.Errorf("batch of other %s: error = %v", name, err)
		}
	}
	other, err := buffer.NewChunks(4, chunks, wide)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SampleChunks(other, 2, seed(1)); err == nil || !strings.Contains(err.Error(), "NewChunks for the buffer's view") {
		t.Errorf("chunks of another view: error = %v", err)
	}
}

func TestConfigRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*buffer.Config){
		"Capacity is -1":                     func(c *buffer.Config) { c.Capacity = -1 },
		"Steps is -1":                        func(c *buffer.Config) { c.Steps = -1 },
		"Gamma is 1.5":                       func(c *buffer.Config) { c.Gamma = 1.5 },
		"Scale and Shift":                    func(c *buffer.Config) { c.Scale = 1 / (c.Shift) },
		"JPEG is a quality of 101":           func(c *buffer.Config) { c.JPEG = 101 },
		"View.Cameras is empty":              func(c *buffer.Config) { c.View.Cameras, c.JPEG = nil, 90 },
		"Segment is 5":                       func(c *buffer.Config) { c.Segment = 5 },
		"Workers is -1":                      func(c *buffer.Config) { c.Workers = -1 },
		"Prioritised.Alpha is 2":             func(c *buffer.Config) { c.Prioritised.Alpha = 2 },
		"Prioritised.Beta is -1":             func(c *buffer.Config) { c.Prioritised = buffer.Prioritised{Alpha: 1, Beta: -1} },
		"Prioritised.BetaSteps is -1":        func(c *buffer.Config) { c.Prioritised = buffer.Prioritised{Alpha: 1, BetaSteps: -1} },
		"Prioritised.Eps is -1":              func(c *buffer.Config) { c.Prioritised = buffer.Prioritised{Alpha: 1, Eps: -1} },
		"its Alpha is 0, which draws unifor": func(c *buffer.Config) { c.Prioritised.Beta = 0.4 },
		"camera \"wrist\" has 9000x12":       func(c *buffer.Config) { c.View.Cameras[0].W, c.JPEG = 9000, 90 },
	} {
		c := buffer.Config{View: sight(), Gamma: 0.9}
		spoil(&c)
		if _, err := buffer.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
}

func TestSampleDoesNotAllocateWhateverTheStorage(t *testing.T) {
	for name, store := range storages(t) {
		t.Run(name, func(t *testing.T) {
			c := buffer.Config{View: sight(), Gamma: 0.9, Returns: true, Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4}}
			store(&c)
			b := open(t, c)
			add(t, b, film()...)
			dst := buffer.NewBatch(16, c.View)
			chunks, err := buffer.NewChunks(16, buffer.Window{History: 2, Actions: 4, Next: true}, c.View)
			if err != nil {
				t.Fatal(err)
			}
			td, rng := make([]float32, 16), seed(1)
			work := func() {
				if err := b.Sample(dst, 8, rng); err != nil {
					t.Error(err)
				}
				if err := b.SetPriorities(dst, td); err != nil {
					t.Error(err)
				}
				if err := b.SampleChunks(chunks, 8, rng); err != nil {
					t.Error(err)
				}
			}
			for range 20 { // until every worker has read the longest part
				work()
			}
			if n := testing.AllocsPerRun(50, work); n != 0 {
				t.Errorf("sampling allocates %v times, want 0", n)
			}
		})
	}
}
