package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
)

// living are the folders that this user's sessions on this machine are noted in: one that lasts
// as long as the user is logged in, and one for who is not, as a session that cron began. A home
// may be several machines', so that each has a folder of its own.
func (a *app) living() bus.Living {
	cache := a.getenv("XDG_CACHE_HOME")
	if home := a.getenv("HOME"); cache == "" && home != "" {
		cache = filepath.Join(home, ".cache")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	var l bus.Living
	for _, base := range []string{a.getenv("XDG_RUNTIME_DIR"), cache} {
		if filepath.IsAbs(base) {
			l = append(l, filepath.Join(base, "rapport", "living-"+host))
		}
	}
	return l
}

// places are the folders that may be those of living sessions: those below out, and those that
// are noted.
func (a *app) places(out string) []string {
	var dirs []string
	seen := map[string]bool{}
	add := func(dir string) {
		if abs, err := filepath.Abs(dir); err == nil && !seen[abs] {
			seen[abs] = true
			dirs = append(dirs, dir)
		}
	}
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(a.stderr, "rapport:", err)
	}
	for _, e := range entries {
		add(filepath.Join(out, e.Name()))
	}
	noted, err := a.living().Folders()
	if err != nil {
		fmt.Fprintln(a.stderr, "rapport:", err)
	}
	for _, dir := range noted {
		add(dir)
	}
	return dirs
}

// stopLiving stops every session of this user that lives on this machine, or those of a name,
// and says how many. None waits for another: who does not answer is told of at the end.
func (a *app) stopLiving(ctx context.Context, d drivers, out, name string, s bus.Stop) (done int, err error) {
	type answer struct {
		dir, said string
		err       error
	}
	places := a.places(out)
	answers := make(chan answer, len(places))
	open := map[string]bool{}
	for _, dir := range places {
		open[dir] = true
		go func() {
			r := answer{dir: dir}
			at, err := driver(dir)
			if name != "" && at.Session != name {
				err = bus.ErrNone
			}
			if r.err = err; err == nil {
				r.said, r.err = d.stop(ctx, dir, at, s)
			}
			answers <- r
		}()
	}
	late := time.After(stopLimit + time.Second) // whose disk or bus hangs
	var errs []error
	for len(open) > 0 {
		select {
		case r := <-answers:
			delete(open, r.dir)
			switch {
			case r.said != "":
				done++
				errs = append(errs, a.say(r.said))
			case errors.Is(r.err, bus.ErrNone) || errors.Is(r.err, syscall.ENOTDIR): // nobody lives there
			case errors.Is(r.err, fs.ErrPermission):
				fmt.Fprintf(a.stderr, "rapport: somebody else's session is left as it is: %v\n", r.err)
			default:
				errs = append(errs, r.err)
			}
		case <-late:
			for dir := range open {
				errs = append(errs, fmt.Errorf("%s: nobody answers, and nobody knows whether its arm was stopped; stop at the arm", dir))
			}
			clear(open)
		}
	}
	return done, errors.Join(errs...)
}

// noneStopped says that no session was found, where it was looked for, and what to do.
func (a *app) noneStopped(out string) error {
	noted := "and since neither XDG_RUNTIME_DIR nor HOME is set, sessions elsewhere are not known"
	if l := a.living(); len(l) > 0 {
		noted = "nor does one that is noted in " + strings.Join(l, " or ")
	}
	return fmt.Errorf("no arm was stopped: no session in %s runs, %s; if an arm moves, stop at the arm, name the session by --session FOLDER or its server by --nats URL, or signal its process: kill -USR1 PID", out, noted)
}
