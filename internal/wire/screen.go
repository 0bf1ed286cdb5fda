package wire

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// The picture of a film: what was seen beside the frame it was matched with, above
// the reward. Sides of a cell and height of the curve, pixels.
const (
	cell  = 256
	graph = 96
)

// film shows the recording again, with what the reward made of it.
func (p *projector) film(ctx context.Context, f footage, out *Replayed) (err error) {
	expert, err := p.expert(out.Expert)
	if err != nil {
		return err
	}
	if len(out.Steps) == 0 {
		return nil
	}
	dir := filepath.Join(p.rc.Out, "films")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var cams []keypoint.Camera
	if out.way != nil {
		if cams, err = p.lenses(ctx, out.File, f.Info()); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			out.way = nil
			out.Notes = append(out.Notes, fmt.Sprintf("the plan is not drawn, since nobody knows where the cameras were: %v", err))
		}
	}
	ys := make([]float64, len(out.Steps))
	lo, hi := math.Inf(1), math.Inf(-1)
	for i, s := range out.Steps {
		ys[i] = s.Reward
		lo, hi = min(lo, s.Reward), max(hi, s.Reward)
	}
	fps := float64(time.Second) / float64(tabletop.Period)
	if n := len(out.Steps) - 1; n > 0 {
		if d := out.Steps[n].Stamp.Sub(out.Steps[0].Stamp).Seconds(); d > 0 {
			fps = min(120, max(1, math.Round(1e3*float64(n)/d)/1e3))
		}
	}
	name := out.ID
	for n := 2; p.filmed[name]; n++ { // two sessions number their episodes alike
		name = fmt.Sprintf("%s-%d", out.ID, n)
	}
	p.filmed[name] = true
	film, err := vision.CreateFilm(filepath.Join(dir, name+".mp4"), fps, 2*cell, cell+graph)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, film.Abort())
		} else {
			err = film.Close()
		}
	}()
	sum, t := 0.0, 0
	return f.Each(ctx, func(tick record.Tick) error {
		if len(tick.Frames) == 0 || t > len(out.Steps) {
			return nil
		}
		text, match := fmt.Sprintf("%s  reset", out.ID), robot.Frame{W: 2, H: 2, Pix: make([]byte, 12)}
		caption := ""
		if out.Expert != "" {
			caption = "nearest: " + out.Expert
		}
		if t > 0 {
			s := out.Steps[t-1]
			sum += s.Reward
			text = fmt.Sprintf("%s  step %d\nreward %.4f\nreturn %.3f", out.ID, t, s.Reward, sum)
			if s.Matched >= 0 && s.Matched < len(expert) {
				match = expert[s.Matched]
			}
			if out.Expert != "" {
				caption = fmt.Sprintf("nearest: %s\nframe %d", out.Expert, s.Matched)
			}
		}
		seen := tick.Frames[len(tick.Frames)-1]
		if out.way != nil && t < len(out.way.spots) {
			if seen, err = out.way.over(seen, cams, tick.State.EE, t); err == nil {
				// Nothing is compared with, so there is room for another view.
				match, err = out.way.over(tick.Frames[0], cams, tick.State.EE, t)
			}
			if err != nil {
				return err
			}
			caption = out.way.says(t)
		}
		pic, err := compose(seen, match, text, caption, ys, t, lo, hi)
		if err != nil {
			return err
		}
		t++
		return film.Write(pic)
	})
}

// compose draws one picture of a film.
func compose(seen, match robot.Frame, text, caption string, ys []float64, n int, lo, hi float64) (robot.Frame, error) {
	pair := [2]robot.Frame{seen, match}
	for i, s := range []string{text, caption} {
		f, err := vision.Resize(pair[i], cell, cell)
		if err == nil {
			pair[i], err = vision.Annotate(f, s)
		}
		if err != nil {
			return robot.Frame{}, err
		}
	}
	top, err := vision.Mosaic(pair[:], 2, cell, cell)
	if err != nil {
		return top, err
	}
	chart, err := vision.Chart(ys, n, lo, hi, 2*cell, graph)
	if err != nil {
		return top, err
	}
	top.Pix = append(top.Pix, chart.Pix...)
	top.H += graph
	return top, nil
}

// expert are the frames of a preferred video, one a step; none where the session
// recorded no frames.
func (p *projector) expert(name string) ([]robot.Frame, error) {
	if fs, ok := p.experts[name]; ok || name == "" { // or nothing was compared with
		return fs, nil
	}
	var fs []robot.Frame
	rec, err := record.Read(p.s.episodeFile(name))
	if err != nil && len(rec.Ticks) == 0 && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, t := range rec.Ticks[min(1, len(rec.Ticks)):] { // the reward leaves the reset out too
		if n := len(t.Frames); n > 0 {
			fs = append(fs, t.Frames[n-1])
		}
	}
	p.experts[name] = fs
	return fs, nil
}

// write puts tables and curves into a folder.
func (r *Replay) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	if err := grid.Put(filepath.Join(dir, "steps.csv"), r.csv); err != nil {
		return err
	}
	if err := grid.WriteFile(filepath.Join(dir, "steps.parquet"), nil, r.columns()...); err != nil {
		return err
	}
	var curves []report.Curve
	for i := range r.Takes {
		t := &r.Takes[i]
		if len(t.Steps) == 0 {
			continue
		}
		var c report.Curve
		logged := true
		for _, s := range t.Steps {
			c.Rewards, c.Logged = append(c.Rewards, s.Reward), append(c.Logged, s.Logged)
			logged = logged && !math.IsNaN(s.Logged)
		}
		if !logged {
			c.Logged = nil
		}
		curves = append(curves, c)
	}
	if len(curves) == 0 {
		return nil
	}
	var png bytes.Buffer
	if err := report.Curves(&png, curves); err != nil {
		return err
	}
	return grid.Put(filepath.Join(dir, "curves.png"), func(w io.Writer) error {
		_, err := w.Write(png.Bytes())
		return err
	})
}

// csv writes a row a step; what is missing is empty.
func (r *Replay) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"episode", "step", "stamp", "reward", "logged", "again", "live", "expert", "matched", "file"}); err != nil {
		return err
	}
	num := func(x float64) string {
		if math.IsNaN(x) {
			return ""
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	frame := func(n int) string {
		if n < 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	for i := range r.Takes {
		t := &r.Takes[i]
		for _, s := range t.Steps {
			err := out.Write([]string{t.ID, strconv.Itoa(s.T), s.Stamp.Format(time.RFC3339Nano), num(s.Reward), num(s.Logged), num(s.Again), num(s.Live), t.Expert, frame(s.Matched), t.File})
			if err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// columns are the same rows as csv's; what is missing is NaN, and -1 for matched.
func (r *Replay) columns() []grid.Column {
	var id, expert, file []string
	var step, stamp, matched []int64
	var reward, logged, again, live []float64
	for i := range r.Takes {
		t := &r.Takes[i]
		for _, s := range t.Steps {
			id, expert, file = append(id, t.ID), append(expert, t.Expert), append(file, t.File)
			step, stamp, matched = append(step, int64(s.T)), append(stamp, s.Stamp.UnixNano()), append(matched, int64(s.Matched))
			reward, logged, again, live = append(reward, s.Reward), append(logged, s.Logged), append(again, s.Again), append(live, s.Live)
		}
	}
	return []grid.Column{{Name: "episode", Values: id}, {Name: "step", Values: step}, {Name: "stamp_ns", Values: stamp}, {Name: "reward", Values: reward},
		{Name: "logged", Values: logged}, {Name: "again", Values: again}, {Name: "live", Values: live}, {Name: "expert", Values: expert}, {Name: "matched", Values: matched}, {Name: "file", Values: file}}
}
