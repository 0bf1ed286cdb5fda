package click

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/reward/kagi"
)

// Draft is a plan of a scene.
type Draft struct {
	Scene int       `json:"scene"`
	Plan  kagi.Plan `json:"plan"`
}

// Save checks a plan and keeps it; whoever waits goes on.
func (f Folder) Save(d Draft) error {
	sc, waits, err := f.scene()
	if err != nil {
		return err
	}
	if !waits {
		return refuse("no plan is waited for; ask for a new one first, and click it on the pictures of the next reset")
	}
	if d.Scene != sc.N {
		return refuse("the plan is of pictures %d, and these are %d; click it again on those that are shown now", d.Scene, sc.N)
	}
	if err := f.check(sc, d.Plan); err != nil {
		return err
	}
	b, err := kagi.Encode(d.Plan)
	if err != nil {
		return err
	}
	if err := f.write(planFile, b); err != nil {
		return err
	}
	return f.drop(waitsMark)
}

// check refuses a plan that cannot be followed from the scene on.
func (f Folder) check(sc Scene, p kagi.Plan) error {
	if err := p.Validate(); err != nil {
		return refuse("%v", err)
	}
	if p.Camera != "" {
		return refuse("the plan is in pixels of camera %s; want places in the base frame", p.Camera)
	}
	at := map[string][3]float64{}
	var names []string
	for _, k := range p.Points {
		if !k.Hand {
			names = append(names, k.Name)
		}
		pl, ok, err := f.where(sc, k)
		if err != nil {
			return err
		}
		if !ok {
			return refuse("point %s is not seen by camera %s; click it again", k.Name, k.Camera)
		}
		if !k.Hand {
			if err := within(pl, sc.Box); err != nil {
				return fmt.Errorf("point %s: %w", k.Name, err)
			}
		}
		at[k.Name] = pl
	}
	if sc.Names != nil && !slices.Equal(names, sc.Names) {
		return refuse("the plan's points are %q, and the policy sees %q; click those, in this order", names, sc.Names)
	}
	legs, err := p.Fix(at)
	if err == nil {
		err = kagi.Within(legs, sc.Box)
	}
	if err != nil {
		return refuse("%v", err)
	}
	if sc.Unpaid {
		return nil
	}
	if err := kagi.Onward(legs, at, p.Hands(), sc.Tolerance); err != nil {
		return refuse("%v: on this page by a waypoint of another point in between, where that is then", err)
	}
	return nil
}

// State is what a page is told.
type State struct {
	Scene
	Views []Size     `json:"cameras"`
	Waits bool       `json:"waits"` // a plan of this scene is waited for
	Again bool       `json:"again"` // pictures of the next reset are asked for
	File  string     `json:"file"`  // where the plan is, or will be
	Plan  *kagi.Plan `json:"plan"`  // the last one
}

// Size is a camera and its pixels.
type Size struct {
	Name string `json:"name"`
	W    int    `json:"w"`
	H    int    `json:"h"`
}

// State is how things stand, or ErrNone.
func (f Folder) State() (st State, err error) {
	if st.Scene, st.Waits, err = f.scene(); err != nil {
		return st, err
	}
	for _, c := range st.Cameras {
		st.Views = append(st.Views, Size{c.Name, c.W, c.H})
	}
	if st.Again, err = f.has(againMark); err != nil {
		return st, err
	}
	st.File = f.PlanFile()
	p, err := f.Plan()
	if errors.Is(err, ErrNone) {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	st.Plan = &p
	return st, nil
}

// Picture is what a camera saw, a PNG.
func (f Folder) Picture(camera string) ([]byte, error) {
	sc, _, err := f.scene()
	if err != nil {
		return nil, err
	}
	if _, err := keypoint.Find(sc.Cameras, camera); err != nil { // names no other file
		return nil, refuse("%v", err)
	}
	b, err := os.ReadFile(f.path(pictureFile(camera)))
	if err != nil {
		return nil, fmt.Errorf("click: %w", err)
	}
	return b, nil
}
