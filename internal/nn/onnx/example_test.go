package onnx_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
)

// A network goes out as ONNX, comes back in, and can be trained.
func Example() {
	net := nn.NewConvNet("encoder", nn.ConvConfig{Channels: 3, H: 32, W: 32, Layers: nn.DrQLayers()}, rand.New(rand.NewPCG(1, 2)))
	b := onnx.NewBuilder("encoder")
	x := b.Input("image", "RGB, 0 to 1", 32, 32, 3)
	b.Output("features", "", b.ChannelsLast(b.ConvNet(b.ChannelsFirst(x), net)), net.Out[0], net.Out[1], net.Out[2])
	var file bytes.Buffer
	if err := b.Model().Write(&file); err != nil {
		fmt.Println(err)
		return
	}
	m, err := onnx.Load(&file, onnx.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range m.Inputs {
		fmt.Println("in", p.Name, p.Shape)
	}
	for _, p := range m.Outputs {
		fmt.Println("out", p.Name, p.Shape)
	}
	fmt.Println(nn.Count(m.Params()) == nn.Count(net.Params()))
	// Output:
	// in image [-1 32 32 3]
	// out features [-1 9 9 32]
	// true
}
