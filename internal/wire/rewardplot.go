package wire

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// PlotConfig says which rewards are drawn over the table.
type PlotConfig struct {
	Rewards []string    // NAME=KIND[:KEY=VALUE,...]; none: the session's and the truth
	Of      string      // what is moved: tool, or an object's name
	Episode string      // whose end it is moved at; "": the last one of the session
	Height  float64     // m; NaN: where it stands at the end of the episode
	Cells   int         // of a side
	Area    *[4]float64 // x and y from, x and y to, m; nil: the guard's workspace
	Out     string      // PNG; a CSV goes beside it
}

// Map is a reward over the table.
type Map struct {
	Reward, About string
	report.Field
}

// Plotted is what was drawn.
type Plotted struct {
	Session, Episode, Of string
	Height               float64
	Maps                 []Map
}

// PlotRewards draws what arriving at the end of an episode would have been worth, had
// the tool, or an object, been elsewhere in that last frame: everything else stays as it
// was, in the simulator, at a fixed height.
func PlotRewards(ctx context.Context, dir string, pc PlotConfig, environ, sets []string, o Options) (out Plotted, err error) {
	if pc.Cells < 2 {
		return out, fmt.Errorf("wire: a map of %d cells a side; want 2 or more", pc.Cells)
	}
	s, err := visit(dir, judged, "a plot", environ, sets, o)
	if err != nil {
		return out, err
	}
	known := guests{open: []*Session{s}, what: "a plot", o: o}
	defer func() { err = errors.Join(err, known.close()) }()
	if real(s.cfg) {
		return out, fmt.Errorf("wire: %s is of a real arm, whose scene cannot be drawn with things elsewhere; name a simulated session", dir)
	}
	p, err := s.lenders(ctx)
	if err != nil {
		return out, err
	}
	b := &bench{s: s, parts: p, log: s.log, visit: known.visit}
	specs := pc.Rewards
	if len(specs) == 0 {
		specs = []string{"truth=truth"}
		if p.scorer != nil {
			specs = []string{p.taste.kind() + "=own", "truth=truth"}
		}
	}
	rivals, err := b.rivals(ctx, specs)
	if err != nil {
		return out, err
	}
	for _, r := range rivals {
		if r.points {
			return out, fmt.Errorf("wire: plot: the reward %s goes by tracked points, which are known of recorded scenes alone; draw another, as --reward truth=truth", r.name)
		}
	}
	pl := plotter{pc: pc, s: s, parts: p}
	defer func() { err = errors.Join(err, pl.past.close()) }()
	if err := pl.stand(ctx); err != nil {
		return out, err
	}
	out = Plotted{Session: dir, Episode: pl.e.id, Of: pc.Of, Height: pl.height}
	if out.Maps, err = pl.maps(ctx, rivals); err != nil || pc.Out == "" {
		return out, err
	}
	var fields []report.Field
	for _, m := range out.Maps {
		fields = append(fields, m.Field)
	}
	if err := putPicture(pc.Out, func(w io.Writer) error { return report.Fields(w, fields) }); err != nil {
		return out, err
	}
	return out, grid.Put(strings.TrimSuffix(pc.Out, filepath.Ext(pc.Out))+".csv", out.csv)
}

// plotter moves things at the end of an episode.
type plotter struct {
	pc     PlotConfig
	s      *Session
	parts  parts
	past   reliver
	e      *exhibit
	rec    record.Recording
	height float64
	places map[string][3]float64 // at the end, with tool
}

// stand lives through the episode again to its end.
func (p *plotter) stand(ctx context.Context) error {
	reels, err := p.s.listed(ctx, []reel{{folder: p.s.Dir()}})
	if err != nil {
		return err
	}
	i := len(reels) - 1
	if p.pc.Episode != "" {
		if i = slices.IndexFunc(reels, func(r reel) bool { return r.id == p.pc.Episode }); i < 0 {
			return fmt.Errorf("wire: plot: %s has no episode %q; the last one is %s", p.s.Dir(), p.pc.Episode, reels[len(reels)-1].id)
		}
	}
	file := reels[i].file
	if p.rec, err = record.Read(file); err != nil {
		return fmt.Errorf("wire: plot: %w", err)
	}
	c := comparer{s: p.s, parts: p.parts}
	if c.encoder, _, err = p.s.makers(ctx); err != nil {
		return err
	}
	film := &tape{p.rec}
	if p.e, err = c.exhibit(ctx, film); err != nil {
		return fmt.Errorf("wire: plot: %s: %w", file, err)
	}
	p.e.id = reels[i].id
	if err := p.past.begin(ctx, file, p.rec.Info, true); err != nil {
		return fmt.Errorf("wire: plot: %s: %w", file, err)
	}
	if p.e.truth, err = p.past.follow(ctx, p.rec.Ticks); err != nil {
		return fmt.Errorf("wire: plot: %s: %w", file, err)
	}
	end := p.rec.Ticks[len(p.rec.Ticks)-1]
	p.places = map[string][3]float64{tabletop.Tool: end.State.EE.P}
	for _, b := range p.past.world.Truth().Bodies {
		p.places[b.Name] = b.Pose.P
	}
	at, ok := p.places[p.pc.Of]
	if !ok {
		return fmt.Errorf("wire: plot: nothing here is called %q; there are %s and %s", p.pc.Of, tabletop.Tool, strings.Join(p.past.world.Objects(), ", "))
	}
	if p.height = p.pc.Height; math.IsNaN(p.height) {
		p.height = at[2]
	}
	return nil
}

// maps has each reward rate each place.
func (p *plotter) maps(ctx context.Context, rivals []rival) ([]Map, error) {
	n := p.pc.Cells
	w := p.s.cfg.Guard.Workspace
	area := [4]float64{w.Min[0], w.Min[1], w.Max[0], w.Max[1]}
	if p.pc.Area != nil {
		area = *p.pc.Area
	}
	if !(area[0] < area[2] && area[1] < area[3]) {
		return nil, fmt.Errorf("wire: plot: x from %g to %g and y from %g to %g leave no area", area[0], area[2], area[1], area[3])
	}
	var maps []Map
	for _, r := range rivals {
		m := Map{Reward: r.name, About: r.what, Field: report.Field{Title: r.name, Xs: span(area[0], area[2], n), Ys: span(area[1], area[3], n)}}
		for range n {
			m.Z = append(m.Z, make([]float64, n))
		}
		for name, at := range p.places {
			if name != p.pc.Of {
				m.Marks = append(m.Marks, report.Mark{Name: name, X: at[0], Y: at[1]})
			}
		}
		slices.SortFunc(m.Marks, func(a, b report.Mark) int { return strings.Compare(a.Name, b.Name) })
		maps = append(maps, m)
	}
	some := false
	for row := range n {
		for col := range n {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			zs, err := p.at(ctx, rivals, [3]float64{maps[0].Xs[col], maps[0].Ys[row], p.height})
			if err != nil {
				return nil, err
			}
			for k := range maps {
				maps[k].Z[row][col] = zs[k]
			}
			some = some || !math.IsNaN(zs[0])
		}
		p.s.tell("plot", (row+1)*n, n*n, "")
	}
	if !some {
		return nil, fmt.Errorf("wire: plot: the arm reaches none of these places at a height of %.3f m; want another --height", p.height)
	}
	return maps, nil
}

// at is what the last step is worth with the thing at a place; NaN out of reach.
func (p *plotter) at(ctx context.Context, rivals []rival, place [3]float64) ([]float64, error) {
	zs := make([]float64, len(rivals))
	err := p.past.world.Stage(p.pc.Of, place)
	if errors.Is(err, tabletop.ErrBeyond) {
		for k := range zs {
			zs[k] = math.NaN()
		}
		return zs, nil
	}
	if err != nil {
		return nil, err
	}
	end := len(p.e.traj) - 1
	tick := p.rec.Ticks[end]
	frames, err := p.past.world.Look(end, tick.State.Stamp)
	if err != nil {
		return nil, err
	}
	f, err := p.parts.eyes.Extract(ctx, frames)
	if err != nil {
		return nil, err
	}
	tick.Frames = frames
	e := exhibit{id: p.e.id, traj: replaced(p.e.traj, f), truth: replaced(p.e.truth, p.past.world.Truth()), ticks: replaced(p.e.ticks, tick)}
	e.film = &tape{record.Recording{Info: record.Info{ID: e.id}, Ticks: replaced(p.rec.Ticks, tick)}}
	for k, r := range rivals {
		xs, err := r.rate(ctx, &e)
		if err != nil {
			return nil, fmt.Errorf("wire: plot: reward %s: %w", r.name, err)
		}
		if len(xs) != end {
			return nil, fmt.Errorf("wire: plot: the reward %s says nothing of a scene that was not recorded; draw another", r.name)
		}
		zs[k] = xs[end-1]
	}
	return zs, nil
}

// replaced is a copy with another last element.
func replaced[T perception.Features | sim.Truth | record.Tick](xs []T, last T) []T {
	xs = slices.Clone(xs)
	xs[len(xs)-1] = last
	return xs
}

// span is n places from a to b.
func span(a, b float64, n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = a + (b-a)*float64(i)/float64(n-1)
	}
	return xs
}

// Best is where a reward is largest.
func (m *Map) Best() (place [2]float64, value float64) {
	col, row, ok := m.Peak()
	if !ok {
		return place, math.NaN()
	}
	return [2]float64{m.Xs[col], m.Ys[row]}, m.Z[row][col]
}

// csv writes a row a place.
func (o *Plotted) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	head := []string{"x", "y"}
	for _, m := range o.Maps {
		head = append(head, m.Reward)
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for r, y := range o.Maps[0].Ys {
		for c, x := range o.Maps[0].Xs {
			row := []string{strconv.FormatFloat(x, 'g', -1, 64), strconv.FormatFloat(y, 'g', -1, 64)}
			for _, m := range o.Maps {
				row = append(row, digits(m.Z[r][c]))
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}
