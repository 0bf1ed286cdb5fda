// Package report writes a session's report.html: one file without outside
// references, with the learning curve, the reward explained, and frames from
// before and after.
//
//	err := report.Write(w, report.Report{Title: "group-001", Before: report.Share{Hits: 41, Of: 100}, ...})
package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"io"
	"math"
)

// Report is what the page tells. Empty parts are left out of the page.
type Report struct {
	Title         string
	Summary       string
	Heard         string // what the learner was told of the success that is shown
	Before, After Share
	Episodes      []Episode
	Reward        Reward
	More          []Reward // of other episodes
	Sheets        []Sheet
	Facts         []Fact // where everything lies, times, counts
	Config        string // YAML as resolved
}

// Share is a count of successes on fresh seeds.
type Share struct{ Hits, Of int }

// Rate is Hits/Of, or NaN when nothing was tried.
func (s Share) Rate() float64 {
	if s.Of == 0 {
		return math.NaN()
	}
	return float64(s.Hits) / float64(s.Of)
}

// Wilson returns the 95 % score interval of the rate (Wilson 1927), which stays
// inside [0,1] at the ends, where the normal approximation does not.
func (s Share) Wilson() (lo, hi float64) {
	if s.Of == 0 {
		return 0, 1
	}
	const z = 1.959963984540054 // 97.5 % quantile of the normal distribution
	n, p := float64(s.Of), s.Rate()
	mid := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, mid-half), min(1, mid+half)
}

// String says "not measured" of a share of nothing.
func (s Share) String() string {
	if s.Of == 0 {
		return "not measured"
	}
	lo, hi := s.Wilson()
	return fmt.Sprintf("%d of %d (%.0f %%, 95 %% interval %.0f to %.0f %%)", s.Hits, s.Of, 100*s.Rate(), 100*lo, 100*hi)
}

// Pct is the rate of s in per cent, for the page.
func (Report) Pct(s Share) float64 { return 100 * s.Rate() }

// Episode is a point of the learning curve.
type Episode struct {
	N       int
	Return  float64 // sum of the visual reward
	Success bool    // by ground truth, which only the report reads
	Judged  bool    // whether Success is known; without, only returns are drawn
}

// Reward explains the reward of one episode by its optimal transport plan.
type Reward struct {
	Name    string
	Rewards []float64   // (T,) per step
	Expert  int         // preferred video that was nearest
	Plan    [][]float64 // (T,T') transported mass
	Matched []int       // (T,) frame of the preferred video that each step matched best
	Pairs   []image.Image
}

// Sheet is a row of frames of one episode.
type Sheet struct {
	Caption string
	Frames  []image.Image
}

// Fact is a line of the table at the end.
type Fact struct{ Name, Value string }

//go:embed report.html.tmpl
var page string

// picture is an image inside the page.
type picture struct {
	Alt  string
	Data template.URL
}

// Write writes r as an HTML page.
func Write(w io.Writer, r Report) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	data := struct {
		Report
		Curve, Heat, Steps *picture
		Rows               []struct {
			Caption  string
			Pictures []picture
		}
		Pairs []picture
		Other []story
	}{Report: r}
	if len(r.Episodes) > 0 {
		if data.Curve, err = plotted("learning curve", r.Episodes, curve); err != nil {
			return err
		}
	}
	if len(r.Reward.Plan) > 0 {
		if data.Heat, err = plotted("transport plan", r.Reward, heat); err != nil {
			return err
		}
	}
	if len(r.Reward.Rewards) > 0 {
		if data.Steps, err = plotted("reward per step", r.Reward, steps); err != nil {
			return err
		}
	}
	for _, s := range r.Sheets {
		var ps []picture
		for i, f := range s.Frames {
			p, err := embed(fmt.Sprintf("%s, frame %d", s.Caption, i), f)
			if err != nil {
				return err
			}
			ps = append(ps, p)
		}
		data.Rows = append(data.Rows, struct {
			Caption  string
			Pictures []picture
		}{s.Caption, ps})
	}
	for i, f := range r.Reward.Pairs {
		p, err := embed(fmt.Sprintf("matched pair %d", i), f)
		if err != nil {
			return err
		}
		data.Pairs = append(data.Pairs, p)
	}
	for _, m := range r.More {
		s, err := tell(m)
		if err != nil {
			return err
		}
		data.Other = append(data.Other, s)
	}
	if err := t.Execute(w, data); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// story is a further episode's reward on the page.
type story struct {
	Name        string
	Heat, Steps *picture
	Pairs       []picture
}

func tell(r Reward) (s story, err error) {
	s.Name = r.Name
	if s.Heat, err = plotted("transport plan", r, heat); err != nil {
		return s, err
	}
	if s.Steps, err = plotted("reward per step", r, steps); err != nil {
		return s, err
	}
	for i, f := range r.Pairs {
		p, err := embed(fmt.Sprintf("matched pair %d", i), f)
		if err != nil {
			return s, err
		}
		s.Pairs = append(s.Pairs, p)
	}
	return s, nil
}

func plotted[T any](alt string, v T, draw func(io.Writer, T) error) (*picture, error) {
	var b bytes.Buffer
	if err := draw(&b, v); err != nil {
		return nil, fmt.Errorf("report: %s: %w", alt, err)
	}
	p := dataURL(alt, b.Bytes())
	return &p, nil
}

func embed(alt string, img image.Image) (picture, error) {
	var b bytes.Buffer
	// With the default compression this took as long as to play the films that it shows.
	e := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := e.Encode(&b, img); err != nil {
		return picture{}, fmt.Errorf("report: %s: %w", alt, err)
	}
	return dataURL(alt, b.Bytes()), nil
}

func dataURL(alt string, pngBytes []byte) picture {
	return picture{alt, template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(pngBytes))}
}
