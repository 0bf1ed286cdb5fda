package ros_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/franka"
)

// A node watches the state of an arm, which another one publishes. With a
// master that runs, an empty Config.Master finds it by ROS_MASTER_URI.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	arm, err := ros.Open(ctx, ros.Config{Master: m.URI(), Name: "franka_control"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer arm.Close()
	us, err := ros.Open(ctx, ros.Config{Master: m.URI(), Name: "rapport"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer us.Close()

	pub, err := ros.Advertise[franka.FrankaState](arm, "/franka_state_controller/franka_states", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	states, err := ros.Watch[franka.FrankaState](us, "/franka_state_controller/franka_states")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := pub.WaitSubscriber(ctx); err != nil {
		fmt.Println(err)
		return
	}
	pub.Publish(&franka.FrankaState{RobotMode: franka.Reflex, CurrentErrors: franka.Errors{CartesianReflex: true}})
	s, seq, _, err := states.Wait(ctx, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(seq, s.RobotMode == franka.Reflex, s.CurrentErrors.Names())
	// Output: 1 true [cartesian_reflex]
}
