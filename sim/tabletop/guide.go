package tabletop

// Keypoint is a named place that a plan may speak of, m, base frame.
type Keypoint struct {
	Name string
	P    [3]float64
}

// Guide is a task's plan as KAGI's vision-language model would write it (Lee et al.
// 2024): keypoints, and ways through the room as waypoints, computed from where
// things truly are. It is what a model's plan is measured against, and a stand-in for
// it where there is none.
type Guide struct {
	Instruction string
	Keypoints   []Keypoint
	Hand        [][3]float64 // way of the tool centre point, m, base frame
	Steps       []string     // what each of Hand is for
	Object      [][3]float64 // way of what is moved: of the first of Keypoints
}

// Guide is the plan for an episode that begins now, in its direction. Tasks without
// one have an empty one.
func (w *World) Guide() Guide {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.job.guide == nil {
		return Guide{}
	}
	return w.job.guide(w)
}

// carrying is the plan by which a thing is taken at grasp and brought, with this
// point, to a place. name is the thing's, where that of the place.
func carrying(name, where string, grasp, to [3]float64) Guide {
	lift := func(p [3]float64) [3]float64 { return [3]float64{p[0], p[1], carry} }
	return Guide{
		Keypoints: []Keypoint{{name, grasp}, {where, to}},
		Hand:      [][3]float64{lift(grasp), grasp, lift(grasp), lift(to), to, lift(to)},
		Steps:     []string{"over the " + name, "take the " + name, "lift it", "over the " + where, "put it down", "leave it"},
		Object:    [][3]float64{grasp, lift(grasp), lift(to), to},
	}
}

func guideStack(w *World) Guide {
	g := carrying("red cube", "blue cube's top", w.truth.Bodies[0].Pose.P, onto(w))
	g.Instruction = "put the red cube on the blue cube"
	if w.way == Backward {
		g.Instruction, g.Keypoints[1].Name = "put the red cube back on the table", "its place on the table"
	}
	return g
}

func guideSpatula(w *World) Guide {
	p := w.truth.Bodies[0].Pose
	to := add(laid(w), sub(p.P, ahead(p, blade)))
	g := carrying("handle", "place of the handle", p.P, [3]float64{to[0], to[1], laid(w)[2]})
	g.Keypoints = append(g.Keypoints, Keypoint{"blade", ahead(p, blade)}, Keypoint{"plate", w.truth.Bodies[1].Pose.P})
	g.Instruction = "put the spatula on the plate"
	if w.way == Backward {
		g.Instruction = "put the spatula back on the table"
	}
	return g
}

func guideCover(w *World) Guide {
	at := w.tabAt(w.way)
	g := carrying("tab", "place of the tab", at, w.pulled())
	g.Keypoints = append(g.Keypoints, Keypoint{"box", w.truth.Bodies[0].Pose.P})
	g.Instruction = "pull the cloth over the red box"
	if w.way == Backward {
		g.Instruction = "pull the cloth off the red box"
	}
	return g
}

func guideAlmonds(w *World) Guide {
	near, far, y := w.heap()
	behind, end := near-clearOf, zoneX+0.012
	g := Guide{Instruction: "sweep the almonds into the green zone", Keypoints: []Keypoint{
		{"almonds", [3]float64{(near + far) / 2, y, 0}}, {"zone", [3]float64{zoneX, 0, 0}},
	}}
	if w.way == Backward {
		behind, end = far+clearOf, homeX
		g.Instruction, g.Keypoints[1] = "sweep the almonds out of the green zone", Keypoint{"before the zone", [3]float64{homeX, 0, 0}}
	}
	g.Hand = [][3]float64{{behind, y, over}, {behind, y, rake}, {end, 0.7 * y, rake}, {end, 0.7 * y, over}}
	g.Steps = []string{"behind the almonds", "down", "sweep", "up"}
	g.Object = [][3]float64{g.Keypoints[0].P, g.Keypoints[1].P}
	return g
}
