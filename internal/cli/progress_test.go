package cli

import (
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/vbauerster/mpb/v8"
)

// screen is a terminal: asked is closed once something is written, which then waits for answer.
type screen struct {
	once   sync.Once
	asked  chan struct{}
	answer chan struct{}
	err    error
}

func (s *screen) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.asked) })
	<-s.answer
	return len(b), s.err
}

// A session's stages pass behind a terminal that takes nothing, and one that is gone.
func TestStagesPassWithoutATerminal(t *testing.T) {
	for name, err := range map[string]error{"takes nothing for a while": nil, "is gone": errors.New("input/output error")} {
		t.Run(name, func(t *testing.T) {
			s := &screen{asked: make(chan struct{}), answer: make(chan struct{}), err: err}
			p := &progress{out: io.Discard, bars: mpb.New(mpb.WithOutput(s), mpb.WithAutoRefresh())}
			p.step("clone", 0, 2, "")
			<-s.asked
			if err != nil {
				close(s.answer)
			}
			for _, stage := range []string{"clone", "fine-tune", "report"} {
				for i := range 3 {
					p.step(stage, i, 2, "")
				}
			}
			if err == nil {
				close(s.answer)
			}
			p.close()
			if p.drawn != "report" {
				t.Errorf("%q was drawn last", p.drawn)
			}
		})
	}
}
