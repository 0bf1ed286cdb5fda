package wire

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot/bag"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
	arms "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// beforeABoard records for twenty seconds, ten ticks at each place 2 cm from the last, with a
// silence of two seconds in the middle, and another camera that soon is silent. Without states
// it records the camera alone.
func beforeABoard(t *testing.T, states bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lab.bag")
	w, err := bag.Create(path, bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bagger{t, w}
	arm, color, beside := &bag.Connection{Topic: rosarm.StateTopic}, &bag.Connection{ID: 1, Topic: "/camera/color/image_raw"}, &bag.Connection{ID: 2, Topic: "/wrist/image_raw"}
	for i := range 400 {
		at := time.Unix(1000, 0).UTC().Add(time.Duration(i) * 50 * time.Millisecond)
		if i >= 200 {
			at = at.Add(2 * time.Second)
		}
		if states {
			s := arms.FrankaState{RobotMode: arms.Move}
			for k := range 4 {
				s.OTEE[5*k] = 1
			}
			s.OTEE[12] = 0.02 * float64(i/10)
			s.Header.Stamp = at
			say(b, arm, at, &s)
		}
		m := std.Image{Width: 2, Height: 1, Encoding: "bgr8", Step: 6, Data: []byte{byte(i), byte(i >> 8), 0, 0, 0, 0}}
		m.Header.Stamp = at
		say(b, color, at, &m)
		if i == 0 {
			say(b, beside, at, &m)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A lab's recording calls the camera by its driver, has gaps, may hold the camera alone, and is
// too long to be decoded as a whole.
func TestACameraIsCalibratedFromALabsRecording(t *testing.T) {
	whole, alone := beforeABoard(t, true), beforeABoard(t, false)
	board := config.Calibration{Camera: "front"}
	markers := config.Calibration{Camera: "front", Markers: []config.PlacedMarker{{ID: 3}}}
	front := map[string]string{"front": "/camera/color/image_raw"}

	al, err := recordedAlbum(t.Context(), CalibrateConfig{Recording: alone, Map: front}, &markers)
	if err != nil || len(al.tools) != 400 {
		t.Fatalf("of the camera alone: %d images, %v; want 400", len(al.tools), err)
	}
	views, err := al.read(spaced(len(al.tools), 8))
	if err != nil || len(views) != 8 {
		t.Fatalf("%d views, %v", len(views), err)
	}
	for k, v := range views {
		if got, want := int(v.Frame.Pix[0])+int(v.Frame.Pix[1])<<8, k*399/7; got != want || v.Frame.Camera != "front" {
			t.Errorf("view %d is image %d of %s, want %d of front", k, got, v.Frame.Camera, want)
		}
	}

	al, err = recordedAlbum(t.Context(), CalibrateConfig{Recording: whole, Map: front}, &board)
	if err != nil || len(al.tools) < 395 {
		t.Fatalf("before a board: %d images, %v; want those on both sides of the gap", len(al.tools), err)
	}
	views, err = al.read(still(al.tools, 40))
	if err != nil || len(views) < 38 || len(views) > 40 {
		t.Fatalf("%d views, %v; want one of each of 40 places", len(views), err)
	}
	for k, v := range views {
		n := int(v.Frame.Pix[0]) + int(v.Frame.Pix[1])<<8
		if want := 0.02 * float64(n/10); v.Tool.P[0] < want-1e-9 || v.Tool.P[0] > want+1e-9 {
			t.Errorf("view %d is image %d with the tool at %g, want %g", k, n, v.Tool.P[0], want)
		}
	}

	for name, tt := range map[string]struct {
		in   string
		of   map[string]string
		c    config.Calibration
		want []string
	}{
		"the camera's own name": {alone, nil, markers, []string{`no topic is taken for camera "front"`, "--map front=/camera/color/image_raw", "/wrist/image_raw"}},
		"no such topic":         {alone, map[string]string{"front": "/front/image_raw"}, markers, []string{"there is no topic /front/image_raw", "--map front="}},
		"a board and no arm":    {alone, front, board, []string{"no topic of the arm's state", "--map states=TOPIC"}},
	} {
		_, err := recordedAlbum(t.Context(), CalibrateConfig{Recording: tt.in, Map: tt.of}, &tt.c)
		t.Log(name)
		wantErr(t, err, tt.want...)
	}
}
