package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/config"
)

// settings are what figures were made with besides what names their file: the keys whose values
// differ from those that the command gives by itself, as --set takes them, and the values of
// flags by their names. nil: a file of before, which does not tell.
type settings map[string]string

// bystanders are keys, and groups that end in a dot, that change no figure, or that name the file.
var bystanders = []string{"name", "out", "seed", "bus.", "session.record", "session.lossless", "session.checkpoint", "session.orphan"}

// settingsOf are those of c; own is what the command configures where nobody sets anything.
func settingsOf(c, own config.Config, flags settings) settings {
	s := settings{}
	maps.Copy(s, flags)
	for _, ch := range c.Changes(own) {
		if !config.Covers(bystanders, ch.Key) {
			s[ch.Key] = ch.Is
		}
	}
	return s
}

// madeSo refuses figures in a file that were made with other settings than now: they would be
// printed under the name of these. own is what the command configures by itself.
func (a *app) madeSo(file string, was, now settings, own config.Config) error {
	if was == nil {
		if !a.untold {
			fmt.Fprintf(a.stderr, "%s is of an earlier version and does not tell its settings; it is taken as it is, and so are others like it\n", file)
		}
		a.untold = true
		return nil
	}
	both := maps.Clone(was)
	maps.Copy(both, now)
	var other []string
	for _, key := range slices.Sorted(maps.Keys(both)) {
		then, told := was[key]
		is, set := now[key]
		switch flag := strings.HasPrefix(key, "--"); {
		case told && set:
		case flag: // which a version has, and another has not
			continue
		case told:
			is = valueOf(own, key, then)
		default:
			then = valueOf(own, key, is)
		}
		if then != is {
			other = append(other, fmt.Sprintf("%s %s, not %s", key, then, is))
		}
	}
	if len(other) == 0 {
		return nil
	}
	return fmt.Errorf("%s was made with %s; name another folder with --to", file, strings.Join(other, "; "))
}

// valueOf is the value of a key in c, as --set takes it, and other if it is that.
func valueOf(c config.Config, key, other string) string {
	d := c
	if d.Set(key, other) != nil {
		return "what this version has in its place"
	}
	for _, ch := range c.Changes(d) {
		return ch.Is
	}
	return other
}

// settled is refuse for a command whose sessions and figures are kept.
func (a *app) settled(how map[string]string) error {
	if err := a.refuse(how); err != nil {
		return err
	}
	a.keeps(same)
	return nil
}

// refuse refuses to --set keys that the command gives values itself, and to have them in the
// environment, which some of its steps read again. how says by key, or by group with a dot at
// its end, who gives them.
func (a *app) refuse(how map[string]string) error {
	for _, s := range a.sets {
		key, _, _ := strings.Cut(s, "=")
		for _, k := range slices.Sorted(maps.Keys(how)) {
			if config.Covers([]string{k}, key) {
				return usageError{fmt.Errorf("--set %s: %s; leave it out", s, how[k])}
			}
		}
	}
	for _, key := range config.Keys() {
		if key == "out" { // that of other commands, and no step's
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(how)) {
			if name := config.EnvName(key); config.Covers([]string{k}, key) && a.getenv(name) != "" {
				return usageError{fmt.Errorf("%s=%s in the environment: %s; unset it", name, a.getenv(name), how[k])}
			}
		}
	}
	return nil
}

// walked is, for settled, what a command that walks through seeds and tasks settles, and more.
func walked(more map[string]string) map[string]string {
	how := map[string]string{
		"robot.task": "the tasks are those of --tasks",
		"seed":       "the seeds are those of --seeds",
		"name":       "sessions are named by their task and seed",
		"out":        "the folder is that of --to",
	}
	maps.Copy(how, more)
	return how
}

// wantSome refuses an empty list, of which nothing would come, and one with doubles.
func wantSome[T comparable](flag string, list []T) error {
	if len(list) == 0 {
		return fmt.Errorf("%s names nothing; want one at least", flag)
	}
	return wantOnce(flag, list)
}

// wantOnce refuses a list with doubles: a table would count their seeds twice.
func wantOnce[T comparable](flag string, list []T) error {
	for i, x := range list {
		if slices.Contains(list[:i], x) {
			return fmt.Errorf("%s names %v twice; want each once", flag, x)
		}
	}
	return nil
}

// learnable refuses kinds of rewards that c lacks something for, before others are learned.
func learnable(c config.Config, kinds []string) error {
	if !slices.Contains(kinds, "vlm-rm") {
		return nil
	}
	c.Reward.Kind = "vlm-rm" // the one that wants prompts, and a model of its own
	if err := c.Validate(); err != nil {
		return usageError{fmt.Errorf("--kinds names vlm-rm: %w", err)}
	}
	return nil
}

// fileOf is the file of results of a task and seed.
func fileOf(folder, name string, seed int) string {
	return filepath.Join(folder, fmt.Sprintf("%s-%d.json", name, seed))
}
