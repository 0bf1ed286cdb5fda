// Package cudatest makes a CUDA device for tests where there is no card: the
// processor runs the text of the kernels, and stands in for NVIDIA's libraries.
// What it cannot show is what NVRTC thinks of the text, what cuDNN computes, and
// what happens at the same time on a card.
//
//	d := cudatest.Open(t)
package cudatest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
)

// Build compiles the emulator into a folder, as the libraries that a Config of
// package cuda looks for in Libs.
func Build(dir string) error {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Dir(filepath.Dir(here))
	source := filepath.Join(root, "kernels.cu")
	text, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("cudatest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kernels.inc"), []byte(list(string(text))), 0o644); err != nil {
		return fmt.Errorf("cudatest: %w", err)
	}
	lib := filepath.Join(dir, "libcuda.so.1")
	cxx := exec.Command("g++", "-O2", "-std=c++17", "-Wall", "-shared", "-fPIC", "-DKERNELS=\""+source+"\"", "-I"+dir, "-o", lib, filepath.Join(root, "testdata", "emulator.cpp"))
	if out, err := cxx.CombinedOutput(); err != nil {
		return fmt.Errorf("cudatest: %w: %s", err, out)
	}
	for _, name := range []string{"libcublas.so.12", "libnvrtc.so.12"} {
		if err := os.Symlink("libcuda.so.1", filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("cudatest: %w", err)
		}
	}
	return nil
}

var kernel = regexp.MustCompile(`(?m)^KERNEL (\w+)\(`)

// list names the kernels for the emulator, and whether each has barriers.
func list(text string) string {
	var b strings.Builder
	at := kernel.FindAllStringSubmatchIndex(text, -1)
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		body := text[m[0]:end]
		waits := strings.Contains(body, "__syncthreads") || strings.Contains(body, "total(") || strings.Contains(body, "most(")
		fmt.Fprintf(&b, "K(%s, %v)\n", text[m[2]:m[3]], waits)
	}
	return b.String()
}

// built is the folder of the emulator of these sources among the system's temporary
// files, where all test programs find it once one has made it.
var built = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Dir(filepath.Dir(here))
	h := sha256.New()
	for _, f := range []string{here, filepath.Join(root, "kernels.cu"), filepath.Join(root, "testdata", "emulator.cpp")} {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("cudatest: %w", err)
		}
		h.Write(text)
	}
	done := filepath.Join(os.TempDir(), fmt.Sprintf("rapport-emulator-%d-%x", os.Getuid(), h.Sum(nil)[:8]))
	if _, err := os.Stat(filepath.Join(done, "libnvrtc.so.12")); err == nil {
		return done, nil
	}
	dir, err := os.MkdirTemp("", "rapport-emulator-")
	if err != nil {
		return "", fmt.Errorf("cudatest: %w", err)
	}
	if err := Build(dir); err != nil {
		return "", err
	}
	if err := os.Rename(dir, done); err != nil { // another program was quicker
		return dir, nil
	}
	return done, nil
})

// Libs is the folder of the emulator, for RAPPORT_CUDA_LIBS.
func Libs() (string, error) { return built() }

// Device is the machine's card, or without one an emulated one. With
// RAPPORT_TEST_CARD=1 it is the card or an error.
func Device() (*cuda.Device, error) {
	d, err := cuda.Open(cuda.Config{})
	if err == nil || os.Getenv("RAPPORT_TEST_CARD") == "1" {
		return d, err
	}
	dir, err := built()
	if err != nil {
		return nil, err
	}
	return cuda.Open(cuda.Config{Libs: []string{dir}})
}

// Open is Device until the test ends.
func Open(t testing.TB) *cuda.Device {
	t.Helper()
	d, err := Device()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
