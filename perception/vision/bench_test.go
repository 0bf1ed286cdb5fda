package vision

import (
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

var square = Prepare{Crop: [4]int{80, 0, 480, 480}, W: 96, H: 96}

// One camera image from the wire to the encoder, judged on the way.
func BenchmarkDecodeJudgePrepare(b *testing.B) {
	jpeg, err := EncodeJPEG(scene(640, 480), 90)
	if err != nil {
		b.Fatal(err)
	}
	g := Gate{Limits: Indoor()}
	b.ReportAllocs()
	for b.Loop() {
		f, err := Decode(jpeg)
		if err != nil {
			b.Fatal(err)
		}
		g.Check(f)
		if _, err := square.Apply(f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

func BenchmarkPrepareTwoCameras(b *testing.B) {
	fs := []robot.Frame{scene(640, 480), scene(640, 480)}
	b.ReportAllocs()
	for b.Loop() {
		for _, f := range fs {
			if _, err := square.Apply(f); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkQuality(b *testing.B) {
	f := scene(640, 480)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Quality(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNetForwardTwoCameras(b *testing.B) {
	n, err := LoadNet("testdata/tiny.onnx", imagenet(32))
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	fs := []robot.Frame{picture(32), picture(32)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Forward(b.Context(), fs); err != nil {
			b.Fatal(err)
		}
	}
}
