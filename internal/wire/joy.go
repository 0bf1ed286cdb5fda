package wire

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
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
	from := senders{seq: map[string]uint64{}}
	sub, err := ros.SubscribeFrom(n, topic, func(who string, m *std.Joy) {
		seq, others := from.next(who)
		if others != nil {
			s.log.Warn("wire: teleop: another node publishes on the topic, too; while one holds the switch no other is heard", "topic", topic, "publisher", who, "others", others)
		}
		hand.Take(rawJoy(m, who, s.cfg.Teleop.Input, seq, s.now))
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

// senders number the readings of a topic's publishers, whose connections keep the order. A
// goroutine each calls.
type senders struct {
	mu  sync.Mutex
	seq map[string]uint64
}

// next is the number of a reading of who, and the others of before where who is heard for the
// first time.
func (s *senders) next(who string) (seq uint64, others []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq[who] == 0 {
		others = slices.Sorted(maps.Keys(s.seq))
	}
	s.seq[who]++
	return s.seq[who], others
}

// rawJoy is a Joy message as a reading. The switch of a joystick is a button of
// it, which the mapping asks for besides; a 3D mouse has none.
func rawJoy(m *std.Joy, who, device string, seq uint64, now func() time.Time) teleop.Raw {
	raw := teleop.Raw{Who: who, Device: device, Seq: seq, Stamp: m.Header.Stamp, Deadman: device == "joy"}
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
