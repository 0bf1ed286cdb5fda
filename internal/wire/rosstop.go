package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// StopTopic stops an arm over ROS: a std_msgs/String, whose text says why.
const StopTopic = "/rapport/stop"

// heardWithin is how long an arm that is open waits for StopTopic: a look for a master that was
// not there may hang for 5 s.
const heardWithin = 10 * time.Second

// hearStops has the desk stop the arms for every message on StopTopic, from when the master is
// there until ctx ends, anew where somebody ends its node (rosnode kill). What comes while no arm
// is open, as in the warm-up, holds the next one.
func (d *desk) hearStops(ctx context.Context, c config.Config) {
	heard := d.unheard()
	stops := make(chan string, 1) // one that is not taken yet stands for those after it
	d.wg.Go(func() { d.listen(ctx, StopTopic, stops) })
	d.wg.Go(func() {
		for told := false; ctx.Err() == nil; {
			// Not openNode, which gives up: nothing of the session needs the master yet.
			ended, end, err := d.subscribe(ctx, c.Robot.ROS.Master, stops)
			if err == nil {
				close(heard)
				select {
				case <-ended:
					heard, told = d.unheard(), false
					d.log.Error("wire: somebody ended the node that hears stops by " + StopTopic + " (rosnode kill); none is heard until another does")
				case <-ctx.Done():
				}
				d.wg.Go(func() { // which the next one need not wait for
					if err := end(); err != nil {
						d.log.Warn("wire: "+StopTopic, "err", err)
					}
				})
				continue
			}
			if !told && ctx.Err() == nil {
				d.log.Warn("wire: stops by "+StopTopic+" are not heard yet", "err", err)
			}
			told = true
			select {
			case <-d.in(statusEvery):
			case <-ctx.Done():
			}
		}
	})
}

// unheard returns what is to be closed once StopTopic is heard, and has hears wait for it.
func (d *desk) unheard() chan struct{} {
	heard := make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = heard
	return heard
}

// subscribe puts what is said on StopTopic into stops until end is called, or its node was ended by
// another. It waits for the master.
func (d *desk) subscribe(ctx context.Context, master string, stops chan<- string) (ended <-chan struct{}, end func() error, err error) {
	n, err := ros.Open(ctx, ros.Config{Master: master, Name: "rapport_stop", Log: d.log, Rosout: true})
	if err != nil {
		return nil, nil, err
	}
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
		return nil, nil, errors.Join(err, n.Close())
	}
	return n.Done(), func() error { return errors.Join(sub.Close(), n.Close()) }, nil
}

// hears returns once StopTopic is heard: no arm over ROS moves before.
func (d *desk) hears(ctx context.Context) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	heard := d.heard
	d.mu.Unlock()
	if heard == nil {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	select {
	case <-heard:
		return nil
	case <-wait.Done():
		if err := ctx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("wire: the arm could not be stopped by %s, since the master takes no subscription within %v; see its log, then go on", StopTopic, heardWithin)
	}
}
