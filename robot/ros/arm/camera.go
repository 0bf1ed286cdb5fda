package arm

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// shot is an image as it came.
type shot struct {
	seq   uint64
	stamp time.Time // the camera's
	at    time.Time // of its arrival
	raw   *std.Image
	comp  *std.CompressedImage
}

func (s *shot) data() []byte {
	if s.raw != nil {
		return s.raw.Data
	}
	return s.comp.Data
}

// depth bounds how many images of a camera are kept to pick the aligned one from.
const depth = 32

// camera keeps the latest images of a topic. A publisher that goes away and comes
// back is found again by the node.
type camera struct {
	cfg    Camera
	now    func() time.Time
	keep   time.Duration // images that are older than the newest by more are of no use
	mu     sync.Mutex
	shots  []shot // oldest first, at most depth
	seq    uint64
	base   uint64 // seq at the last reset
	same   still
	odd    bool   // whether its images' shape was told of
	frame  string // of tf, as the images' headers say
	by     sources
	topics []io.Closer
	info   *ros.Latest[std.CameraInfo]
}

func openCamera(n *ros.Node, cfg Camera, keep time.Duration) (*camera, error) {
	c := &camera{cfg: cfg, now: n.Now, keep: keep}
	var t io.Closer
	var err error
	if cfg.Compressed {
		t, err = ros.SubscribeFrom(n, cfg.Topic, func(from string, m *std.CompressedImage) {
			c.take(from, shot{stamp: m.Header.Stamp, comp: m}, m.Header.FrameId)
		})
	} else {
		t, err = ros.SubscribeFrom(n, cfg.Topic, func(from string, m *std.Image) {
			c.take(from, shot{stamp: m.Header.Stamp, raw: m}, m.Header.FrameId)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("arm: camera %s: %w", cfg.Name, err)
	}
	c.topics = append(c.topics, t)
	if cfg.Info == "" {
		return c, nil
	}
	if c.info, err = ros.Watch[std.CameraInfo](n, cfg.Info); err != nil {
		return nil, errors.Join(fmt.Errorf("arm: camera %s: %w", cfg.Name, err), c.close())
	}
	c.topics = append(c.topics, c.info)
	return c, nil
}

// take is the subscriber's callback: it stores and returns.
func (c *camera) take(from string, s shot, frame string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	s.seq, s.at = c.seq, c.now()
	c.by.hear(from, s.at)
	old := 0
	for old < len(c.shots) && (len(c.shots)-old >= depth || s.stamp.Sub(c.shots[old].stamp) > c.keep) {
		old++
	}
	n := copy(c.shots, c.shots[old:])
	clear(c.shots[n:]) // whose pixels are freed
	c.shots = append(c.shots[:n], s)
	c.frame = frame
}

// latest copies the latest images into dst, oldest first.
func (c *camera) latest(dst []shot) []shot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(dst[:0], c.shots...)
}

// several names the publishers of images that come between each other's.
func (c *camera) several() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by.several(c.now())
}

// sources are who published a topic, since when and until when without a pause.
type sources map[string]struct{ first, last time.Time }

func (s *sources) hear(from string, at time.Time) {
	if *s == nil {
		*s = sources{}
	}
	for name, h := range *s {
		if h.last.After(at.Add(beside)) { // /clock was put back
			delete(*s, name)
		}
	}
	h := (*s)[from]
	if at.Sub(h.last) > beside {
		h.first = at
	}
	h.last = at
	(*s)[from] = h
}

// several names those whose messages come between each other's now: a driver that was started again
// follows the one before.
func (s sources) several(now time.Time) []string {
	var names []string
	for a, x := range s {
		for b, y := range s {
			if a != b && now.Sub(x.last).Abs() <= beside && now.Sub(y.last).Abs() <= beside && x.last.After(y.first) && y.last.After(x.first) {
				names = append(names, a)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// begin counts images from here.
func (c *camera) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = c.seq
	if c.base > 0 {
		c.base-- // the newest one is the first
	}
}

// Full is the newest image of a camera as it came, whatever size frames have.
func (b *Backend) Full(camera string) (robot.Frame, error) {
	for _, c := range b.cams {
		if c.cfg.Name != camera {
			continue
		}
		shots := c.latest(nil)
		if len(shots) == 0 {
			return robot.Frame{}, fmt.Errorf("arm: camera %s (%s) was never heard: %w", camera, c.cfg.Topic, robot.ErrStale)
		}
		return b.decodeTo(c, &shots[len(shots)-1], 0, 0)
	}
	return robot.Frame{}, fmt.Errorf("arm: there is no camera %q", camera)
}

// decode turns a shot into a frame of the configured size.
func (b *Backend) decode(c *camera, s *shot) (robot.Frame, error) {
	return b.decodeTo(c, s, c.cfg.W, c.cfg.H)
}

// decodeTo turns a shot into a frame of w by h pixels; a w of 0 leaves it as it is.
func (b *Backend) decodeTo(c *camera, s *shot, w, h int) (robot.Frame, error) {
	var f robot.Frame
	var err error
	scale := func(f robot.Frame) (robot.Frame, error) {
		b.shaped(c, f, w, h)
		return b.cfg.Resize(f, w, h)
	}
	if s.raw != nil {
		m := s.raw
		to := scale
		if w == 0 || (int(m.Width) == w && int(m.Height) == h) {
			to = nil
		}
		f, err = picture(m.Encoding, int(m.Width), int(m.Height), int(m.Step), m.IsBigendian != 0, m.Data, to)
	} else if strings.Contains(s.comp.Format, "compressedDepth") {
		err = fmt.Errorf("format %q holds depth; name the topic of the colour image", s.comp.Format)
	} else {
		f, err = b.cfg.Decode(s.comp.Data)
		if err == nil && w > 0 && (f.W != w || f.H != h) {
			f, err = scale(f)
		}
	}
	if err != nil {
		return f, fmt.Errorf("arm: camera %s (%s): %w", c.cfg.Name, c.cfg.Topic, err)
	}
	c.mu.Lock()
	base := c.base
	c.mu.Unlock()
	f.Camera, f.Stamp, f.Seq = c.cfg.Name, s.stamp, max(s.seq, base)-base
	return f, nil
}

// squeezed is what comes of images that are of another shape than what sees them was made for.
const squeezed = "so that things look narrower or wider than they are: a policy that learned in simulation, where pictures are true to scale, was shown none so; have the driver publish a crop of that shape"

// shaped warns, once, of a camera whose images are brought to another shape.
func (b *Backend) shaped(c *camera, f robot.Frame, w, h int) {
	c.mu.Lock()
	told := c.odd || !f.Squeezed(w, h)
	c.odd = c.odd || !told
	c.mu.Unlock()
	if !told {
		b.log.Warn("arm: a camera's images are brought to another shape, "+squeezed, "camera", c.cfg.Name, "topic", c.cfg.Topic, "have", fmt.Sprintf("%dx%d", f.W, f.H), "want", fmt.Sprintf("%dx%d", w, h))
	}
}

func (c *camera) close() error { return ros.CloseAll(c.topics) }

// Lens is what is known of a camera besides its images.
type Lens struct {
	Name  string
	Frame string     // of tf
	K     [9]float64 // intrinsic matrix, row-major, pixels of the sensor's image; zero: not known
	W, H  int        // that image, pixels
	D     []float64  // distortion, as CameraInfo orders it
	// Pose is where the camera is now in the base frame, x right, y down, z
	// forward; Known says that tf knows it.
	Pose  robot.Pose
	Known bool
}

// Lenses returns what CameraInfo and tf say of the cameras, in their order.
func (b *Backend) Lenses() []Lens {
	var ls []Lens
	for _, c := range b.cams {
		l := Lens{Name: c.cfg.Name}
		c.mu.Lock()
		l.Frame = c.frame
		c.mu.Unlock()
		if c.info != nil {
			if m, _, _ := c.info.Get(); m != nil {
				l.K, l.W, l.H, l.D = m.K, int(m.Width), int(m.Height), m.D
			}
		}
		l.Pose, l.Known = b.tree.lookup(b.cfg.ArmID+"_link0", l.Frame)
		ls = append(ls, l)
	}
	return ls
}
