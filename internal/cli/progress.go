package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far each stage is: as bars on a terminal, and as a line
// every tenth part elsewhere.
type progress struct {
	out  io.Writer
	bars *mpb.Progress // nil elsewhere than on a terminal

	mu      sync.Mutex
	stage   string
	tenth   int
	since   time.Time
	marks   []mark        // that the bars do not show yet
	drawing chan struct{} // closed once they do; nil if there are none

	bar   *mpb.Bar      // set by who draws, whose alone the rest is
	drawn string        // the stage of bar
	note  *atomic.Value // string
}

// mark is how far a stage is.
type mark struct {
	stage       string
	done, total int
	note        string
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if t, ok := out.(*patient); ok && terminal(t.file) {
		p.bars = mpb.New(mpb.WithOutput(t.file), mpb.WithWidth(40))
	}
	return p
}

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// step tells that done of total parts of a stage are done. The first call for a
// stage begins it. It may be called by any goroutine, and keeps none waiting.
func (p *progress) step(stage string, done, total int, note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		p.line(stage, done, total, note)
		return
	}
	m := mark{stage, done, total, note}
	if n := len(p.marks); n > 0 && p.marks[n-1].stage == stage {
		p.marks[n-1] = m
	} else {
		p.marks = append(p.marks, m)
	}
	if p.drawing == nil {
		p.drawing = make(chan struct{})
		go p.draw()
	}
}

func (p *progress) line(stage string, done, total int, note string) {
	if stage != p.stage {
		p.stage, p.tenth, p.since = stage, 0, time.Now()
		fmt.Fprintf(p.out, "%-16s ...\n", stage)
	}
	if tenth := 10 * done / max(total, 1); tenth > p.tenth || done >= total && p.tenth < 10 {
		p.tenth = tenth
		if done >= total {
			p.tenth = 10
		}
		fmt.Fprintf(p.out, "%-16s %d/%d  %s  %s\n", stage, done, total, time.Since(p.since).Round(100*time.Millisecond), note)
	}
}

// draw shows the marks. A terminal that takes nothing keeps it waiting.
func (p *progress) draw() {
	for {
		p.mu.Lock()
		if len(p.marks) == 0 {
			close(p.drawing)
			p.drawing = nil
			p.mu.Unlock()
			return
		}
		m := p.marks[0]
		p.marks = p.marks[1:]
		p.mu.Unlock()
		if m.stage != p.drawn {
			p.begin(m.stage, m.total)
		}
		p.note.Store(m.note)
		if p.bar != nil {
			p.bar.SetCurrent(int64(m.done))
		}
	}
}

func (p *progress) begin(stage string, total int) {
	if p.bar != nil {
		// SetTotal does nothing to a bar that was made with a total, and Wait would
		// wait for it for ever. Abort does nothing to a bar that is complete; whether
		// it is must not be asked, since mpb 8.9.3 answers with a data race.
		p.bar.Abort(false)
	}
	note := new(atomic.Value)
	note.Store("")
	p.drawn, p.note = stage, note
	if t, ok := p.out.(*patient); ok {
		t.flush() // what was said before stands above
	}
	// The error is that there is no terminal any more: then there is no bar.
	bar, _ := p.bars.Add(int64(total), mpb.BarStyle().Build(),
		mpb.PrependDecorators(decor.Name(stage, decor.WC{W: 17, C: decor.DindentRight}), decor.CountersNoUnit("%d/%d", decor.WC{W: 10})),
		mpb.AppendDecorators(
			decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 7}), "done"),
			decor.Any(func(decor.Statistics) string { return "  " + note.Load().(string) }),
		))
	p.mu.Lock()
	p.bar = bar
	p.mu.Unlock()
}

// close ends the last bar, so that what is printed next stands below it.
func (p *progress) close() {
	if p.bars == nil {
		if t, ok := p.out.(*patient); ok {
			t.flush()
		}
		return
	}
	p.mu.Lock()
	drawing := p.drawing
	p.mu.Unlock()
	if drawing != nil {
		<-drawing
	}
	p.mu.Lock()
	bar := p.bar
	p.mu.Unlock()
	if bar != nil {
		bar.Abort(false)
	}
	p.bars.Wait()
}
