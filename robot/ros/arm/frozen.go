package arm

import (
	"bytes"
	"time"
)

// still watches one camera for an image that does not change: a driver that
// hangs may publish its last image for ever, with new stamps. Real sensors have
// noise, so two images of them are never equal.
type still struct {
	data  []byte
	since time.Time // stamp of the first image with this data
}

// look takes in an image and returns for how long it has been the same. data is
// kept, and must not change.
func (s *still) look(stamp time.Time, data []byte) time.Duration {
	if s.data == nil || !bytes.Equal(s.data, data) {
		s.data, s.since = data, stamp
	}
	return stamp.Sub(s.since)
}
