package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/record"
)

// recordedAlbum is a camera's images in a recording, with the tool's poses for a board.
func recordedAlbum(ctx context.Context, cc CalibrateConfig, c *config.Calibration) (album, error) {
	if rec, err := record.Read(cc.Recording); err == nil || errors.Is(err, record.ErrTruncated) && len(rec.Ticks) > 0 {
		if len(cc.Map) > 0 {
			return album{}, fmt.Errorf("wire: calibrate: %s is an episode of a session, whose cameras have their names; leave --map out", cc.Recording)
		}
		views, err := ownViews(rec, cc.Recording, c.Camera)
		return inMemory(views), err
	}
	in, err := bag.Open(cc.Recording, bag.Options{})
	if err != nil {
		return album{}, fmt.Errorf("wire: calibrate: %w", err)
	}
	info := in.Info()
	if err := in.Close(); err != nil {
		return album{}, err
	}
	all, _, err := bagMapping(cc.Recording, cc.Map, false)
	if err != nil {
		return album{}, fmt.Errorf("wire: calibrate: %w", err)
	}
	refuse := func(what, remedy string) (album, error) {
		return album{}, fmt.Errorf("wire: calibrate: %s: %s; %s; it has %s", cc.Recording, what, remedy, topicNames(info))
	}
	i := slices.IndexFunc(all.Cameras, func(k bag.Camera) bool { return k.Name == c.Camera })
	if i < 0 {
		return refuse(fmt.Sprintf("no topic is taken for camera %q", c.Camera), fmt.Sprintf("name it, as --map %s=/camera/color/image_raw", c.Camera))
	}
	cam := all.Cameras[i]
	if !slices.ContainsFunc(info.Topics, func(t bag.Topic) bool { return t.Name == cam.Topic }) {
		return refuse(fmt.Sprintf("there is no topic %s of camera %q", cam.Topic, cam.Name), fmt.Sprintf("name another, as --map %s=/camera/color/image_raw", cam.Name))
	}
	if len(c.Markers) > 0 {
		return markerAlbum(ctx, cc.Recording, cam)
	}
	if all.States == "" && all.Joints == "" {
		return refuse("no topic of the arm's state is known, without which nobody knows where the hand was", "name one, as --map states=TOPIC or --map joints=TOPIC")
	}
	// What tells nothing of where the hand was is not waited for.
	return boardAlbum(ctx, cc.Recording, bag.Mapping{Cameras: []bag.Camera{cam}, States: all.States, Joints: all.Joints, Pose: all.Pose, Handless: true})
}

// ownViews are a camera's images in an episode of a session.
func ownViews(rec record.Recording, path, camera string) (views []keypoint.View, err error) {
	for _, t := range rec.Ticks {
		i := slices.IndexFunc(t.Frames, func(f robot.Frame) bool { return f.Camera == camera })
		if i < 0 {
			var names []string
			for _, f := range t.Frames {
				names = append(names, f.Camera)
			}
			return nil, fmt.Errorf("wire: calibrate: %s has no camera %q; it has %q", path, camera, names)
		}
		// A frame is told again until the next.
		if n, f := len(views), t.Frames[i]; n == 0 || &views[n-1].Frame.Pix[0] != &f.Pix[0] {
			views = append(views, keypoint.View{Frame: f, Tool: t.State.EE})
		}
	}
	return views, nil
}

// markerAlbum is all images of a camera in a bag. It is read twice, since minutes of decoded
// images fill a machine's memory.
func markerAlbum(ctx context.Context, path string, cam bag.Camera) (al album, err error) {
	each := func(f func(n int, m *bag.Message) error) (err error) {
		in, err := bag.Open(path, bag.Options{Topics: []string{cam.Topic}})
		if err != nil {
			return fmt.Errorf("wire: calibrate: %w", err)
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		var m bag.Message
		for n := 0; ; n++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := in.Next(&m); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("wire: calibrate: %w", err)
			}
			if err := f(n, &m); err != nil {
				return fmt.Errorf("wire: calibrate: %s: %w", path, err)
			}
		}
	}
	if err := each(func(int, *bag.Message) error { al.tools = append(al.tools, robot.Pose{}); return nil }); err != nil {
		return al, err
	}
	al.read = func(of []int) (views []keypoint.View, err error) {
		err = each(func(n int, m *bag.Message) error {
			if len(of) == len(views) || of[len(views)] != n {
				return nil
			}
			d, err := m.Conn.Decoder()
			if err != nil {
				return err
			}
			f := robot.Frame{Camera: cam.Name, Seq: uint64(n)}
			if err := d.Image(m.Data, &f); err != nil {
				return fmt.Errorf("%s at %v: %w", cam.Topic, m.Time, err)
			}
			views = append(views, keypoint.View{Frame: f})
			return nil
		})
		return views, err
	}
	return al, nil
}

// boardAlbum is the images of a bag's camera as an arm would have seen them, at control ticks,
// read twice as those of markers.
func boardAlbum(ctx context.Context, path string, m bag.Mapping) (al album, err error) {
	var numbers []uint64 // of the images
	each := func(wanted func(seq uint64) bool, f func(robot.Observation)) (err error) {
		b, err := bag.NewBackend(path, bag.BackendConfig{Map: m, Decode: func(_ string, seq uint64) bool { return wanted(seq) }})
		if err != nil {
			return fmt.Errorf("wire: calibrate: %w", err)
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		obs, err := b.Reset(ctx)
		for first, last := true, uint64(0); ; obs, err = b.Step(ctx, robot.Command{}) {
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case errors.Is(err, robot.ErrStale):
				continue // a gap, which the recording goes on after
			case err != nil:
				return fmt.Errorf("wire: calibrate: %w", err)
			}
			// A frame is told again until the next.
			if seq := obs.Frames[0].Seq; first || last != seq {
				first, last = false, seq
				f(obs)
			}
		}
	}
	none := func(uint64) bool { return false }
	if err := each(none, func(o robot.Observation) {
		al.tools, numbers = append(al.tools, o.State.EE), append(numbers, o.Frames[0].Seq)
	}); err != nil {
		return al, err
	}
	al.read = func(of []int) (views []keypoint.View, err error) {
		picked := map[uint64]bool{}
		for _, i := range of {
			picked[numbers[i]] = true
		}
		err = each(func(seq uint64) bool { return picked[seq] }, func(o robot.Observation) {
			if picked[o.Frames[0].Seq] {
				views = append(views, keypoint.View{Frame: o.Frames[0], Tool: o.State.EE})
			}
		})
		return views, err
	}
	return al, nil
}
