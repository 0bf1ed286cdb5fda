package wire

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot/bag"
)

// A session's node takes a topic without its leading slash, which no recording has.
func TestATopicWithoutItsSlashIsFoundInARecording(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.mcap")
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &bag.Connection{Topic: "/front/color/image_raw", Type: "sensor_msgs/Image", Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte("uint8[] data\n")}
	if err := w.Write(&bag.Message{Conn: c, Time: time.Unix(1, 0), Data: make([]byte, 4)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for said, want := range map[string]string{
		"front/color/image_raw": "/front/color/image_raw", "/front/color/image_raw": "/front/color/image_raw", "side/image_raw": "side/image_raw",
	} {
		c := config.Default()
		c.Robot.Kind = "ros"
		c.Robot.Cameras = []config.Camera{{Name: "front"}}
		c.Robot.ROS.Cameras = []config.ROSCamera{{Name: "front", Topic: said}}
		m, err := bagTopics(c, path)
		if err != nil || len(m.Cameras) != 1 || m.Cameras[0].Topic != want {
			t.Errorf("%s: got %v, %v; want %s", said, m.Cameras, err, want)
		}
	}
}

// Who names one camera's topic leaves the other to be guessed, unless named ones are all that
// there are to be; a topic is never two cameras'.
func TestANamedCameraLeavesTheOthersGuessed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arm.mcap")
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"/front/color/image_raw", "/wrist/color/image_raw"} {
		c := &bag.Connection{Topic: topic, Type: "sensor_msgs/Image", Encoding: bag.ROS1, Schema: "ros1msg", Definition: []byte("uint8[] data\n")}
		if err := w.Write(&bag.Message{Conn: c, Time: time.Unix(1, 0), Data: make([]byte, 4)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	front, wrist := bag.Camera{Name: "front", Topic: "/front/color/image_raw"}, bag.Camera{Name: "wrist", Topic: "/wrist/color/image_raw"}
	for _, tt := range []struct {
		said  map[string]string
		alone bool
		want  []bag.Camera
	}{
		{nil, false, []bag.Camera{front, wrist}},
		{map[string]string{"front": front.Topic}, false, []bag.Camera{front, wrist}},
		{map[string]string{"side": front.Topic}, false, []bag.Camera{{Name: "side", Topic: front.Topic}, wrist}},
		{map[string]string{"front": front.Topic}, true, []bag.Camera{front}},
		{map[string]string{"target": "/goal"}, true, []bag.Camera{front, wrist}},
		{map[string]string{"wrist": "", "target": ""}, true, []bag.Camera{front}},
		{map[string]string{"wrist": "", "side": front.Topic}, false, []bag.Camera{{Name: "side", Topic: front.Topic}}},
	} {
		m, _, err := bagMapping(path, tt.said, tt.alone)
		if d := cmp.Diff(tt.want, m.Cameras); err != nil || d != "" {
			t.Errorf("%v, alone %v: error %v\n%s", tt.said, tt.alone, err, d)
		}
	}
}
