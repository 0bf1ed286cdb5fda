package encoder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/robot"
)

// ErrFormat says that a file is no encoder.
var ErrFormat = errors.New("encoder: not a saved encoder")

// kind marks a safetensors file as a Conv of this layout.
const kind = "rapport.encoder.conv/1"

// maxFile bounds a saved Conv in bytes; the default one has 60 kB.
const maxFile = 64 << 20

// header is the metadata of a saved Conv, as JSON.
type header struct {
	Cameras []Camera
	Shape   Shape
}

// Encode returns c as safetensors bytes, with all that Decode needs. Equal
// encoders give equal bytes.
func (c *Conv) Encode() ([]byte, error) {
	head, err := json.Marshal(header{c.cameras, c.shape})
	if err != nil {
		return nil, fmt.Errorf("encoder: save: %w", err)
	}
	b, err := nn.Encode(c.tensors(), map[string]string{"kind": kind, "config": string(head)})
	if err != nil {
		return nil, fmt.Errorf("encoder: save: %w", err)
	}
	return b, nil
}

// tensors lists all arrays of c, shared.
func (c *Conv) tensors() []nn.Tensor {
	var ts []nn.Tensor
	for _, n := range c.nets {
		ts = append(ts, nn.Tensors(n.params())...)
	}
	for i, p := range c.palettes {
		ts = append(ts, nn.Tensors(p.params(c.cameras[i].Name, c.shape.Side))...)
	}
	dim := []int{c.Dim()}
	return append(ts, nn.Tensor{Name: "mean", Shape: dim, Data: c.mean}, nn.Tensor{Name: "gain", Shape: dim, Data: c.gain})
}

// Decode reads what Encode wrote.
func Decode(data []byte) (*Conv, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFormat, len(data), maxFile)
	}
	ts, meta, err := nn.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if meta["kind"] != kind {
		return nil, fmt.Errorf("%w: its kind is %q, want %q", ErrFormat, meta["kind"], kind)
	}
	var h header
	if err := json.Unmarshal([]byte(meta["config"]), &h); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrFormat, err)
	}
	if err := errors.Join(validCameras(h.Cameras), h.Shape.validate()); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrFormat, err)
	}
	c := &Conv{cameras: h.Cameras, shape: h.Shape}
	var params []*nn.Param
	for _, cam := range h.Cameras {
		n := newNet(cam.Name, h.Shape, nil)
		c.nets = append(c.nets, n)
		params = append(params, n.params()...)
		if h.Shape.Colours > 0 {
			p := newPalette(h.Shape.Colours, h.Shape.Side)
			c.palettes = append(c.palettes, p)
			params = append(params, p.params(cam.Name, h.Shape.Side)...)
		}
	}
	mean, gain := nn.NewParam("mean", c.Dim()), nn.NewParam("gain", c.Dim())
	params = append(params, mean, gain)
	if err := nn.Assign(params, ts); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, p := range params {
		for _, v := range p.Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("%w: tensor %q is not finite", ErrFormat, p.Name)
			}
		}
	}
	for i, p := range c.palettes {
		for _, w := range p.width {
			if !(w > 0) {
				return nil, fmt.Errorf("%w: a colour of camera %q has width %g", ErrFormat, h.Cameras[i].Name, w)
			}
		}
		p.fill()
	}
	c.mean, c.gain = mean.Data, gain.Data
	return c, nil
}

// Save writes c to path.
func (c *Conv) Save(path string) error {
	b, err := c.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fmt.Errorf("encoder: save: %w", err)
	}
	return nil
}

// Load reads an encoder from path.
func Load(path string) (*Conv, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("encoder: load: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("encoder: load %s: %w", path, err)
	}
	c, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("encoder: load %s: %w; train it again", path, err)
	}
	return c, nil
}

// Keypoints finds the places behind the embedding of the frames of one tick, K
// keypoints and then C colours for each camera in order, in pixels of the images as
// given: entries 2i and 2i+1 of the embedding are place i's x and y. Score is the
// share of the heatmap's mass within one cell of a keypoint, and how far a colour was
// found at all. It shows people what an embedding, and so a reward, has looked at.
func (c *Conv) Keypoints(ctx context.Context, fs []robot.Frame) ([]perception.Keypoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []perception.Keypoint
	S := c.shape.Side
	cells := S / stride
	for i, cam := range c.cameras {
		f, err := cam.pick(fs, S, S)
		if err != nil {
			return nil, err
		}
		whole, err := cam.pick(fs, 0, 0)
		if err != nil {
			return nil, err
		}
		g := nn.NewGraph()
		x := g.Input(1, S, S, 3)
		heat, keys := c.nets[i].keys(g, x, g.Frozen)
		nn.Pixels(x.Value, f.Pix, S, S, 3, 0, 0)
		g.Forward()
		K := c.shape.Keypoints
		// x and y are in pixels of the scaled image.
		add := func(name string, x, y, score float64) {
			out = append(out, perception.Keypoint{
				Name: cam.Name + "/" + name, Camera: cam.Name,
				X:     float64(cam.Crop[0]) + (x+0.5)*float64(whole.W)/float64(S) - 0.5,
				Y:     float64(cam.Crop[1]) + (y+0.5)*float64(whole.H)/float64(S) - 0.5,
				Score: score,
			})
		}
		one := make([]float32, cells*cells)
		for k := range K {
			for p := range one {
				one[p] = heat.Value[p*K+k]
			}
			at := [2]float64{}
			for a := range at {
				at[a] = (float64(keys.Value[2*k+a]) + 1) / 2 * float64(cells-1) // cells
			}
			add(fmt.Sprint(k), at[0]*stride, at[1]*stride, mass(one, cells, at))
		}
		if c.palettes == nil {
			continue
		}
		half := float64(S-1) / 2
		for k, m := range c.palettes[i].sum(nil, f.Pix, S) {
			w := float64(m[0]) + scrap
			add(fmt.Sprintf("colour%d", k), half+half*float64(m[1])/w, half+half*float64(m[2])/w, float64(m[0])/w)
		}
	}
	return out, nil
}

// mass is the share of the softmax of heat (n,n) within one cell of at.
func mass(heat []float32, n int, at [2]float64) float64 {
	top := heat[0]
	for _, v := range heat {
		top = max(top, v)
	}
	var near, all float64
	for i, v := range heat {
		p := math.Exp(float64(v-top) / temperature)
		all += p
		if math.Abs(float64(i%n)-at[0]) <= 1 && math.Abs(float64(i/n)-at[1]) <= 1 {
			near += p
		}
	}
	return near / all
}
