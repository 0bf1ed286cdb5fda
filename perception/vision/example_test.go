package vision_test

import (
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// A camera's image is judged, then cut and scaled to what an encoder sees.
func Example() {
	covered := robot.Frame{Camera: "wrist", W: 640, H: 480, Pix: make([]byte, 3*640*480)}
	gate := vision.Gate{Limits: vision.Indoor()}
	_, err := gate.Check(covered)
	var fault *vision.Fault
	if errors.As(err, &fault) {
		fmt.Println(fault.Camera, fault.Check, "-", fault.Remedy)
	}

	small, err := vision.Prepare{Crop: [4]int{80, 0, 480, 480}, W: 96, H: 96}.Apply(covered)
	fmt.Println(small.W, small.H, len(small.Pix), err)
	// Output:
	// wrist brightness - uncover the lens or add light
	// 96 96 27648 <nil>
}
