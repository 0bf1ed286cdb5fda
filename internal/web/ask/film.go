package ask

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/robot/record"
)

// Film is what there is to see of an episode.
type Film struct {
	Episode string   `json:"episode"`
	Steps   int      `json:"steps"` // T; there are T+1 observations
	Cameras []string `json:"cameras"`
}

// reel is an episode in memory.
type reel struct {
	Film
	frames [][]record.Encoded
	size   int // bytes
}

// cacheSize is how many bytes of compressed frames are kept; a question's clips
// are asked for once by each camera.
const cacheSize = 96 << 20

// films keeps the episodes that were shown last.
type films struct {
	mu     sync.Mutex
	reels  []*reel // the oldest use first
	infos  map[string]Film
	coming *reading // nil for none
}

// reading is an episode that is being read: one at a time, and once for all pages that want it.
type reading struct {
	id   string
	done chan struct{} // closed once what follows is there
	reel *reel
	err  error
}

// Film says what there is to see of an episode.
func (d *Desk) Film(ctx context.Context, id string) (Film, error) {
	d.films.mu.Lock()
	f, ok := d.films.infos[id]
	d.films.mu.Unlock()
	if ok {
		return f, nil
	}
	r, err := d.reel(ctx, id)
	if err != nil {
		return Film{}, err
	}
	return r.Film, nil
}

// reel is an episode with its frames. One that takes longer to read than somebody waits is read
// to its end all the same, and is there when it is asked for again.
func (d *Desk) reel(ctx context.Context, id string) (*reel, error) {
	for {
		r, c := d.begin(ctx, id)
		if r != nil {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("ask: episode %s is still being read: %w", c.id, ctx.Err())
		case <-c.done:
		}
		if c.id == id {
			return c.reel, c.err
		}
	}
}

// begin finds an episode that is kept, or else what is being read: it, if nothing else was.
func (d *Desk) begin(ctx context.Context, id string) (*reel, *reading) {
	s := &d.films
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.reels, func(r *reel) bool { return r.Episode == id }); i >= 0 {
		r := s.reels[i]
		s.reels = append(slices.Delete(s.reels, i, i+1), r)
		return r, nil
	}
	if s.coming == nil {
		c := &reading{id: id, done: make(chan struct{})}
		s.coming = c
		go func() {
			c.reel, c.err = d.read(context.WithoutCancel(ctx), id)
			s.mu.Lock()
			if c.err == nil {
				s.keep(c.reel)
			}
			s.coming = nil
			s.mu.Unlock()
			close(c.done)
		}()
	}
	return nil, s.coming
}

func (d *Desk) read(ctx context.Context, id string) (r *reel, err error) {
	defer func() {
		// Not of a request, which the server would catch; an arm may be driven beside it.
		if p := recover(); p != nil {
			err = fmt.Errorf("ask: episode %s: %v", id, p)
		}
	}()
	ids, err := d.o.Reels.Episodes(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(ids, id) {
		return nil, fmt.Errorf("%w: episode %.80q", ErrNone, id)
	}
	frames, err := d.o.Reels.Frames(ctx, id)
	if err != nil {
		return nil, err
	}
	r = &reel{Film: Film{Episode: id, Steps: max(len(frames)-1, 0)}, frames: frames}
	for _, fs := range frames {
		for _, f := range fs {
			r.size += len(f.Data)
			if !slices.Contains(r.Cameras, f.Camera) {
				r.Cameras = append(r.Cameras, f.Camera)
			}
		}
	}
	slices.Sort(r.Cameras)
	if len(r.Cameras) == 0 {
		return nil, fmt.Errorf("%w: frames of episode %s; it was recorded without", ErrNone, id)
	}
	return r, nil
}

// keep keeps an episode, and of the others what cacheSize has room for.
func (s *films) keep(r *reel) {
	if s.infos == nil {
		s.infos = map[string]Film{}
	}
	s.infos[r.Episode] = r.Film
	s.reels = append(s.reels, r)
	total := 0
	for _, r := range s.reels {
		total += r.size
	}
	for total > cacheSize && len(s.reels) > 1 {
		total -= s.reels[0].size
		s.reels = slices.Delete(s.reels, 0, 1)
	}
}

// filmHead describes the frames that follow it.
type filmHead struct {
	Episode string `json:"episode"`
	Camera  string `json:"camera"`
	From    int    `json:"from"` // the first frame's observation
	// Sizes are the frames' bytes, one for each observation; 0 repeats the one before.
	Sizes []int `json:"sizes"`
	// Stamps are ms since the first frame, by the camera's clock; where a frame is
	// repeated, the one before.
	Stamps []int64 `json:"stamps"`
	Types  string  `json:"type"` // of the pictures, as image/jpeg
}

// Frames writes the frames of a camera from observation from up to and with to, 0
// meaning the last: uint32 n, big-endian, n bytes of JSON, the pictures.
func (d *Desk) Frames(ctx context.Context, id, camera string, from, to int) ([]byte, error) {
	r, err := d.reel(ctx, id)
	if err != nil {
		return nil, err
	}
	if to == 0 {
		to = r.Steps
	}
	if !slices.Contains(r.Cameras, camera) {
		return nil, fmt.Errorf("%w: camera %.40q of episode %s", ErrNone, camera, id)
	}
	if from < 0 || to < from || to > r.Steps {
		return nil, fmt.Errorf("%w: frames %d to %d of episode %s, which has %d steps", ErrNonsense, from, to, id, r.Steps)
	}
	head := filmHead{Episode: id, Camera: camera, From: from}
	var pictures [][]byte
	var last *record.Encoded
	var began int64
	total := 0
	// What a camera showed before the clip's first observation is what was seen
	// there too, should it have sent nothing since.
	for t := range to + 1 {
		i := slices.IndexFunc(r.frames[t], func(f record.Encoded) bool { return f.Camera == camera })
		fresh := i >= 0
		if fresh {
			last = &r.frames[t][i]
		}
		if t < from {
			continue
		}
		if last == nil {
			head.Sizes, head.Stamps = append(head.Sizes, 0), append(head.Stamps, 0)
			continue
		}
		if len(pictures) == 0 {
			began, head.Types = last.Stamp.UnixMilli(), "image/"+last.Format
			fresh = true
		}
		head.Stamps = append(head.Stamps, last.Stamp.UnixMilli()-began)
		if !fresh {
			head.Sizes = append(head.Sizes, 0)
			continue
		}
		head.Sizes = append(head.Sizes, len(last.Data))
		pictures = append(pictures, last.Data)
		total += len(last.Data)
	}
	h, err := json.Marshal(head)
	if err != nil {
		panic("ask: a film's head is a plain struct")
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(h)+total), uint32(len(h)))
	b = append(b, h...)
	for _, p := range pictures {
		b = append(b, p...)
	}
	return b, nil
}
