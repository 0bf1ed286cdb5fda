package cli

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/record"
)

// fromAbove writes what a camera 1 m above (0.5, 0), with a focal length of 600 pixels,
// sees of markers of 10 cm at the given places: a marker is 60 pixels wide.
func fromAbove(t *testing.T, path string, places map[int][2]float64) {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 640, 480))
	for i := range img.Pix {
		img.Pix[i] = 140
	}
	for id, xy := range places {
		m, err := vision.DrawMarker("4x4_50", id, 60)
		if err != nil {
			t.Fatal(err)
		}
		// Right in the image is -y of the base, down is -x; pixel edges are halves.
		x0, y0 := int(math.Round(320-600*xy[1]))-30, int(math.Round(240-600*(xy[0]-0.5)))-30
		for y := -12; y < 72; y++ {
			for x := -12; x < 72; x++ {
				v := byte(255)
				if x >= 0 && y >= 0 && x < 60 && y < 60 {
					v = m.Pix[3*(y*60+x)]
				}
				img.SetGray(x0+x, y0+y, color.Gray{Y: v})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// restless records sixty images of the camera wrist, of which none was taken at rest.
func restless(t *testing.T, path string) string {
	t.Helper()
	rec, err := record.Create(path, record.Info{ID: "ep"})
	if err != nil {
		t.Fatal(err)
	}
	f := robot.Frame{Camera: "wrist", W: 8, H: 8}
	for i := range 60 {
		f.Seq, f.Stamp, f.Pix = uint64(i), time.Unix(int64(i), 0), make([]byte, 3*8*8)
		s := robot.State{Stamp: f.Stamp, EE: robot.Pose{P: [3]float64{0.4, 0.01 * float64(i), 0.3}, Q: [4]float64{0, 1}}}
		if err := rec.Tick(record.Tick{State: s, Frames: []robot.Frame{f}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCalibrate(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	fromAbove(t, in("a.png"), map[int][2]float64{3: {0.6, 0.2}, 4: {0.6, -0.2}, 5: {0.4, 0.1}, 6: {0.4, -0.3}})
	truth := keypoint.Pinhole("front", 640, 480, 600./480, robot.Pose{P: [3]float64{0.5, 0, 1}, Q: franka.Matrix(&[16]float64{0, -1, 0, 0, -1, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1}).Q})
	lens := truth
	lens.Pose = robot.Pose{Q: [4]float64{1}}
	if err := keypoint.Save(in("lens.json"), []keypoint.Camera{lens}); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return in(name)
	}
	good := `camera: front
images: [a.png]
markers:
  - {id: 3, centre: [0.6, 0.2, 0], size: 0.1}
  - {id: 4, centre: [0.6, -0.2, 0], size: 0.1}
  - {id: 5, corners: [[0.45, 0.15, 0], [0.45, 0.05, 0], [0.35, 0.05, 0], [0.35, 0.15, 0]]}
`
	setup := write("setup.yaml", good)
	do := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := Main(append([]string{"calibrate"}, args...), nil, &out, &errs)
		return code, out.String() + errs.String()
	}
	code, text := do(setup, "--intrinsics", in("lens.json"), "-o", in("cameras.json"))
	if code != exitDone || !strings.Contains(text, "12 points in 1 images") {
		t.Fatalf("exit %d:\n%s", code, text)
	}
	cams, err := keypoint.Load(in("cameras.json"))
	if err != nil || len(cams) != 1 {
		t.Fatalf("%d cameras (%v)", len(cams), err)
	}
	d := franka.Diff(cams[0].Pose, truth.Pose)
	for i, v := range d {
		if math.Abs(v) > 0.005 { // half a pixel at 1 m is 0.8 mm
			t.Errorf("the pose is off by %v, axis %d", d, i)
		}
	}
	px, _ := truth.Project([3]float64{0.55, 0.1, 0})
	if at, err := cams[0].Lift(px, 0); err != nil || math.Hypot(at[0]-0.55, at[1]-0.1) > 0.002 {
		t.Errorf("a place of the table is lifted to %v (%v)", at, err)
	}
	// Again takes the place of what was there, and a folder serves as well.
	if code, text := do(setup, "--images", dir, "--intrinsics", in("lens.json"), "-o", in("cameras.json")); code != exitDone {
		t.Errorf("a folder of images: exit %d:\n%s", code, text)
	}
	if cams, err := keypoint.Load(in("cameras.json")); err != nil || len(cams) != 1 {
		t.Errorf("calibrated twice there are %d cameras (%v)", len(cams), err)
	}
	loud := t.TempDir() // a camera's own names
	fromAbove(t, filepath.Join(loud, "IMG_0001.PNG"), map[int][2]float64{3: {0.6, 0.2}, 4: {0.6, -0.2}, 5: {0.4, 0.1}})
	if code, text := do(setup, "--images", loud, "--intrinsics", in("lens.json"), "-o", in("cameras.json")); code != exitDone || !strings.Contains(text, "12 points in 1 images") {
		t.Errorf("a folder of .PNG: exit %d:\n%s", code, text)
	}
	// A recording has images, too.
	b, err := os.ReadFile(in("a.png"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := vision.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	f.Camera = "front"
	rec, err := record.Create(in("ep.mcap"), record.Info{ID: "ep"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		f.Seq, f.Stamp = uint64(i), time.Unix(int64(i), 0)
		if err := rec.Tick(record.Tick{State: robot.State{Stamp: f.Stamp}, Frames: []robot.Frame{f}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if code, text := do(setup, "--recording", in("ep.mcap"), "--intrinsics", in("lens.json"), "-o", in("cameras.json")); code != exitDone || !strings.Contains(text, "36 points in 3 images") {
		t.Errorf("a recording: exit %d:\n%s", code, text)
	}
	// So has a lab's, where the camera is alone and has its driver's name.
	w, err := bag.Create(in("lab.bag"), bag.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cam := &bag.Connection{Topic: "/camera/color/image_raw/compressed", Type: "sensor_msgs/CompressedImage", MD5: "8f7a12909da2c9d3332d540a0977563f", Encoding: bag.ROS1, Schema: "ros1msg",
		Definition: []byte(header + "string format\nuint8[] data\n" + headerDefinition)}
	for i := range 20 {
		var m wired
		m.header(time.Unix(int64(1000+5*i), 0))
		m.text("png")
		m.text(string(b))
		if err := w.Write(&bag.Message{Topic: cam.Topic, Type: cam.Type, Time: time.Unix(int64(1000+5*i), 0), Conn: cam, Data: m.b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lab := []string{setup, "--recording", in("lab.bag"), "--intrinsics", in("lens.json"), "-o", in("cameras.json")}
	if code, text := do(append(lab, "--map", "front="+cam.Topic)...); code != exitDone || !strings.Contains(text, "96 points in 8 images") {
		t.Errorf("a recording of a lab: exit %d:\n%s", code, text)
	}
	if code, text := do(lab...); code != exitFailed || !strings.Contains(text, "--map front=") {
		t.Errorf("a recording whose camera is called otherwise: exit %d:\n%s", code, text)
	}
	for _, tt := range []struct {
		name, from, to string
		args           []string
		want           string
	}{
		{"a marker elsewhere", "[0.6, 0.2, 0]", "[0.66, 0.2, 0]", nil, "measure the markers' places"},
		{"no such image", "a.png", "b.png", nil, "b.png"},
		{"no camera", "camera: front", "camera: ''", nil, "camera is missing"},
		{"a marker twice", "id: 4", "id: 3", nil, "id 3 is there twice"},
		{"unknown key", "images:", "image:", nil, "image"},
		{"no place", "centre: [0.6, 0.2, 0], ", "", nil, "markers[0]"},
		{"board as well", "markers:", "board: {columns: 6, rows: 5, square: 0.03, marker: 0.02}\nmarkers:", nil, "not both"},
		{"other dictionary", "camera:", "dictionary: 7x7_50\ncamera:", nil, "sees 0 of the 3 markers"},
		{"strict", "camera", "camera", []string{"--max-px", "0.0001"}, "--max-px"},
		{"no recording", "camera", "camera", []string{"--recording", "none.mcap"}, "none.mcap"},
		{"centimetres", "[0.6, 0.2, 0]", "[60, 20, 0]", nil, "markers[0]: centre [60 20 0]"},
		{"a side in centimetres", "size: 0.1}\n  - {id: 4", "size: 10}\n  - {id: 4", nil, "size 10; want metres"},
		{"corners in centimetres", "[0.45, 0.15, 0]", "[45, 15, 0]", nil, "markers[2]: corners[0] is [45 15 0]"},
		{"no number", "[0.6, 0.2, 0]", "[0.6, .nan, 0]", nil, "markers[0]: centre [0.6 NaN 0]"},
		{"an infinite side", "size: 0.1}\n  - {id: 4", "size: .inf}\n  - {id: 4", nil, "size +Inf"},
		{"an infinite turn", "size: 0.1}\n  - {id: 4", "size: 0.1, yaw: .inf}\n  - {id: 4", nil, "yaw is +Inf"},
		{"degrees", "size: 0.1}\n  - {id: 4", "size: 0.1, yaw: 90}\n  - {id: 4", nil, "want radians"},
		{"a folder without images", "camera", "camera", []string{"--images", t.TempDir()}, "want names that end in .png, .jpg or .jpeg"},
		{"topics of images", "camera", "camera", []string{"--map", "front=/a"}, "give one by --recording"},
		{"topics of an episode", "camera", "camera", []string{"--recording", in("ep.mcap"), "--map", "front=/a"}, "leave --map out"},
		{"both sources", "camera", "camera", []string{"--recording", "x", "--images", "y"}, "exclude each other"},
	} {
		bad := write("bad.yaml", strings.Replace(good, tt.from, tt.to, 1))
		code, text := do(append([]string{bad, "--intrinsics", in("lens.json"), "-o", in("bad.json")}, tt.args...)...)
		if code == exitDone || !strings.Contains(text, tt.want) {
			t.Errorf("%s: exit %d, want an error with %q:\n%s", tt.name, code, tt.want, text)
		}
		if _, err := os.Stat(in("bad.json")); err == nil {
			t.Fatalf("%s: cameras were written", tt.name)
		}
	}
	page := in("page.html")
	if code, text := do(setup, "--print", page); code != exitDone || !strings.Contains(text, page) {
		t.Errorf("printing: exit %d:\n%s", code, text)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.Contains(string(b), "4x4_50: 5, 100 mm") {
		t.Errorf("the page is %.100q (%v), want marker 5 of 100 mm", b, err)
	}
	board := write("board.yaml", "camera: wrist\non_hand: true\nboard: {columns: 6, rows: 5, square: 0.03, marker: 0.022}\n")
	if code, text := do(board, "--print", page); code != exitDone {
		t.Errorf("printing a board: exit %d:\n%s", code, text)
	}
	if code, text := do(board, "--images", dir, "-o", in("bad.json")); code != exitFailed || !strings.Contains(text, "--images: "+board+" has a board") {
		t.Errorf("images of a board: exit %d:\n%s", code, text)
	}
	if code, text := do(board, "-o", in("bad.json")); code != exitFailed || strings.Contains(text, "--images") || !strings.Contains(text, "--recording") {
		t.Errorf("a board without views: exit %d:\n%s", code, text)
	}
	if code, text := do(board, "--recording", restless(t, in("restless.mcap")), "-o", in("bad.json")); code != exitFailed || !strings.Contains(text, "in the 60 images of "+in("restless.mcap")+" the hand stood still at 0 places") {
		t.Errorf("a hand that never rests: exit %d:\n%s", code, text)
	}
	const viewed = "camera: wrist\non_hand: true\nboard: {columns: 6, rows: 5, square: 0.03, marker: 0.022}\nviews:\n  - {image: a.png, p: [0.4, 0, 0.3], q: [0, 1, 0, 0]}\n"
	for _, tt := range []struct{ from, to, want string }{
		{"p: [0.4, 0, 0.3]", "p: [40, 0, 30]", "views[0]: p is"},
		{"q: [0, 1, 0, 0]", "q: [0, 0, 0, 0]", "views[0]: q is"},
		{"square: 0.03", "square: 30", "board: squares of"},
		{"marker: 0.022", "marker: .nan", "board: squares of"},
	} {
		if code, text := do(write("bad.yaml", strings.Replace(viewed, tt.from, tt.to, 1)), "-o", in("bad.json")); code != exitFailed || !strings.Contains(text, tt.want) {
			t.Errorf("%s: exit %d, want an error with %q:\n%s", tt.to, code, tt.want, text)
		}
	}
	if code, text := do(setup, "--print", in("none/page.html")); code != exitFailed || !strings.Contains(text, "--print") {
		t.Errorf("printing to nowhere: exit %d:\n%s", code, text)
	}
	if code, _ := do(); code != exitUsage {
		t.Errorf("without a file: exit %d, want %d", code, exitUsage)
	}
}
