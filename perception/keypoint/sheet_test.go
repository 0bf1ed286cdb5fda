package keypoint

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
)

// page reads the parts of a sheet.
type page struct {
	Width  string `xml:"width,attr"`
	Height string `xml:"height,attr"`
	Rects  []struct {
		X      string `xml:"x,attr"`
		Y      string `xml:"y,attr"`
		Width  string `xml:"width,attr"`
		Height string `xml:"height,attr"`
		Fill   string `xml:"fill,attr"`
	} `xml:"rect"`
	Images []struct {
		X     float64 `xml:"x,attr"`
		Y     float64 `xml:"y,attr"`
		Width float64 `xml:"width,attr"`
		Href  string  `xml:"href,attr"`
	} `xml:"image"`
}

// printed are the sheets as a printer of four dots a millimetre prints their rectangles.
func printed(t *testing.T, html []byte) (ps []page, fs []robot.Frame) {
	t.Helper()
	for rest := html; ; {
		at := bytes.Index(rest, []byte("<svg"))
		if at < 0 {
			return ps, fs
		}
		end := bytes.Index(rest, []byte("</svg>")) + len("</svg>")
		var p page
		if err := xml.Unmarshal(rest[at:end], &p); err != nil {
			t.Fatal(err)
		}
		ps, fs, rest = append(ps, p), append(fs, dots(t, p)), rest[end:]
	}
}

func dots(t *testing.T, p page) robot.Frame {
	t.Helper()
	mm := func(s string) float64 {
		v, err := strconv.ParseFloat(strings.TrimSuffix(s, "mm"), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	f := robot.Frame{W: int(4 * mm(p.Width)), H: int(4 * mm(p.Height))}
	f.Pix = bytes.Repeat([]byte{255}, 3*f.W*f.H)
	for _, r := range p.Rects {
		grey := map[string]byte{"#000": 0, "#fff": 255, "#555": 85}[r.Fill]
		x0, y0, x1, y1 := int(math.Round(4*mm(r.X))), int(math.Round(4*mm(r.Y))), int(math.Round(4*(mm(r.X)+mm(r.Width)))), int(math.Round(4*(mm(r.Y)+mm(r.Height))))
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				i := 3 * (y*f.W + x)
				f.Pix[i], f.Pix[i+1], f.Pix[i+2] = grey, grey, grey
			}
		}
	}
	return f
}

// What is printed is found again, of the size that it should have and its top up.
func TestPrintedMarkersAreFound(t *testing.T) {
	var fixed []Fixed
	for id := range 9 {
		fixed = append(fixed, Flat(id, [3]float64{0.5, 0.1 * float64(id), 0}, 0.045, float64(id)))
	}
	fixed = append(fixed, Flat(9, [3]float64{}, 0.17, 0), Flat(10, [3]float64{}, 0.4, 0))
	html, err := Sheet("5x5_100", fixed)
	if err != nil {
		t.Fatal(err)
	}
	ps, fs := printed(t, html)
	// Nine on the first page, where the next has no room, and one that no A4 holds.
	if len(ps) != 3 || ps[0].Width != "210.00mm" || ps[1].Height != "297.00mm" || ps[2].Width <= "500.00mm" {
		t.Fatalf("%d pages, %.20v", len(ps), ps)
	}
	id := 0
	for i, n := range []int{9, 1, 1} {
		ms, err := vision.Markers(fs[i], "5x5_100")
		if err != nil || len(ms) != n {
			t.Fatalf("page %d: %d of %d markers are found (%v)", i, len(ms), n, err)
		}
		for _, m := range ms {
			side := []float64{45, 170, 400}[i]
			right, down := m.Corners[1][0]-m.Corners[0][0], m.Corners[3][1]-m.Corners[0][1]
			if m.ID != id || math.Abs(right/4-side) > 0.6 || math.Abs(down/4-side) > 0.6 {
				t.Errorf("marker %d is %.2f by %.2f mm, want marker %d of %g", m.ID, right/4, down/4, id, side)
			}
			id++
		}
	}
	for _, bad := range []struct {
		dictionary string
		f          Fixed
	}{{"9x9", fixed[0]}, {"4x4_50", Flat(50, [3]float64{}, 0.1, 0)}, {"4x4_50", Fixed{}}} {
		if _, err := Sheet(bad.dictionary, []Fixed{bad.f}); err == nil {
			t.Errorf("%+v is printed", bad)
		}
	}
}

func TestPrintedBoardIsFound(t *testing.T) {
	html, err := BoardSheet(chart)
	if err != nil {
		t.Fatal(err)
	}
	ps, _ := printed(t, html)
	p := ps[0]
	if len(ps) != 1 || len(p.Images) != 1 || math.Abs(p.Images[0].Width-180) > 1e-9 {
		t.Fatalf("%d pages, %d pictures", len(ps), len(p.Images))
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.Images[0].Href, "data:image/png;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := vision.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	ms, err := chart.Find(f)
	if err != nil || len(ms) != 5*4 { // inner corners
		t.Errorf("%d corners of the board are found (%v), want 20", len(ms), err)
	}
	if _, err := BoardSheet(vision.Board{}); err == nil {
		t.Error("a board of nothing is printed")
	}
}
