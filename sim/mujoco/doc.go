// Package mujoco is a thin binding to the MuJoCo C library, with offscreen
// cameras: all that Rapport's simulated arm needs, and nothing of MuJoCo's that
// could end, stall or litter a process.
//
// MuJoCo's own error handler writes a log file, waits for Enter and exits; here
// every error is a Go error. Its warnings are silent resets (a NaN in the
// velocities restarts the episode and reports success); here a step that warns
// fails with a *WarningError.
//
// A Model is immutable unless its setters are used, and may be shared by any
// number of goroutines; a Data belongs to one goroutine at a time, and so does a
// Renderer. Data gives slices over MuJoCo's own memory: reading and writing
// them costs nothing and copies nothing, and they die with Close. Rollouts are
// bit-equal whatever the goroutine, process or number of threads.
//
//	m, err := mujoco.Load(xml)
//	d, err := m.NewData()
//	tcp, err := m.Site("tcp")
//	for range 1000 {
//		copy(d.Ctrl(), torque)
//		if err := d.Step(); err != nil {
//			return err
//		}
//	}
//	fmt.Println(d.SiteXPos(tcp))
//
// Units are SI and radians, positions and orientations are in the world frame,
// quaternions are wxyz, matrices row-major. Written against MuJoCo 2.2.2
// (Debian 12), https://mujoco.readthedocs.io/en/2.2.2/.
package mujoco
