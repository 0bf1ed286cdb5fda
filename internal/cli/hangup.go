package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// hangUps has cancel called when the terminal is closed or ssh is lost, until end is called.
// A shell hangs up on what it began besides the terminal's own doing, so that unlike Ctrl-C
// a second time is no demand to end at once.
func hangUps(cancel context.CancelFunc) (end func()) {
	ups, done := make(chan os.Signal, 1), make(chan struct{})
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(ups, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-ups:
			cancel()
		case <-done:
		}
	}()
	return func() { signal.Stop(ups); close(done) }
}

// brokenPipes keeps the process alive where it writes to a pipe that nobody reads any more,
// until end is called: an arm would be left moving.
func brokenPipes() (end func()) {
	c := make(chan os.Signal, 1) // nobody looks: the write fails instead
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}

// unread is an output whose reader may go away, as head does: what is written then is lost,
// and the command goes on to its end.
type unread struct{ io.Writer }

func (w unread) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		return len(b), nil
	}
	return n, err
}
