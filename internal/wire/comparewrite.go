package wire

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
	"github.com/rapport-rl/rapport/robot"
)

// panels is how many episodes curves are drawn of.
const panels = 6

// write puts tables and pictures into a folder.
func (o *Comparison) write(dir string) error {
	for name, f := range map[string]func(*csv.Writer) error{"frames.csv": o.frames, "returns.csv": o.returns, "pairs.csv": o.pairs, "truth.csv": o.truths} {
		err := grid.Put(filepath.Join(dir, name), func(w io.Writer) error {
			out := csv.NewWriter(w)
			if err := f(out); err != nil {
				return err
			}
			out.Flush()
			return out.Error()
		})
		if err != nil {
			return err
		}
	}
	var rated []int
	for i, e := range o.Episodes {
		if len(e.Rewards) > 0 {
			rated = append(rated, i)
		}
	}
	if len(rated) == 0 {
		return nil
	}
	if err := putPicture(filepath.Join(dir, "curves.png"), func(w io.Writer) error { return report.Rivals(w, o.Rewards, o.spread(rated)) }); err != nil {
		return err
	}
	if len(o.Rewards) < 2 {
		return nil
	}
	return putPicture(filepath.Join(dir, "pairs.png"), func(w io.Writer) error { return report.Matrices(w, o.Rewards, o.matrices()) })
}

// putPicture writes a picture once it is whole.
func putPicture(path string, f func(io.Writer) error) error {
	var b bytes.Buffer
	if err := f(&b); err != nil {
		return err
	}
	return grid.Put(path, func(w io.Writer) error {
		_, err := w.Write(b.Bytes())
		return err
	})
}

// spread chooses episodes from the best to the worst by the second reward, which is the
// session's own as a rule.
func (o *Comparison) spread(rated []int) []report.Panel {
	by := min(1, len(o.Rewards)-1)
	order := slices.Clone(rated)
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := o.Episodes[i].Rewards[by], o.Episodes[j].Rewards[by]
		if a == nil || b == nil {
			return cmp.Compare(len(b), len(a))
		}
		return cmp.Compare(total(b), total(a))
	})
	n := min(panels, len(order))
	var out []report.Panel
	for k := range n {
		e := &o.Episodes[order[k*(len(order)-1)/max(1, n-1)]]
		title := e.ID
		if e.Distance != nil {
			title = fmt.Sprintf("%s, ends %.2f m off", e.ID, e.Distance[len(e.Distance)-1])
		}
		out = append(out, report.Panel{Title: title, Curves: e.Rewards})
	}
	return out
}

func (o *Comparison) matrices() []report.Matrix {
	ms := []report.Matrix{{Title: "Spearman, frames", Lo: -1, Hi: 1}, {Title: "Spearman, returns", Lo: -1, Hi: 1}, {Title: "STARC distance", Lo: 0, Hi: 1}}
	self := []float64{1, 1, 0}
	for k := range ms {
		for i := range o.Rewards {
			row := make([]float64, len(o.Rewards))
			for j := range row {
				row[j] = math.NaN()
			}
			row[i] = self[k]
			ms[k].Z = append(ms[k].Z, row)
		}
		for _, p := range o.Pairs {
			x := []float64{p.PerFrame, p.PerReturn, p.STARC}[k]
			ms[k].Z[p.A][p.B], ms[k].Z[p.B][p.A] = x, x
		}
	}
	return ms
}

// digits writes a number as CSV does here; what is missing is empty.
func digits(x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

func (o *Comparison) frames(w *csv.Writer) error {
	if err := w.Write(append([]string{"episode", "step", "distance"}, o.Rewards...)); err != nil {
		return err
	}
	for _, e := range o.Episodes {
		if len(e.Rewards) == 0 {
			continue
		}
		for t := range e.Steps {
			row := []string{e.ID, strconv.Itoa(t + 1), ""}
			if e.Distance != nil {
				row[2] = digits(e.Distance[t])
			}
			for _, xs := range e.Rewards {
				if xs == nil {
					row = append(row, "")
				} else {
					row = append(row, digits(xs[t]))
				}
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Comparison) returns(w *csv.Writer) error {
	if err := w.Write(append([]string{"episode", "steps", "distance", "negative", "file"}, o.Rewards...)); err != nil {
		return err
	}
	for _, e := range o.Episodes {
		if len(e.Rewards) == 0 {
			continue
		}
		row := []string{e.ID, strconv.Itoa(e.Steps), "", "", e.File}
		if e.Distance != nil {
			row[2], row[3] = digits(e.Distance[e.Steps-1]), strconv.FormatBool(e.Negative)
		}
		for _, xs := range e.Rewards {
			if xs == nil {
				row = append(row, "")
			} else {
				row = append(row, digits(total(xs)))
			}
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func (o *Comparison) pairs(w *csv.Writer) error {
	if err := w.Write([]string{"a", "b", "episodes", "frames", "spearman_frames", "spearman_returns", "starc"}); err != nil {
		return err
	}
	for _, p := range o.Pairs {
		if err := w.Write([]string{o.Rewards[p.A], o.Rewards[p.B], strconv.Itoa(p.Episodes), strconv.Itoa(p.Frames), digits(p.PerFrame), digits(p.PerReturn), digits(p.STARC)}); err != nil {
			return err
		}
	}
	return nil
}

func (o *Comparison) truths(w *csv.Writer) error {
	if err := w.Write([]string{"reward", "negative", "of_negative", "all", "of_all", "returns_negative", "returns"}); err != nil {
		return err
	}
	for k, j := range o.Truth {
		if err := w.Write([]string{o.Rewards[k], digits(j.Negative), strconv.Itoa(j.OfNegative), digits(j.All), strconv.Itoa(j.OfAll), digits(j.ReturnNegative), digits(j.Returns)}); err != nil {
			return err
		}
	}
	return nil
}

// putPNG writes a frame as a PNG.
func putPNG(path string, f robot.Frame) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	return grid.Put(path, func(w io.Writer) error { return png.Encode(w, picture(f)) })
}
