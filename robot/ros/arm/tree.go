package arm

import (
	"strings"
	"sync"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// tree holds the newest transform of each frame to its parent, as /tf and
// /tf_static say.
type tree struct {
	mu    sync.Mutex
	links map[string]link // by child
}

type link struct {
	parent string
	pose   robot.Pose // of the child in the parent
}

func (t *tree) set(parent, child string, pose robot.Pose) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.links == nil {
		t.links = make(map[string]link)
	}
	t.links[bare(child)] = link{bare(parent), pose}
}

// lookup returns the pose of frame in base.
func (t *tree) lookup(base, frame string) (robot.Pose, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, top := t.climb(bare(frame))
	b, other := t.climb(bare(base))
	if top != other {
		return robot.Pose{}, false
	}
	return compose(inverse(b), a), true
}

// climb returns the pose of frame in the root above it. A loop, which a wrong
// publisher may make, ends it.
func (t *tree) climb(frame string) (robot.Pose, string) {
	p := robot.Pose{Q: [4]float64{1, 0, 0, 0}}
	for range len(t.links) + 1 {
		l, ok := t.links[frame]
		if !ok {
			break
		}
		p, frame = compose(l.pose, p), l.parent
	}
	return p, frame
}

// bare is a frame's name without the slash that tf had and tf2 has not.
func bare(frame string) string { return strings.TrimPrefix(frame, "/") }

// compose returns the pose of c in a, from b in a and c in b.
func compose(b, c robot.Pose) robot.Pose {
	p := franka.Rotate(b.Q, c.P)
	for i := range p {
		p[i] += b.P[i]
	}
	return robot.Pose{P: p, Q: franka.Unit(franka.Mul(b.Q, c.Q))}
}

func inverse(a robot.Pose) robot.Pose {
	q := franka.Conj(a.Q)
	p := franka.Rotate(q, a.P)
	return robot.Pose{P: [3]float64{-p[0], -p[1], -p[2]}, Q: q}
}
