// Package click turns an operator's clicks on a reset's pictures into a plan of package
// kagi: which points are followed, and through which places they are to go.
//
// Nobody need describe a task in words who can point at it. The session that waits for a
// plan and the page on which it is clicked may be two processes, so that they hand each
// other pictures and plans in a folder, whole files at a time; a crash of either leaves
// what the other needs.
//
//	f := click.Folder("runs/reach-001/clicks")
//	err := f.Show(click.Scene{Task: "reach", Cameras: cams, Hand: hand, Box: box}, obs.Frames)
//	at, err := f.Lift(click.Sight{Views: []click.View{{Camera: "front", Pixel: [2]float64{40, 52}}}, Height: &z})
//	err = f.Save(click.Draft{Scene: 1, Plan: plan}) // and f.Waits() is false
//	plan, err := f.Plan()
//
// docs/kagi.md says how a plan is clicked.
package click

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
)

var (
	// ErrNone says that nothing was shown, or clicked, yet.
	ErrNone = errors.New("click: nothing is there yet")
	// ErrRefused marks what the operator can mend by other clicks; the words say how.
	ErrRefused = errors.New("click")
)

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// Folder is where pictures and plans lie:
//
//	scene.json, cameras.json, CAMERA.png   what is clicked on
//	waits                                  a session waits for a plan of that scene
//	again                                  an operator asks for pictures of the next reset
//	plan.json                              the last plan, a file for reward.kagi.plan
type Folder string

// Scene is a reset as it is clicked on.
type Scene struct {
	// N counts the scenes of a folder from 1; Show sets it.
	N    int    `json:"n"`
	Task string `json:"task"` // in words
	// Cameras are those of the frames, in the base frame, while the hand is at Hand.
	Cameras []keypoint.Camera `json:"-"`
	Hand    [3]float64        `json:"hand"` // the tool centre point, base frame, m
	Box     kagi.Box          `json:"box"`  // the workspace
	// Tolerance is the reward's (kagi.Config), m.
	Tolerance float64 `json:"tolerance,omitempty"`
	// Unpaid says that no reward is by the waypoints, which may come back then: the points alone
	// are followed.
	Unpaid bool `json:"unpaid,omitempty"`
	// Names are the points, the hand aside, that a plan must have, in this order: the
	// policy sees their places. nil: any.
	Names []string `json:"names"`
}

const (
	sceneFile = "scene.json"
	camsFile  = "cameras.json"
	planFile  = "plan.json"
	waitsMark = "waits"
	againMark = "again"
)

func (f Folder) path(name string) string { return filepath.Join(string(f), name) }

// PlanFile is where the plan lies once it is saved.
func (f Folder) PlanFile() string { return f.path(planFile) }

// write puts a file in its place whole.
func (f Folder) write(name string, data []byte) error {
	tmp := f.path(name + ".part")
	err := os.WriteFile(tmp, data, 0o644)
	if err == nil {
		err = os.Rename(tmp, f.path(name))
	}
	if err != nil {
		return fmt.Errorf("click: %w", err)
	}
	return nil
}

func (f Folder) has(name string) (bool, error) {
	_, err := os.Stat(f.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("click: %w", err)
	}
	return true, nil
}

func (f Folder) drop(name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("click: %w", err)
	}
	return nil
}

// Show puts the pictures of a reset there, whose cameras s has in the same order, and
// waits for a plan from now on.
func (f Folder) Show(s Scene, frames []robot.Frame) error {
	if len(s.Cameras) == 0 || len(frames) != len(s.Cameras) {
		return fmt.Errorf("click: %d pictures of %d calibrated cameras; want one each", len(frames), len(s.Cameras))
	}
	if err := os.MkdirAll(string(f), 0o755); err != nil {
		return fmt.Errorf("click: %w", err)
	}
	was, _, err := f.scene()
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	s.N = was.N + 1
	cams, err := keypoint.Encode(s.Cameras)
	if err != nil {
		return err
	}
	for i, fr := range frames {
		c := s.Cameras[i]
		if fr.Camera != c.Name || fr.W != c.W || fr.H != c.H || c.OnHand {
			return fmt.Errorf("click: picture %d is of camera %q with %dx%d pixels; want one of %q, which stands in the base frame, with %dx%d", i, fr.Camera, fr.W, fr.H, c.Name, c.W, c.H)
		}
		if c.Name != filepath.Base(c.Name) {
			return fmt.Errorf("click: camera %q names a folder; want a plain name", c.Name)
		}
		b, err := vision.EncodePNG(fr)
		if err != nil {
			return err
		}
		if err := f.write(pictureFile(c.Name), b); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("click: scene: %w", err)
	}
	return errors.Join(f.write(camsFile, cams), f.write(sceneFile, b), f.write(waitsMark, nil), f.drop(againMark))
}

func pictureFile(camera string) string { return "camera-" + camera + ".png" }

// scene reads what was shown, with whether a plan of it is waited for.
func (f Folder) scene() (s Scene, waits bool, err error) {
	b, err := os.ReadFile(f.path(sceneFile))
	if errors.Is(err, os.ErrNotExist) {
		return s, false, ErrNone
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, false, fmt.Errorf("click: %s: %w; remove the folder, and the session shows its pictures again", f, err)
	}
	if s.Cameras, err = keypoint.Load(f.path(camsFile)); err != nil {
		return s, false, err
	}
	waits, err = f.Waits()
	return s, waits, err
}

// Waits says whether a plan of the scene is waited for.
func (f Folder) Waits() (bool, error) { return f.has(waitsMark) }

// Wanted says whether a plan is to be clicked at the next reset: the first one, one that
// was waited for when the session ended, or one that an operator asked for.
func (f Folder) Wanted() (bool, error) {
	had, err := f.has(planFile)
	if err != nil || !had {
		return true, err
	}
	for _, m := range []string{waitsMark, againMark} {
		if yes, err := f.has(m); err != nil || yes {
			return yes, err
		}
	}
	return false, nil
}

// Again asks for a new plan, of pictures of the next reset.
func (f Folder) Again() error {
	if had, err := f.has(planFile); err != nil || !had {
		return errors.Join(err, refuse("there is no plan yet that a new one could replace; click the first one"))
	}
	return f.write(againMark, nil)
}

// Plan is the last one saved, or ErrNone.
func (f Folder) Plan() (kagi.Plan, error) {
	if had, err := f.has(planFile); err != nil || !had {
		return kagi.Plan{}, errors.Join(err, ErrNone)
	}
	p, err := kagi.Load(f.PlanFile())
	if err != nil {
		return p, fmt.Errorf("click: %w; remove %s, and it is asked for again", err, f.PlanFile())
	}
	return p, nil
}
