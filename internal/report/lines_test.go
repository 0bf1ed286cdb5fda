package report

import (
	"bytes"
	"image/color"
	"image/png"
	"io"
	"math"
	"testing"
)

func TestLinesAreDrawnInTheirColours(t *testing.T) {
	var b bytes.Buffer
	err := Lines(&b, LinesPlot{Title: "Correlation", X: "labels", Y: "Spearman", Lines: []Line{
		{Name: "RAPL", X: []float64{10, 150}, Y: []float64{0.1, 0.6}, Half: []float64{0.1, math.Inf(1)}},
		{Name: "features", X: []float64{10, 150}, Y: []float64{0.2, 0.2}, Flat: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.RGBA]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			count[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)]++
		}
	}
	for i := range 2 {
		if n := count[hues[i]]; n < 100 {
			t.Errorf("line %d has %d pixels of its colour", i, n)
		}
	}
	if count[hues[2]] > 0 {
		t.Error("a third line is there")
	}
}

func TestLinesErrors(t *testing.T) {
	if err := Lines(io.Discard); err == nil {
		t.Error("nothing was drawn")
	}
	for _, l := range []Line{{X: []float64{1}, Y: nil}, {X: []float64{1}, Y: []float64{1}, Half: []float64{}}, {X: []float64{1}, Y: []float64{math.NaN()}}} {
		if err := Lines(io.Discard, LinesPlot{Lines: []Line{l}}); err == nil {
			t.Errorf("%+v was drawn", l)
		}
	}
}
