// Package keypoint is about points of things: where they are in a camera's image,
// in the arm's base frame, and from one frame to the next.
//
// Rewards that speak of keypoints (MOKA, Liu et al. 2024, arXiv:2403.03174; KAGI,
// Lee et al. 2024, arXiv:2407.10341) need four things, which are here: candidates to
// choose from (Mark), pictures on which a model can name them (Grid, Lines), cameras
// whose pixels have a place in the room (Camera), and points that are followed while
// the arm works (Tracker).
//
//	cams, err := keypoint.Load("cameras.json")
//	t, err := keypoint.NewTracker(keypoint.Config{})
//	err = t.Begin(obs.Frames, points)
//	keys, err := t.Track(next.Frames)
//	at, err := cams[0].Lift([2]float64{keys[0].X, keys[0].Y}, 0.05)
//
// Pixels have their origin at the centre of the top left one, as in
// perception.Keypoint; x goes right and y down.
package keypoint
