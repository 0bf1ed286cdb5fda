// Package flock keeps other processes out of a folder by a lock on a file in it. The
// kernel gives the lock back when its process ends, however that ends.
package flock

import (
	"errors"
	"os"
	"syscall"
)

// Try takes the lock on f, or says at once that another process, or another opening in
// this one, has it: syscall.EWOULDBLOCK.
func Try(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// Release gives the lock back and closes f. Closing alone would leave it with a child that
// is just being started, which holds a copy of the descriptor until it runs its program.
func Release(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
