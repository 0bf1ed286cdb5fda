package vision

import (
	"bytes"
	"fmt"
	"math"
	"sync"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// Metrics judge one image by its grey values, 0..255.
type Metrics struct {
	Sharpness  float64 // variance of the Laplacian, grey levels squared (Pech-Pacheco et al. 2000)
	Brightness float64 // mean
	Contrast   float64 // standard deviation
	Entropy    float64 // of the histogram, 0..8 bits
	Under      float64 // fraction of pixels at 5 or less: crushed shadows
	Over       float64 // fraction of pixels at 250 or more: burnt highlights
}

// Ends of the grey scale that count as clipped: JPEG leaves a few levels of
// ringing around true 0 and 255.
const (
	under = 5
	over  = 250
)

// Quality measures f.
func Quality(f robot.Frame) (Metrics, error) {
	if err := Check(f); err != nil {
		return Metrics{}, err
	}
	src, err := look(f.Pix, f.W, f.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return Metrics{}, err
	}
	defer src.done()
	pix := make([]byte, f.W*f.H)
	grey, err := look(pix, f.W, f.H, gocv.MatTypeCV8UC1)
	if err != nil {
		return Metrics{}, err
	}
	defer grey.done()
	gocv.CvtColor(src.mat, &grey.mat, gocv.ColorBGRToGray)

	lap, mean, std := gocv.NewMat(), gocv.NewMat(), gocv.NewMat()
	defer lap.Close()
	defer mean.Close()
	defer std.Close()
	gocv.Laplacian(grey.mat, &lap, gocv.MatTypeCV16S, 1, 1, 0, gocv.BorderReplicate)
	gocv.MeanStdDev(lap, &mean, &std)
	s := std.GetDoubleAt(0, 0)

	m := levels(pix)
	m.Sharpness = s * s
	return m, nil
}

// levels fills what the histogram of grey values tells.
func levels(pix []byte) Metrics {
	// Four tables, since counting equal neighbours into one would wait for its
	// own stores.
	var hist [4][256]int
	i := 0
	for ; i+4 <= len(pix); i += 4 {
		p := pix[i : i+4 : i+4]
		hist[0][p[0]]++
		hist[1][p[1]]++
		hist[2][p[2]]++
		hist[3][p[3]]++
	}
	for ; i < len(pix); i++ {
		hist[0][pix[i]]++
	}
	var m Metrics
	var sum, sq float64
	n := float64(len(pix))
	for v := range 256 {
		c := hist[0][v] + hist[1][v] + hist[2][v] + hist[3][v]
		if c == 0 {
			continue
		}
		p := float64(c) / n
		sum += p * float64(v)
		sq += p * float64(v) * float64(v)
		m.Entropy -= p * math.Log2(p)
		if v <= under {
			m.Under += p
		}
		if v >= over {
			m.Over += p
		}
	}
	m.Brightness = sum
	m.Contrast = math.Sqrt(max(0, sq-sum*sum))
	return m
}

// Limits are the thresholds of a Gate in the units of Metrics. A zero leaves
// that check out.
type Limits struct {
	MinSharpness  float64
	MinBrightness float64
	MaxBrightness float64
	MinContrast   float64
	MinEntropy    float64
	MaxUnder      float64
	MaxOver       float64
	// MaxRepeats is how many times in a row a camera may send the same pixels.
	// Leave it 0 for noise-free simulated cameras, where a still scene repeats.
	MaxRepeats int
}

// Indoor are limits that a lit bench in focus passes with a wide margin, while
// a covered lens, a blinded sensor and a hung driver do not.
func Indoor() Limits {
	return Limits{
		MinSharpness: 5, MinBrightness: 15, MaxBrightness: 240,
		MinContrast: 5, MinEntropy: 1.5, MaxUnder: 0.8, MaxOver: 0.6, MaxRepeats: 10,
	}
}

// Fault is a failed check of a Gate.
type Fault struct {
	Camera string
	Check  string  // sharpness, brightness, contrast, entropy, under, over, repeats
	Got    float64 // in the check's unit
	Limit  float64
	Remedy string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("vision: camera %q: %s %.3g against a limit of %.3g: %s", f.Camera, f.Check, f.Got, f.Limit, f.Remedy)
}

// Gate judges the frames of any number of cameras. The zero value checks
// nothing; it is safe for several goroutines.
type Gate struct {
	Limits Limits

	mu   sync.Mutex
	last map[string]seen
}

type seen struct {
	pix     []byte // published frames are read-only, so no copy
	repeats int
}

// Check measures f and returns a *Fault naming the first check that failed.
func (g *Gate) Check(f robot.Frame) (Metrics, error) {
	m, err := Quality(f)
	if err != nil {
		return m, err
	}
	repeats := g.repeats(f)
	l := g.Limits
	for _, c := range []struct {
		name       string
		got, limit float64
		bad        bool
		remedy     string
	}{
		{"repeats", float64(repeats), float64(l.MaxRepeats), repeats > l.MaxRepeats, "the camera is frozen; restart its driver"},
		{"brightness", m.Brightness, l.MinBrightness, m.Brightness < l.MinBrightness, "uncover the lens or add light"},
		{"brightness", m.Brightness, l.MaxBrightness, m.Brightness > l.MaxBrightness, "shorten the exposure"},
		{"under", m.Under, l.MaxUnder, m.Under > l.MaxUnder, "lengthen the exposure or add light"},
		{"over", m.Over, l.MaxOver, m.Over > l.MaxOver, "shorten the exposure"},
		{"contrast", m.Contrast, l.MinContrast, m.Contrast < l.MinContrast, "something flat fills the view"},
		{"entropy", m.Entropy, l.MinEntropy, m.Entropy < l.MinEntropy, "the image is almost uniform; look at the camera"},
		{"sharpness", m.Sharpness, l.MinSharpness, m.Sharpness < l.MinSharpness, "clean or refocus the lens"},
	} {
		if c.limit != 0 && c.bad {
			return m, &Fault{Camera: f.Camera, Check: c.name, Got: c.got, Limit: c.limit, Remedy: c.remedy}
		}
	}
	return m, nil
}

// repeats counts how often in a row f's camera has sent f's pixels before.
func (g *Gate) repeats(f robot.Frame) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last == nil {
		g.last = make(map[string]seen)
	}
	s := g.last[f.Camera]
	if bytes.Equal(s.pix, f.Pix) {
		s.repeats++
	} else {
		s.repeats = 0
	}
	s.pix = f.Pix
	g.last[f.Camera] = s
	return s.repeats
}
