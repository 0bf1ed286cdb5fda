package franka

import (
	"reflect"

	"github.com/bluenviron/goroslib/v2/pkg/msg"
)

// Errors says which of the controller's errors are raised.
type Errors struct {
	msg.Package                                            `ros:"franka_msgs"`
	JointPositionLimitsViolation                           bool
	CartesianPositionLimitsViolation                       bool
	SelfCollisionAvoidanceViolation                        bool
	JointVelocityViolation                                 bool
	CartesianVelocityViolation                             bool
	ForceControlSafetyViolation                            bool
	JointReflex                                            bool
	CartesianReflex                                        bool
	MaxGoalPoseDeviationViolation                          bool
	MaxPathPoseDeviationViolation                          bool
	CartesianVelocityProfileSafetyViolation                bool
	JointPositionMotionGeneratorStartPoseInvalid           bool
	JointMotionGeneratorPositionLimitsViolation            bool
	JointMotionGeneratorVelocityLimitsViolation            bool
	JointMotionGeneratorVelocityDiscontinuity              bool
	JointMotionGeneratorAccelerationDiscontinuity          bool
	CartesianPositionMotionGeneratorStartPoseInvalid       bool
	CartesianMotionGeneratorElbowLimitViolation            bool
	CartesianMotionGeneratorVelocityLimitsViolation        bool
	CartesianMotionGeneratorVelocityDiscontinuity          bool
	CartesianMotionGeneratorAccelerationDiscontinuity      bool
	CartesianMotionGeneratorElbowSignInconsistent          bool
	CartesianMotionGeneratorStartElbowInvalid              bool
	CartesianMotionGeneratorJointPositionLimitsViolation   bool
	CartesianMotionGeneratorJointVelocityLimitsViolation   bool
	CartesianMotionGeneratorJointVelocityDiscontinuity     bool
	CartesianMotionGeneratorJointAccelerationDiscontinuity bool
	CartesianPositionMotionGeneratorInvalidFrame           bool
	ForceControllerDesiredForceToleranceViolation          bool
	ControllerTorqueDiscontinuity                          bool
	StartElbowSignInconsistent                             bool
	CommunicationConstraintsViolation                      bool
	PowerLimitViolation                                    bool
	JointP2pInsufficientTorqueForPlanning                  bool `rosname:"joint_p2p_insufficient_torque_for_planning"`
	TauJRangeViolation                                     bool
	InstabilityDetected                                    bool
	JointMoveInWrongDirection                              bool
	CartesianSplineMotionGeneratorViolation                bool
	JointViaMotionGeneratorPlanningJointLimitViolation     bool
	BaseAccelerationInitializationTimeout                  bool
	BaseAccelerationInvalidReading                         bool
}

// Names lists the errors that are raised, as libfranka calls them.
func (e Errors) Names() []string {
	var out []string
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Bool && f.Bool() {
			out = append(out, nameOf(v.Type().Field(i)))
		}
	}
	return out
}

// nameOf is a field's name in ROS.
func nameOf(f reflect.StructField) string {
	if tag := f.Tag.Get("rosname"); tag != "" {
		return tag
	}
	var b []byte
	for i, c := range []byte(f.Name) {
		if c >= 'A' && c <= 'Z' {
			if c += 'a' - 'A'; i > 0 {
				b = append(b, '_')
			}
		}
		b = append(b, c)
	}
	return string(b)
}
