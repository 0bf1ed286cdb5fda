package flock_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rapport-rl/rapport/internal/flock"
)

// One has the lock at a time, and a copy of its descriptor, as a child that is being
// started holds, does not keep it.
func TestOneHasTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := open(), open()
	if err := flock.Try(first); err != nil {
		t.Fatal(err)
	}
	held, err := syscall.Dup(int(first.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(held)
	if err := flock.Try(second); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("a second holder got %v", err)
	}
	if err := flock.Release(first); err != nil {
		t.Fatal(err)
	}
	if err := flock.Try(second); err != nil {
		t.Errorf("given back, it is not to be had: %v", err)
	}
	if err := flock.Release(second); err != nil {
		t.Error(err)
	}
}
