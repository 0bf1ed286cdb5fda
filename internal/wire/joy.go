package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/teleop"
)

// hearJoy feeds a hand with the readings of a ROS topic of sensor_msgs/Joy, by a
// node of its own: a device may sit at a simulated arm, too. Nothing is to move before
// there is a device: a person who is not heard cannot save an arm.
func (s *Session) hearJoy(ctx context.Context, hand *teleop.Hand) (end func(), err error) {
	n, err := openNode(ctx, s.cfg, "rapport_teleop", s.log)
	if err != nil {
		return nil, err
	}
	topic := joyTopic(s.cfg)
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
	if err := awaitDevice(ctx, s.cfg, sub); err != nil {
		return nil, errors.Join(err, sub.Close(), n.Close())
	}
	return func() {
		if err := errors.Join(sub.Close(), n.Close()); err != nil {
			s.log.Warn("wire: teleop", "err", err)
		}
	}, nil
}

// onROS says whether a person takes the arm by a device on ROS.
func onROS(c config.Config) bool {
	return (c.Teleop.Input == "joy" || c.Teleop.Input == "spacenav") && !logged(c)
}

// joyTopic is the topic of the configured device.
func joyTopic(c config.Config) string {
	if c.Teleop.Topic != "" {
		return c.Teleop.Topic
	}
	return map[string]string{"joy": "/joy", "spacenav": "/spacenav/joy"}[c.Teleop.Input]
}

// awaitDevice waits for whoever publishes the device's readings, which may be up to
// robot.ros.wait late.
func awaitDevice(ctx context.Context, c config.Config, sub *ros.Subscription) error {
	wait, cancel := context.WithTimeout(ctx, seconds(c.Robot.ROS.Wait))
	defer cancel()
	err := sub.WaitPublisher(wait)
	if err == nil || ctx.Err() != nil {
		return err
	}
	node := map[string]string{"joy": "rosrun joy joy_node _autorepeat_rate:=20", "spacenav": "rosrun spacenav_node spacenav_node"}[c.Teleop.Input]
	return fmt.Errorf("wire: teleop.input is %s: %w; start the device's node (%s), name its topic with --set teleop.topic=/TOPIC, or go on without a person with --set teleop.input=none", c.Teleop.Input, err, node)
}

// tryJoy looks who publishes the device's readings, and how often they come while nobody touches it.
func tryJoy(ctx context.Context, c config.Config, o Options) (detail string, err error) {
	n, err := openNode(ctx, c, "rapport_doctor", o.Log)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	var came atomic.Int64
	sub, err := ros.SubscribeFrom(n, joyTopic(c), func(string, *std.Joy) { came.Add(1) })
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, sub.Close()) }()
	if err := awaitDevice(ctx, c, sub); err != nil {
		return "", err
	}
	who, _, err := n.Publishers(ctx, joyTopic(c))
	if err != nil {
		return "", err
	}
	came.Store(0)
	end, cancel := context.WithTimeout(ctx, listen)
	defer cancel()
	<-end.Done()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	rate := float64(came.Load()) / listen.Seconds()
	detail = fmt.Sprintf("%s, a sensor_msgs/Joy of %s, %.0f a second", joyTopic(c), enumerated(who), rate)
	if c.Teleop.Input == "joy" && rate*c.Teleop.Stale < 1 {
		return detail, fmt.Errorf("wire: %s comes %.0f times a second while nothing changes, and a reading is too old after %g s (teleop.stale): who holds the stick still would lose the arm; set autorepeat_rate of the joy node to 20, or, of a device that publishes only while it is held, hold it while the doctor looks", joyTopic(c), rate, c.Teleop.Stale)
	}
	return detail, nil
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
