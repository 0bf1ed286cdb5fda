// Package filter looks at demonstrations with a learned reward before a policy imitates
// them: which are worth least, and of which does the reward say something else than
// people did? IXC-2.5-Reward (Zang et al. 2025, arXiv:2501.12368) cleans data by its
// reward so. Nothing is deleted: what comes of it is a list for somebody to read,
// sorted by score, in which each has a mark that may be changed.
//
//	rows, err := filter.Review(items, filter.Config{})
//	err = filter.Write(file, rows)
//	verdicts, err := filter.Read(file)
//
// A demonstration that goes wrong and recovers is rare, worth little on the whole, and
// what a policy most needs to see. So each is scored phase by phase, against the same
// phase of the others of its task, late phases count more, none counts without bound,
// and one that ends about as well as the better half stays.
package filter

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Style is what people have said of a demonstration.
type Style uint8

// The styles.
const (
	Unsaid Style = iota
	Liked
	Disliked
)

var styles = [...]string{"", "liked", "disliked"}

func (s Style) String() string {
	if int(s) < len(styles) {
		return styles[s]
	}
	return fmt.Sprintf("Style(%d)", uint8(s))
}

// Item is a demonstration.
type Item struct {
	ID, Task string
	Rewards  []float64 // (T,) of its steps
	Said     Style
}

// Config are the parameters of Review. The zero value stands for the defaults named.
type Config struct {
	// Quantile is the share of a task's demonstrations, those of the lowest scores,
	// that is marked; 0: 0.1, negative: none.
	Quantile float64
	Phases   int // of equal length that a demonstration is cut into; 0: 4
}

// bound is what a phase counts at most, in spreads; fair is how far below the middle of
// the better half the last phase of a demonstration may be that ends well; least is the smallest
// spread of a phase, of the deviation of all phases: where all stand still at the goal,
// their jitter says little.
const (
	bound = 3
	fair  = 1.5
	least = 0.1
)

// enough are the demonstrations of either style that its median is trusted of.
const enough = 3

// Row is what a review says of a demonstration.
type Row struct {
	ID, Task string
	// Phases are the mean rewards of its phases (P,), less the median of the task's
	// demonstrations, in units of their spread; Score is the mean of them, the first
	// counted once, the second twice, and so on. Length counts in neither.
	Phases []float64
	Score  float64
	Said   Style
	Drop   bool
	Why    string
}

// Review scores demonstrations and marks those to be left out, the lowest score first.
func Review(items []Item, cfg Config) ([]Row, error) {
	cfg.Quantile, cfg.Phases = max(0, cmp.Or(cfg.Quantile, 0.1)), cmp.Or(cfg.Phases, 4)
	if !(cfg.Quantile < 1) || cfg.Phases < 1 {
		return nil, fmt.Errorf("filter: quantile %v and %d phases, want below 1, and 1 at least", cfg.Quantile, cfg.Phases)
	}
	rows := make([]Row, len(items))
	tasks := map[string][]*Row{}
	for i, it := range items {
		if len(it.Rewards) < cfg.Phases {
			return nil, fmt.Errorf("filter: %s has %d rewards, too few for %d phases", it.ID, len(it.Rewards), cfg.Phases)
		}
		r := &rows[i]
		*r = Row{ID: it.ID, Task: it.Task, Said: it.Said}
		for p := range cfg.Phases {
			lo, hi := p*len(it.Rewards)/cfg.Phases, (p+1)*len(it.Rewards)/cfg.Phases
			m := 0.0
			for _, x := range it.Rewards[lo:hi] {
				m += x / float64(hi-lo)
			}
			if m-m != 0 {
				return nil, fmt.Errorf("filter: a reward of %s is none", it.ID)
			}
			r.Phases = append(r.Phases, m)
		}
		tasks[it.Task] = append(tasks[it.Task], r)
	}
	for _, of := range tasks {
		floor := least * deviation(of)
		for p := range cfg.Phases {
			standardise(of, p, floor)
		}
		for _, r := range of {
			weight := 0.0
			for p, z := range r.Phases {
				r.Score += float64(p+1) * min(max(z, -bound), bound)
				weight += float64(p + 1)
			}
			r.Score /= weight
		}
		slices.SortFunc(of, byScore)
		mark(of, int(cfg.Quantile*float64(len(of))+1e-9))
	}
	slices.SortFunc(rows, func(a, b Row) int { return byScore(&a, &b) })
	return rows, nil
}

func byScore(a, b *Row) int {
	return cmp.Or(cmp.Compare(a.Score, b.Score), cmp.Compare(a.Task, b.Task), cmp.Compare(a.ID, b.ID))
}

// standardise brings a phase to a median of 0 and a spread of 1, by the median of the
// distances to it, which the few that are wrong hardly move.
func standardise(of []*Row, p int, floor float64) {
	x := make([]float64, len(of))
	for i, r := range of {
		x[i] = r.Phases[p]
	}
	mid := median(x)
	for i := range x {
		x[i] = math.Abs(x[i] - mid)
	}
	// 1.4826 makes it a Gaussian's standard deviation.
	spread := max(1.4826*median(x), floor)
	for _, r := range of {
		if r.Phases[p] -= mid; spread > 0 {
			r.Phases[p] /= spread
		}
	}
}

// deviation is the standard deviation of all phases.
func deviation(of []*Row) float64 {
	sum, square, n := 0.0, 0.0, 0.0
	for _, r := range of {
		for _, x := range r.Phases {
			sum, square, n = sum+x, square+x*x, n+1
		}
	}
	return math.Sqrt(max(square/n-sum/n*sum/n, 0))
}

// mark marks the first n of a task's, sorted, and those that the reward sees otherwise
// than people.
func mark(of []*Row, n int) {
	scores := map[Style][]float64{}
	for _, r := range of {
		scores[r.Said] = append(scores[r.Said], r.Score)
	}
	liked, disliked := scores[Liked], scores[Disliked]
	var ends []float64
	for _, r := range of {
		ends = append(ends, r.Phases[len(r.Phases)-1])
	}
	slices.Sort(ends)
	well := median(ends[len(ends)/2:]) - fair
	both := min(len(liked), len(disliked)) >= enough
	for i, r := range of {
		switch {
		case both && r.Said == Liked && r.Score < median(disliked):
			r.Drop, r.Why = true, "liked, but worth less than most that are disliked"
		case both && r.Said == Disliked && r.Score > median(liked):
			r.Drop, r.Why = true, "disliked, but worth more than most that are liked"
		case i >= n:
		case r.Phases[len(r.Phases)-1] >= well:
			r.Why = "low, but ends well"
		default:
			r.Drop, r.Why = true, "low"
		}
	}
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// head names the columns of a list; phases follow.
var head = []string{"episode", "task", "verdict", "score", "said", "why"}

const keep, drop = "keep", "drop"

func (r Row) verdict() string {
	if r.Drop {
		return drop
	}
	return keep
}

// Write writes rows as CSV, for Read once somebody has looked at the verdicts.
func Write(w io.Writer, rows []Row) error {
	c := csv.NewWriter(w)
	top := slices.Clone(head)
	if len(rows) > 0 {
		for p := range rows[0].Phases {
			top = append(top, fmt.Sprintf("phase_%d", p+1))
		}
	}
	if err := c.Write(top); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	for _, r := range rows {
		line := []string{r.ID, r.Task, r.verdict(), fmt.Sprintf("%.4f", r.Score), r.Said.String(), r.Why}
		for _, z := range r.Phases {
			line = append(line, fmt.Sprintf("%.4f", z))
		}
		if err := c.Write(line); err != nil {
			return fmt.Errorf("filter: %w", err)
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	return nil
}

// Markdown writes rows as a table.
func Markdown(w io.Writer, rows []Row) error {
	var b strings.Builder
	b.WriteString("| episode | verdict | score | phases | said | why |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		var phases []string
		for _, z := range r.Phases {
			phases = append(phases, strconv.FormatFloat(z, 'f', 1, 64))
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f | %s | %s | %s |\n", r.ID, r.verdict(), r.Score, strings.Join(phases, " "), r.Said, r.Why)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Verdict is a line of a list.
type Verdict struct {
	ID   string
	Line int
	Drop bool
}

// Read reads the verdicts of a list that Write wrote. Columns may have been moved or
// left out, but for episode and verdict.
func Read(r io.Reader) ([]Verdict, error) {
	c := csv.NewReader(r)
	top, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("filter: the head of the list: %w", err)
	}
	id, verdict := slices.Index(top, head[0]), slices.Index(top, head[2])
	if id < 0 || verdict < 0 {
		return nil, fmt.Errorf("filter: the list has the columns %s; want episode and verdict among them", strings.Join(top, ", "))
	}
	var out []Verdict
	seen := map[string]int{}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		line, _ := c.FieldPos(id)
		v := Verdict{ID: row[id], Line: line, Drop: row[verdict] == drop}
		if !v.Drop && row[verdict] != keep {
			return nil, fmt.Errorf("filter: line %d: the verdict on %s is %q; want keep or drop", line, v.ID, row[verdict])
		}
		if at, ok := seen[v.ID]; ok {
			return nil, fmt.Errorf("filter: line %d: %s has a verdict in line %d already; remove one", line, v.ID, at)
		}
		seen[v.ID] = line
		out = append(out, v)
	}
}
