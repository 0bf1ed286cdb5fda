package wire

import (
	"context"
	"errors"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/teleop"
)

// hearJoy feeds a hand with the readings of a ROS topic of sensor_msgs/Joy, by a
// node of its own: a device may sit at a simulated arm, too.
func (s *Session) hearJoy(hand *teleop.Hand) (end func(), err error) {
	n, err := openNode(context.Background(), s.cfg, "rapport_teleop", s.log)
	if err != nil {
		return nil, err
	}
	topic := s.cfg.Teleop.Topic
	if topic == "" {
		topic = map[string]string{"joy": "/joy", "spacenav": "/spacenav/joy"}[s.cfg.Teleop.Input]
	}
	seq := uint64(0) // a connection keeps the order
	sub, err := ros.Subscribe(n, topic, func(m *std.Joy) {
		seq++
		hand.Take(rawJoy(m, s.cfg.Teleop.Input, seq, s.now))
	})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return func() {
		if err := errors.Join(sub.Close(), n.Close()); err != nil {
			s.log.Warn("wire: teleop", "err", err)
		}
	}, nil
}

// rawJoy is a Joy message as a reading. The switch of a joystick is a button of
// it, which the mapping asks for besides; a 3D mouse has none.
func rawJoy(m *std.Joy, device string, seq uint64, now func() time.Time) teleop.Raw {
	raw := teleop.Raw{Who: "ros", Device: device, Seq: seq, Stamp: m.Header.Stamp, Deadman: device == "joy"}
	if raw.Stamp.Unix() <= 0 { // a driver that does not stamp
		raw.Stamp = now()
	}
	for _, a := range m.Axes {
		raw.Axes = append(raw.Axes, float64(a))
	}
	for _, b := range m.Buttons {
		raw.Buttons = append(raw.Buttons, b != 0)
	}
	return raw
}
