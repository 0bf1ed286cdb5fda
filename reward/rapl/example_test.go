package rapl_test

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// turn is a clip that turns by an angle, in five frames after the reset.
func turn(angle float64) []perception.Features {
	fs := make([]perception.Features, 6)
	for t := range fs {
		s, c := math.Sincos(angle * float64(t) / 5)
		fs[t].Embed = []float32{float32(c), float32(s)}
	}
	return fs
}

func ExampleScorer() {
	preferred, err := rapl.VideoOf("half turn", turn(math.Pi)[1:])
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := rapl.New([]rapl.Video{preferred}, rapl.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, angle := range []float64{math.Pi, math.Pi / 2} {
		e, err := s.Explain(context.Background(), turn(angle))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.2f matched to %v\n", e.Rewards, e.Match)
	}
	// Output:
	// [-0.00 -0.00 -0.00 -0.00 -0.00] matched to [0 1 2 3 4]
	// [-0.07 -0.24 -0.50 -0.76 -0.79] matched to [0 1 2 3 4]
}
