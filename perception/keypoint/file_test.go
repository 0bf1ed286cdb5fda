package keypoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileThereAndBack(t *testing.T) {
	a, b := overhead(), overhead()
	b.Name, b.OnHand, b.Distortion = "wrist", true, [5]float64{0.1, -0.02, 0.001, 0, 0}
	path := filepath.Join(t.TempDir(), "cameras.json")
	if err := Save(path, []Camera{a, b}); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || len(got) != 2 || got[0] != a || got[1] != b {
		t.Fatalf("got %+v, want %+v and %+v (%v)", got, a, b, err)
	}
	kept := path + ".kept" // what is written in place is seen by it
	if err := os.Link(path, kept); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, []Camera{a}); err != nil {
		t.Fatal(err)
	}
	if was, err := Load(kept); err != nil || len(was) != 2 {
		t.Errorf("the file was written over in place: %+v (%v)", was, err)
	}
	if _, err := os.Stat(path + ".part"); err == nil {
		t.Error("a part was left")
	}
	if c, err := Find(got, "wrist"); err != nil || c != b {
		t.Errorf("Find gives %+v (%v)", c, err)
	}
	if _, err := Find(got, "side"); err == nil || !strings.Contains(err.Error(), "wrist") {
		t.Errorf("Find of a stranger gives %v, want the names that there are", err)
	}
}

func TestBadFilesAreRefusedByFileAndField(t *testing.T) {
	good, err := Encode([]Camera{overhead()})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, from, to, want string }{
		{"no JSON", `{`, `<`, "cameras.json"},
		{"unknown field", `"name"`, `"nom"`, "nom"},
		{"no name", `"top"`, `""`, "name is empty"},
		{"one side", "200,", "", "size has 1 numbers"},
		{"no width", "200,", "0,", "size is 0x100"},
		{"negative focal", `"focal": [
        100`, `"focal": [
        -100`, "focal is -100"},
		{"quaternion", `"q": [`, `"q": [ 1,`, "pose.q has 5"},
		{"trailing", "\n}\n", "\n} {}", "follows"},
		{"folded", `"pose"`, `"distortion": [-2, 0, 0, 0, 0], "pose"`, "folds"},
		{"short distortion", `"pose"`, `"distortion": [-2, 0], "pose"`, "distortion has 2"},
	} {
		text := string(good)
		if !strings.Contains(text, tt.from) {
			t.Fatalf("%s: the file has no %q:\n%s", tt.name, tt.from, text)
		}
		path := filepath.Join(t.TempDir(), "cameras.json")
		if err := os.WriteFile(path, []byte(strings.Replace(text, tt.from, tt.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q and the file's name", tt.name, err, tt.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.json")); err == nil || !strings.Contains(err.Error(), "rapport calibrate") {
		t.Errorf("a file that is not there: %v, want the command that writes it", err)
	}
	c := overhead()
	if _, err := Encode([]Camera{c, {}}); err == nil {
		t.Error("an empty camera was written")
	}
	twice := strings.Replace(string(good), `"cameras": [`, `"cameras": [`+cut(string(good))+",", 1)
	if _, err := Decode([]byte(twice)); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a name that is there twice: %v", err)
	}
}

// cut is the one camera of a file.
func cut(text string) string {
	return text[strings.Index(text, "[")+1 : strings.LastIndex(text, "]")]
}

func FuzzDecodeCameras(f *testing.F) {
	c := overhead()
	c.Distortion[0] = 0.1
	good, err := Encode([]Camera{c})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"cameras": []}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cs, err := Decode(data)
		if err != nil {
			return
		}
		// What is read can be written, and projects without a panic.
		b, err := Encode(cs)
		if err != nil {
			t.Fatalf("a file that was read cannot be written: %v", err)
		}
		again, err := Decode(b)
		if err != nil || len(again) != len(cs) || again[0] != cs[0] {
			t.Fatalf("not there and back: %v", err)
		}
		cs[0].Project([3]float64{0.5, 0, 0})
	})
}
