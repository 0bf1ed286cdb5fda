package keypoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// Mask is a thing's pixels in an image.
type Mask struct {
	W, H   int
	In     []bool // (H,W)
	Area   int    // pixels
	Colour [3]byte
	// Contrast is how far its mean colour is from that of what surrounds it, 0..1.
	Contrast float64
}

// Segments sets up the search for things without a network, by the graph of
// Felzenszwalb and Huttenlocher (2004): two regions are one if the step between them is
// not above the largest step inside either plus K over its area. Steps are in colour
// shares, which shading leaves, and a little in brightness.
type Segments struct {
	K float64 // default 150; larger makes larger regions
	// Same is how near the mean colours of neighbours are that are one thing all the
	// same, in 400ths of a share; default 14.
	Same     float64
	Min, Max float64 // areas of things, shares of the image; defaults 0.0015 and 0.08
	Most     int     // things returned, those of most contrast first; default 8
	Contrast float64 // least contrast; default 0.12
}

// Masks are the things in f, by falling contrast.
func (s Segments) Masks(_ context.Context, f robot.Frame) ([]Mask, error) {
	if err := vision.Check(f); err != nil {
		return nil, err
	}
	set := func(v *float64, to float64) {
		if *v == 0 {
			*v = to
		}
	}
	set(&s.K, 150)
	set(&s.Same, 14)
	set(&s.Min, 0.0015)
	set(&s.Max, 0.08)
	set(&s.Contrast, 0.12)
	if s.Most == 0 {
		s.Most = 8
	}
	forest := s.grow(f)
	n := f.W * f.H
	pixels := map[int32][]int32{}
	for i := range n {
		r := forest.root(int32(i))
		pixels[r] = append(pixels[r], int32(i))
	}
	var ms []Mask
	for _, ps := range pixels {
		if a := float64(len(ps)) / float64(n); a < s.Min || a > s.Max {
			continue
		}
		m := Mask{W: f.W, H: f.H, In: make([]bool, n), Area: len(ps)}
		for _, i := range ps {
			m.In[i] = true
		}
		m.judge(f)
		if m.Contrast >= s.Contrast {
			ms = append(ms, m)
		}
	}
	slices.SortFunc(ms, func(a, b Mask) int {
		return cmp.Or(cmp.Compare(b.Contrast, a.Contrast), cmp.Compare(a.first(), b.first()))
	})
	return ms[:min(len(ms), s.Most)], nil
}

func (m *Mask) first() int { return slices.Index(m.In, true) }

// judge fills in colour and contrast.
func (m *Mask) judge(f robot.Frame) {
	var in, out [3]float64
	ring := 0.0
	x0, y0, x1, y1 := m.bounds()
	grow := max(3, f.H/40)
	for y := max(0, y0-grow); y < min(m.H, y1+grow); y++ {
		for x := max(0, x0-grow); x < min(m.W, x1+grow); x++ {
			i := y*m.W + x
			for k := range 3 {
				v := float64(f.Pix[3*i+k])
				if m.In[i] {
					in[k] += v
				} else {
					out[k] += v
				}
			}
			if !m.In[i] {
				ring++
			}
		}
	}
	a, b := shares(in), shares(out)
	for k := range 3 {
		m.Colour[k] = byte(in[k] / float64(m.Area))
		m.Contrast += math.Abs(a[k]-b[k]) / 2
	}
	if ring == 0 {
		m.Contrast = 0
	}
}

func shares(c [3]float64) [3]float64 {
	n := c[0] + c[1] + c[2] + 1
	return [3]float64{c[0] / n, c[1] / n, c[2] / n}
}

func (m *Mask) bounds() (x0, y0, x1, y1 int) {
	x0, y0 = m.W, m.H
	for i, in := range m.In {
		if in {
			x, y := i%m.W, i/m.W
			x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x+1), max(y1, y+1)
		}
	}
	return x0, y0, x1, y1
}

// forest is disjoint sets of pixels.
type forest struct {
	parent, size []int32
	inner        []float32 // largest step inside
}

func (f *forest) root(i int32) int32 {
	for f.parent[i] != i {
		f.parent[i] = f.parent[f.parent[i]]
		i = f.parent[i]
	}
	return i
}

func (s Segments) grow(f robot.Frame) *forest {
	n := f.W * f.H
	t := &forest{parent: make([]int32, n), size: make([]int32, n), inner: make([]float32, n)}
	look := make([][3]float32, n)
	for i := range n {
		t.parent[i], t.size[i] = int32(i), 1
		b, g, r := float32(f.Pix[3*i]), float32(f.Pix[3*i+1]), float32(f.Pix[3*i+2])
		all := b + g + r
		// Shares of 5 more of each, so that dark pixels' do not jump about.
		look[i] = [3]float32{400 * (b + 5) / (all + 15), 400 * (r + 5) / (all + 15), 0.02 * all / 3}
	}
	type edge struct {
		a, b int32
		w    float32
	}
	edges := make([]edge, 0, 2*n)
	add := func(a, b int) {
		d := float32(0)
		for k := range 3 {
			v := look[a][k] - look[b][k]
			d += v * v
		}
		edges = append(edges, edge{int32(a), int32(b), float32(math.Sqrt(float64(d)))})
	}
	for y := range f.H {
		for x := range f.W {
			i := y*f.W + x
			if x+1 < f.W {
				add(i, i+1)
			}
			if y+1 < f.H {
				add(i, i+f.W)
			}
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return cmp.Compare(a.w, b.w) })
	k := float32(s.K)
	for _, e := range edges {
		a, b := t.root(e.a), t.root(e.b)
		if a == b || e.w > t.inner[a]+k/float32(t.size[a]) || e.w > t.inner[b]+k/float32(t.size[b]) {
			continue
		}
		if t.size[a] < t.size[b] {
			a, b = b, a
		}
		t.parent[b] = a
		t.size[a] += t.size[b]
		t.inner[a] = e.w
	}
	// Faces of a thing differ by their light alone: neighbours of one mean colour are one.
	mean := make([][2]float32, n)
	for i := range n {
		r := t.root(int32(i))
		mean[r][0] += look[i][0] / float32(t.size[r])
		mean[r][1] += look[i][1] / float32(t.size[r])
	}
	for _, e := range edges {
		a, b := t.root(e.a), t.root(e.b)
		if a == b || math.Hypot(float64(mean[a][0]-mean[b][0]), float64(mean[a][1]-mean[b][1])) > s.Same {
			continue
		}
		if t.size[a] < t.size[b] {
			a, b = b, a
		}
		wa, wb := float32(t.size[a]), float32(t.size[b])
		for k := range 2 {
			mean[a][k] = (wa*mean[a][k] + wb*mean[b][k]) / (wa + wb)
		}
		t.parent[b] = a
		t.size[a] += t.size[b]
	}
	return t
}

// Segmenter finds things by an ONNX network of one image in and K maps of logits out,
// (K,H,W) or (1,H,W): a thing is where its map is above 0.
type Segmenter struct {
	Net  *vision.Net
	W, H int // of the maps, pixels
	// Min is the least share of the image that a thing covers; default 0.0005.
	Min float64
}

// OpenSegmenter loads the network of an ONNX file, which tells its sizes: an image (3,H,W) or
// (1,3,H,W) in, red, green and blue from 0 to 1, and one output of maps.
func OpenSegmenter(path string) (Segmenter, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Segmenter{}, fmt.Errorf("keypoint: segmenter: %w", err)
	}
	m, err := onnx.Decode(b)
	if err != nil {
		return Segmenter{}, fmt.Errorf("keypoint: segmenter %s: %w", path, err)
	}
	weights := func(p onnx.Port) bool { // listed as inputs, too, by old exporters
		return slices.ContainsFunc(m.Graph.Init, func(t onnx.Tensor) bool { return t.Name == p.Name })
	}
	in, out := slices.DeleteFunc(m.Graph.Inputs, weights), m.Graph.Outputs
	if len(in) != 1 || len(out) != 1 {
		return Segmenter{}, fmt.Errorf("keypoint: segmenter %s has %d inputs and %d outputs, want an image in and maps out", path, len(in), len(out))
	}
	x, y := in[0].Shape, out[0].Shape
	if len(x) < 3 || x[len(x)-3] != 3 || min(x[len(x)-2], x[len(x)-1]) < 1 || len(y) < 3 || min(y[len(y)-2], y[len(y)-1]) < 1 {
		return Segmenter{}, fmt.Errorf("keypoint: segmenter %s takes %v and gives %v, want an image (3,H,W) and maps (K,H,W) of sizes that the file tells; export it again with constant shapes", path, x, y)
	}
	net, err := vision.LoadNet(path, vision.NetConfig{W: x[len(x)-1], H: x[len(x)-2], SwapRB: true})
	if err != nil {
		return Segmenter{}, fmt.Errorf("keypoint: segmenter: %w", err)
	}
	s := Segmenter{Net: net, W: y[len(y)-1], H: y[len(y)-2]}
	if err := s.fits(); err != nil {
		return Segmenter{}, errors.Join(err, net.Close())
	}
	return s, nil
}

func (s Segmenter) fits() error {
	if s.W < 1 || s.H < 1 || s.Net.Dim()%(s.W*s.H) != 0 {
		return fmt.Errorf("keypoint: segmenter answers %d numbers, which are no maps of %dx%d; set the size of its output", s.Net.Dim(), s.W, s.H)
	}
	return nil
}

// Masks are the things in f, in the network's order; empty maps are left out.
func (s Segmenter) Masks(ctx context.Context, f robot.Frame) ([]Mask, error) {
	if err := s.fits(); err != nil {
		return nil, err
	}
	rows, err := s.Net.Forward(ctx, []robot.Frame{f})
	if err != nil {
		return nil, err
	}
	least := s.Min
	if least == 0 {
		least = 0.0005
	}
	var ms []Mask
	for maps := rows[0]; len(maps) > 0; maps = maps[s.W*s.H:] {
		m := Mask{W: f.W, H: f.H, In: make([]bool, f.W*f.H)}
		for y := range f.H {
			for x := range f.W {
				if maps[y*s.H/f.H*s.W+x*s.W/f.W] > 0 {
					m.In[y*f.W+x] = true
					m.Area++
				}
			}
		}
		if float64(m.Area) < least*float64(len(m.In)) || m.Area == 0 {
			continue
		}
		m.judge(f)
		ms = append(ms, m)
	}
	return ms, nil
}
