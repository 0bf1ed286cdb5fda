package label_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/reward/label"
)

func TestSettle(t *testing.T) {
	for said, want := range map[string]string{
		"":                            "",
		"a>b c~d":                     "a>b c~d",
		"a>b b>c a>b":                 "a>b b>c",
		"a>b b>a":                     "",
		"a>b b>a a>b":                 "a>b",
		"a>b c>d b>a b>a":             "b>a c>d",
		"a>b b~a":                     "",
		"a~b b~a b>a":                 "a~b",
		"a>b b>a a~b":                 "",
		"a>b ben:b>a":                 "a>b ben:b>a",
		"a>b ben:b>a ben:a>b ben:c>d": "a>b ben:c>d",
	} {
		var got []string
		for _, o := range label.Settle(orders(said)) {
			s := o.Better.Episode + map[bool]string{true: "~", false: ">"}[o.Tie] + o.Worse.Episode
			if o.Annotator != "ann" {
				s = o.Annotator + ":" + s
			}
			got = append(got, s)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("of %q is left %v, want %q", said, got, want)
		}
	}
}

// Nothing follows through what somebody contradicted, nor is it the best for it.
func TestContradictionsSayNothing(t *testing.T) {
	said := orders("r>x r>y r~g z>r r>z")
	for _, o := range label.Follow(said) {
		if o.Better.Episode == "z" || o.Worse.Episode == "z" {
			t.Errorf("%s>%s follows", o.Better.Episode, o.Worse.Episode)
		}
	}
	if got, ok := label.Best(said); !ok || got.Episode != "r" {
		t.Errorf("the best is %v, want r", got)
	}
	if got, ok := label.Best(orders("r>x r>y z>r")); !ok || got.Episode != "z" {
		t.Errorf("the best of what was not contradicted is %v, want z", got)
	}
	if got := fmt.Sprint(len(label.Follow(orders("a>b b>a")))); got != "0" {
		t.Errorf("%s follow from nothing", got)
	}
}
