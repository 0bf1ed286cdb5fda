package arm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

func TestWhatDoesNotHoldIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.Deaf = true })
	for _, tt := range []struct {
		name   string
		change func(*arm.Config)
		want   string
	}{
		{"a load that the arm does not take", func(c *arm.Config) { c.Load.Mass = 0.5 }, "0.5 kg"},
		{"a load that the arm refuses", func(c *arm.Config) { c.Load.Mass = 4.5 }, "refuses 4.5 kg"},
		{"a stiffness that the controller does not take", func(c *arm.Config) { c.Stiffness.Trans = 500 }, "translational_stiffness was set to 500, but is 2000"},
		{"another arm", func(c *arm.Config) { c.ArmID = "fr3" }, "no joint fr3_joint1, but panda_joint1"},
		{"a camera that is not there", func(c *arm.Config) {
			c.Wait = time.Second
			c.Cameras = append(c.Cameras, arm.Camera{Name: "side", Topic: "/side/color/image_raw"})
		}, "camera side (/side/color/image_raw) was never heard"},
		{"a world that nobody puts back", func(c *arm.Config) { c.Wait, c.Again = 2*time.Second, "/person/again" }, "put the world back by /person/again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			tt.change(&c)
			sub := &lab{t: t, uri: l.uri}
			b, err := arm.Open(t.Context(), sub.node("rapport"), c)
			if err == nil {
				_ = b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// Two who command one arm pull it to and fro.
func TestAnArmIsNotSharedWithAnother(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(nil)
	l.reset(b)
	other, err := arm.Open(t.Context(), l.node("second"), config())
	if err == nil {
		_ = other.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "this arm is commanded by /rapport") {
		t.Errorf("a second session: %v, want who commands the arm", err)
	}
	doctor := func() error {
		t.Helper()
		ls, err := arm.Survey(t.Context(), l.node("doctor"), config(), 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(ls, func(line arm.Line) bool { return line.What == "commands" })
		return ls[i].Err
	}
	if err := doctor(); err == nil || !strings.Contains(err.Error(), "commanded by /rapport") {
		t.Errorf("a survey beside a session: %v", err)
	}
	l.step(b, robot.Command{}) // the first goes on

	// One that comes in between is noticed before the next episode moves anything.
	late, err := ros.Advertise[std.PoseStamped](l.node("late"), arm.PoseTopic, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Reset(t.Context()); err == nil || !strings.Contains(err.Error(), "commanded by /late") {
		t.Errorf("a Reset beside another: %v", err)
	}
	if err := late.Close(); err != nil {
		t.Fatal(err)
	}
	l.reset(b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := doctor(); err != nil {
		t.Errorf("a survey after the session: %v", err)
	}
}

// One that hangs may go on to command the arm, and one that is gone with its machine looks
// the same: who it is and how to be rid of it is told, in no more than a moment.
func TestASilentCommanderIsNamed(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras = nil })
	if _, err := xmlrpc.Call(t.Context(), l.uri, "registerPublisher", "/left", arm.PoseTopic, "geometry_msgs/PoseStamped", "http://"+porttest.Silent(t)+"/"); err != nil {
		t.Fatal(err)
	}
	l.reset(b) // of one that came later a reset only warns
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := arm.Open(t.Context(), l.node("second"), config())
	if err == nil {
		_ = other.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "/left at http://") || !strings.Contains(err.Error(), "rosnode cleanup") {
		t.Errorf("beside one that does not answer: %v, want its name and the remedy", err)
	}
}

// slowly is a way to a master that takes its time to say who publishes what.
func slowly(t *testing.T, uri string, by time.Duration) string {
	t.Helper()
	to, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(body, []byte("getSystemState")) {
			time.Sleep(by)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(slow.Close)
	return slow.URL
}

// One that takes longer than it may leaves a survey what it heard.
func TestASlowMasterHidesNoTopic(t *testing.T) {
	t.Parallel()
	l := &lab{t: t, uri: slowly(t, bare(t).uri, 2500*time.Millisecond)}
	c := config()
	ls, err := arm.Survey(t.Context(), l.node("doctor"), c, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"arm state", "impedance controller", "gripper", "camera front"} {
		if !slices.ContainsFunc(ls, func(line arm.Line) bool { return line.What == what }) {
			t.Errorf("the survey has no line of the %s", what)
		}
	}
	i := slices.IndexFunc(ls, func(line arm.Line) bool { return line.What == "commands" })
	if i < 0 || ls[i].Err == nil || !strings.Contains(ls[i].Err.Error(), "who publishes the arm's state") {
		t.Errorf("the survey says %+v, want that nobody knows who publishes the arm's state", ls)
	}
}

// A master that takes its time leaves the nodes theirs: beside one that does not answer, one
// that is alive is named still.
func TestASlowMasterHidesNoCommander(t *testing.T) {
	t.Parallel()
	l := bare(t)
	slow := slowly(t, l.uri, 1200*time.Millisecond)
	rival := l.node("rival")
	p, err := ros.Advertise[std.PoseStamped](rival, arm.PoseTopic, false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := xmlrpc.Call(t.Context(), l.uri, "registerPublisher", "/left", arm.PoseTopic, "geometry_msgs/PoseStamped", "http://"+porttest.Silent(t)+"/"); err != nil {
		t.Fatal(err)
	}
	b, err := arm.Open(t.Context(), (&lab{t: t, uri: slow}).node("rapport"), config())
	if err == nil {
		_ = b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "commanded by "+rival.Name()+" at ") || !strings.Contains(err.Error(), "/left at ") {
		t.Errorf("error %v, want both who command the arm", err)
	}
}

// Ctrl-C while nothing is heard yet is no sensor's fault.
func TestAnInterruptWhileOpenWaitsIsToldAsSuch(t *testing.T) {
	t.Parallel()
	l := bare(t)
	n := l.node("rapport")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	b, err := arm.Open(ctx, n, config())
	if err == nil {
		_ = b.Close()
	}
	if !errors.Is(err, context.Canceled) || errors.Is(err, robot.ErrStale) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
}

func TestSlowStatesAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.States = 15 })
	b, err := arm.Open(t.Context(), l.node("rapport"), config())
	if err == nil {
		_ = b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "publish_rate") {
		t.Errorf("error %v, want the remedy", err)
	}
}

func TestImagesThatCannotBeUsedAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	defer l.newCamera("/good/image_raw", nil)()
	for _, tt := range []struct {
		name   string
		change func(*std.Image)
		stale  bool
		want   string
	}{
		{"from the future", func(m *std.Image) { m.Header.Stamp = m.Header.Stamp.Add(time.Minute) }, false, "the clock of camera side is "},
		{"far from the other's", func(m *std.Image) { m.Header.Stamp = m.Header.Stamp.Add(-1500 * time.Millisecond) }, true, "camera side is behind"},
		{"of a pattern of colours", func(m *std.Image) { m.Encoding = "bayer_rggb8" }, false, `camera side (/side/image_raw): encoding "bayer_rggb8" is unknown`},
		{"with too few bytes", func(m *std.Image) { m.Height = 9 }, false, "4 bytes for 2x9 pixels of mono8; want 18: the image is cut off"},
		{"that never change", func(m *std.Image) { m.Data[0] = 7 }, true, "camera side is frozen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sub := &lab{t: t, uri: l.uri, sim: l.sim}
			stop := sub.newCamera("/side/image_raw", tt.change)
			defer stop()
			b := sub.open(func(c *arm.Config) {
				c.Cameras = []arm.Camera{{Name: "good", Topic: "/good/image_raw"}, {Name: "side", Topic: "/side/image_raw"}}
				c.Skew, c.Frozen, c.Wait = 200*time.Millisecond, 500*time.Millisecond, 2*time.Second
			})
			_, err := b.Reset(t.Context())
			for i := 0; err == nil && i < 100; i++ {
				_, err = b.Step(t.Context(), robot.Command{})
			}
			if err == nil || errors.Is(err, robot.ErrStale) != tt.stale || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it (stale: %v)", err, tt.want, tt.stale)
			}
		})
	}
}

func TestASurveyTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.States = 15 })
	stop := l.newCamera("/side/image_raw", nil)
	defer stop()
	defer l.newCamera("/bare/image_raw", func(m *std.Image) { m.Header.Stamp = time.Unix(0, 0) })()
	c := config()
	c.Again = "/person/again"
	c.Cameras[0].W, c.Cameras[0].H = 16, 16
	c.Cameras[0].Topic = strings.TrimPrefix(c.Cameras[0].Topic, "/") // which a session takes, too
	c.Cameras = append(c.Cameras,
		arm.Camera{Name: "bare", Topic: "/bare/image_raw"},
		arm.Camera{Name: "side", Topic: "/side/image_raw", Compressed: true},
		arm.Camera{Name: "top", Topic: "/top/image_raw"})
	ls, err := arm.Survey(t.Context(), l.node("doctor"), c, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"arm state": "raise publish_rate", "camera side": "is a sensor_msgs/Image, not a sensor_msgs/CompressedImage",
		"camera top": "nobody publishes /top/image_raw", "camera bare": "has no stamps", "put back": "/person/again; start what serves it",
	}
	for _, line := range ls {
		w, bad := want[line.What]
		delete(want, line.What)
		if size := "32x24 pixels brought to 16x16, another shape, so that things look narrower"; line.What == "camera front" && !strings.Contains(line.Detail, size) {
			t.Errorf("of the front camera it says %q, want %s", line.Detail, size)
		}
		if bad != (line.Err != nil) || bad && !strings.Contains(line.Err.Error(), w) {
			t.Errorf("%s: %s, %v; want %q", line.What, line.Detail, line.Err, w)
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v", want)
	}
	// Which thresholds hold, no message tells, and so it does not seem as if they were
	// looked at.
	if last := ls[len(ls)-1]; last.What != "collision thresholds" || !strings.Contains(last.Detail, "cannot be read back") || !strings.Contains(last.Detail, "20 Nm and 20 N") {
		t.Errorf("of the collision thresholds it says %+v", last)
	}
}

func TestARefusedResetIsAnError(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	n := l.node("person")
	s, err := ros.Serve(n, "/person/again", func(*std.TriggerReq) (*std.TriggerRes, error) {
		return &std.TriggerRes{Message: "the box fell off the table"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := l.open(func(c *arm.Config) { c.Cameras, c.Again = nil, "/person/again" })
	if _, err := b.Reset(t.Context()); err == nil || !strings.Contains(err.Error(), "fell off the table") {
		t.Errorf("error %v, want the service's", err)
	}
	if _, err := b.Step(t.Context(), robot.Command{}); err == nil {
		t.Error("a step after a failed reset was taken")
	}
}

func ExampleConfig() {
	c := arm.Default()
	c.Rate = 100
	fmt.Println(c.Validate())
	// Output: arm: rate is 100, want 10 to 50
}
