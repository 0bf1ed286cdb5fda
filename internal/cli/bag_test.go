package cli

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/bag"
)

// sample writes a bag of 100 messages a topic, at 10 Hz.
func sample(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.bag")
	w, err := bag.Create(path, bag.WriteOptions{Compression: "lz4", Chunk: 500})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		c := &bag.Connection{Topic: []string{"/a", "/b"}[i%2], Type: "std_msgs/Float64", Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte("float64 data\n")}
		m := bag.Message{Conn: c, Time: time.Unix(1000, int64(i/2)*1e8).UTC(), Data: binary.LittleEndian.AppendUint64(nil, uint64(i))}
		if err := w.Write(&m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func rapport(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, nil, &out, &errs)
	return code, out.String(), errs.String()
}

func TestBagInfo(t *testing.T) {
	path := sample(t)
	for _, flag := range []string{"--check", "--guess"} {
		code, out, errs := rapport(t, "bag", "info", path, flag)
		for _, want := range []string{"rosbag 2.0", "9.900 s", "messages  200", "lz4, ", "/a     std_msgs/Float64  100    10.0  ros1", "1970-01-01T00:16:40Z"} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%s: exit code %d, no %q in\n%s%s", flag, code, want, out, errs)
			}
		}
	}
}

// What cannot be converted leaves no half of a file.
func TestBagConvertLeavesNothingHalf(t *testing.T) {
	late, out := filepath.Join(t.TempDir(), "late.mcap"), filepath.Join(t.TempDir(), "out.bag")
	w, err := bag.Create(late, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &bag.Connection{Topic: "/a", Type: "std_msgs/Float64", Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte("float64 data\n")}
	for _, s := range []int64{1000, 1 << 32} { // the second is after all that a .bag can hold
		if err := w.Write(&bag.Message{Conn: c, Time: time.Unix(s, 0), Data: make([]byte, 8)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	code, _, errs := rapport(t, "bag", "convert", late, out)
	if code != exitFailed || !strings.Contains(errs, "nothing was written") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if left, _ := filepath.Glob(out + "*"); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestBagConvert(t *testing.T) {
	path := sample(t)
	there, back := path+".mcap", filepath.Join(t.TempDir(), "back.bag")
	if code, _, errs := rapport(t, "bag", "convert", path, there); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	code, out, errs := rapport(t, "bag", "convert", there, back, "--topics", "/b", "--from", "2", "--to", "1970-01-01T00:16:45Z", "--compression", "lz4")
	if code != 0 || !strings.Contains(out, "30 messages; damage of "+there+": none") {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"convert", path, there}, 1, "exists already"},
		{[]string{"convert", path, path + "2.mcap", "--topics", "/c"}, 2, "there is no /c; there are /a, /b"},
		{[]string{"convert", path, path + "2.mcap", "--from", "soon"}, 2, "neither seconds from the beginning"},
		{[]string{"convert", path}, 2, "accepts 2 arg"},
		{[]string{"info", there + ".no"}, 1, "no such file"},
	} {
		if code, _, errs := rapport(t, append([]string{"bag"}, tt.args...)...); code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: exit code %d, want %d; %q, want %q in it", tt.args, code, tt.code, errs, tt.want)
		}
	}
}

// What a killed recorder left is not emptied to write what it holds under its name.
func TestBagRepairKeepsWhatItReads(t *testing.T) {
	was, err := os.ReadFile(filepath.Join("..", "..", "robot", "bag", "testdata", "recorder", "killed-none.bag.active"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	killed := filepath.Join(dir, "x.bag.active")
	if err := os.WriteFile(killed, was, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"repair", "convert"} {
		code, _, errs := rapport(t, "bag", verb, killed, filepath.Join(dir, "x.bag"))
		if code != exitFailed || !strings.Contains(errs, "rapport bag repair "+killed+" OTHER") {
			t.Errorf("%s: exit code %d: %s", verb, code, errs)
		}
		if now, err := os.ReadFile(killed); err != nil || !bytes.Equal(now, was) {
			t.Errorf("%s: %d bytes of %d are left, or others: %v", verb, len(now), len(was), err)
		}
	}
	if code, out, errs := rapport(t, "bag", "repair", killed, filepath.Join(dir, "y.bag")); code != 0 || !strings.Contains(out, "239 messages") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

func TestBagRepairTellsLossByItsExitCode(t *testing.T) {
	path := sample(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x10 // in a chunk, or in its index
	hurt := filepath.Join(t.TempDir(), "hurt.bag")
	if err := os.WriteFile(hurt, b[:len(b)*3/4], 0o644); err != nil {
		t.Fatal(err)
	}
	mended := filepath.Join(t.TempDir(), "mended.bag")
	code, out, errs := rapport(t, "bag", "repair", hurt, mended)
	if code != 3 || !strings.Contains(out, "truncated") || !strings.Contains(errs, "is not whole") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if code, out, errs := rapport(t, "bag", "info", "--check", hurt); code != 3 || !strings.Contains(errs, "rapport bag repair") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if code, out, errs := rapport(t, "bag", "info", "--check", mended); code != 0 || !strings.Contains(out, "damage    none") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if code, out, _ := rapport(t, "bag", "repair", path, path+".mcap"); code != 0 || !strings.Contains(out, "200 messages") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
