// Command rapport fine-tunes visuomotor robot policies from what cameras see
// and what people prefer. See rapport help, or README.md.
package main

import (
	"os"

	"github.com/rapport-rl/rapport/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
