package bag

import (
	"context"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// BackendConfig says how a recording is seen as an arm.
type BackendConfig struct {
	Map    Mapping       // empty: what Guess makes of the recording
	Period time.Duration // between observations; 0: 50 ms
	// From and To bound what is played, as in Options.
	From, To time.Time
	// Stale is the age at which the newest state is none any more: Step then
	// returns robot.ErrStale. 0: 1 s. Negative: never.
	Stale time.Duration
}

// Backend plays a recording as a robot.Backend: observations at control ticks,
// commands as logged (robot.ByLog), io.EOF at the end. Reset begins it anew.
type Backend struct{}

var _ robot.Backend = (*Backend)(nil)

// NewBackend opens the recording at path.
func NewBackend(path string, c BackendConfig) (*Backend, error) { panic("") }

func (b *Backend) Reset(ctx context.Context) (robot.Observation, error) { panic("") }

func (b *Backend) Step(ctx context.Context, _ robot.Command) (robot.Observation, error) { panic("") }

func (b *Backend) Close() error { panic("") }

// Image makes a BGR frame of a sensor_msgs/Image or CompressedImage.
func (d *Decoder) Image(data []byte, into *robot.Frame) error { panic("") }
