package vision

/*
#cgo pkg-config: libjpeg
#include "jpeg.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// DecodeJPEG writes the w by h BGR8 pixels (h,w,3) of a JPEG to dst, and refuses
// one of another size or with damage. It gives the pixels of Decode, but neither
// allocates nor copies, for a replay that decodes the same frames again and again.
func DecodeJPEG(dst []byte, w, h int, data []byte) error {
	if w <= 0 || h <= 0 || w > MaxSide || h > MaxSide || len(dst) != 3*w*h {
		return fmt.Errorf("vision: %d bytes to decode a JPEG of %dx%d pixels into", len(dst), w, h)
	}
	if len(data) == 0 || len(data) > MaxEncoded {
		return fmt.Errorf("vision: JPEG of %d bytes, want 1 to %d", len(data), MaxEncoded)
	}
	from, to := (*C.uchar)(unsafe.Pointer(&data[0])), (*C.uchar)(unsafe.Pointer(&dst[0]))
	if C.vision_jpeg(from, C.size_t(len(data)), to, C.int(w), C.int(h), nil, 0) == 0 {
		return nil
	}
	// Again for the reason: its room would cost the good case an allocation.
	msg := make([]C.char, 256)
	C.vision_jpeg(from, C.size_t(len(data)), to, C.int(w), C.int(h), &msg[0], C.size_t(len(msg)))
	return fmt.Errorf("vision: decode JPEG of %dx%d pixels: %s", w, h, C.GoString(&msg[0]))
}
