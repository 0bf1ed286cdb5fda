package judge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Memory is a Model that asks another only what it has not asked before. Answers are
// kept in a file, a JSON object a line, under the hash of the model's name, prompt, schema, turn and
// pixels. It is safe for use by several goroutines, which take turns.
type Memory struct {
	m    Model
	name string
	mu   sync.Mutex
	file *os.File
	kept map[string]string

	calls, hits int
}

type entry struct {
	Key    string `json:"key"`
	Answer string `json:"answer"`
}

// errKeep says that an answer could not be written down.
var errKeep = errors.New("judge: an answer cannot be kept")

// Remember opens the file at path, which need not be there yet. name is the model's:
// what another one answered is not taken for its. A last line that was cut off by the death of a
// process is dropped.
func Remember(m Model, name, path string) (*Memory, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	y := &Memory{m: m, name: name, file: f, kept: map[string]string{}}
	good, err := y.read()
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("judge: %s: %w", path, err), f.Close())
	}
	return y, nil
}

// read returns up to where the file is whole.
func (y *Memory) read() (good int64, err error) {
	r := bufio.NewReader(y.file)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return good, nil // the end, or a line that was never finished
		}
		var e entry
		if json.Unmarshal(line, &e) != nil || e.Key == "" {
			return 0, fmt.Errorf("line %d is no answer; mend or remove it", n)
		}
		y.kept[e.Key] = e.Answer
		good += int64(len(line))
	}
}

// Ask implements Model. Errors are not remembered.
func (y *Memory) Ask(ctx context.Context, p Prompt) ([]byte, error) {
	key := keyOf(y.name, p)
	y.mu.Lock()
	defer y.mu.Unlock()
	if a, ok := y.kept[key]; ok {
		y.hits++
		return []byte(a), nil
	}
	y.calls++
	b, err := y.m.Ask(ctx, p)
	if err != nil {
		return nil, err
	}
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(entry{key, string(b)}); err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	if _, err := y.file.Write(line.Bytes()); err != nil {
		return nil, fmt.Errorf("%w: %w", errKeep, err)
	}
	y.kept[key] = string(b)
	return b, nil
}

// Count tells how often the model was asked, and how often it need not be.
func (y *Memory) Count() (calls, hits int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.calls, y.hits
}

// Close closes the file.
func (y *Memory) Close() error { return y.file.Close() }

func keyOf(model string, p Prompt) string {
	h := sha256.New()
	put := func(b []byte) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	put([]byte(model))
	put([]byte(p.System))
	put([]byte(p.Text))
	put(p.Schema)
	put(binary.LittleEndian.AppendUint64(nil, uint64(p.Turn)))
	for _, f := range p.Images {
		put([]byte(f.Camera))
		put(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(f.W)), uint64(f.H)))
		put(f.Pix)
	}
	return hex.EncodeToString(h.Sum(nil))
}
