package wire

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
)

// configOf is the configuration of the session in dir, with what stands above it. A
// session's file is written whole: an empty one would mean the defaults.
func configOf(dir string, environ, sets []string) (config.Config, error) {
	file, err := configIn(dir)
	if err != nil {
		return config.Config{}, err
	}
	return config.Load(file, environ, sets)
}

// asBegun is the configuration that the session in dir has of itself, whether or not the files
// that it names are where they were.
func asBegun(dir string) (config.Config, error) {
	file, err := configIn(dir)
	if err != nil {
		return config.Config{}, err
	}
	c, err := config.Began(file)
	if err != nil {
		err = fmt.Errorf("%w; if another version of rapport made the session, use that one", err)
	}
	return c, err
}

func configIn(dir string) (string, error) {
	file := filepath.Join(dir, "config.yaml")
	if b, err := os.ReadFile(file); errors.Is(err, os.ErrNotExist) || err == nil && len(bytes.TrimSpace(b)) == 0 {
		return "", fmt.Errorf("wire: %s is missing or empty, so that nobody knows how the session was configured; bring it back from a copy, or from the end of the session's report.html, if it has one", file)
	}
	return file, nil
}

// rooted is c with absolute names of the files that its session reads anew whenever it is gone on
// with or looked at, from whatever folder.
func rooted(c config.Config) config.Config {
	k := &c.Reward.KAGI
	names := []*string{&c.Encoder.ONNX, &c.Reward.Visual.Goal, &c.Reward.Visual.Baseline, &c.Reward.Classifier, &k.Plan, &k.Cameras, &k.Segmenter, &k.Cache, &c.Session.From, &c.Demos.Filter}
	for _, l := range []*[]string{&c.Robot.Markers, &c.Robot.Bag.Files, &c.Robot.Bag.Preferred} {
		*l = slices.Clone(*l) // c is the caller's, too
		for i := range *l {
			names = append(names, &(*l)[i])
		}
	}
	for _, name := range names {
		if abs, err := filepath.Abs(*name); err == nil && *name != "" {
			*name = abs
		}
	}
	return c
}

// origins are what the preparation of a session takes from elsewhere, by key.
func origins(c *config.Config) map[string]*string {
	return map[string]*string{"session.from": &c.Session.From, "demos.filter": &c.Demos.Filter}
}

func there(path string) bool { _, err := os.Stat(path); return err == nil }

// asKept is now with its origins as was keeps them, where it says the same from another folder, as
// where the sessions of a study were gathered on one machine.
func asKept(now, was config.Config) config.Config {
	kept := origins(&was)
	for key, name := range origins(&now) {
		said := filepath.Clean(*name)
		if !filepath.IsAbs(said) && strings.HasSuffix(*kept[key], string(filepath.Separator)+said) && (there(*kept[key]) || !there(said)) {
			*name = *kept[key]
		}
	}
	return now
}

// movedOrigins are the keys of origins that are not there any more, as where a tree of sessions was
// moved, and are where now says: who says so is believed.
func movedOrigins(was, now config.Config) (keys []string) {
	then := origins(&was)
	for key, name := range origins(&now) {
		if old := *then[key]; *name != old && old != "" && *name != "" && !there(old) && there(*name) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Leading is the folder of the session whose desk has the arm of the one in dir: its own,
// or that of the first of two that practise together.
func Leading(dir string) string {
	if first := leader(dir); first != "" {
		return filepath.Join(filepath.Dir(filepath.Clean(dir)), first)
	}
	return dir
}

// leader names the first session of the practice that the one in dir is one of, as leads.
func leader(dir string) string {
	c, err := asBegun(dir)
	if err != nil {
		return ""
	}
	return leads(filepath.Base(filepath.Clean(dir)), c)
}

// GoOn is the command that goes on with the session in dir: with both, where it is one of
// two that practise together, and with the alignment, where it has become one.
func GoOn(dir string) string {
	if aligned(dir) {
		return "rapport align " + Quoted(dir)
	}
	command := "run"
	out, name := filepath.Split(filepath.Clean(dir))
	if first := leader(dir); first != "" {
		command, name = "practice", first
	}
	again := "rapport " + command + " --resume --set " + Quoted("name="+name)
	if out = filepath.Clean(out); out != config.Default().Out {
		again += " --set " + Quoted("out="+out)
	}
	return again
}
