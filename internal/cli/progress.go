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

	mu    sync.Mutex
	stage string
	bar   *mpb.Bar
	note  *atomic.Value // string; apart from mu, since bars are drawn while step waits for them
	tenth int
	since time.Time
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok && terminal(f) {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))
	}
	return p
}

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// step tells that done of total parts of a stage are done. The first call for a
// stage begins it. It may be called by any goroutine.
func (p *progress) step(stage string, done, total int, note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stage != p.stage {
		p.begin(stage, total)
	}
	p.note.Store(note)
	if p.bars != nil {
		p.bar.SetCurrent(int64(done))
		return
	}
	if tenth := 10 * done / max(total, 1); tenth > p.tenth || done >= total && p.tenth < 10 {
		p.tenth = tenth
		if done >= total {
			p.tenth = 10
		}
		fmt.Fprintf(p.out, "%-16s %d/%d  %s  %s\n", stage, done, total, time.Since(p.since).Round(100*time.Millisecond), note)
	}
}

func (p *progress) begin(stage string, total int) {
	if p.bar != nil {
		// SetTotal does nothing to a bar that was made with a total, and Wait would
		// wait for it for ever. Abort does nothing to a bar that is complete; whether
		// it is must not be asked, since mpb 8.9.3 answers with a data race.
		p.bar.Abort(false)
	}
	p.stage, p.tenth, p.since = stage, 0, time.Now()
	note := new(atomic.Value)
	note.Store("")
	p.note = note
	if p.bars == nil {
		fmt.Fprintf(p.out, "%-16s ...\n", stage)
		return
	}
	p.bar = p.bars.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(stage, decor.WC{W: 17, C: decor.DindentRight}), decor.CountersNoUnit("%d/%d", decor.WC{W: 10})),
		mpb.AppendDecorators(
			decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 7}), "done"),
			decor.Any(func(decor.Statistics) string { return "  " + note.Load().(string) }),
		))
}

// close ends the last bar, so that what is printed next stands below it.
func (p *progress) close() {
	p.mu.Lock()
	bar, bars := p.bar, p.bars
	p.mu.Unlock()
	if bars == nil {
		return
	}
	if bar != nil {
		bar.Abort(false)
	}
	bars.Wait()
}
