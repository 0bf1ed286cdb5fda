// Package record keeps an episode while it runs: one MCAP file with the camera
// frames, what the arm sensed, what was applied and who decided it, the features
// and the rewards. Foxglove opens the file as it is.
//
// A file is written as NAME.part and takes its name when it is whole. What was
// written before the last chunk of about a second survives kill -9, and Read
// salvages it:
//
//	w, err := record.Create("episodes/demo-00001.mcap", record.Info{ID: "demo-00001"})
//	err = w.Tick(record.Tick{State: obs.State, Frames: obs.Frames, ...}) // the reset's first
//	err = w.Rewards(rewards)
//	err = w.Close()
//	ep, err := record.Read("episodes/demo-00001.mcap")
package record

import (
	"errors"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Info is what is known of an episode as a whole.
type Info struct {
	ID       string `json:"id"`
	Seq      uint64 `json:"seq"`
	Origin   uint8  `json:"origin"` // as policy.Origin
	Seed     uint64 `json:"seed"`
	Terminal bool   `json:"terminal"`
	// Encoder and Reward name the networks that made Embed and the rewards, by the
	// SHA-256 of what was loaded; "" in files of before they were kept.
	Encoder string `json:"encoder,omitempty"`
	Reward  string `json:"reward,omitempty"`
}

// Tick is one observation with what led to it.
type Tick struct {
	State   robot.State
	Frames  []robot.Frame
	Applied robot.Command // what was applied to get here; zero after the reset
	By      robot.Source
	Version uint64    // parameters that chose Applied
	Embed   []float32 // (D,) features of the frames; nil for none
	Keys    []Keypoint
	Seen    time.Time // stamp of Embed and Keys
}

// Keypoint is a tracked point in a camera's image, as perception.Keypoint.
type Keypoint struct {
	Name   string
	Camera string
	X, Y   float64 // pixels
	Score  float64 // 0 lost .. 1 certain
}

// Recording is what a file holds.
type Recording struct {
	Info    Info
	Ticks   []Tick    // (T+1,)
	Rewards []float64 // (T,); nil for an unlabelled episode
	// Lossless says that the frames are those that were recorded, bit for bit.
	Lossless bool
}

// ErrTruncated says that a file ends before its footer: its writer died. What
// Read returns beside it is whole up to there.
var ErrTruncated = errors.New("file ends before its footer")

// ErrCorrupt says that a file is no recording, or is damaged.
var ErrCorrupt = errors.New("not a recording, or a damaged one")

// The topics of a recording. Each camera has its own.
const (
	topicState    = "/state"
	topicCommand  = "/command"
	topicFeatures = "/features"
	topicReward   = "/reward"
	topicCamera   = "/camera/"
	infoRecord    = "rapport.episode" // the name of the metadata record
)

// stateMsg and the others are the messages as JSON.
type stateMsg struct {
	Stamp  stampMsg  `json:"stamp"`
	Q      [7]number `json:"q"`
	DQ     [7]number `json:"dq"`
	Place  [3]number `json:"position"`
	Turn   [4]number `json:"orientation_wxyz"`
	Wrench [6]number `json:"wrench"`
	Grip   number    `json:"grip"`
}

type commandMsg struct {
	Delta   [6]number `json:"delta"`
	Grip    number    `json:"grip"`
	By      string    `json:"by"`
	Version uint64    `json:"version"`
}

type featuresMsg struct {
	Stamp stampMsg `json:"stamp"`
	Dim   int      `json:"dim"`   // -1 for none
	Embed []byte   `json:"embed"` // base64 of little-endian float32
	Keys  []keyMsg `json:"keys,omitempty"`
}

type keyMsg struct {
	Name   string `json:"name"`
	Camera string `json:"camera"`
	X      number `json:"x"`
	Y      number `json:"y"`
	Score  number `json:"score"`
}

type rewardMsg struct {
	Step   int    `json:"step"`
	Reward number `json:"reward"`
}

type stampMsg struct {
	Sec  int64 `json:"sec"`
	Nsec int64 `json:"nsec"`
}

// imageMsg is foxglove.CompressedImage in its JSON form.
type imageMsg struct {
	Timestamp stampMsg `json:"timestamp"`
	FrameID   string   `json:"frame_id"`
	Format    string   `json:"format"`
	Data      []byte   `json:"data"`
	Seq       uint64   `json:"seq"`
}

// timeSchema is foxglove's time.
const timeSchema = `{"type":"object","title":"time","properties":{"sec":{"type":"integer"},"nsec":{"type":"integer","minimum":0,"maximum":999999999}}}`

// schemas are JSON Schemas by name. Foxglove knows its own by name.
var schemas = []struct{ name, data string }{
	{"rapport.State", `{"type":"object","title":"rapport.State","description":"What the arm senses: rad, rad/s, m, unit quaternion, N and Nm, base frame",` +
		`"properties":{"q":{"type":"array","items":{"type":"number"}},"dq":{"type":"array","items":{"type":"number"}},` +
		`"position":{"type":"array","items":{"type":"number"}},"orientation_wxyz":{"type":"array","items":{"type":"number"}},` +
		`"wrench":{"type":"array","items":{"type":"number"}},"grip":{"type":"number"},"stamp":` + timeSchema + `}}`},
	{"rapport.Command", `{"type":"object","title":"rapport.Command","description":"What was applied, m and rad in the base frame, opening 0 to 1",` +
		`"properties":{"delta":{"type":"array","items":{"type":"number"}},"grip":{"type":"number"},"by":{"type":"string"},"version":{"type":"integer"}}}`},
	{"rapport.Features", `{"type":"object","title":"rapport.Features","description":"Embedding as little-endian float32, and keypoints in pixels",` +
		`"properties":{"stamp":` + timeSchema + `,"dim":{"type":"integer"},"embed":{"type":"string","contentEncoding":"base64"},` +
		`"keys":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"camera":{"type":"string"},` +
		`"x":{"type":"number"},"y":{"type":"number"},"score":{"type":"number"}}}}}}`},
	{"rapport.Reward", `{"type":"object","title":"rapport.Reward","properties":{"step":{"type":"integer"},"reward":{"type":"number"}}}`},
	{"foxglove.CompressedImage", `{"type":"object","title":"foxglove.CompressedImage","properties":{"timestamp":` + timeSchema + `,` +
		`"frame_id":{"type":"string"},"data":{"type":"string","contentEncoding":"base64"},"format":{"type":"string"},"seq":{"type":"integer"}}}`},
}

// sourceOf is the inverse of robot.Source.String.
func sourceOf(name string) (robot.Source, error) {
	for _, s := range []robot.Source{robot.ByPolicy, robot.ByHuman, robot.ByGuard, robot.ByLog} {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("nobody is called %q", name)
}
