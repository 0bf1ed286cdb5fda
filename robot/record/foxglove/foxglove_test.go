package foxglove_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foxglove/mcap/go/mcap"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/robot/record/foxglove"
)

// sample is an episode as a session records it, read back with its images.
func sample(t testing.TB) foxglove.Episode {
	t.Helper()
	path := filepath.Join(t.TempDir(), "online-00003.mcap")
	w, err := record.Create(path, record.Info{ID: "online-00003", Encoder: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		at := time.Unix(100, int64(i)*50e6).UTC()
		tick := record.Tick{State: robot.State{Stamp: at, Grip: 0.04, Q: [7]float64{0.5, 1, 2, 3, 4, 5, float64(i)}}, By: robot.ByPolicy, Version: 7}
		tick.State.EE = robot.Pose{P: [3]float64{0.1, 0.2, 0.3}, Q: [4]float64{1, 0, 0, 0}}
		tick.State.Wrench[2] = math.NaN()
		tick.Applied.Delta[0] = 0.01
		tick.Frames = []robot.Frame{{Camera: "front", Seq: uint64(i), Stamp: at, W: 32, H: 16, Pix: make([]byte, 3*32*16)}}
		if err := w.Tick(tick); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Rewards([]float64{-1, -0.5, math.NaN()}), w.Close()); err != nil {
		t.Fatal(err)
	}
	e := foxglove.Episode{}
	if e.Recording, e.Frames, err = record.ReadEncoded(path); err != nil {
		t.Fatal(err)
	}
	for i := range e.Ticks {
		e.Notes = append(e.Notes, foxglove.Note{Text: fmt.Sprint("step ", i), Expert: "demo-00001", Matched: 2 * i,
			Keys: []record.Keypoint{{Name: "front/0", Camera: "front", X: 3, Y: 4, Score: 0.5}, {Camera: "wrist", X: 1}, {Camera: "front", X: math.NaN()}}})
	}
	return e
}

type message struct {
	topic, schema, definition string
	at                        uint64
	body                      map[string]any
}

func read(t testing.TB, path string) (ms []message) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := mcap.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	it, err := r.Messages()
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, c, m, err := it.NextInto(nil)
		if err != nil {
			return ms
		}
		if c.MessageEncoding != "json" || s.Encoding != "jsonschema" {
			t.Fatalf("%s is %s by %s", c.Topic, c.MessageEncoding, s.Encoding)
		}
		one := message{topic: c.Topic, schema: s.Name, definition: string(s.Data), at: m.LogTime}
		if err := json.Unmarshal(m.Data, &one.body); err != nil {
			t.Fatalf("%s: %v", c.Topic, err)
		}
		ms = append(ms, one)
	}
}

// published are the fields of the schemas that Foxglove knows by name, as its
// documentation and its package @foxglove/schemas 2.1.0 list them; those with a question
// mark are optional.
var published = map[string]string{
	"foxglove.CompressedImage":  "timestamp frame_id data format",
	"foxglove.ImageAnnotations": "timestamp? circles points texts metadata?",
	"foxglove.JointStates":      "timestamp joints",
	"foxglove.PoseInFrame":      "timestamp frame_id pose",
	"time":                      "sec nsec",
	"joints":                    "name position? velocity? acceleration? effort?",
	"circles":                   "timestamp position diameter thickness fill_color outline_color metadata?",
	"points":                    "timestamp type points outline_color outline_colors fill_color thickness metadata?",
	"points.points":             "x y",
	"texts":                     "timestamp position text font_size text_color background_color metadata?",
	"pose":                      "position orientation",
	"orientation":               "x y z w",
	"fill_color":                "r g b a",
	"text_color":                "r g b a",
}

// fits reports fields of v that are not published, and published ones that lack.
func fits(v map[string]any, name string) error {
	want, ok := published[name]
	if !ok {
		return nil
	}
	have := map[string]bool{}
	for _, f := range strings.Fields(want) {
		key, optional := strings.CutSuffix(f, "?")
		have[key] = true
		if _, ok := v[key]; !ok && !optional {
			return fmt.Errorf("%s lacks %s", name, key)
		}
	}
	for k, x := range v {
		if !have[k] {
			return fmt.Errorf("%s has the field %s, which is not published", name, k)
		}
		kind := k
		if k == "timestamp" {
			kind = "time"
		} else if within := name + "." + k; published[within] != "" {
			kind = within
		}
		switch x := x.(type) {
		case map[string]any:
			if err := fits(x, kind); err != nil {
				return err
			}
		case []any:
			for _, y := range x {
				if m, ok := y.(map[string]any); ok {
					if err := fits(m, kind); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// shape is a message such as a JSON Schema describes, with one item in each array.
func shape(def map[string]any) any {
	if items, ok := def["items"].(map[string]any); ok {
		return []any{shape(items)}
	}
	fields, ok := def["properties"].(map[string]any)
	if !ok {
		return def["type"]
	}
	m := map[string]any{}
	for k, f := range fields {
		m[k] = shape(f.(map[string]any))
	}
	return m
}

func TestMessagesAreFoxgloves(t *testing.T) {
	e := sample(t)
	path := filepath.Join(t.TempDir(), "deep", "a.mcap")
	if err := foxglove.Write(path, e); err != nil {
		t.Fatal(err)
	}
	ms := read(t, path)
	count := map[string]int{}
	for _, m := range ms {
		count[m.topic+" "+m.schema]++
		if strings.HasPrefix(m.schema, "foxglove.") {
			if _, ok := published[m.schema]; !ok {
				t.Errorf("Foxglove has no schema %s", m.schema)
			}
			if err := fits(m.body, m.schema); err != nil {
				t.Error(err)
			}
		}
		// The schema describes each field of the message.
		var def map[string]any
		if err := json.Unmarshal([]byte(m.definition), &def); err != nil || def["title"] != m.schema {
			t.Fatalf("schema %s: %v: %s", m.schema, err, m.definition)
		}
		described := shape(def).(map[string]any)
		for k := range m.body {
			if _, ok := described[k]; !ok {
				t.Errorf("the schema %s lacks %s", m.schema, k)
			}
		}
		if err := fits(described, m.schema); err != nil {
			t.Errorf("as its schema describes it, %v", err)
		}
	}
	want := map[string]int{"/joint_states foxglove.JointStates": 4, "/tool foxglove.PoseInFrame": 4, "/wrench rapport.Wrench": 4, "/command rapport.Command": 3,
		"/reward rapport.Reward": 3, "/camera/front foxglove.CompressedImage": 4, "/camera/front/annotations foxglove.ImageAnnotations": 4}
	for k, n := range want {
		if count[k] != n {
			t.Errorf("%d of %s, want %d", count[k], k, n)
		}
	}
	if len(count) != len(want) {
		t.Errorf("topics %v", count)
	}
	// Rewards stand at the times of their steps.
	at := slices.IndexFunc(ms, func(m message) bool { return m.topic == "/reward" && m.body["step"] == 2.0 })
	if r := ms[at]; r.at != 100_100_000_000 || r.body["reward"] != -0.5 || r.body["return"] != -1.5 || r.body["matched"] != 4.0 || r.body["expert"] != "demo-00001" {
		t.Errorf("the second reward is %+v", r)
	}
	at = slices.IndexFunc(ms, func(m message) bool { return m.topic == "/camera/front/annotations" })
	circles := ms[at].body["circles"].([]any)
	p := circles[0].(map[string]any)["position"].(map[string]any)
	if len(circles) != 1 || p["x"] != 3.5 || p["y"] != 4.5 {
		t.Errorf("keypoints are drawn as %v, want one, half a pixel on", circles)
	}
	at = slices.IndexFunc(ms, func(m message) bool { return m.topic == "/camera/front" })
	b, err := base64.StdEncoding.DecodeString(ms[at].body["data"].(string))
	if err != nil || !bytes.Equal(b, e.Frames[0][0].Data) || ms[at].body["format"] != "jpeg" {
		t.Errorf("the image is not as it was recorded: %v", err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	e := sample(t)
	dir := t.TempDir()
	short := e
	short.Frames = short.Frames[:2]
	if err := foxglove.Write(filepath.Join(dir, "a.mcap"), short); err == nil || !strings.Contains(err.Error(), "4 ticks with the frames of 2") {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "b.mcap"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := foxglove.Write(filepath.Join(dir, "b.mcap"), e); err == nil || !strings.Contains(err.Error(), "b.mcap") {
		t.Errorf("a folder was replaced: %v", err)
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) != 1 {
		t.Errorf("left %v, %v", es, err)
	}
}
