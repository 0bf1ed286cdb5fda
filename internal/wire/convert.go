package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/record"
	"github.com/rapport-rl/rapport/robot/record/foxglove"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// ConvertConfig says what becomes a dataset.
type ConvertConfig struct {
	In      []string          // sessions, episodes of them, LeRobot folders, robomimic files, bags
	Out     string            // an empty or new folder
	Task    string            // what the arm was to do
	FPS     float64           // of what does not say it, or says it less exactly; 0: by the stamps
	Images  bool              // frames as PNG, bit for bit, instead of films
	Columns []byte            // YAML of a dataset.Map, for foreign datasets
	Topics  map[string]string // of bags: topic by camera, or by states, joints, gripper, target, pose
	Memory  int64             // bytes that the pictures of a bag's episode may take; 0: most of what is free
}

// Converted is what was written, and what was not.
type Converted struct {
	Episodes, Steps int
	Left            []error // of what could not be read
	Notes           []string
}

// Convert writes recordings of any format as one LeRobot v3.0 dataset, which
// TrainImported takes. What cannot be read is left out and accounted for.
func Convert(ctx context.Context, c ConvertConfig, o Options) (out Converted, err error) {
	if len(c.In) == 0 {
		return out, errors.New("wire: nothing to convert")
	}
	for i, a := range c.In {
		for _, b := range c.In[:i] {
			if same(a, b) {
				return out, fmt.Errorf("wire: %s is named twice", a)
			}
		}
	}
	// Before anything is written: a dataset has rewards of all episodes or of none.
	var paid rewarded
	for _, path := range c.In {
		if err := paid.count(ctx, path, c); err != nil {
			return out, err
		}
	}
	out.Notes = append(out.Notes, paid.notes...)
	mixed := paid.with > 0 && len(paid.without) > 0
	if mixed {
		out.Notes = append(out.Notes, paid.String())
	}
	x := dataset.NewExporter(c.Out, dataset.ExportOptions{Task: c.Task, FPS: c.FPS, Images: c.Images, NoRewards: mixed})
	add := func(e policy.Episode) error {
		if err := x.Add(ctx, e); err != nil {
			if ctx.Err() != nil || x.Err() != nil {
				return err
			}
			out.Left = append(out.Left, err)
			return nil
		}
		out.Episodes++
		out.Steps += e.Len()
		return nil
	}
	o.Tell("convert", 0, len(c.In), "")
	for i, path := range c.In {
		if err := convert(ctx, path, c, &out, add); err != nil {
			return out, err
		}
		o.Tell("convert", i+1, len(c.In), fmt.Sprintf("%d episodes", out.Episodes))
	}
	out.Notes = append(out.Notes, x.Notes()...)
	if out.Episodes == 0 {
		return out, errors.Join(append([]error{fmt.Errorf("wire: none of the episodes can be converted")}, out.Left...)...)
	}
	return out, x.Close()
}

// convert hands the episodes of one input on. What of it cannot be read is left out; an error is
// of all that follows.
func convert(ctx context.Context, path string, c ConvertConfig, out *Converted, add func(policy.Episode) error) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	m, err := columnsOf(c.Columns)
	if err != nil {
		return err
	}
	var fatal error
	hand := func(e policy.Episode) error {
		fatal = add(e)
		return fatal
	}
	switch {
	case !st.IsDir() && IsEpisode(path):
		e, err := loose(path)
		if err != nil {
			out.Left = append(out.Left, err)
			if e.Len() == 0 {
				return nil
			}
			out.Notes = append(out.Notes, fmt.Sprintf("%s: what is whole of it, %d steps, is taken", path, e.Len()))
		}
		if err := homely(ctx, path, &e); err != nil && ctx.Err() != nil { // else it was told when it was counted
			return ctx.Err()
		}
		return add(e)
	case recording(path, st):
		var notes []string
		notes, err = bagEpisodes(ctx, path, c.Topics, cmp.Or(c.Memory, spare()), func(e policy.Episode) error { return hand(ticked(e)) })
		out.Notes = append(out.Notes, notes...)
	default:
		if ofAnother(path, m) {
			m = dataset.Map{}
		}
		err = convertDataset(ctx, path, dataset.Options{Map: m, SkipBad: true, FPS: c.FPS}, out, hand)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fatal != nil:
		return fatal
	case err != nil:
		out.Left = append(out.Left, err)
	}
	return nil
}

// spare is half of the machine's free memory, since the collector lets as much lie about again, or 8 GiB
// where nobody tells. What the recording before took is given back first.
func spare() int64 {
	debug.FreeOSMemory()
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		var kB int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kB); n == 1 && kB > 0 {
			return kB * 1024 / 2
		}
	}
	return 8 << 30
}

// ofAnother says that a map is none of the session's at path, but of the foreign datasets beside it:
// none of its cameras is there.
func ofAnother(path string, m dataset.Map) bool {
	if !SessionAt(path) || len(m.Cameras) == 0 {
		return false
	}
	info, err := InspectDataset(path, dataset.Options{})
	if err != nil {
		return false // which is told when it is read
	}
	for _, c := range m.Cameras {
		if slices.ContainsFunc(info.Cameras, func(own table.Camera) bool { return own.Name == c.Key }) {
			return false
		}
	}
	return true
}

// ticked stamps the observations of a bag by its ticks, which are as far apart as the rows of a
// dataset. The stamps of its states are older by whatever its topics' rates make them.
func ticked(e policy.Episode) policy.Episode {
	first := e.Inputs[0].State.Stamp
	for t := range e.Inputs {
		e.Inputs[t].State.Stamp = first.Add(time.Duration(t) * tabletop.Period)
	}
	return e
}

func convertDataset(ctx context.Context, path string, o dataset.Options, out *Converted, add func(policy.Episode) error) error {
	r, err := OpenDataset(ctx, path, o)
	if err != nil {
		return fmt.Errorf("wire: convert %s: %w", path, err)
	}
	err = r.Each(ctx, add)
	for _, l := range r.Left() {
		out.Left = append(out.Left, fmt.Errorf("wire: %s: %v", path, l))
	}
	for _, p := range r.Guessed() {
		out.Notes = append(out.Notes, path+": "+p.String())
	}
	return errors.Join(err, r.Close())
}

// rewarded counts which episodes have rewards, as far as they can be read.
type rewarded struct {
	with    int
	without []string // by their names
	notes   []string // why some have none
}

func (r rewarded) String() string {
	few, more := r.without, ""
	if len(few) > 3 {
		few, more = few[:3], fmt.Sprintf(" and %d others", len(r.without)-3)
	}
	return fmt.Sprintf("%d episodes have rewards, and %d have none (%s%s): rewards are left out of all; convert those that have some alone to keep theirs",
		r.with, len(r.without), strings.Join(few, ", "), more)
}

// owe notes that the session of path cannot pay its episodes, once.
func (r *rewarded) owe(path string, why error) {
	if n := fmt.Sprintf("%s: rewards are left out, since those that the session learns from cannot be made: %v", path, why); !slices.Contains(r.notes, n) {
		r.notes = append(r.notes, n)
	}
}

func (r *rewarded) add(name string, has bool) {
	if has {
		r.with++
	} else {
		r.without = append(r.without, name)
	}
}

// count looks at the episodes of one input, without their frames. What cannot be read is told
// when its turn comes.
func (r *rewarded) count(ctx context.Context, path string, c ConvertConfig) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	switch {
	case !st.IsDir() && IsEpisode(path):
		rec, err := record.ReadNumbers(path)
		if err != nil {
			return nil
		}
		e := policy.Episode{ID: rec.Info.ID, Applied: make([]robot.Command, max(0, len(rec.Ticks)-1)), Rewards: rec.Rewards}
		if err := homely(ctx, path, &e); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			r.owe(path, err)
		}
		r.add(e.ID, e.Rewards != nil)
		return nil
	case recording(path, st):
		if m, _, err := bagMapping(path, c.Topics, true); err == nil && armTopic(m) != "" {
			r.add(recordingID(path), false)
		}
		return nil
	case SessionAt(path):
		s, err := OpenSession(path)
		if err != nil {
			return nil
		}
		past := s.(*past)
		for _, id := range past.ids {
			if err := ctx.Err(); err != nil {
				return errors.Join(err, s.Close())
			}
			e, err := past.st.Episode(id)
			if err != nil {
				continue
			}
			if err := past.reward(ctx, &e); err != nil && ctx.Err() == nil {
				r.owe(path, err)
			}
			r.add(id, e.Rewards != nil)
		}
		return s.Close()
	}
	m, err := columnsOf(c.Columns)
	if err != nil {
		return err
	}
	// Its episodes have the same columns.
	d, err := OpenDataset(ctx, path, dataset.Options{Map: m, SkipBad: true, FPS: c.FPS, NoFrames: true})
	if err != nil {
		return ctx.Err()
	}
	if e, err := d.Next(ctx); err == nil {
		for range d.Len() {
			r.add(e.ID, e.Rewards != nil)
		}
	}
	return d.Close()
}

// recording says whether a path is a bag by its beginning or its name, or a folder of rosbag2.
func recording(path string, st os.FileInfo) bool {
	if st.IsDir() {
		return rosbag2(path)
	}
	if slices.Contains([]string{".bag", ".mcap", ".db3", ".active"}, filepath.Ext(path)) {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 16)
	n, _ := f.Read(head)
	text := string(head[:n])
	return strings.HasPrefix(text, "#ROSBAG") || strings.HasPrefix(text, "\x89MCAP") || strings.HasPrefix(text, "SQLite format 3")
}

// rosbag2 says whether a folder is a recording: its recorder writes metadata.yaml last, and may
// have died before.
func rosbag2(dir string) bool {
	if SessionAt(dir) || SessionAt(filepath.Dir(filepath.Clean(dir))) && filepath.Base(dir) == "episodes" {
		return false
	}
	es, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(es, func(e os.DirEntry) bool {
		ext := filepath.Ext(e.Name())
		return e.Name() == "metadata.yaml" || ext == ".db3" || ext == ".mcap"
	})
}

// loose reads an episode's file without its session. An error beside an episode
// says that its end is missing.
func loose(path string) (policy.Episode, error) {
	rec, err := record.Read(path)
	if err != nil {
		err = fmt.Errorf("wire: %w", err)
	}
	if len(rec.Ticks) < 2 {
		return policy.Episode{}, errors.Join(err, fmt.Errorf("wire: %s holds %d observations, want two at least", path, len(rec.Ticks)))
	}
	e := policy.Episode{ID: rec.Info.ID, Seq: rec.Info.Seq, Origin: policy.Origin(rec.Info.Origin), Seed: rec.Info.Seed, Terminal: rec.Info.Terminal, Rewards: rec.Rewards}
	for t, tick := range rec.Ticks {
		e.Inputs = append(e.Inputs, policy.Input{Step: t, State: tick.State, Frames: tick.Frames})
		if t > 0 {
			e.Applied, e.By, e.Version = append(e.Applied, tick.Applied), append(e.By, tick.By), append(e.Version, tick.Version)
		}
	}
	return e, errors.Join(err, e.Validate())
}

// homeOf is the folder of the session whose episode's file path is; "" of none.
func homeOf(path string) string {
	abs, err := filepath.Abs(path)
	if home := filepath.Dir(filepath.Dir(abs)); err == nil && SessionAt(home) {
		return home
	}
	return ""
}

// ended asks the session that an episode's file lies in whether it ended by itself, as older files
// of recorded episodes do not tell.
func ended(ctx context.Context, path string, e *policy.Episode) bool {
	home := homeOf(path)
	if e.Terminal || home == "" {
		return e.Terminal
	}
	st, err := store.Open(home)
	if err != nil {
		return false
	}
	defer st.Close()
	rows, err := st.Episodes(ctx, e.Origin)
	return err == nil && slices.ContainsFunc(rows, func(r store.Row) bool { return r.ID == e.ID && r.Steps == e.Len() && r.Terminal })
}

// homely has an episode's file say what the session that it lies in knows of it: that it ended by
// itself, which older files of recorded episodes do not tell, and the rewards that the session
// learns from. An error says why these cannot be made, or the session not be asked.
func homely(ctx context.Context, path string, e *policy.Episode) error {
	home := homeOf(path)
	if home == "" {
		return nil
	}
	s, err := openPast(home)
	if err != nil {
		e.Rewards = nil
		return err
	}
	defer s.Close()
	kept, err := s.st.Episode(e.ID)
	if err != nil || kept.Len() != e.Len() {
		return nil
	}
	e.Terminal = e.Terminal || kept.Terminal
	err = s.reward(ctx, &kept)
	e.Rewards = kept.Rewards
	return err
}

// ExportMCAP writes each episode of the session in dir as an MCAP file that Foxglove
// shows as it is, below out: images with the keypoints of the session's encoder and
// what the reward made of them. It returns how many, and what was left out.
func ExportMCAP(ctx context.Context, dir, out string, o Options) (n int, left []error, err error) {
	if es, err := os.ReadDir(out); err == nil && len(es) > 0 {
		return 0, nil, fmt.Errorf("wire: %s is not empty; remove it, or write to another folder", out)
	}
	s, err := visit(dir, nil, "an export", nil, nil, o)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	p, err := s.judges(ctx)
	if err != nil {
		return 0, nil, err
	}
	reels, err := s.listed(ctx, []reel{{folder: dir}})
	if err != nil {
		return 0, nil, err
	}
	pr := projector{s: s, parts: p}
	for i, r := range reels {
		if err := ctx.Err(); err != nil {
			return n, left, err
		}
		err := r.err
		if err == nil {
			err = pr.foxglove(ctx, r, out)
		}
		if ctx.Err() != nil {
			return n, left, ctx.Err()
		}
		if err != nil {
			left = append(left, err)
		} else {
			n++
		}
		o.Tell("export", i+1, len(reels), r.id)
	}
	return n, left, nil
}

// foxglove writes one episode.
func (p *projector) foxglove(ctx context.Context, r reel, out string) error {
	e := foxglove.Episode{}
	var err error
	if e.Recording, e.Frames, err = record.ReadEncoded(r.file); err != nil {
		return fmt.Errorf("wire: export: %w", err)
	}
	t := p.show(ctx, r)
	if t.Err != nil && len(t.Steps) == 0 {
		return t.Err
	}
	rec, err := record.Read(r.file)
	if err != nil {
		return fmt.Errorf("wire: export: %w", err)
	}
	conv, _ := p.parts.eyes.(*encoder.Conv)
	sum := 0.0
	for i, tick := range rec.Ticks {
		note := foxglove.Note{Text: "reset", Expert: t.Expert}
		if i > 0 && i <= len(t.Steps) {
			st := t.Steps[i-1]
			sum += st.Reward
			note.Text = fmt.Sprintf("step %d\nreward %.4f\nreturn %.3f", st.T, st.Reward, sum)
			if t.Expert != "" {
				note.Text += fmt.Sprintf("\n%s frame %d", t.Expert, st.Matched)
				note.Matched = st.Matched
			}
		}
		if conv != nil && len(tick.Frames) > 0 {
			ks, err := conv.Keypoints(ctx, tick.Frames)
			if err != nil {
				return fmt.Errorf("wire: export %s: %w", r.id, err)
			}
			for _, k := range ks {
				note.Keys = append(note.Keys, record.Keypoint(k))
			}
		}
		e.Notes = append(e.Notes, note)
	}
	if e.Rewards == nil {
		for _, st := range t.Steps {
			e.Rewards = append(e.Rewards, st.Reward)
		}
	}
	return foxglove.Write(filepath.Join(out, r.id+".mcap"), e)
}
