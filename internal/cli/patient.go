package cli

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// patient is an output that keeps nobody waiting: a terminal that takes nothing (Ctrl-S, a
// pager, tmux's copy mode) must not stop what drives an arm. What it has not taken is kept;
// where that is too much, the oldest is lost, and counted.
type patient struct {
	file *os.File

	mu      sync.Mutex
	kept    [][]byte
	lost    int
	writing chan struct{} // closed once all is written; nil if nothing is kept
}

// most is how many writes, of a line each, are kept.
const most = 1000

func (p *patient) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) == most {
		p.kept = p.kept[1:]
		p.lost++
	}
	p.kept = append(p.kept, bytes.Clone(b))
	if p.writing == nil {
		p.writing = make(chan struct{})
		go p.write()
	}
	return len(b), nil
}

func (p *patient) write() {
	for {
		p.mu.Lock()
		if len(p.kept) == 0 {
			close(p.writing)
			p.writing = nil
			p.mu.Unlock()
			return
		}
		b, lost := p.kept[0], p.lost
		p.kept, p.lost = p.kept[1:], 0
		p.mu.Unlock()
		if lost > 0 {
			fmt.Fprintf(p.file, "rapport: %d lines are lost, which this terminal did not take\n", lost)
		}
		_, _ = p.file.Write(b) // there is nobody to tell
	}
}

// flush waits until all is written.
func (p *patient) flush() {
	p.mu.Lock()
	c := p.writing
	p.mu.Unlock()
	if c != nil {
		<-c
	}
}
