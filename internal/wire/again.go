package wire

import (
	"os"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/config"
)

// GoOn is the command that goes on with the session in dir: with both, where it is one of
// two that practise together, and with the alignment, where it has become one.
func GoOn(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, alignFolder)); err == nil {
		return "rapport align " + dir
	}
	command := "run"
	out, name := filepath.Split(filepath.Clean(dir))
	if c, err := config.Load(filepath.Join(dir, "config.yaml"), nil, nil); err == nil {
		if first := leads(name, c); first != "" {
			command, name = "practice", first
		}
	}
	again := "rapport " + command + " --resume --set name=" + name
	if out = filepath.Clean(out); out != config.Default().Out {
		again += " --set out=" + out
	}
	return again
}
