package vision

/*
#cgo CXXFLAGS: --std=c++11
#cgo pkg-config: opencv4
#include <stdlib.h>
#include "dnn.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"unsafe"

	"github.com/rapport-rl/rapport/robot"
)

// MaxModel bounds an ONNX file in bytes: four times a ViT-L in float32 would
// not fit, nor would one fit a control tick.
const MaxModel = 1 << 30

// ErrClosed says that a Net was used after Close.
var ErrClosed = errors.New("vision: network is closed")

// NetConfig says what an ONNX network expects. A pixel p of 0..255 enters as
// (Scale*p - Mean) / Std per channel, planes in the order (N,3,H,W).
type NetConfig struct {
	W, H   int        // input size in pixels
	Scale  float64    // zero: 1/255
	Mean   [3]float64 // in the network's channel order; ImageNet RGB: 0.485, 0.456, 0.406
	Std    [3]float64 // zeros: 1; ImageNet RGB: 0.229, 0.224, 0.225
	SwapRB bool       // the network wants RGB
	Output string     // name of the output; empty: the last layer's
	// Batch is how many images go through at once. Zero is one, which is right
	// for every export, also for those with a batch size burnt in.
	Batch int
}

// Validate reports what is wrong with c.
func (c NetConfig) Validate() error {
	if c.W <= 0 || c.H <= 0 || c.W > 4096 || c.H > 4096 {
		return fmt.Errorf("vision: network input of %dx%d pixels, want 1..4096 a side", c.W, c.H)
	}
	if c.Batch < 0 || c.Batch > 1024 {
		return fmt.Errorf("vision: network batch of %d, want 0..1024", c.Batch)
	}
	for i, s := range c.Std {
		if s < 0 || !(c.Mean[i] >= -1e6 && c.Mean[i] <= 1e6) {
			return fmt.Errorf("vision: network channel %d has mean %g and std %g", i, c.Mean[i], s)
		}
	}
	return nil
}

// Net is an ONNX network run by OpenCV on the CPU. It is safe for several
// goroutines, which take turns.
type Net struct {
	cfg  NetConfig
	path string
	dim  int

	mu   sync.Mutex
	net  *C.vision_net
	blob []float32
}

// LoadNet reads the ONNX file at path and runs it once, so that whatever
// OpenCV cannot do shows now and not at the first tick. Model files are
// trusted as programs are: a corrupt one gives an error, but OpenCV's importer
// does not defend itself against a crafted one.
func LoadNet(path string, cfg NetConfig) (*Net, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	data, err := readModel(path)
	if err != nil {
		return nil, err
	}
	return newNet(path, data, cfg)
}

func readModel(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("vision: network: %w: name an ONNX file that exists", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxModel+1))
	if err != nil {
		return nil, fmt.Errorf("vision: network: %w", err)
	}
	if len(data) > MaxModel {
		return nil, fmt.Errorf("vision: network %s is larger than %d bytes", path, MaxModel)
	}
	return data, nil
}

func newNet(path string, data []byte, cfg NetConfig) (*Net, error) {
	if cfg.Scale == 0 {
		cfg.Scale = 1. / 255
	}
	for i, s := range cfg.Std {
		if s == 0 {
			cfg.Std[i] = 1
		}
	}
	cfg.Batch = max(1, cfg.Batch)
	if err := envelope(data); err != nil {
		return nil, fmt.Errorf("vision: network %s: %w; download or export it again", path, err)
	}
	n := &Net{cfg: cfg, path: path}
	var msg [512]C.char
	if C.vision_net_read(&n.net, unsafe.Pointer(&data[0]), C.size_t(len(data)), &msg[0], C.size_t(len(msg))) != 0 {
		return nil, fmt.Errorf("vision: network %s: OpenCV cannot read it: %s; export it again with opset 11 and constant shapes", path, C.GoString(&msg[0]))
	}
	n.blob = make([]float32, 3*cfg.W*cfg.H)
	out, err := n.run(1)
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("%w; check the input size %dx%d and the output name", err, cfg.W, cfg.H)
	}
	n.dim = len(out[0])
	return n, nil
}

// Dim is the length of the network's output for one image.
func (n *Net) Dim() int { return n.dim }

// Forward runs the network over fs, each scaled to the configured size, and
// returns one row (Dim,) for each frame. An output of more than one axis is
// flattened in row-major order.
func (n *Net) Forward(ctx context.Context, fs []robot.Frame) ([][]float32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.net == nil {
		return nil, ErrClosed
	}
	size := 3 * n.cfg.W * n.cfg.H
	rows := make([][]float32, 0, len(fs))
	for part := range slices.Chunk(fs, n.cfg.Batch) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n.blob = slices.Grow(n.blob[:0], len(part)*size)[:len(part)*size]
		for i, f := range part {
			small, err := Resize(f, n.cfg.W, n.cfg.H)
			if err != nil {
				return nil, err
			}
			n.cfg.planes(n.blob[i*size:][:size], small.Pix)
		}
		out, err := n.run(len(part))
		if err != nil {
			return nil, err
		}
		rows = append(rows, out...)
	}
	return rows, nil
}

// planes writes pix (H,W,3) into dst (3,H,W) as the network wants it.
func (c NetConfig) planes(dst []float32, pix []byte) {
	var table [3][256]float32
	for ch := range 3 {
		for v := range 256 {
			table[ch][v] = float32((c.Scale*float64(v) - c.Mean[ch]) / c.Std[ch])
		}
	}
	n := len(pix) / 3
	a, b := 0, 2
	if c.SwapRB {
		a, b = 2, 0
	}
	p0, p1, p2 := dst[:n], dst[n:2*n], dst[2*n:3*n]
	for i := range n {
		p := pix[3*i : 3*i+3 : 3*i+3]
		p0[i], p1[i], p2[i] = table[0][p[a]], table[1][p[1]], table[2][p[b]]
	}
}

// run puts the first k images of the blob through the network.
func (n *Net) run(k int) ([][]float32, error) {
	name := C.CString(n.cfg.Output)
	defer C.free(unsafe.Pointer(name))
	var data *C.float
	var rows, cols C.size_t
	var msg [512]C.char
	if C.vision_net_forward(n.net, (*C.float)(unsafe.Pointer(&n.blob[0])), C.int(k), 3, C.int(n.cfg.H), C.int(n.cfg.W),
		name, &data, &rows, &cols, &msg[0], C.size_t(len(msg))) != 0 {
		return nil, fmt.Errorf("vision: network %s: OpenCV cannot run it: %s", n.path, C.GoString(&msg[0]))
	}
	if int(rows) != k || cols == 0 || n.dim != 0 && int(cols) != n.dim {
		return nil, fmt.Errorf("vision: network %s answers %d images with %dx%d numbers, want %d rows; set a batch of 1 or export it with a dynamic batch", n.path, k, rows, cols, k)
	}
	flat := slices.Clone(unsafe.Slice((*float32)(unsafe.Pointer(data)), int(rows*cols)))
	out := make([][]float32, k)
	for i := range out {
		out[i] = flat[i*int(cols) : (i+1)*int(cols) : (i+1)*int(cols)]
	}
	return out, nil
}

// Close frees the network.
func (n *Net) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.net != nil {
		C.vision_net_free(n.net)
		n.net = nil
	}
	return nil
}

// SetThreads bounds the threads that OpenCV keeps for the whole process. Set
// it once, in the command; 1 leaves the cores to the learner.
func SetThreads(n int) { C.vision_threads(C.int(n)) }
