package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/perception/keypoint"
)

func (a *app) calibrateCmd() *cobra.Command {
	var cc wire.CalibrateConfig
	var out, sheet string
	var topics []string
	var pixels, mm float64
	cmd := &cobra.Command{
		Use:   "calibrate SETUP.yaml",
		Short: "Find where a camera is by ArUco markers or a ChArUco board",
		Long: `Calibrate a camera against the arm's base and add it to a file of cameras, in
place of what that had by the camera's name. SETUP.yaml says what the images show;
either markers at known places, for a camera that stands still:

  camera: front
  dictionary: 4x4_50
  images: [a.jpg, b.jpg]
  markers:
    - {id: 3, centre: [0.42, 0.14, 0], size: 0.07, yaw: 0}     # flat, its top away from the arm
    - {id: 4, corners: [[…], […], […], […]]}                   # clockwise from its top left

or a board, held by the hand before a camera that stands still, or on the table before
a camera on the hand (on_hand: true), with the pose of the tool at each image:

  camera: wrist
  on_hand: true
  board: {columns: 6, rows: 5, square: 0.03, marker: 0.022}
  views:
    - {image: 1.png, p: [0.45, 0.02, 0.4], q: [0, 1, 0, 0]}

--recording takes images, and for a board the poses, from a recording instead (rapport record);
before a board the hand should stand still at each pose for half a second. Where the recording
calls the camera otherwise, --map names its topic: --map front=/camera/color/image_raw.

--print writes the markers or the board of SETUP.yaml to a page instead, at their size, and
calibrates nothing. Markers that stay on the table tell sessions whether the camera was
moved: name SETUP.yaml in robot.markers.`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usageError{errors.New("name the file that says what the images show; see: rapport help calibrate")}
			case cc.Images != "" && cc.Recording != "":
				return usageError{errors.New("--images and --recording exclude each other")}
			case !(pixels > 0) || !(mm > 0):
				return usageError{fmt.Errorf("--max-px is %g and --max-mm %g; want numbers above 0", pixels, mm)}
			}
			var err error
			if cc.Map, err = topicMap(topics, true); err != nil {
				return usageError{err}
			}
			if len(cc.Map) > 0 && cc.Recording == "" {
				return usageError{errors.New("--map names topics of a recording; give one by --recording")}
			}
			cc.Setup = args[0]
			if sheet != "" {
				page, err := wire.PrintSheet(cc.Setup)
				if err != nil {
					return err
				}
				if err := os.WriteFile(sheet, page, 0o644); err != nil {
					return fmt.Errorf("--print: %w", err)
				}
				_, err = fmt.Fprintf(a.stdout, "written to %s; print it at 100 %%, and measure the line on it\n", sheet)
				return err
			}
			c, err := wire.Calibrate(cmd.Context(), cc)
			if err != nil {
				return err
			}
			k := c.Camera
			fmt.Fprintf(a.stdout, "camera %s: %d points in %d images, off by %.2f px, %.2f mm (root mean square)\n", k.Name, c.Points, c.Views, c.Pixels, 1000*c.Metres)
			frame := "base"
			if k.OnHand {
				frame = "tool's"
			}
			fmt.Fprintf(a.stdout, "focal length %.1f, %.1f px, centre %.1f, %.1f px; at (%.4f, %.4f, %.4f) m in the %s frame\n", k.FX, k.FY, k.CX, k.CY, k.Pose.P[0], k.Pose.P[1], k.Pose.P[2], frame)
			if err := c.Check(keypoint.Accuracy{Pixels: pixels, Metres: mm / 1000}); err != nil {
				return fmt.Errorf("%w; or accept it by --max-px and --max-mm", err)
			}
			var cams []keypoint.Camera
			if _, err := os.Stat(out); err == nil {
				if cams, err = keypoint.Load(out); err != nil {
					return err
				}
			}
			cams = slices.DeleteFunc(cams, func(o keypoint.Camera) bool { return o.Name == k.Name })
			if err := keypoint.Save(out, append(cams, k)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "written to %s\n", out)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "cameras.json", "file of cameras to write, or to add to")
	f.StringVar(&sheet, "print", "", "write the markers or the board to this HTML page, to be printed, and end")
	f.StringVar(&cc.Images, "images", "", "folder of images of the markers, PNG or JPEG")
	f.StringVar(&cc.Recording, "recording", "", "recording with the camera and, for a board, the arm's states")
	f.StringArrayVar(&topics, "map", nil, "the camera of the recording, or states, joints, pose, and its topic, as front=/camera/color/image_raw; may be repeated")
	f.StringVar(&cc.Known, "intrinsics", "", "file of cameras that has this camera's intrinsics; else they are found")
	f.Float64Var(&pixels, "max-px", 1, "refuse an error above so many pixels")
	f.Float64Var(&mm, "max-mm", 5, "refuse an error above so many millimetres")
	return cmd
}
