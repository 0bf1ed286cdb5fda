// Package config is the one struct tree that a session is configured by.
//
// Values come from the defaults (default.yaml, which is also the documentation
// of every key), then from a YAML file with strict keys, then from the
// environment, then from flags; Validate reports every problem at once:
//
//	c, err := config.Load("session.yaml", os.Environ(), []string{"robot.task=reach"})
package config

import (
	"slices"
)

// Config is a session's configuration. default.yaml says what each key means.
type Config struct {
	Name     string   `yaml:"name"`
	Out      string   `yaml:"out"`
	Seed     uint64   `yaml:"seed"`
	Robot    Robot    `yaml:"robot"`
	Guard    Guard    `yaml:"guard"`
	Demos    Demos    `yaml:"demos"`
	Encoder  Encoder  `yaml:"encoder"`
	Reward   Reward   `yaml:"reward"`
	People   People   `yaml:"people"`
	Policy   Policy   `yaml:"policy"`
	Learner  Learner  `yaml:"learner"`
	Session  Session  `yaml:"session"`
	Align    Align    `yaml:"align"`
	Practice Practice `yaml:"practice"`
	Teleop   Teleop   `yaml:"teleop"`
	Frames   Frames   `yaml:"perception"`
	Bus      Bus      `yaml:"bus"`
}

// Robot chooses the backend.
type Robot struct {
	Kind     string   `yaml:"kind"`
	Pace     string   `yaml:"pace"`
	Task     string   `yaml:"task"`
	World    string   `yaml:"world"`
	Body     string   `yaml:"embodiment"`
	Layout   string   `yaml:"layout"`
	Look     string   `yaml:"look"`
	Horizon  int      `yaml:"horizon"`  // control ticks
	Timestep float64  `yaml:"timestep"` // s
	Disturb  Disturb  `yaml:"disturb"`
	Way      string   `yaml:"way"`
	Render   string   `yaml:"render"`
	Cameras  []Camera `yaml:"cameras"`
	Markers  []string `yaml:"markers"` // files of Calibration
	Moved    float64  `yaml:"moved"`   // m
	ROS      ROS      `yaml:"ros"`
	Bag      Bag      `yaml:"bag"`
}

// Camera is one camera of the backend.
type Camera struct {
	Name   string `yaml:"name"`
	Width  int    `yaml:"width"`
	Height int    `yaml:"height"`
}

// Guard limits the arm.
type Guard struct {
	Arm       string  `yaml:"arm"`
	Workspace Box     `yaml:"workspace"`
	Speed     float64 `yaml:"speed"` // m/s
	Turn      float64 `yaml:"turn"`  // rad/s
	Lease     float64 `yaml:"lease"` // s
	Gate      string  `yaml:"gate"`
	Recover   Recover `yaml:"recover"`
}

// Recover says which faults go without a person.
type Recover struct {
	MaxPerHour int      `yaml:"max_per_hour"`
	Causes     []string `yaml:"causes"`
}

// Unattended lets go every fault that a policy brings about, of a simulated arm: one whose physics
// it made unstable has failed.
func Unattended() Recover {
	return Recover{MaxPerHour: mostSimulated, Causes: append(slices.Clone(ofThePolicy), "failed")}
}

// Teleop is how a person may take the arm.
type Teleop struct {
	Input string  `yaml:"input"`
	Topic string  `yaml:"topic"`
	Speed float64 `yaml:"speed"` // m/s
	Turn  float64 `yaml:"turn"`  // rad/s
	Stale float64 `yaml:"stale"` // s
	Pause float64 `yaml:"pause"` // s
	Axes  []int   `yaml:"axes"`
	Open  int     `yaml:"open"`
	Close int     `yaml:"close"`
	Hold  int     `yaml:"deadman"`
	Dead  float64 `yaml:"deadzone"`
}

// Frames says when a frame is unfit, and what then.
type Frames struct {
	Gate       string  `yaml:"gate"`
	Brightness float64 `yaml:"min_brightness"`
	Glare      float64 `yaml:"max_brightness"`
	Contrast   float64 `yaml:"min_contrast"`
	Sharpness  float64 `yaml:"min_sharpness"`
	Repeats    int     `yaml:"max_repeats"`
}

// Box is an axis-aligned box in the base frame, m.
type Box struct {
	Min [3]float64 `yaml:"min"`
	Max [3]float64 `yaml:"max"`
}

func (b Box) holds(at [3]float64) bool {
	for i, v := range at {
		if !(v >= b.Min[i] && v <= b.Max[i]) {
			return false
		}
	}
	return true
}

// Demos counts the demonstrations of each style.
type Demos struct {
	Good   int    `yaml:"good"`
	Bad    int    `yaml:"bad"`
	Filter string `yaml:"filter"`
}

// Encoder chooses what makes features of frames.
type Encoder struct {
	Kind      string `yaml:"kind"`
	ONNX      string `yaml:"onnx"`
	Size      int    `yaml:"size"` // pixels
	Keypoints int    `yaml:"keypoints"`
	Colours   int    `yaml:"colours"`
	Steps     int    `yaml:"steps"`
}

// Reward configures what is learned from.
type Reward struct {
	Kind     string  `yaml:"kind"`
	Sees     string  `yaml:"sees"`
	Form     string  `yaml:"form"`
	Experts  int     `yaml:"experts"`
	Triplets int     `yaml:"triplets"`
	Dim      int     `yaml:"dim"`
	Gamma    float64 `yaml:"gamma"`
	Cost     string  `yaml:"cost"`
	Query    string  `yaml:"query"`
	// Person names whose reward it is, of those who answer; "" is all alike.
	Person string `yaml:"person"`
	BTT    BTT    `yaml:"btt"`
	PAL    PAL    `yaml:"pal"`
	HERON  HERON  `yaml:"heron"`

	Train       string  `yaml:"train"`
	Gradient    string  `yaml:"gradient"`
	Temperature float64 `yaml:"temperature"`
	Steps       int     `yaml:"steps"`
	Enough      float64 `yaml:"enough"`
	Ties        bool    `yaml:"ties"`

	KAGI KAGI `yaml:"kagi"`

	Success    string `yaml:"success"`
	Classifier string `yaml:"classifier"`
	Visual     Visual `yaml:"visual"`
}

// BTT configures the reward that explains ties.
type BTT struct {
	Model    string  `yaml:"model"`
	Strength float64 `yaml:"strength"` // k or ν; 0: learned
}

// PAL configures the reward of people with several tastes.
type PAL struct {
	Prototypes int `yaml:"prototypes"`
}

// HERON configures the reward of criteria in an order.
type HERON struct {
	Order  []string `yaml:"order"`
	Margin float64  `yaml:"margin"` // standard deviations
}

// KAGI configures the reward by keypoints and waypoints.
type KAGI struct {
	Source    string  `yaml:"source"`
	Plan      string  `yaml:"plan"`    // file
	Cameras   string  `yaml:"cameras"` // file
	Marks     string  `yaml:"marks"`
	Segmenter string  `yaml:"segmenter"` // file
	Points    int     `yaml:"points"`
	Form      string  `yaml:"form"`
	Tolerance float64 `yaml:"tolerance"` // m
	Top       float64 `yaml:"top"`
	Sparse    string  `yaml:"sparse"`
	Confirm   int     `yaml:"confirm"` // ticks
	Potential bool    `yaml:"potential"`
	Cache     string  `yaml:"cache"` // folder
}

// People are who answers in simulation.
type People struct {
	Noise   float64 `yaml:"noise"`
	Ties    float64 `yaml:"ties"`
	Unsure  float64 `yaml:"unsure"`
	Fatigue float64 `yaml:"fatigue"`
	Sitting int     `yaml:"sitting"` // questions
	Bias    float64 `yaml:"bias"`
	Groups  []Group `yaml:"groups"`
}

// Group is people of one taste.
type Group struct {
	Name     string  `yaml:"name"`
	Share    float64 `yaml:"share"`
	Distance float64 `yaml:"distance"`
	Early    float64 `yaml:"early"`
	Disliked float64 `yaml:"disliked"`
	Rough    float64 `yaml:"rough"`
	// Undesired weighs, below 0 in its favour, that something happened which the task calls
	// undesired.
	Undesired float64 `yaml:"undesired"`
}

// Policy configures what acts.
type Policy struct {
	Sees      string    `yaml:"sees"`
	Keys      bool      `yaml:"keys"`
	Trunk     Trunk     `yaml:"trunk"`
	Diffusion Diffusion `yaml:"diffusion"`
	Axes      []string  `yaml:"axes"`
	Scale     float64   `yaml:"scale"`
	Hidden    []int     `yaml:"hidden"`
	Clone     Clone     `yaml:"clone"`
}

// Trunk is what a policy that sees pixels sees them through.
type Trunk struct {
	Channels int   `yaml:"channels"`
	Strides  []int `yaml:"strides"`
	Latent   int   `yaml:"latent"`
	Shift    int   `yaml:"shift"` // pixels
}

// Diffusion is what a policy that draws chunks of actions has besides.
type Diffusion struct {
	Shape    string  `yaml:"shape"`
	Process  string  `yaml:"process"`
	Predict  string  `yaml:"predict"`
	History  int     `yaml:"history"` // inputs
	Horizon  int     `yaml:"horizon"` // actions of a chunk
	Exec     int     `yaml:"exec"`    // of them carried out
	Steps    int     `yaml:"steps"`
	Draws    int     `yaml:"draws"`
	Eta      float64 `yaml:"eta"`
	Channels []int   `yaml:"channels"`
	Sampler  Sampler `yaml:"sampler"`
}

// Sampler configures the search among the chunks of a policy that draws them.
type Sampler struct {
	Kind  string  `yaml:"kind"`
	Draws int     `yaml:"draws"`
	Scale float64 `yaml:"scale"`
}

// Clone configures behaviour cloning.
type Clone struct {
	Steps int     `yaml:"steps"`
	Batch int     `yaml:"batch"`
	Rate  float64 `yaml:"rate"`
	Std   float64 `yaml:"std"`
}

// Learner configures fine-tuning.
type Learner struct {
	Kind    string  `yaml:"kind"`
	Device  string  `yaml:"device"`
	Critics int     `yaml:"critics"`
	Hidden  []int   `yaml:"hidden"`
	Batch   int     `yaml:"batch"`
	Rate    float64 `yaml:"rate"`
	Gamma   float64 `yaml:"gamma"`
	Warmup  int     `yaml:"warmup"`
	Updates int     `yaml:"updates"`
	Steps   int     `yaml:"steps"`
	Scale   float64 `yaml:"scale"`
	Alpha   float64 `yaml:"alpha"`
	Clone   float64 `yaml:"clone"`
	// Residual bounds what is learned on top of the frozen clone, before tanh; 0: the
	// clone itself goes on learning.
	Residual float64 `yaml:"residual"`
	DrM      int     `yaml:"drm"`
	Noise    float64 `yaml:"noise"`
	Replay   Replay  `yaml:"replay"`
	IQL      IQL     `yaml:"iql"`
	CalQL    CalQL   `yaml:"calql"`
	PPO      PPO     `yaml:"ppo"`
}

// PPO is what proximal policy optimisation has besides.
type PPO struct {
	Episodes int `yaml:"episodes"`
	Epochs   int `yaml:"epochs"`
	// Auxiliary weighs the heads that predict reward and row from the trunk.
	Auxiliary float64 `yaml:"auxiliary"`
}

// Replay is how what was collected is kept and drawn.
type Replay struct {
	Priority float64 `yaml:"priority"`
	JPEG     int     `yaml:"jpeg"`
	Dir      string  `yaml:"dir"`
	Capacity int     `yaml:"capacity"` // online transitions
}

// IQL is what implicit Q-learning has besides.
type IQL struct {
	Expectile float64 `yaml:"expectile"`
	Beta      float64 `yaml:"beta"`
	// Head is what of the policy imitates: gaussian, mean and deviation by their likelihood, or
	// deterministic, the mean alone, whose deviation stays as it was cloned.
	Head string `yaml:"head"`
	// Decay lets the policy's rate fall to a tenth over the session's updates, along a
	// cosine.
	Decay bool `yaml:"decay"`
}

// CalQL is what calibrated Q-learning has besides.
type CalQL struct {
	Weight float64 `yaml:"weight"`
}

// Session says how long, and from what.
type Session struct {
	From       string `yaml:"from"`
	Policy     string `yaml:"policy"` // of From
	Episodes   int    `yaml:"episodes"`
	Evaluate   int    `yaml:"evaluate"`
	Checkpoint int    `yaml:"checkpoint"`
	Record     bool   `yaml:"record"`
	Lossless   bool   `yaml:"lossless"` // frames as PNG, so that a replay sees what was scored
	Orphan     string `yaml:"orphan"`
	Realign    int    `yaml:"realign"` // labels
	End        string `yaml:"end"`
}

// Practice is of a session that another one undoes.
type Practice struct {
	Mate     string  `yaml:"mate"`
	Reminder int     `yaml:"reminder"` // episodes
	Hours    float64 `yaml:"hours"`
}

// Bus says where messages go.
type Bus struct {
	URL      string `yaml:"url"`
	Listen   string `yaml:"listen"`
	User     string `yaml:"user"`
	Password string `yaml:"password"`
}
