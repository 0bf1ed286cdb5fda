package wire

import (
	"context"
	"errors"
	"sync"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// StopTopic stops an arm over ROS: a std_msgs/String, whose text says why.
const StopTopic = "/rapport/stop"

// hearStops has the desk stop the arms for every message on StopTopic, until a is
// closed.
func (s *Session) hearStops(ctx context.Context, a *arm) error {
	n, err := openNode(ctx, s.cfg, "rapport_stop", s.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stops := make(chan string, 1) // one that is not taken yet stands for those after it
	sub, err := ros.Subscribe(n, StopTopic, func(m *std.String) {
		why := m.Data
		if why == "" {
			why = "no reason given"
		}
		select {
		case stops <- why:
		default:
		}
	})
	if err != nil {
		cancel()
		return errors.Join(err, n.Close())
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.desk.listen(ctx, StopTopic, stops) })
	hang := a.hang
	a.hang = func() error {
		err := errors.Join(sub.Close(), n.Close())
		cancel()
		wg.Wait()
		return errors.Join(err, hang())
	}
	return nil
}
