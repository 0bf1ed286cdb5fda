package wire

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/store"
)

// keepBeside writes what v is to a JSON file beside a session's database.
func keepBeside(st *store.Session, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wire: %s: %w", name, err)
	}
	return st.Put(name, b)
}

// readBeside reads into v such a file of the session in dir; without one the error wraps
// fs.ErrNotExist. remedy is for one that is damaged.
func readBeside(dir, name string, v any, remedy string) error {
	file := filepath.Join(dir, name)
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("wire: %s: %w; %s", file, err, remedy)
	}
	return nil
}
