package wire

import (
	"errors"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

// An evaluation goes on after an episode that the guard cut off; in a session it waits for
// a person, and any other error ends it.
func TestEvaluationGoesOnAfterAFault(t *testing.T) {
	a, err := newArm(tiny(t), evaluation)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	fault := func() error {
		t.Helper()
		if _, err := a.guard.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := a.guard.Step(t.Context(), robot.Command{Delta: [6]float64{math.NaN()}})
		var f *guard.Fault
		if !errors.As(err, &f) || a.guard.Fault() == nil {
			t.Fatalf("no fault: %v", err)
		}
		return err
	}
	err = fault()
	if cut, e := cutOff(withDesk(t.Context(), &desk{}), a, err); cut || e != err || a.guard.Fault() == nil {
		t.Errorf("in a session: cut off %v, %v", cut, e)
	}
	if cut, e := cutOff(t.Context(), a, err); !cut || e != nil || a.guard.Fault() != nil {
		t.Errorf("cut off %v, %v; fault %v", cut, e, a.guard.Fault())
	}
	fault() // the arm moves again
	other := errors.New("no camera")
	if cut, e := cutOff(t.Context(), a, other); cut || e != other || a.guard.Fault() == nil {
		t.Errorf("of another error: cut off %v, %v", cut, e)
	}
	if cut, e := cutOff(t.Context(), a, nil); cut || e != nil {
		t.Errorf("of none: cut off %v, %v", cut, e)
	}
}
