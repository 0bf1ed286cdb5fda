package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/parser"
)

const envPrefix = "RAPPORT_"

// apart are variables of that prefix which are no keys: those of a vision-language
// model (a key is no matter of files that people pass on), what says where this machine's
// libraries are (the one that sim/mujoco renders by, CUDA's) and how its card is waited for,
// and what tests and measurements go by.
var apart = []string{
	"RAPPORT_EGL", "RAPPORT_VLM_URL", "RAPPORT_VLM_KEY", "RAPPORT_VLM_MODEL", "RAPPORT_VLM_TOKENS", "RAPPORT_VLM_DEADLINE",
	"RAPPORT_CUDA_LIBS", "RAPPORT_CUDA_WAIT", "RAPPORT_TEST_CARD", "RAPPORT_PEER_PYTHON",
}

// leaf is a value that a key names.
type leaf struct {
	key   string // as robot.task
	value reflect.Value
}

func leaves(v reflect.Value, prefix string) []leaf {
	var out []leaf
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("yaml")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			out = append(out, leaves(f, key+".")...)
		} else {
			out = append(out, leaf{key, f})
		}
	}
	return out
}

// Keys returns every key in the order of the struct tree.
func Keys() []string {
	var c Config
	var out []string
	for _, l := range leaves(reflect.ValueOf(&c).Elem(), "") {
		out = append(out, l.key)
	}
	return out
}

// EnvName returns the environment variable that overrides key.
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// Set sets the value of a key from its YAML form, so that a list is
// written as [x, y].
func (c *Config) Set(key, value string) error {
	for _, l := range leaves(reflect.ValueOf(c).Elem(), "") {
		if l.key != key {
			continue
		}
		if l.value.Kind() == reflect.String {
			l.value.SetString(value)
			return nil
		}
		fresh := reflect.New(l.value.Type())
		f, err := parser.ParseBytes([]byte(value), 0)
		empty := err == nil && said(f) == nil // which would be zeros
		if err == nil && !empty {
			n := said(f)
			if err := misfit(key, n, l.value.Type()); err != nil {
				return err
			}
			err = fill(n, fresh.Interface())
		}
		if err != nil || empty {
			return fmt.Errorf("%s does not take %q: want %s", key, value, kindOf(l.value.Type()))
		}
		l.value.Set(fresh.Elem())
		return nil
	}
	return fmt.Errorf("there is no key %s%s", key, hint(key))
}

func (c *Config) setEnviron(environ []string) error {
	var errs []error
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(apart, name) {
			continue
		}
		keys := Keys()
		i := slices.IndexFunc(keys, func(k string) bool { return EnvName(k) == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("config: environment: %s names no key; unset it or see: rapport config", name))
			continue
		}
		if err := c.Set(keys[i], value); err != nil {
			errs = append(errs, fmt.Errorf("config: environment: %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// hint names five keys at most: those that end in the same word, and those that begin and
// end most alike, of the ones that agree in half of their letters.
func hint(key string) string {
	last := key[strings.LastIndex(key, ".")+1:]
	alike := func(k string) int {
		if strings.HasSuffix(k, "."+last) {
			return max(len(k), len(key))
		}
		n := min(len(k), len(key))
		from, to := 0, 0
		for from < n && k[from] == key[from] {
			from++
		}
		for to < n-from && k[len(k)-1-to] == key[len(key)-1-to] {
			to++
		}
		return from + to
	}
	near := slices.DeleteFunc(Keys(), func(k string) bool { return 2*alike(k) < max(len(k), len(key)) })
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(alike(b), alike(a)) })
	if len(near) == 0 {
		return "; see: rapport config"
	}
	return "; near it: " + strings.Join(near[:min(5, len(near))], ", ")
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a word, or text in quotes"
	case reflect.Array:
		return fmt.Sprintf("%d numbers, as a list", t.Len())
	case reflect.Slice:
		return "a list, as [a, b]"
	}
	return t.String()
}
