package kagi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/perception"
)

// Success is the key whose Score, from ½ on, says that the task is done, where
// somebody can tell.
const Success = "success"

// way begins the names of an episode's waypoints among the keys of its first features.
const way = "way/"

// Put adds the place p of a point to keys. A score of 0 says that it is lost.
func Put(keys []perception.Keypoint, name string, p [3]float64, score float64) []perception.Keypoint {
	return perception.AddPlace(keys, name, p, score)
}

// Place is where a point is, m; false if the keys have it not or as lost. With a
// camera it is (x, y, 0) in that one's pixels.
func Place(keys []perception.Keypoint, name, camera string) (p [3]float64, ok bool) {
	if camera == "" {
		p, score, ok := perception.Place(keys, name)
		return p, ok && score > 0
	}
	for _, k := range keys {
		if k.Name == name && k.Camera == camera && k.Score > 0 {
			return [3]float64{k.X, k.Y}, true
		}
	}
	return p, false
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

// Untell returns keys without the waypoints that Tell added.
func Untell(keys []perception.Keypoint) []perception.Keypoint {
	return slices.DeleteFunc(slices.Clone(keys), func(k perception.Keypoint) bool { return strings.HasPrefix(k.Name, way) })
}

// Told are the waypoints that Tell added; none are nil.
func Told(keys []perception.Keypoint) ([]Leg, error) {
	var legs []Leg
	for _, k := range keys {
		if k.Camera != perception.Above || !strings.HasPrefix(k.Name, way) {
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

// Spot is a point of an episode at a step.
type Spot struct {
	Name string
	At   [3]float64 // base frame, m; its last place where it is not seen
	Seen bool
}

// Spots are the points among keys, in their order, without waypoints and success; those
// of a plan in pixels are not among them.
func Spots(keys []perception.Keypoint) []Spot {
	var out []Spot
	for _, k := range keys {
		if k.Camera != perception.Above || strings.HasPrefix(k.Name, way) {
			continue
		}
		if p, score, ok := perception.Place(keys, k.Name); ok {
			out = append(out, Spot{k.Name, p, score > 0})
		}
	}
	return out
}
