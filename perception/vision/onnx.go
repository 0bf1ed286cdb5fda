package vision

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errEnvelope says that bytes are no ONNX model before OpenCV sees them.
var errEnvelope = errors.New("not an ONNX model")

// Fields of ModelProto, from onnx.proto3.
const (
	fieldIR    = 1
	fieldGraph = 7
)

// envelope walks the outermost protobuf message of an ONNX file and finds what
// a download cut short, an HTML error page or an LFS pointer look like, with a
// better message than OpenCV's.
func envelope(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("%w: empty", errEnvelope)
	}
	var ir, graph bool
	for at := 0; at < len(data); {
		key, n := binary.Uvarint(data[at:])
		field, wire := key>>3, key&7
		if n <= 0 || field == 0 || field > 1<<29-1 {
			return fmt.Errorf("%w: no protobuf field at byte %d", errEnvelope, at)
		}
		at += n
		size := uint64(0)
		switch wire {
		case 0:
			_, n = binary.Uvarint(data[at:])
			if n <= 0 {
				return fmt.Errorf("%w: bad number at byte %d", errEnvelope, at)
			}
			size = uint64(n)
		case 1:
			size = 8
		case 2:
			size, n = binary.Uvarint(data[at:])
			if n <= 0 {
				return fmt.Errorf("%w: bad length at byte %d", errEnvelope, at)
			}
			at += n
		case 5:
			size = 4
		default:
			return fmt.Errorf("%w: protobuf wire type %d at byte %d", errEnvelope, wire, at)
		}
		if size > uint64(len(data)-at) {
			return fmt.Errorf("%w: cut short: field %d at byte %d wants %d bytes and %d are left", errEnvelope, field, at, size, len(data)-at)
		}
		at += int(size)
		ir = ir || field == fieldIR && wire == 0
		graph = graph || field == fieldGraph && wire == 2 && size > 0
	}
	if !ir || !graph {
		return fmt.Errorf("%w: no graph inside", errEnvelope)
	}
	return nil
}
