package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/sim/mujoco"
)

// Finding is what an examination of this machine found out.
type Finding struct {
	What   string
	Detail string
	Err    error // names the remedy; nil: all is well
}

// Examine tries what a session of configuration c will need on this machine:
// each part is used once, not merely looked for. An error is a finding's.
func Examine(ctx context.Context, c config.Config, o Options) []Finding {
	var fs []Finding
	try := func(what string, f func() (string, error)) {
		detail, err := f()
		fs = append(fs, Finding{what, detail, err})
	}
	try("processor", func() (string, error) {
		return fmt.Sprintf("%s, %d used at once", runtime.GOARCH, runtime.GOMAXPROCS(0)), nil
	})
	try("learning on", func() (string, error) { return tryLearning(c.Learner) })
	try("physics", func() (string, error) { return "MuJoCo " + mujoco.Version(), nil })
	if real(c) {
		fs = append(fs, examineROS(ctx, c, o)...)
	}
	if onROS(c) {
		try("teleop", func() (string, error) { return tryJoy(ctx, c, o) })
	}
	if keyed(c) {
		try("waypoints", func() (string, error) {
			return tryWaypoints(c, o)
		})
	}
	fs = append(fs, examineSession(ctx, c, o)...)
	if logged(c) {
		try("recordings", func() (string, error) { return tryRecordings(ctx, c) })
	} else {
		try("arm and cameras", func() (string, error) { return tryArm(ctx, c) })
	}
	try("vision", func() (string, error) { return "OpenCV " + vision.Version(), nil })
	if c.Encoder.Kind == "onnx" {
		try("encoder", func() (string, error) {
			x, err := openONNX(c)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%s, embeddings of %d numbers", c.Encoder.ONNX, x.Dim()), nil
		})
	}
	try("bus", func() (string, error) { return tryBus(ctx, c, o) })
	try("disk", func() (string, error) { return tryDisk(c.Out) })
	return fs
}

// tryArm resets the configured backend behind its guard, frames included.
func tryArm(ctx context.Context, c config.Config) (detail string, err error) {
	if real(c) {
		return tryROS(ctx, c)
	}
	a, err := newArm(c, evaluation)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	obs, err := a.guard.Reset(ctx)
	if err != nil {
		return "", err
	}
	detail = fmt.Sprintf("%s, task %s, drawn by %s:", c.Robot.Kind, c.Robot.Task, c.Robot.Render)
	for _, f := range obs.Frames {
		detail += fmt.Sprintf(" %s %dx%d", f.Camera, f.W, f.H)
	}
	seen, err := a.survey(c)
	return detail + seen, err
}

func tryBus(ctx context.Context, c config.Config, o Options) (string, error) {
	dir, err := os.MkdirTemp("", "rapport-doctor-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	conn, hang, err := connect(ctx, c, dir, o)
	if err != nil {
		return "", err
	}
	defer hang()
	// Asks JetStream, which a plain NATS server lacks.
	if _, err := conn.LatestParams(ctx, "doctor"); err != nil && !errors.Is(err, bus.ErrNone) {
		return "", err
	}
	if c.Bus.URL != "" {
		return "NATS server at " + c.Bus.URL, nil
	}
	return "NATS server inside this process", nil
}

// scarce is the free space below which a session is likely to fill the disk: an
// episode of two cameras takes about a megabyte, and a session some hundreds.
const scarce = 2 << 30

func tryDisk(out string) (string, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", fmt.Errorf("wire: sessions cannot be kept: %w; name another folder with --set out=FOLDER", err)
	}
	f, err := os.CreateTemp(out, ".doctor-")
	if err != nil {
		return "", fmt.Errorf("wire: sessions cannot be kept: %w; name another folder with --set out=FOLDER", err)
	}
	err = errors.Join(f.Close(), os.Remove(f.Name()))
	if err != nil {
		return "", err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(out, &st); err != nil {
		return "", fmt.Errorf("wire: %s: %w", out, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	detail := fmt.Sprintf("%s, %.0f GiB free", out, float64(free)/(1<<30))
	if free < scarce {
		return detail, fmt.Errorf("wire: %s has %d MiB left; a session wants 2 GiB: make room, or name another folder with --set out=FOLDER", out, free>>20)
	}
	return detail, nil
}
