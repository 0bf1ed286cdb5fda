package kagi

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/perception"
)

// A place in the base frame is kept among an episode's keypoints as two drawings see
// it, in metres: from above (X is x, Y is y) and from the side (X is x, Y is z).
const (
	Above = "base.xy"
	Side  = "base.xz"
)

// Success is the key whose Score, from ½ on, says that the task is done, where
// somebody can tell.
const Success = "success"

// way begins the names of an episode's waypoints among the keys of its first features.
const way = "way/"

// Put adds the place p of a point to keys. A score of 0 says that it is lost.
func Put(keys []perception.Keypoint, name string, p [3]float64, score float64) []perception.Keypoint {
	return append(keys,
		perception.Keypoint{Name: name, Camera: Above, X: p[0], Y: p[1], Score: score},
		perception.Keypoint{Name: name, Camera: Side, X: p[0], Y: p[2], Score: score})
}

// Place is where a point is, m; false if the keys have it not or as lost. With a
// camera it is (x, y, 0) in that one's pixels.
func Place(keys []perception.Keypoint, name, camera string) (p [3]float64, ok bool) {
	need, got := 2, 0
	if camera != "" {
		need = 1
	}
	for _, k := range keys {
		if k.Name != name || k.Score <= 0 {
			continue
		}
		switch {
		case camera != "" && k.Camera == camera, camera == "" && k.Camera == Above:
			p[0], p[1] = k.X, k.Y
			got++
		case camera == "" && k.Camera == Side:
			p[2] = k.Y
			got++
		}
	}
	return p, got >= need
}

// Tell adds the waypoints of an episode to the keys of its first features, so that
// the plan is stored with the episode and it can be scored again.
func Tell(keys []perception.Keypoint, legs []Leg) []perception.Keypoint {
	for i, l := range legs {
		for j, p := range l.To {
			keys = Put(keys, fmt.Sprintf("%s%d/%d/%s", way, i, j, l.Point), p, 1)
		}
	}
	return keys
}

// Told are the waypoints that Tell added; none are nil.
func Told(keys []perception.Keypoint) ([]Leg, error) {
	var legs []Leg
	for _, k := range keys {
		if k.Camera != Above || !strings.HasPrefix(k.Name, way) {
			continue
		}
		part := strings.SplitN(k.Name[len(way):], "/", 3)
		if len(part) != 3 {
			return nil, fmt.Errorf("kagi: key %q names no waypoint", k.Name)
		}
		i, err := strconv.Atoi(part[0])
		j, err2 := strconv.Atoi(part[1])
		if err != nil || err2 != nil {
			return nil, fmt.Errorf("kagi: key %q names no waypoint", k.Name)
		}
		if i == len(legs) && j == 0 && i < maxStages {
			legs = append(legs, Leg{Point: part[2]})
		}
		if i != len(legs)-1 || j != len(legs[i].To) || part[2] != legs[i].Point || j >= maxWaypoints {
			return nil, fmt.Errorf("kagi: waypoint %q is out of order", k.Name)
		}
		p, ok := Place(keys, k.Name, "")
		if !ok {
			return nil, fmt.Errorf("kagi: waypoint %q has no height", k.Name)
		}
		legs[i].To, legs[i].Grip = append(legs[i].To, p), append(legs[i].Grip, "")
	}
	return legs, nil
}
