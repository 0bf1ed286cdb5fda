//go:build cgo && !purego

// Package cuda computes on an NVIDIA card: matrix products by cuBLAS,
// convolutions by cuDNN, or by products where it is not there, and everything
// else by the kernels of kernels.cu, which NVRTC compiles for the card at the
// start. The libraries are looked for at run time, so that one program runs with
// a card and without.
//
//	d, err := cuda.Open(cuda.Config{})
//	if err != nil { ... } // says what is missing, and the remedy
//	defer d.Close()
//	g := nn.NewGraphOn(d)
//
// Everything is float32 without TF32, and repeatable: nothing adds in an order
// that chance decides. A failure of the card is a panic that names the call.
package cuda

import (
	_ "embed" // the kernels
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

/*
#cgo CFLAGS: -O2 -Wall
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "driver.h"
#cgo noescape rc_launch
#cgo nocallback rc_launch
#cgo noescape rc_up
#cgo nocallback rc_up
#cgo noescape rc_down
#cgo nocallback rc_down
#cgo nocallback rc_gemm
#cgo nocallback rc_copy
#cgo nocallback rc_clear
#cgo nocallback rc_sync
#cgo nocallback rc_replay
#cgo noescape rc_failure
*/
import "C"

//go:embed kernels.cu
var kernels string

// Config says where the libraries are and how to watch them.
type Config struct {
	// Libs are folders to look into before the system's, and their lib and */lib, as
	// Python's wheels have them; empty: those of the variable RAPPORT_CUDA_LIBS,
	// separated by colons.
	Libs []string
	// Wait waits for every call, so that a failure is told where it happened; so does
	// RAPPORT_CUDA_WAIT=1.
	Wait bool
	// NoDNN leaves cuDNN aside.
	NoDNN bool
}

// Device is an NVIDIA card. It is safe for use by several goroutines, whose work
// it does one after the other.
type Device struct {
	rc        *C.rc
	cfg       Config
	name      string
	recording atomic.Bool
	notes     []string // convolutions that cuDNN does not do, and why

	forgotten runtime.Cleanup

	mu     sync.Mutex
	spaces []space // of the card's memory, by address
	last   int     // the one asked for last
	pinned map[*float32]int
	slots  [32]uint64
	n      int
	back   []loan
	stage  []room
	used   int // of the last stage
	part, sums, work,
	arranged, patches room
	wide []float32 // one float64 and room for 1024 on the card
	host []float32 // one float64, pinned
}

var _ device.Accelerator = (*Device)(nil)

// space is a stretch of addresses.
type space struct{ lo, hi uintptr }

// room is memory that grows.
type room struct{ mem []float32 }

// loan is an ordinary array that a call has on the card.
type loan struct {
	host    []float32
	at      unsafe.Pointer
	written bool
}

// folders lists where libraries may be; the empty one is the system's.
func (c Config) folders() []string {
	libs := c.Libs
	if len(libs) == 0 {
		libs = filepath.SplitList(os.Getenv("RAPPORT_CUDA_LIBS"))
	}
	var all []string
	for _, l := range libs {
		all = append(all, l, filepath.Join(l, "lib"))
		more, _ := filepath.Glob(filepath.Join(l, "*", "lib"))
		all = append(all, more...)
	}
	return append(all, "")
}

// candidates lists the files that may be a library, best first.
func (c Config) candidates(names ...string) []string {
	var all []string
	for _, f := range c.folders() {
		for _, n := range names {
			all = append(all, filepath.Join(f, n))
		}
	}
	return all
}

// Open takes the first card. CUDA 11 to 13 and cuDNN 8 or 9 serve.
func Open(c Config) (*Device, error) {
	var arena []unsafe.Pointer
	defer func() {
		for _, p := range arena {
			C.free(p)
		}
	}()
	list := func(names ...string) **C.char {
		files := append(c.candidates(names...), "")
		p := C.calloc(C.size_t(len(files)), C.size_t(unsafe.Sizeof(uintptr(0))))
		arena = append(arena, p)
		s := unsafe.Slice((**C.char)(p), len(files))
		for i, f := range files {
			s[i] = C.CString(f)
			arena = append(arena, unsafe.Pointer(s[i]))
		}
		return &s[0]
	}
	dnn := []string{"libcudnn.so.9", "libcudnn.so.8"}
	if c.NoDNN {
		dnn = nil
	}
	var text [8192]C.char
	rc := C.rc_load(
		list("libcuda.so.1"),
		list("libcublas.so.13", "libcublas.so.12", "libcublas.so.11"),
		list("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"),
		list(dnn...), &text[0], C.size_t(len(text)))
	c.Wait = c.Wait || os.Getenv("RAPPORT_CUDA_WAIT") == "1"
	const remedy = "install NVIDIA's driver and CUDA 11 to 13, name the libraries' folders in RAPPORT_CUDA_LIBS, or learn on the processor with learner.device: cpu"
	if rc == nil {
		return nil, fmt.Errorf("cuda: %s; %s", C.GoString(&text[0]), remedy)
	}
	names := make([]*C.char, len(kernelNames)) // kept for errors
	for i, n := range kernelNames {
		names[i] = C.CString(n)
	}
	table := C.malloc(C.size_t(len(names)) * C.size_t(unsafe.Sizeof(uintptr(0))))
	copy(unsafe.Slice((**C.char)(table), len(names)), names)
	source := C.CString(kernels)
	defer C.free(unsafe.Pointer(source))
	if C.rc_start(rc, source, (**C.char)(table), C.int(len(names)), &text[0], C.size_t(len(text))) != 0 {
		C.rc_stop(rc)
		return nil, fmt.Errorf("cuda: %s; %s", C.GoString(&text[0]), remedy)
	}
	d := &Device{rc: rc, cfg: c, pinned: map[*float32]int{}}
	d.forgotten = runtime.AddCleanup(d, func(rc *C.rc) { C.rc_stop(rc) }, rc)
	C.rc_describe(rc, &text[0], C.size_t(len(text)))
	d.name = C.GoString(&text[0])
	d.wide, d.host = d.Alloc(4096), d.Pin(2)
	return d, nil
}

// Close gives the card back, as does forgetting the device and all that is on it.
// Arrays and graphs there must not be used after.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rc == nil {
		return errors.New("cuda: closed twice")
	}
	d.forgotten.Stop()
	C.rc_stop(d.rc)
	d.rc = nil
	return nil
}

// Name implements device.Device.
func (d *Device) Name() string { return d.name }

// Notes tells which convolutions cuDNN does not do, and why.
func (d *Device) Notes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.notes...)
}

// check panics where a call failed.
func (d *Device) check(failed C.int) {
	if failed == 0 {
		return
	}
	var text [512]C.char
	C.rc_failure(d.rc, &text[0], C.size_t(len(text)))
	what := C.GoString(&text[0])
	remedy := "set RAPPORT_CUDA_WAIT=1 to see which call it was"
	if strings.Contains(what, "OUT_OF_MEMORY") {
		remedy = "choose a smaller batch, or learn on the processor with learner.device: cpu"
	}
	panic("cuda: " + what + "; " + remedy)
}

// lock begins a call. Within Record, whose goroutine holds the lock, it is taken
// already.
func (d *Device) lock() {
	if d.recording.Load() && C.rc_mine() != 0 {
		return
	}
	d.mu.Lock()
	if d.rc == nil {
		d.mu.Unlock()
		panic("cuda: device is closed")
	}
}

func (d *Device) unlock() {
	if d.recording.Load() && C.rc_mine() != 0 {
		return
	}
	d.mu.Unlock()
}

func address(x []float32) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(x)) }

// holds is here for whoever has not locked the device.
func (d *Device) holds(x []float32) bool {
	d.lock()
	defer d.unlock()
	return d.here(x)
}

// here says whether x is on the card.
func (d *Device) here(x []float32) bool {
	a := uintptr(address(x))
	if d.last < len(d.spaces) {
		if s := d.spaces[d.last]; a >= s.lo && a < s.hi {
			return true
		}
	}
	lo, hi := 0, len(d.spaces)
	for lo < hi {
		mid := (lo + hi) / 2
		if a >= d.spaces[mid].hi {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(d.spaces) && a >= d.spaces[lo].lo {
		d.last = lo
		return true
	}
	return false
}

// alloc takes n zeros on the card.
func (d *Device) alloc(n int) []float32 {
	p := C.rc_alloc(d.rc, C.int64_t(4*max(n, 1)))
	if p == nil {
		d.check(-1)
	}
	d.check(C.rc_clear(d.rc, unsafe.Pointer(p), C.int64_t(4*max(n, 1))))
	x := unsafe.Slice((*float32)(unsafe.Pointer(p)), max(n, 1))
	s := space{uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(p)) + 4*uintptr(len(x))}
	i := 0
	for i < len(d.spaces) && d.spaces[i].lo < s.lo {
		i++
	}
	d.spaces = append(d.spaces, space{})
	copy(d.spaces[i+1:], d.spaces[i:])
	d.spaces[i] = s
	return x[:n]
}

// Alloc implements device.Memory.
func (d *Device) Alloc(n int) []float32 {
	d.lock()
	defer d.unlock()
	return d.alloc(n)
}

// Pin implements device.Memory.
func (d *Device) Pin(n int) []float32 {
	d.lock()
	defer d.unlock()
	p := C.rc_alloc_host(d.rc, C.int64_t(4*max(n, 1)))
	if p == nil {
		d.check(-1)
	}
	x := unsafe.Slice((*float32)(unsafe.Pointer(p)), max(n, 1))
	d.pinned[&x[0]] = n
	return x[:n]
}

// Free implements device.Memory. After Close it does nothing: the card is given
// back already.
func (d *Device) Free(x []float32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rc == nil {
		return
	}
	p := unsafe.SliceData(x)
	if _, ok := d.pinned[p]; ok {
		delete(d.pinned, p)
		C.rc_free_host(d.rc, unsafe.Pointer(p))
		return
	}
	d.free(x)
}

func (d *Device) free(x []float32) {
	p := unsafe.Pointer(unsafe.SliceData(x))
	for i, s := range d.spaces {
		if s.lo == uintptr(p) {
			d.spaces = append(d.spaces[:i], d.spaces[i+1:]...)
			C.rc_free(d.rc, p)
			return
		}
	}
	panic("cuda: Free: not the beginning of an array of this device")
}

// Upload implements device.Memory.
func (d *Device) Upload(dst, src []float32) {
	d.lock()
	defer d.unlock()
	if len(src) < len(dst) || !d.here(dst) {
		panic("cuda: Upload: source too short, or destination not on the card")
	}
	if len(dst) > 0 {
		d.check(C.rc_up(d.rc, address(dst), address(src), bytes(dst)))
	}
}

// Download implements device.Memory.
func (d *Device) Download(dst, src []float32) {
	d.lock()
	defer d.unlock()
	if len(src) < len(dst) || !d.here(src) {
		panic("cuda: Download: source too short, or not on the card")
	}
	if len(dst) > 0 {
		d.check(C.rc_down(d.rc, address(dst), address(src), bytes(dst)))
	}
}

// Copy implements device.Memory.
func (d *Device) Copy(dst, src []float32) {
	if len(src) < len(dst) {
		panic("cuda: Copy: source too short")
	}
	if len(dst) == 0 {
		return
	}
	d.lock()
	to, from := d.here(dst), d.here(src)
	switch {
	case to && from:
		d.check(C.rc_copy(d.rc, address(dst), address(src), bytes(dst)))
	case to:
		d.check(C.rc_up(d.rc, address(dst), address(src), bytes(dst)))
		d.check(C.rc_sync(d.rc))
	case from:
		d.check(C.rc_down(d.rc, address(dst), address(src), bytes(dst)))
		d.check(C.rc_sync(d.rc))
	default:
		copy(dst, src)
	}
	d.unlock()
}

// Clear implements device.Memory.
func (d *Device) Clear(dst []float32) {
	if len(dst) == 0 {
		return
	}
	d.lock()
	if d.here(dst) {
		d.check(C.rc_clear(d.rc, address(dst), bytes(dst)))
	} else {
		clear(dst)
	}
	d.unlock()
}

// Sync implements device.Memory.
func (d *Device) Sync() {
	d.lock()
	d.check(C.rc_sync(d.rc))
	d.unlock()
}

func bytes(x []float32) C.int64_t { return C.int64_t(4 * len(x)) }

// record is a recording of this device.
type record struct {
	d *Device
	p unsafe.Pointer
}

// Record implements device.Recorder.
func (d *Device) Record(f func()) device.Recording {
	if d.cfg.Wait {
		return nil // nobody could wait in between
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d.mu.Lock()
	defer d.mu.Unlock()
	if C.rc_record(d.rc) != 0 {
		return nil
	}
	d.recording.Store(true)
	var p unsafe.Pointer
	func() {
		defer func() {
			p = C.rc_recorded(d.rc)
			d.recording.Store(false)
		}()
		f()
	}()
	if p == nil {
		return nil
	}
	return &record{d, p}
}

// Replay implements device.Recording.
func (r *record) Replay() {
	r.d.lock()
	r.d.check(C.rc_replay(r.d.rc, r.p))
	r.d.unlock()
}

// Forget implements device.Recording.
func (r *record) Forget() {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.rc != nil {
		C.rc_forget(r.d.rc, r.p)
	}
}
