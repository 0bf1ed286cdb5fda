// Package controllers has the messages by which an arm's controllers are
// listed, started and stopped (controller_manager_msgs).
//
//	res, err := ros.Call[controllers.ListControllersReq, controllers.ListControllersRes](ctx, n, "/controller_manager/list_controllers", &controllers.ListControllersReq{})
package controllers

import "github.com/bluenviron/goroslib/v2/pkg/msg"

// How strictly controllers are switched.
const (
	BestEffort int32 = 1
	Strict     int32 = 2
)

// HardwareInterfaceResources is what a controller holds of an interface.
type HardwareInterfaceResources struct {
	msg.Package       `ros:"controller_manager_msgs"`
	HardwareInterface string
	Resources         []string
}

// ControllerState describes a controller that is loaded.
type ControllerState struct {
	msg.Package      `ros:"controller_manager_msgs"`
	Name             string
	State            string // initialized, running, stopped, ...
	Type             string
	ClaimedResources []HardwareInterfaceResources
}

// ListControllersReq asks for all controllers.
type ListControllersReq struct {
	msg.Package `ros:"controller_manager_msgs"`
}

// ListControllersRes lists them.
type ListControllersRes struct {
	msg.Package `ros:"controller_manager_msgs"`
	Controller  []ControllerState
}

// SwitchControllerReq stops and starts controllers in one control cycle.
type SwitchControllerReq struct {
	msg.Package      `ros:"controller_manager_msgs"`
	msg.Definitions  `ros:"int32 BEST_EFFORT=1,int32 STRICT=2"`
	StartControllers []string
	StopControllers  []string
	Strictness       int32
	StartAsap        bool
	Timeout          float64 // s; 0 waits for ever
}

// SwitchControllerRes says whether it was done.
type SwitchControllerRes struct {
	msg.Package `ros:"controller_manager_msgs"`
	Ok          bool
}
