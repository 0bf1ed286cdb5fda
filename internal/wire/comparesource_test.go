package wire

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/robot/record"
)

// A camera of a dataset is renamed by its name there, or by that which it has among its episodes;
// what is neither is refused.
func TestCamerasOfADatasetAreNamedByKey(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "cup-001"), filepath.Join(dir, "lerobot")
	st, err := store.Create(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	recorded(t, st, "demo-00000", 0, policy.Demo, 3, false)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Convert(t.Context(), ConvertConfig{In: []string{in}, Out: out, Images: true}, quietly()); err != nil {
		t.Fatal(err)
	}
	for key, known := range map[string]bool{"observation.images.front": true, "front": true, "observation.images.wrist": false} {
		var cc CompareConfig
		cc.Map = map[string]string{"scene": key}
		err := cc.fits(t.Context(), nil, []string{out})
		if known && err != nil || !known && (err == nil || !strings.Contains(err.Error(), `"`+key+`", which is no camera of `+out+"; want one of observation.images.front")) {
			t.Errorf("%s: %v", key, err)
		}
		if err := cc.fits(t.Context(), []reel{{bag: &bagTape{}}}, []string{out}); err != nil {
			t.Errorf("%s, beside a bag: %v", key, err)
		}
		r, err := OpenDataset(t.Context(), out, dataset.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names, _ := cc.called(r.Map())
		err = spool(e, names).Each(t.Context(), func(tick record.Tick) error {
			if got := tick.Frames[0].Camera; (got == "scene") != known {
				t.Errorf("%s: the camera is called %s", key, got)
			}
			return nil
		})
		if err != nil || r.Close() != nil {
			t.Fatal(err)
		}
	}
}
