package wire

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
)

// learnOn returns what learners compute on, which is nil for the processor. Policies
// always act on the processor: one row at a time is no work for a card. why says
// why learner.device auto has not taken one.
func learnOn(c config.Learner) (on device.Device, why, err error) {
	if c.Device == "cpu" {
		return nil, nil, nil
	}
	d, err := cuda.Open(cuda.Config{})
	if err == nil {
		if err = d.Check(); err != nil {
			d.Close()
		}
	}
	switch {
	case err == nil:
		return d, nil, nil
	case c.Device == "cuda":
		return nil, nil, fmt.Errorf("wire: learner.device is cuda: %w", err)
	}
	return nil, err, nil
}

// carded refuses, before anything is made for it, a session that is to learn on a card that is not
// there.
func carded(c config.Config) error {
	if c.Learner.Device != "cuda" {
		return nil
	}
	_, err := tryLearning(c.Learner)
	return err
}

// tryLearning says what learners compute on, and of auto why not on a card.
func tryLearning(c config.Learner) (string, error) {
	on, why, err := learnOn(c)
	switch {
	case err != nil:
		return "", err
	case on != nil:
		defer on.(*cuda.Device).Close()
		return on.Name(), nil
	case why != nil:
		return fmt.Sprintf("%s; no card: %v", device.Default().Name(), why), nil
	}
	return device.Default().Name(), nil
}
