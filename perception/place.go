package perception

// A point of the room is kept among keypoints as two drawings see it, in metres: from
// above (X is the base frame's x, Y its y) and from the side (X is x, Y is z).
const (
	Above = "base.xy"
	Side  = "base.xz"
)

// AddPlace adds the place p (base frame, m) of a point. A score of 0 says that it is
// lost, and p its last place.
func AddPlace(keys []Keypoint, name string, p [3]float64, score float64) []Keypoint {
	return append(keys,
		Keypoint{Name: name, Camera: Above, X: p[0], Y: p[1], Score: score},
		Keypoint{Name: name, Camera: Side, X: p[0], Y: p[2], Score: score})
}

// Place is where a point is (base frame, m), or was when it was lost; false if keys do
// not have it. It allocates nothing.
func Place(keys []Keypoint, name string) (p [3]float64, score float64, ok bool) {
	above, side := false, false
	for i := range keys {
		switch k := &keys[i]; {
		case k.Name != name:
		case k.Camera == Above:
			p[0], p[1], score, above = k.X, k.Y, k.Score, true
		case k.Camera == Side:
			p[2], side = k.Y, true
		}
	}
	return p, score, above && side
}
