package view

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn/onnx"
)

// Export adds to b an input for each part of the view, in SI units, and what Row
// makes of them:
//
//	embedding (batch, Embed)       the encoder's features, as they are
//	place     (batch, len(Place))  chosen coordinates of the TCP, m, base frame
//	key.NAME  (batch, 3)           place of a tracked point, m, base frame
//	heading   (batch, 2)           cosine and sine of the TCP's turn about z
//	fingers   (batch, 1)           distance between the fingers, m
//	step      (batch, 1)           tick of the episode, from 0
//
// It returns the rows (batch, Dim()), and says of each input what it is. With times
// the inputs are those of so many ticks, (batch, times, ...) with the newest last,
// and the rows (batch*times, Dim()).
func (c Config) Export(b *onnx.Builder, times int, says func(input, doc string)) string {
	var parts []string
	input := func(name, doc string, n int) string {
		doc = Sized(times, doc, n)
		says(name, doc)
		if times > 0 {
			return b.Reshape(b.Input(name, doc, times, n), -1, n)
		}
		return b.Input(name, doc, n)
	}
	if c.Embed > 0 {
		parts = append(parts, input("embedding", "features of the encoder", c.Embed))
	}
	if k := len(c.Place); k > 0 {
		x := input("place", fmt.Sprintf("position of the TCP, m, base frame, axes %s", letters(c.Place)), k)
		origin := make([]float32, k)
		for i, axis := range c.Place {
			origin[i] = float32(c.Origin[axis])
		}
		d := b.Sub(x, b.Const("place.origin", origin, k))
		parts = append(parts, b.Op("Div", []string{d, b.Const("place.span", []float32{float32(c.Span)}, 1)}))
	}
	for _, name := range c.Keys {
		x := input("key."+name, fmt.Sprintf("place of the point %s, m, base frame, axes xyz", name), 3)
		origin := c.Origin
		d := b.Sub(x, b.Const("key."+name+".origin", []float32{float32(origin[0]), float32(origin[1]), float32(origin[2])}, 3))
		parts = append(parts, b.Op("Div", []string{d, b.Const("key."+name+".span", []float32{float32(c.Span)}, 1)}))
	}
	if c.Heading {
		parts = append(parts, input("heading", "cosine and sine of the TCP's turn about z", 2))
	}
	if c.Fingers {
		x := input("fingers", "distance between the fingers, m, 0 closed to 0.08 open", 1)
		parts = append(parts, b.Op("Div", []string{x, b.Const("fingers.opening", []float32{opening}, 1)}))
	}
	if c.Horizon > 0 {
		x := input("step", fmt.Sprintf("tick of the episode, 0 to %d", c.Horizon), 1)
		parts = append(parts, b.Op("Div", []string{x, b.Const("step.horizon", []float32{float32(c.Horizon)}, 1)}))
	}
	return b.Concat(1, parts...)
}

// Sized puts the shape of an input of Export before what it is.
func Sized(times int, doc string, n ...int) string {
	s := "(batch"
	if times > 0 {
		s += fmt.Sprintf(",%d", times)
	}
	for _, d := range n {
		s += fmt.Sprintf(",%d", d)
	}
	if times > 1 {
		doc += ", the newest last"
	}
	return s + ") " + doc
}

// letters names axes of the base frame.
func letters(axes []int) string {
	s := make([]byte, len(axes))
	for i, a := range axes {
		s[i] = "xyz"[a]
	}
	return string(s)
}

// CommandDoc is what the seven numbers of a command are that Matrix makes.
const CommandDoc = "dx,dy,dz, m, and rotation vector rx,ry,rz, rad, of a tick in the base frame; opening, 0 closed to 1 open"

// Matrix is Command of actions within [-1,1], as a matrix (7,Dim()) and what it is
// added to (7,): translation, m, and rotation vector, rad, both in the base frame;
// opening, 0 closed to 1 open.
func (a Action) Matrix() (scale, still []float32) {
	k := a.Dim()
	at := func(act []float32) [7]float64 {
		c := a.Command(act)
		return [7]float64{c.Delta[0], c.Delta[1], c.Delta[2], c.Delta[3], c.Delta[4], c.Delta[5], c.Grip}
	}
	act := make([]float32, k)
	rest := at(act)
	scale, still = make([]float32, 7*k), make([]float32, 7)
	for j, v := range rest {
		still[j] = float32(v)
	}
	for i := range act {
		act[i] = 1
		for j, v := range at(act) {
			scale[k*j+i] = float32(v - rest[j])
		}
		act[i] = 0
	}
	return scale, still
}
