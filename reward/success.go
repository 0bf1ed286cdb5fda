package reward

import (
	"context"
	"errors"

	"github.com/rapport-rl/rapport/perception"
)

// Success tells whether what is seen is the task done. p is 0 to 1, and success is
// believed from ½ on: who has a threshold of its own moves its log odds so that it
// lies there. A sparse reward, an episode's early end and the watch over a dense
// reward ask it.
//
// Who cannot tell returns ErrUnknown, which is never a success.
type Success interface {
	Succeeded(ctx context.Context, f perception.Features) (p float64, err error)
}

// ErrUnknown says that nobody knows whether it was a success.
var ErrUnknown = errors.New("reward: nobody can tell whether the task is done")
