package config

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

//go:embed default.yaml
var defaults []byte

// DefaultYAML returns the commented file that Default is read from.
func DefaultYAML() []byte { return bytes.Clone(defaults) }

// parsedDefaults is read once: parsing takes most of the time of Load.
var parsedDefaults = sync.OnceValues(func() (*ast.File, error) { return parser.ParseBytes(defaults, 0) })

// Default returns the defaults.
func Default() Config {
	var c Config
	f, err := parsedDefaults()
	if err == nil {
		err = fill(said(f), &c) // ours fit, which need not be looked at each time
	}
	if err != nil {
		panic("config: default.yaml does not fit Config: " + err.Error())
	}
	return c
}

// Load reads defaults, then the file (none if empty), then the environment
// (KEY=VALUE, of which those that start with RAPPORT_ count), then sets
// (key.path=value). It returns every problem found, joined. The defaults are those of
// the world and the task that all this names.
func Load(file string, environ, sets []string) (Config, error) {
	return load(file, environ, sets, Config.Validate)
}

// Began reads the file of what a session began with, as Load does but for the files that it
// names, which may be elsewhere by now.
func Began(file string) (Config, error) {
	return load(file, nil, nil, func(c Config) error { return errors.Join(c.problems()...) })
}

// Where reads what Load does for the out and the name of a session that is there: only they must
// be valid. What else is set is for its folder's configuration, and need not go with the defaults.
func Where(file string, environ, sets []string) (Config, error) {
	return load(file, environ, sets, func(c Config) error {
		var p problems
		c.where(&p)
		return errors.Join(p...)
	})
}

func load(file string, environ, sets []string, validate func(Config) error) (Config, error) {
	c := Default()
	var b []byte
	if file != "" {
		var err error
		if b, err = os.ReadFile(file); err != nil {
			err = fmt.Errorf("config: %w", err)
			if errors.Is(err, os.ErrNotExist) {
				err = fmt.Errorf("%w; write one with: rapport config > %s", err, file)
			}
			return c.without(err, environ, sets)
		}
	}
	named, kind := c, c.Learner.Kind
	named.Learner.Kind = ""  // unless somebody names one, it is the task's own
	named.Policy.Keys = true // unless somebody says that it sees no points
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return c.without(fmt.Errorf("config: %s: %w", file, err), environ, sets)
	}
	wrong := named.take(file, f)
	_ = named.override(environ, sets) // told below
	c.Robot.World, c.Robot.Task, c.Robot.Body = named.Robot.World, named.Robot.Task, named.Robot.Body
	c.fitWorld()
	c.Learner.Kind, c.Policy.Diffusion.Process, c.Reward.Kind = named.Learner.Kind, named.Policy.Diffusion.Process, named.Reward.Kind
	c.fitTask()
	c.fitWaypoints(named)
	c.Learner.Kind = cmp.Or(c.Learner.Kind, kind)
	if err := decodeFile(f, &c); err != nil && wrong == nil {
		wrong = fmt.Errorf("config: %s: %w", file, err)
	}
	// A value that could not be read makes the rest of the problems doubtful,
	// but the user mends them all at once if he sees them all.
	err = c.override(environ, sets)
	c.Bus.split()
	return c, errors.Join(wrong, err, validate(c))
}

// without is a configuration whose file could not be read: for who goes on all the same, what
// stands above it counts, and its problems are told as well.
func (c Config) without(file error, environ, sets []string) (Config, error) {
	err := errors.Join(file, c.override(environ, sets))
	c.Bus.split()
	return c, err
}

// override takes what stands above a file.
func (c *Config) override(environ, sets []string) error {
	errs := []error{c.setEnviron(environ)}
	for _, s := range sets {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			errs = append(errs, fmt.Errorf("config: --set %s: want key=value", s))
			continue
		}
		if err := c.Set(key, value); err != nil {
			errs = append(errs, fmt.Errorf("config: --set %s: %w", s, err))
		}
	}
	return errors.Join(errs...)
}

// YAML returns c as a file that Load reads back to c.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }

// Decode reads YAML with strict keys into v, for files beside a session's.
func Decode(b []byte, v any) error { return decode(b, v) }

// Encode writes v as YAML.
func Encode(v any) ([]byte, error) { return yaml.Marshal(v) }

func decode(b []byte, v any) error {
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return err
	}
	return decodeFile(f, v)
}

// decodeFile decodes what f says; nothing changes nothing.
func decodeFile(f *ast.File, v any) error {
	n := said(f)
	if n == nil {
		return nil
	}
	if err := misfit("", n, reflect.TypeOf(v)); err != nil {
		return err
	}
	return fill(n, v)
}

// fill decodes what is no misfit.
func fill(n ast.Node, v any) error {
	return yaml.NewDecoder(strings.NewReader(""), yaml.Strict()).DecodeFromNode(n, v)
}

// said is the first document of f that says anything, nil where all are comments.
func said(f *ast.File) ast.Node {
	for _, doc := range f.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.NullType && doc.Body.Type() != ast.CommentType {
			return doc.Body
		}
	}
	return nil
}
