package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
)

func TestAFileOfCommentsChangesNothing(t *testing.T) {
	for _, file := range []string{"", "\n", "# all as it is\n", "---\n", "{}\n"} {
		c, err := config.Load(write(t, file), nil, nil)
		if err != nil || !reflect.DeepEqual(c, config.Default()) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestPeopleAreConfigured(t *testing.T) {
	c, err := config.Load("", nil, []string{"people.noise=0.02", "people.groups=[{name: neat, share: 1, distance: 1, disliked: 2}, {name: quick, share: 3, early: 1}]"})
	if err != nil {
		t.Fatal(err)
	}
	if g := c.People.Groups; c.People.Noise != 0.02 || len(g) != 2 || g[1].Share != 3 || g[0].Disliked != 2 {
		t.Errorf("got %+v", c.People)
	}
	b, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Load(write(t, string(b)), nil, nil)
	if err != nil || len(again.Changes(c)) != 0 {
		t.Errorf("read again: %v, %v", err, again.Changes(c))
	}
	for set, want := range map[string]string{
		"people.noise=-1":             "people.noise",
		"people.unsure=1":             "people.unsure",
		"people.bias=-1":              "people.bias",
		"people.fatigue=.nan":         "people.fatigue",
		"people.sitting=-1":           "people.sitting",
		"reward.query=clever":         "random, information",
		"people.groups=[{share: 1}]":  "people.groups[0].name",
		"people.groups=[{name: a/b}]": "people.groups[0].name",
		"people.groups=[{name: a}]":   "weighs nothing",
		"people.groups=[{nme: a}]":    "people.groups",
		"people.groups=[{name: a, share: 1, early: 1}, {name: a, share: 1, early: 1}]": "people.groups[1].name",
	} {
		if _, err := config.Load("", nil, []string{set}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to name %s", set, err, want)
		}
	}
}
