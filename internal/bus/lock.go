package bus

import (
	"fmt"
	"os"

	"github.com/rapport-rl/rapport/internal/flock"
)

// fileLock keeps a second process away from a folder. The kernel releases it
// when its holder dies, so a crash leaves nothing to clean up.
type fileLock struct{ f *os.File }

// lockFile takes the lock or says that another process has it.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock.Try(f); err != nil {
		return nil, fmt.Errorf("in use by another process (%w); stop it, or use another folder", closing(f, err))
	}
	return &fileLock{f}, nil
}

func (l *fileLock) release() { _ = flock.Release(l.f) } // nothing was written

// closing closes f, which was only read or is being abandoned, and returns err.
func closing(f *os.File, err error) error {
	_ = f.Close()
	return err
}
