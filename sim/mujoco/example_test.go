package mujoco_test

import (
	"fmt"
	"log"

	"github.com/rapport-rl/rapport/sim/mujoco"
)

const pendulum = `<mujoco>
  <option timestep="0.001"/>
  <worldbody>
    <camera name="front" pos="0 -2 -0.5" xyaxes="1 0 0 0 0 1"/>
    <body>
      <joint name="hinge" axis="0 1 0"/>
      <geom type="capsule" fromto="0 0 0 0 0 -0.5" size="0.03" mass="1" rgba="0.9 0.1 0.1 1"/>
      <site name="tip" pos="0 0 -0.5"/>
    </body>
  </worldbody>
  <actuator><motor name="torque" joint="hinge"/></actuator>
</mujoco>`

func Example() {
	m, err := mujoco.Load([]byte(pendulum))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	d, err := m.NewData()
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	tip, err := m.Site("tip")
	if err != nil {
		log.Fatal(err)
	}

	// Hold the pendulum at 0.5 rad by a spring and the bias force.
	for range 3000 {
		d.Ctrl()[0] = 50*(0.5-d.QPos()[0]) - 10*d.QVel()[0] + d.QfrcBias()[0]
		if err := d.Step(); err != nil {
			log.Fatal(err)
		}
	}
	if err := d.Kinematics(); err != nil {
		log.Fatal(err)
	}
	p := d.SiteXPos(tip)
	fmt.Printf("%.1f s, %.3f rad, tip at (%.3f, %.3f, %.3f) m\n", d.Time(), d.QPos()[0], p[0], p[1], p[2])

	r, err := mujoco.NewRenderer(m, mujoco.Size{W: 64, H: 64}, mujoco.Lean, mujoco.Raster)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	image := make([]byte, 64*64*3)
	if err := r.Render(d, []int{0}, [][]byte{image}); err != nil {
		log.Fatal(err)
	}
	red := 0
	for i := 0; i < len(image); i += 3 {
		if image[i+2] > 100 {
			red++
		}
	}
	fmt.Println("seen:", red > 20)
	// Output:
	// 3.0 s, 0.500 rad, tip at (-0.240, 0.000, -0.439) m
	// seen: true
}
