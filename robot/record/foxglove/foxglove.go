// Package foxglove writes an episode as an MCAP file of Foxglove's own messages, so
// that its panels show images with annotations, joints, the tool and rewards without
// a converter. Messages are JSON, schemas are known by their public names
// (docs.foxglove.dev, "Foxglove schemas"); what Foxglove has no name for is ours.
//
//	err := foxglove.Write("group.mcap", foxglove.Episode{Recording: rec, Frames: frames, Notes: notes})
package foxglove

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/foxglove/mcap/go/mcap"

	"github.com/rapport-rl/rapport/robot/record"
)

// Base is the frame of poses, as franka_description calls the foot of the arm.
const Base = "panda_link0"

// Episode is what is written.
type Episode struct {
	record.Recording
	Frames [][]record.Encoded // (T+1,), as they are
	Notes  []Note             // (T+1,) or nil
}

// Note is what is drawn on the images of a tick.
type Note struct {
	Keys []record.Keypoint
	Text string // lines; drawn in the top left corner of each image
	// What the reward matched this step with; for ticks from 1.
	Expert  string
	Matched int
}

// Write makes the file at path, which is there whole or not at all.
func Write(path string, e Episode) (err error) {
	if len(e.Frames) != len(e.Ticks) || e.Notes != nil && len(e.Notes) != len(e.Ticks) {
		return fmt.Errorf("foxglove: episode %s: %d ticks with the frames of %d and the notes of %d", e.Info.ID, len(e.Ticks), len(e.Frames), len(e.Notes))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("foxglove: %w", err)
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return fmt.Errorf("foxglove: %w", err)
	}
	w := &writer{channels: map[string]*channel{}}
	w.out, err = mcap.NewWriter(f, &mcap.WriterOptions{Chunked: true, ChunkSize: 1 << 20, IncludeCRC: true, Compression: mcap.CompressionZSTD, CompressionLevel: mcap.CompressionLevelFastest})
	if err == nil {
		err = w.write(e)
	}
	if err == nil {
		err = errors.Join(w.out.Close(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		return fmt.Errorf("foxglove: %s: %w; free space or choose another folder", path, errors.Join(err, os.Remove(path+".part")))
	}
	return nil
}

type channel struct{ id, seq uint32 }

type writer struct {
	out      *mcap.Writer
	channels map[string]*channel
}

func (w *writer) write(e Episode) error {
	if err := w.out.WriteHeader(&mcap.Header{Library: "rapport"}); err != nil {
		return err
	}
	for i, s := range schemas {
		if err := w.out.WriteSchema(&mcap.Schema{ID: uint16(i + 1), Name: s.name, Encoding: "jsonschema", Data: []byte(s.text())}); err != nil {
			return err
		}
	}
	i := e.Info
	err := w.out.WriteMetadata(&mcap.Metadata{Name: "rapport.episode", Metadata: map[string]string{
		"id": i.ID, "seq": strconv.FormatUint(i.Seq, 10), "seed": strconv.FormatUint(i.Seed, 10), "terminal": strconv.FormatBool(i.Terminal),
		"encoder": i.Encoder, "reward": i.Reward, "ticks": strconv.Itoa(len(e.Ticks))}})
	if err != nil {
		return err
	}
	sum := 0.0
	for t := range e.Ticks {
		if err := w.tick(&e, t, &sum); err != nil {
			return fmt.Errorf("tick %d: %w", t, err)
		}
	}
	return nil
}

func (w *writer) tick(e *Episode, t int, sum *float64) error {
	tick := &e.Ticks[t]
	at := tick.State.Stamp
	stamp := stampOf(at)
	s := &tick.State
	var joints []joint
	for k := range s.Q {
		joints = append(joints, joint{Name: fmt.Sprintf("panda_joint%d", k+1), Position: finite(s.Q[k]), Velocity: finite(s.DQ[k])})
	}
	// Each finger goes half of the way.
	for k := 1; k <= 2; k++ {
		joints = append(joints, joint{Name: fmt.Sprintf("panda_finger_joint%d", k), Position: finite(s.Grip / 2)})
	}
	errs := []error{
		w.send("/joint_states", "foxglove.JointStates", at, jointStates{stamp, joints}),
		w.send("/tool", "foxglove.PoseInFrame", at, poseInFrame{stamp, Base, pose{
			vector{finite(s.EE.P[0]), finite(s.EE.P[1]), finite(s.EE.P[2])}, quaternion{finite(s.EE.Q[1]), finite(s.EE.Q[2]), finite(s.EE.Q[3]), finite(s.EE.Q[0])}}}),
		w.send("/wrench", "rapport.Wrench", at, wrench{stamp, Base, vector{finite(s.Wrench[0]), finite(s.Wrench[1]), finite(s.Wrench[2])}, vector{finite(s.Wrench[3]), finite(s.Wrench[4]), finite(s.Wrench[5])}}),
	}
	note := Note{Keys: tick.Keys}
	if e.Notes != nil {
		note = e.Notes[t]
	}
	if t > 0 {
		c := command{Timestamp: stamp, Grip: finite(tick.Applied.Grip), By: tick.By.String(), Version: tick.Version}
		for k, x := range tick.Applied.Delta {
			c.Delta[k] = finite(x)
		}
		errs = append(errs, w.send("/command", "rapport.Command", at, c))
		if len(e.Rewards) == len(e.Ticks)-1 {
			r := e.Rewards[t-1]
			*sum += r
			errs = append(errs, w.send("/reward", "rapport.Reward", at, reward{stamp, t, finite(r), finite(*sum), note.Expert, note.Matched}))
		}
	}
	for _, f := range e.Frames[t] {
		errs = append(errs, w.send("/camera/"+f.Camera, "foxglove.CompressedImage", f.Stamp, image{stampOf(f.Stamp), f.Camera, f.Data, f.Format}))
		if a := annotate(f, note); a != nil {
			errs = append(errs, w.send("/camera/"+f.Camera+"/annotations", "foxglove.ImageAnnotations", f.Stamp, a))
		}
	}
	return errors.Join(errs...)
}

// annotate draws a note on a frame; nil for nothing.
func annotate(f record.Encoded, n Note) *annotations {
	a := annotations{Timestamp: stampOf(f.Stamp), Circles: []circle{}, Points: []lines{}, Texts: []text{}}
	for _, k := range n.Keys {
		if k.Camera != f.Camera || !known(k.X) || !known(k.Y) || !known(k.Score) {
			continue
		}
		// Our pixel's centre is at whole numbers, Foxglove's corner is.
		at := point{k.X + 0.5, k.Y + 0.5}
		sure := max(0, min(1, k.Score))
		a.Circles = append(a.Circles, circle{a.Timestamp, at, max(3, float64(f.W)/32), 1, colour{1, 0.42, 0.12, sure}, colour{0, 0, 0, 1}})
	}
	if n.Text != "" {
		size := max(5, float64(f.H)/16)
		a.Texts = append(a.Texts, text{a.Timestamp, point{1, size + 1}, n.Text, size, colour{1, 1, 1, 1}, colour{0, 0, 0, 0.5}})
	}
	if len(a.Circles)+len(a.Texts) == 0 {
		return nil
	}
	return &a
}

func (w *writer) send(topic, schema string, at time.Time, msg any) error {
	c, ok := w.channels[topic]
	if !ok {
		c = &channel{id: uint32(len(w.channels) + 1)}
		w.channels[topic] = c
		if err := w.out.WriteChannel(&mcap.Channel{ID: uint16(c.id), SchemaID: schemaID(schema), Topic: topic, MessageEncoding: "json"}); err != nil {
			return err
		}
	}
	b, err := json.Marshal(msg)
	if err != nil {
		return fmt.Errorf("%s: %w", topic, err)
	}
	ns := uint64(max(0, at.Unix()))*1e9 + uint64(at.Nanosecond())
	c.seq++
	return w.out.WriteMessage(&mcap.Message{ChannelID: uint16(c.id), Sequence: c.seq, LogTime: ns, PublishTime: ns, Data: b})
}

func known(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// finite is x, or nothing where JSON has no number for it.
func finite(x float64) *float64 {
	if !known(x) {
		return nil
	}
	return &x
}
