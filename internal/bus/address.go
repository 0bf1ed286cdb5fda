package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// addressFile is where a session's folder says how to reach its driver.
const addressFile = "bus.json"

// Address is how a process on the same machine reaches who drives a session. The
// file has credentials, so its owner alone may read it.
type Address struct {
	Session  string `json:"session"`
	URL      string `json:"url"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
	PID      int    `json:"pid"` // of the driver, which SIGUSR1 stops without a bus
}

// WriteAddress leaves a in the session's folder until remove is called.
func WriteAddress(dir string, a Address) (remove func() error, err error) {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("bus: address: %w", err)
	}
	path := filepath.Join(dir, addressFile)
	// A new file, since the mode of an old one would stay.
	tmp, err := os.CreateTemp(dir, addressFile+".*")
	if err != nil {
		return nil, fmt.Errorf("bus: address: %w", err)
	}
	_, err = tmp.Write(append(b, '\n')) // CreateTemp made it 0600
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("bus: address: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return func() error {
		if now, err := ReadAddress(dir); err != nil || now.PID != a.PID || now.URL != a.URL {
			return nil // somebody else's by now
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("bus: address: %w", err)
		}
		return nil
	}, nil
}

// ReadAddress returns the address in a session's folder, ErrNone if nobody drives
// the session.
func ReadAddress(dir string) (Address, error) {
	var a Address
	b, err := os.ReadFile(filepath.Join(dir, addressFile))
	if errors.Is(err, os.ErrNotExist) {
		return a, fmt.Errorf("%w: process that drives the session in %s", ErrNone, dir)
	}
	if err != nil {
		return a, fmt.Errorf("bus: address: %w", err)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("bus: address: %s: %w", filepath.Join(dir, addressFile), err)
	}
	return a, nil
}

// Alive reports whether the process of a lives. A killed one leaves its address.
func (a Address) Alive() bool {
	return a.PID > 0 && !errors.Is(syscall.Kill(a.PID, 0), syscall.ESRCH)
}

// Options are what Dial needs beside the URL.
func (a Address) Options() Options {
	return Options{User: a.User, Password: a.Password, Token: a.Token}
}
