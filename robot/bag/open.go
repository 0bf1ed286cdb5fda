package bag

import (
	"bytes"
	"fmt"
	"os"
)

// Open opens a recording, whose kind is told by its content, not by its name. A
// folder is one of rosbag2.
func Open(path string, opt Options) (*Bag, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%w: %s is a folder", ErrFormat, path)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	src, err := openKind(path, f, opt)
	if err != nil {
		f.close()
		return nil, err
	}
	return &Bag{src}, nil
}

func openKind(path string, f *file, opt Options) (source, error) {
	head := make([]byte, 16)
	head, err := f.read(0, head)
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(magic)):
		return openRosbag(path, f, opt)
	case bytes.HasPrefix(head, []byte(mcapMagic)):
		return openMCAP(path, f, opt)
	case len(head) == 0:
		return nil, fmt.Errorf("%w: %s is empty", ErrFormat, path)
	case bytes.HasPrefix(head, []byte("#ROSBAG V1")) || bytes.HasPrefix(head, []byte("#ROSRECORD")):
		return nil, fmt.Errorf("%w: %s is a bag of version 1; convert it first, with rosbag fix", ErrFormat, path)
	}
	return nil, fmt.Errorf("%w: %s begins with %q", ErrFormat, path, head)
}
