package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
)

func TestChangesNamesKeysAndBothValues(t *testing.T) {
	was := config.Default()
	if got := was.Changes(config.Default()); len(got) != 0 {
		t.Errorf("two defaults differ: %v", got)
	}
	now := was
	for key, value := range map[string]string{"seed": "7", "robot.cameras": "[{name: wrist, width: 32, height: 24}]", "session.record": "false", "guard.workspace.min": "[0.1, -0.1, 0]"} {
		if err := now.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	for _, c := range now.Changes(was) {
		keys = append(keys, c.Key)
		// What is printed can be set again.
		back := was
		if err := back.Set(c.Key, c.Is); err != nil || len(back.Changes(was)) != 1 {
			t.Errorf("%v cannot be set again: %v", c, err)
		}
	}
	if diff := cmp.Diff([]string{"seed", "robot.cameras", "guard.workspace.min", "session.record"}, keys); diff != "" {
		t.Error(diff)
	}
	if c := now.Changes(was)[0]; c.String() != "seed is 7, was "+c.Was {
		t.Errorf("got %q", c)
	}
}
