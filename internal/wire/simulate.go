package wire

import (
	"context"
	"errors"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// Rates are messages and images a second of a simulated arm.
type Rates struct{ States, Jacobian, FPS float64 }

// Simulate is the simulated arm of c over ROS 1, in real time, until ctx ends.
// ready is told the master, whether it is one of ours, and where an episode starts.
func Simulate(ctx context.Context, c config.Config, r Rates, o Options, ready func(master string, own bool, start [3]float64)) (err error) {
	g, err := ros.Attach(ctx, c.Robot.ROS.Master)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	n, err := ros.Open(ctx, ros.Config{Master: g.URI, Name: "franka_sim", Log: o.Log, Rosout: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	sc := rosarm.Default()
	if sc.World, err = tabletopConfig(c); err != nil {
		return err
	}
	sc.World.Disturb = tabletop.Disturb(c.Robot.Disturb)
	sc.ArmID, sc.States, sc.Jacobian, sc.FPS, sc.Log = c.Robot.ROS.ArmID, r.States, r.Jacobian, r.FPS, n.Log()
	s, err := rosarm.Start(ctx, n, sc)
	if err != nil {
		return drawn(err)
	}
	ready(g.URI, g.Own(), tabletop.Task(c.Robot.Task).Start().P)
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.Close())
	case <-n.Done():
		return errors.Join(errors.New("wire: the ROS node was shut down from outside"), s.Close())
	case <-s.Done():
		return s.Close()
	}
}
