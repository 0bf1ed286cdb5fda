// Package vision handles pixels: it decodes, crops, resizes, augments, judges
// and draws camera frames, and runs ONNX networks over them.
//
// It is the only importer of OpenCV (through gocv, and through a small shim of
// its own for the network module, whose C++ exceptions would otherwise end the
// process). Nothing of OpenCV leaves the package: what goes in and out is
// robot.Frame, which is BGR8, row-major (H,W,3). Frames that come out own fresh
// memory, frames that go in are only read, and every function may be called by
// several goroutines.
//
//	f, err := vision.Decode(jpeg)
//	f, err = vision.Prepare{Crop: [4]int{80, 0, 480, 480}, W: 96, H: 96}.Apply(f)
//	_, err = gate.Check(f)
package vision
