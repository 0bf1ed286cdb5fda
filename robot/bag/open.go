package bag

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// Open opens a recording, whose kind is told by its content, not by its name. A
// folder is one of rosbag2.
func Open(path string, opt Options) (*Bag, error) {
	if !opt.From.IsZero() && !opt.To.IsZero() && !opt.From.Before(opt.To) {
		return nil, fmt.Errorf("bag: %s: from %s to %s there can be no message; let it end after it begins",
			path, opt.From.Format(time.RFC3339Nano), opt.To.Format(time.RFC3339Nano))
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		src, err := openRosbag2(path, opt)
		if err != nil {
			return nil, err
		}
		return &Bag{src}, nil
	}
	src, err := openSource(path, opt)
	if err != nil {
		return nil, err
	}
	return &Bag{src}, nil
}

// openSource opens one file.
func openSource(path string, opt Options) (source, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	src, err := openKind(path, f, opt)
	if err != nil {
		f.close()
		return nil, err
	}
	return src, nil
}

func openKind(path string, f *file, opt Options) (source, error) {
	head, err := f.read(0, make([]byte, 16))
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(magic)):
		return openRosbag(path, f, opt)
	case bytes.HasPrefix(head, []byte(mcapMagic)):
		return openMCAP(path, f, opt)
	case string(head) == sqliteMagic:
		if err := f.close(); err != nil {
			return nil, err
		}
		return openDB3(path, f.size, opt)
	case len(head) == 0:
		return nil, fmt.Errorf("%w: %s is empty", ErrFormat, path)
	case bytes.HasPrefix(head, []byte("#ROSBAG V1")) || bytes.HasPrefix(head, []byte("#ROSRECORD")):
		return nil, fmt.Errorf("%w: %s is a bag of version 1; convert it first, with rosbag fix", ErrFormat, path)
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return nil, fmt.Errorf("%w: %s is compressed as a whole; decompress it first, with zstd -d", ErrFormat, path)
	}
	return nil, fmt.Errorf("%w: %s begins with %q", ErrFormat, path, head)
}
