package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/rapport-rl/rapport/internal/whole"
)

// found reads the JSON file of results of an earlier run into v, and says whether
// there is one.
func found(file string, v any) (bool, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("%s: %w; remove it, and it is made again", file, err)
	}
	return true, nil
}

// keep writes v to file, for found. A run that is killed leaves the file as it was.
func keep(file string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return whole.Write(file, append(b, '\n'))
}

// eachSeed is what of makes of every task and each of the seeds, by task, in a
// folder that is there then.
func eachSeed[T any](folder string, tasks []string, seeds seedSpan, of func(task string, seed int) (T, error)) (map[string][]T, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	points := map[string][]T{}
	for seed := range seeds.all() {
		for _, task := range tasks {
			p, err := of(task, seed)
			if err != nil {
				return nil, fmt.Errorf("%s, seed %d: %w", task, seed, err)
			}
			points[task] = append(points[task], p)
		}
	}
	return points, nil
}
