// Package dataset reads demonstrations that others recorded: LeRobot folders,
// robomimic and robosuite HDF5 files, and our own sessions. What comes out are
// episodes with frames, one at a time, so that a dataset may be larger than
// memory.
//
// The files hold plain columns of numbers. A Map says what they mean; where
// the names are well known, Guess finds it, and what a Map leaves open is guessed.
//
//	r, err := dataset.Open(ctx, "data/pick", dataset.Options{})
//	defer r.Close()
//	err = r.Each(ctx, func(e policy.Episode) error { return learner.Add(ctx, e) })
//	for _, l := range r.Left() {
//		fmt.Println("left out:", l)
//	}
package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset/hdf5"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot"
	"github.com/rapport-rl/rapport/policy/dataset/robomimic"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

// Info is what a dataset says of itself; String writes it for people.
type Info = table.Info

// Terminal says which episodes end for good, so that a learner expects nothing
// after them, and which were only cut off.
type Terminal string

// The rules of what is terminal. The empty one goes by the success column if
// there is one, else by ByDone; an episode without either is cut off. Many
// recorders report a time limit as done: choose BySuccess or Never for such.
const (
	ByDone    Terminal = "done"    // done at the last step, and not truncated
	BySuccess Terminal = "success" // success at the last step, or a positive reward
	Always    Terminal = "always"
	Never     Terminal = "never"
)

// Last says what becomes of an action whose outcome was not recorded: T actions
// want T+1 observations, and LeRobot keeps T. The empty rule repeats the last
// observation of a terminal episode and drops the last action of one that was cut
// off. Behind a terminal step no learner looks at the observation (the target is
// the reward alone), and dropping the step would lose the reward of success;
// behind a cut the value of the observation is what is learnt from, and it would
// be that of a wrong one.
type Last string

// The rules for the last action.
const (
	Drop   Last = "drop"
	Repeat Last = "repeat"
)

// Options says how a dataset is read. The zero value guesses what it means.
type Options struct {
	Map    Map
	Filter string // of a robomimic file: a mask, as "train"
	// NoFrames leaves the cameras out; without it a map that names none takes all.
	NoFrames bool
	Name     string // what the ids of episodes begin with; the file's name if empty
	Limit    int    // read this many episodes at most; 0 reads all
	// FPS is the rate of a dataset that does not say; 20, robosuite's, if 0.
	FPS      float64
	Terminal Terminal
	Last     Last
	// SkipBad goes on behind an episode that cannot be read; Left accounts for it.
	SkipBad bool
	// Progress is told after every episode; nil tells nobody.
	Progress func(done, total int)
	// Session opens a session folder, which only a package above this one can
	// (wire.OpenSession); nil refuses them.
	Session func(dir string) (Session, error)
}

// Session is a session folder of ours as a dataset.
type Session interface {
	Info() Info
	// Episode reads episode i of Info().Episodes, with frames.
	Episode(ctx context.Context, i int) (policy.Episode, error)
	Close() error
}

// Left is an episode that was left out.
type Left struct {
	Episode int // number in the dataset, from 0
	Err     error
}

func (l Left) String() string { return fmt.Sprintf("episode %d: %v", l.Episode, l.Err) }

// Reader reads episodes in order. It is used by one goroutine.
type Reader struct {
	o       Options
	info    Info
	src     table.Source // nil for a session
	plan    *plan        // nil for a session
	session Session
	guessed []Problem
	next    int
	good    int
	left    []Left
}

// Open opens the dataset at path, which is recognised by what is there.
func Open(ctx context.Context, path string, o Options) (*Reader, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	src, session, err := open(path, o)
	if err != nil {
		return nil, err
	}
	if session != nil {
		r := &Reader{o: o, info: session.Info(), session: session}
		if err := r.sessionCameras(); err != nil {
			return nil, errors.Join(err, session.Close())
		}
		return r, nil
	}
	r := &Reader{o: o, info: src.Info(), src: src}
	m, err := r.mapped()
	if o.NoFrames {
		m.Cameras = nil
	}
	if err == nil {
		r.plan, err = m.plan(r.info)
		if err != nil {
			err = r.explain(err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	if r.info.FPS > 0 {
		r.o.FPS = r.info.FPS
	} else if r.o.FPS == 0 {
		r.o.FPS = 20
	}
	if r.o.Name == "" {
		r.o.Name = strings.TrimSuffix(filepath.Base(filepath.Clean(path)), filepath.Ext(path))
	}
	return r, ctx.Err()
}

// Inspect says what the dataset at path holds, without a map.
func Inspect(path string, o Options) (Info, error) {
	if err := o.validate(); err != nil {
		return Info{}, err
	}
	src, session, err := open(path, o)
	if err != nil {
		return Info{}, err
	}
	if session != nil {
		return session.Info(), session.Close()
	}
	return src.Info(), src.Close()
}

func (o Options) validate() error {
	var errs []error
	switch o.Terminal {
	case "", ByDone, BySuccess, Always, Never:
	default:
		errs = append(errs, fmt.Errorf("dataset: terminal is %q, want done, success, always, never or nothing", o.Terminal))
	}
	switch o.Last {
	case "", Drop, Repeat:
	default:
		errs = append(errs, fmt.Errorf("dataset: last is %q, want drop, repeat or nothing", o.Last))
	}
	if o.Limit < 0 {
		errs = append(errs, fmt.Errorf("dataset: limit is %d, want a number of episodes, or 0 for all", o.Limit))
	}
	if !(o.FPS >= 0 && o.FPS <= 1e4) {
		errs = append(errs, fmt.Errorf("dataset: fps is %v, want the rate of the recording, or 0", o.FPS))
	}
	return errors.Join(errs...)
}

// open recognises what is at path.
func open(path string, o Options) (table.Source, Session, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("dataset: %w", err)
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(path, name))
		return err == nil
	}
	if st.IsDir() {
		switch {
		case o.Filter != "":
			return nil, nil, fmt.Errorf("dataset: filter %q is of robomimic files alone; %s is a folder", o.Filter, path)
		case has("meta/info.json"):
			s, err := lerobot.Open(path)
			if err != nil {
				return nil, nil, fmt.Errorf("dataset: %w", err)
			}
			return s, nil, nil
		case has("session.db"):
			if o.Session == nil {
				return nil, nil, fmt.Errorf("dataset: %s is a session, and no opener of sessions was given", path)
			}
			s, err := o.Session(path)
			if err != nil {
				return nil, nil, fmt.Errorf("dataset: %w", err)
			}
			return nil, s, nil
		}
		return nil, nil, fmt.Errorf("dataset: %s is no dataset: there is neither meta/info.json (LeRobot) nor session.db (a session); it holds %s", path, listing(path))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("dataset: %w", err)
	}
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	f.Close()
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	switch head = head[:n]; {
	case hdf5.Is(head):
		s, err := robomimic.Open(path, o.Filter)
		if err != nil {
			return nil, nil, fmt.Errorf("dataset: %w", err)
		}
		return s, nil, nil
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return nil, nil, fmt.Errorf("dataset: %s is a pointer of Git LFS to the data, not the data; fetch them with: git lfs pull", path)
	case bytes.HasPrefix(head, []byte("PAR1")):
		return nil, nil, fmt.Errorf("dataset: %s is one parquet file of a dataset; name the folder which holds meta/info.json", path)
	case bytes.HasPrefix(head, []byte("\x89MCAP")), bytes.HasPrefix(head, []byte("#ROSBAG")):
		return nil, nil, fmt.Errorf("dataset: %s is a recording, no dataset; name the session's folder, or use rapport replay", path)
	}
	return nil, nil, fmt.Errorf("dataset: %s is no dataset: a folder with meta/info.json (LeRobot), a folder with session.db (a session), or an HDF5 file (robomimic) is wanted, and it does not begin as HDF5 does", path)
}

// listing names the first things in a folder.
func listing(dir string) string {
	es, err := os.ReadDir(dir)
	if err != nil || len(es) == 0 {
		return "nothing"
	}
	var names []string
	for i, e := range es {
		if i == 8 {
			names = append(names, "...")
			break
		}
		names = append(names, e.Name())
	}
	return strings.Join(names, ", ")
}

// Info says what the dataset holds.
func (r *Reader) Info() Info { return r.info }

// Map is what its columns were taken for.
func (r *Reader) Map() Map {
	if r.plan == nil {
		return r.o.Map
	}
	return r.plan.m
}

// Guessed says what was taken for granted.
func (r *Reader) Guessed() []Problem { return r.guessed }

// Left accounts for the episodes that were left out so far.
func (r *Reader) Left() []Left { return r.left }

// Len is how many episodes there are to read, of which some may be left out.
func (r *Reader) Len() int {
	if r.o.Limit > 0 {
		return min(r.o.Limit, r.info.Episodes)
	}
	return r.info.Episodes
}

// Close closes the dataset's files.
func (r *Reader) Close() error {
	if r.session != nil {
		return r.session.Close()
	}
	return r.src.Close()
}

// Each calls f with every episode until it returns an error.
func (r *Reader) Each(ctx context.Context, f func(policy.Episode) error) error {
	for {
		e, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// Next returns the next episode; io.EOF says that there is none. With SkipBad it
// passes over those that cannot be read, unless there is no other.
func (r *Reader) Next(ctx context.Context) (policy.Episode, error) {
	for r.next < r.Len() {
		if err := ctx.Err(); err != nil {
			return policy.Episode{}, err
		}
		i := r.next
		r.next++
		e, err := r.read(ctx, i)
		if ctx.Err() != nil {
			return policy.Episode{}, ctx.Err()
		}
		if r.o.Progress != nil {
			r.o.Progress(r.next, r.Len())
		}
		if err == nil {
			r.good++
			return e, nil
		}
		if !r.o.SkipBad {
			return policy.Episode{}, fmt.Errorf("dataset: %w", err)
		}
		r.left = append(r.left, Left{i, err})
	}
	if r.good == 0 && len(r.left) > 0 {
		return policy.Episode{}, fmt.Errorf("dataset: none of the %d episodes of %s can be read; of the first: %w", len(r.left), r.info.Path, r.left[0].Err)
	}
	return policy.Episode{}, io.EOF
}

func (r *Reader) read(ctx context.Context, i int) (policy.Episode, error) {
	if r.session != nil {
		e, err := r.session.Episode(ctx, i)
		if err != nil {
			return e, err
		}
		return e, r.resize(&e)
	}
	t, err := r.src.Read(ctx, i, table.Want{Columns: r.plan.columns, Cameras: r.plan.cameras, Frame: r.plan.ready})
	if err != nil {
		return policy.Episode{}, err
	}
	e, err := r.plan.convert(&t, r.o)
	if err != nil {
		return e, fmt.Errorf("%s: %w", t.Name, err)
	}
	e.ID, e.Seq, e.Origin = id(r.o.Name+"-"+t.Name), uint64(i), policy.Demo
	return e, e.Validate()
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// id makes text the name of a file.
func id(text string) string {
	text = strings.TrimLeft(unfit.ReplaceAllString(text, "-"), "._-")
	return text[max(0, len(text)-120):]
}

// ready makes an image of the dataset's what the map asks for.
func (p *plan) ready(f robot.Frame) (robot.Frame, error) {
	c := p.prepare[f.Camera]
	return c.ready(f)
}

func (c Camera) ready(f robot.Frame) (robot.Frame, error) {
	if c.Flip {
		row := 3 * f.W
		pix := make([]byte, len(f.Pix))
		for y := range f.H {
			copy(pix[row*(f.H-1-y):], f.Pix[row*y:row*(y+1)])
		}
		f.Pix = pix
	}
	if v := c.vision(); v != (vision.Prepare{}) {
		var err error
		if f, err = v.Apply(f); err != nil {
			return f, err
		}
	}
	f.Camera = c.Name
	return f, nil
}

// sessionCameras checks the cameras that are wanted of a session; the rest of a
// map means nothing there.
func (r *Reader) sessionCameras() error {
	for i, c := range r.o.Map.Cameras {
		if c.Key == "" || c.Name == "" {
			return fmt.Errorf("dataset: cameras[%d] wants a key and a name", i)
		}
		if err := c.vision().Validate(); err != nil {
			return fmt.Errorf("dataset: cameras[%d]: %w", i, err)
		}
	}
	return nil
}

// resize makes the frames of a session's episode those of the map, if it names some.
func (r *Reader) resize(e *policy.Episode) error {
	if r.o.NoFrames {
		for t := range e.Inputs {
			e.Inputs[t].Frames = nil
		}
		return nil
	}
	if len(r.o.Map.Cameras) == 0 {
		return nil
	}
	for t := range e.Inputs {
		var out []robot.Frame
		for _, c := range r.o.Map.Cameras {
			for _, f := range e.Inputs[t].Frames {
				if f.Camera != c.Key {
					continue
				}
				f, err := c.ready(f)
				if err != nil {
					return err
				}
				out = append(out, f)
			}
		}
		if len(out) != len(r.o.Map.Cameras) {
			return fmt.Errorf("episode %s: step %d has not all the cameras of the map", e.ID, t)
		}
		e.Inputs[t].Frames = out
	}
	return nil
}
