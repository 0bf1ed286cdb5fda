package encoder

import (
	"context"
	"fmt"
	"os"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// ONNX is a pretrained backbone, such as a ResNet or R3M without its
// classifier. The embedding is the cameras' outputs one after the other.
type ONNX struct {
	cameras []Camera
	net     *vision.Net
	head    *head
}

// head is a linear map of one camera's embedding: w (out,in), b (out).
type head struct {
	w, b    []float32
	in, out int
}

// ONNXConfig says what ONNX runs.
type ONNXConfig struct {
	Cameras []Camera
	Model   string // path of the ONNX file
	Net     vision.NetConfig
	// Head is the path of a safetensors file with a linear map after the
	// backbone, shared by the cameras: "weight" (D,backbone) and, optionally,
	// "bias" (D), as PyTorch's nn.Linear saves them. RAPL trains just such a
	// head, 512 to 32. Empty: none.
	Head string
}

// LoadONNX reads the backbone and its head.
func LoadONNX(cfg ONNXConfig) (*ONNX, error) {
	if err := validCameras(cfg.Cameras); err != nil {
		return nil, err
	}
	net, err := vision.LoadNet(cfg.Model, cfg.Net)
	if err != nil {
		return nil, fmt.Errorf("encoder: %w", err)
	}
	e := &ONNX{cameras: cfg.Cameras, net: net}
	if cfg.Head != "" {
		if e.head, err = loadHead(cfg.Head, net.Dim()); err != nil {
			net.Close()
			return nil, err
		}
	}
	return e, nil
}

func loadHead(path string, in int) (*head, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("encoder: head: %w", err)
	}
	defer f.Close()
	ts, _, err := nn.Load(f)
	if err != nil {
		return nil, fmt.Errorf("encoder: head %s: %w", path, err)
	}
	h := &head{in: in}
	for _, t := range ts {
		switch {
		case t.Name == "weight" && len(t.Shape) == 2 && t.Shape[1] == in:
			h.w, h.out = t.Data, t.Shape[0]
		case t.Name == "bias" && len(t.Shape) == 1:
			h.b = t.Data
		default:
			return nil, fmt.Errorf("encoder: head %s: tensor %q of shape %v, want weight (D,%d) and bias (D)", path, t.Name, t.Shape, in)
		}
	}
	if h.w == nil || h.b != nil && len(h.b) != h.out {
		return nil, fmt.Errorf("encoder: head %s: want weight (D,%d) and bias (D)", path, in)
	}
	if h.b == nil {
		h.b = make([]float32, h.out)
	}
	return h, nil
}

// apply returns w x + b.
func (h *head) apply(x []float32) []float32 {
	y := make([]float32, h.out)
	for o := range y {
		s := h.b[o]
		for i, v := range h.w[o*h.in : (o+1)*h.in] {
			s += v * x[i]
		}
		y[o] = s
	}
	return y
}

// Dim is the length of an embedding.
func (e *ONNX) Dim() int {
	d := e.net.Dim()
	if e.head != nil {
		d = e.head.out
	}
	return len(e.cameras) * d
}

// Extract embeds the frames of one tick. Frames of other cameras are left out.
func (e *ONNX) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	in := make([]robot.Frame, len(e.cameras))
	for i, c := range e.cameras {
		f, err := c.pick(fs, 0, 0)
		if err != nil {
			return perception.Features{}, err
		}
		in[i] = f
	}
	rows, err := e.net.Forward(ctx, in)
	if err != nil {
		return perception.Features{}, fmt.Errorf("encoder: %w", err)
	}
	out := perception.Features{Stamp: fs[0].Stamp, Embed: make([]float32, 0, e.Dim())}
	for _, r := range rows {
		if e.head != nil {
			r = e.head.apply(r)
		}
		out.Embed = append(out.Embed, r...)
	}
	return out, nil
}

// Close frees the backbone.
func (e *ONNX) Close() error { return e.net.Close() }
