// Package reconfigure has the messages by which parameters of a running
// controller are changed (dynamic_reconfigure).
//
//	res, err := ros.Call[reconfigure.ReconfigureReq, reconfigure.ReconfigureRes](ctx, n, node+"/set_parameters", &req)
package reconfigure

import "github.com/bluenviron/goroslib/v2/pkg/msg"

// BoolParameter is a named truth.
type BoolParameter struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Name        string
	Value       bool
}

// IntParameter is a named integer.
type IntParameter struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Name        string
	Value       int32
}

// StrParameter is a named text.
type StrParameter struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Name        string
	Value       string
}

// DoubleParameter is a named number.
type DoubleParameter struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Name        string
	Value       float64
}

// GroupState is a group of parameters in a user's interface.
type GroupState struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Name        string
	State       bool
	Id          int32
	Parent      int32
}

// Config holds parameters: in a request those to change, in an answer and on
// the topic parameter_updates all.
type Config struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Bools       []BoolParameter
	Ints        []IntParameter
	Strs        []StrParameter
	Doubles     []DoubleParameter
	Groups      []GroupState
}

// ParamDescription describes a parameter.
type ParamDescription struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Name        string
	Type        string
	Level       uint32
	Description string
	EditMethod  string
}

// Group describes a group of parameters.
type Group struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Name        string
	Type        string
	Parameters  []ParamDescription
	Parent      int32
	Id          int32
}

// ConfigDescription describes all parameters, on parameter_descriptions.
type ConfigDescription struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Groups      []Group
	Max         Config
	Min         Config
	Dflt        Config
}

// ReconfigureReq asks a node's set_parameters to change parameters.
type ReconfigureReq struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Config      Config
}

// ReconfigureRes says what holds now; values may have been limited.
type ReconfigureRes struct {
	msg.Package `ros:"dynamic_reconfigure"`
	Config      Config
}
