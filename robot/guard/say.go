package guard

import (
	"context"
	"log/slog"
)

// unsaid is how many lines of the log wait at most; what comes then is counted alone.
const unsaid = 64

// line is one of the log.
type line struct {
	level slog.Level
	msg   string
	args  []any
}

// say has a line logged, in order, by a goroutine of its own: a terminal that takes nothing
// keeps waiting who writes to it, and neither a hold nor the next command may wait. g.mu is held.
func (g *Guard) say(level slog.Level, msg string, args ...any) {
	if !g.log.Enabled(context.Background(), level) {
		return
	}
	if len(g.lines) == unsaid {
		g.lost++
		return
	}
	g.lines = append(g.lines, line{level, msg, args})
	if g.saying == nil {
		g.saying = make(chan struct{})
		go g.speak()
	}
}

// fail is say of an error, where g.mu is not held.
func (g *Guard) fail(msg string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.say(slog.LevelError, msg, args...)
}

// speak logs until no line waits.
func (g *Guard) speak() {
	for {
		g.mu.Lock()
		if len(g.lines) == 0 && g.lost > 0 {
			g.lines = append(g.lines, line{slog.LevelWarn, "guard: the log took nothing for a while", []any{"lines_lost", g.lost}})
			g.lost = 0
		}
		if len(g.lines) == 0 {
			close(g.saying)
			g.saying = nil
			g.mu.Unlock()
			return
		}
		l := g.lines[0]
		g.lines = g.lines[1:]
		g.mu.Unlock()
		g.log.Log(context.Background(), l.level, l.msg, l.args...)
	}
}

// said waits until the log has taken what was said.
func (g *Guard) said() {
	g.mu.Lock()
	c := g.saying
	g.mu.Unlock()
	if c != nil {
		<-c
	}
}
