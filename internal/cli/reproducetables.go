package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/whole"
	"github.com/rapport-rl/rapport/internal/wire"
)

// pointHead are the columns of a task's and seed's file.
var pointHead = []string{"kind", "look", "labels", "negative", "negatives", "all", "of", "accuracy", "spread"}

func pointRow(p wire.Point) []string {
	g := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	return []string{p.Kind, p.Look, strconv.Itoa(p.Labels), g(p.Negative), strconv.Itoa(p.Negatives), g(p.All), strconv.Itoa(p.Of), g(p.Accuracy), g(p.Spread)}
}

// readPoints reads a file of pointRows, and by kind the settings that they were made with,
// which files of before do not tell.
func readPoints(r io.Reader) ([]wire.Point, map[string]settings, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, nil, err
	}
	known := len(rows) > 0 && (slices.Equal(rows[0], pointHead) || slices.Equal(rows[0], append(slices.Clone(pointHead), "settings")))
	if !known {
		return nil, nil, errors.New("it has other columns")
	}
	var ps []wire.Point
	by := map[string]settings{}
	for _, row := range rows[1:] {
		if told := row[len(pointHead):]; len(told) > 0 && told[0] != "" {
			var s settings
			if err := json.Unmarshal([]byte(told[0]), &s); err != nil {
				return nil, nil, err
			}
			by[row[0]] = s
		}
		p := wire.Point{Kind: row[0], Look: row[1]}
		var errs [7]error
		p.Labels, errs[0] = strconv.Atoi(row[2])
		p.Negative, errs[1] = strconv.ParseFloat(row[3], 64)
		p.Negatives, errs[2] = strconv.Atoi(row[4])
		p.All, errs[3] = strconv.ParseFloat(row[5], 64)
		p.Of, errs[4] = strconv.Atoi(row[6])
		p.Accuracy, errs[5] = strconv.ParseFloat(row[7], 64)
		p.Spread, errs[6] = strconv.ParseFloat(row[8], 64)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, nil, err
		}
		ps = append(ps, p)
	}
	return ps, by, nil
}

// readFile reads the points of a task and seed with their settings by kind; there are none
// before it is made.
func readFile(name string) ([]wire.Point, map[string]settings, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, map[string]settings{}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	ps, by, err := readPoints(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w; remove it, and it is made again", name, err)
	}
	return ps, by, nil
}

func writeFile(name string, ps []wire.Point, by map[string]settings) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{append(slices.Clone(pointHead), "settings")}
	for _, p := range ps {
		told := ""
		if s := by[p.Kind]; s != nil {
			j, err := json.Marshal(s)
			if err != nil {
				return err
			}
			told = string(j)
		}
		rows = append(rows, append(pointRow(p), told))
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return whole.Write(name, b.Bytes())
}

// csv writes all points with their task and seed.
func (r raplRun) csv(points map[string][][]wire.Point) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(append([]string{"task", "seed"}, pointHead...)); err != nil {
		return err
	}
	for _, task := range r.tasks {
		for i, ps := range points[task] {
			for _, p := range ps {
				if err := w.Write(append([]string{task, strconv.Itoa(r.seeds.first + i)}, pointRow(p)...)); err != nil {
					return err
				}
			}
		}
	}
	w.Flush()
	return whole.Write(filepath.Join(r.out, "rewards.csv"), b.Bytes())
}

// over is what a kind got from so many labels, a value a seed.
func over(seeds [][]wire.Point, kind string, labels int, of func(wire.Point) float64) []float64 {
	var xs []float64
	for _, ps := range seeds {
		if i := find(ps, kind, labels); i >= 0 {
			xs = append(xs, of(ps[i]))
		}
	}
	return xs
}

func negative(p wire.Point) float64 { return p.Negative }

// interval is a mean with its half-width, if it has one.
func interval(mean, half float64, digits int) string {
	if math.IsInf(half, 0) || math.IsNaN(half) {
		return fmt.Sprintf("%.*f", digits, mean)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, mean, digits, half)
}

// paper are the figures of table 1 of arXiv:2412.04835: of Franka Group, Franka
// Clutter and Kuka Group with the encoder of the Franka.
var paper = map[string][3]string{
	"rapl": {"0.59", "0.61", "0.47"}, "rlhf": {"0.38", "0.26", "0.31"},
	"features": {"-0.09 (ImageNet)", "-0.02", "0.12"},
}

// markdown is the tables: the paper's measure, and what else was measured.
func (r raplRun) markdown(points map[string][][]wire.Point) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Spearman's correlation between reward and minus the true distance, mean over held-out rollouts that the person\ndislikes; mean and 95 %% interval over %d seeds; %d labels.\n\n| reward | %s | paper: group, clutter, cross |\n|---|%s---|\n",
		r.seeds.count(), r.table, strings.Join(r.tasks, " | "), strings.Repeat("---|", len(r.tasks)))
	for _, k := range r.kinds {
		fmt.Fprintf(&b, "| %s |", k)
		for _, task := range r.tasks {
			m, h := report.Interval(over(points[task], k, r.table, negative))
			fmt.Fprintf(&b, " %s |", interval(m, h, 2))
		}
		fmt.Fprintf(&b, " %s |\n", strings.Trim(strings.Join([]string{paper[k][0], paper[k][1], paper[k][2]}, ", "), ", "))
	}
	for _, what := range []struct {
		title string
		of    func(wire.Point) float64
		pct   float64
	}{
		{"The same over all held-out rollouts", func(p wire.Point) float64 { return p.All }, 1},
		{"Pairs of held-out rollouts that the sums of the rewards order as the person does, %", func(p wire.Point) float64 { return p.Accuracy }, 100},
	} {
		fmt.Fprintf(&b, "\n%s.\n\n| reward | %s |\n|---|%s\n", what.title, strings.Join(r.tasks, " | "), strings.Repeat("---|", len(r.tasks)))
		for _, k := range r.kinds {
			fmt.Fprintf(&b, "| %s |", k)
			for _, task := range r.tasks {
				m, h := report.Interval(over(points[task], k, r.table, what.of))
				digits := 2
				if what.pct > 1 {
					digits = 0
				}
				fmt.Fprintf(&b, " %s |", interval(what.pct*m, what.pct*h, digits))
			}
			fmt.Fprintln(&b)
		}
	}
	if len(r.labels) < 2 {
		return b.Bytes()
	}
	fmt.Fprintf(&b, "\nThe first table's measure by the number of labels.\n\n| task | reward |")
	for _, n := range r.labels {
		fmt.Fprintf(&b, " %d |", n)
	}
	fmt.Fprintf(&b, "\n|---|---|%s\n", strings.Repeat("---|", len(r.labels)))
	for _, task := range r.tasks {
		for _, k := range r.kinds {
			if !r.learns(points[task], k) {
				continue
			}
			fmt.Fprintf(&b, "| %s | %s |", task, k)
			for _, n := range r.labels {
				m, h := report.Interval(over(points[task], k, n, negative))
				fmt.Fprintf(&b, " %s |", interval(m, h, 2))
			}
			fmt.Fprintln(&b)
		}
	}
	return b.Bytes()
}

// learns says whether a kind learns from labels.
func (r raplRun) learns(seeds [][]wire.Point, kind string) bool {
	if len(seeds) == 0 {
		return false
	}
	i := find(seeds[0], kind, r.labels[0])
	return i >= 0 && seeds[0][i].Labels > 0
}

// plot draws the measure over the labels, a plot a task.
func (r raplRun) plot(points map[string][][]wire.Point) error {
	var plots []report.LinesPlot
	for _, task := range r.tasks {
		p := report.LinesPlot{Title: task, X: "labels", Y: "Spearman, disliked rollouts"}
		for _, k := range r.kinds {
			l := report.Line{Name: k, Flat: !r.learns(points[task], k)}
			for _, n := range r.labels {
				m, h := report.Interval(over(points[task], k, n, negative))
				l.X, l.Y, l.Half = append(l.X, float64(n)), append(l.Y, m), append(l.Half, h)
			}
			p.Lines = append(p.Lines, l)
		}
		plots = append(plots, p)
	}
	var b bytes.Buffer
	if err := report.Lines(&b, plots...); err != nil {
		return err
	}
	return whole.Write(filepath.Join(r.out, "rewards.png"), b.Bytes())
}
