package report_test

import (
	"bytes"
	"image/png"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/report"
)

func TestAnEpisodeIsExplainedInOnePicture(t *testing.T) {
	r := full().Reward
	var b bytes.Buffer
	if err := report.Explained(&b, r); err != nil {
		t.Fatal(err)
	}
	with, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	r.Pairs = nil
	b.Reset()
	if err := report.Explained(&b, r); err != nil {
		t.Fatal(err)
	}
	without, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := with.Bounds().Dy() - without.Bounds().Dy(); d < 200 {
		t.Errorf("the pairs of frames take %d pixels", d)
	}
	// The first pair is black, where the page is white.
	if r, g, blue, _ := with.At(10, without.Bounds().Dy()+10).RGBA(); r+g+blue != 0 {
		t.Errorf("the pair is not there: %d %d %d", r, g, blue)
	}
	r.Rewards = nil
	if err := report.Explained(&b, r); err == nil {
		t.Error("explained a plan without rewards")
	}
}

func TestPageExplainsMoreEpisodes(t *testing.T) {
	r := full()
	more := r.Reward
	more.Name = "the worst of them"
	r.More = []report.Reward{more}
	var b bytes.Buffer
	if err := report.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "the worst of them") || strings.Count(s, "transport plan") != 2 {
		t.Error("the page does not explain the second episode")
	}
}
