package wire

import (
	"context"
	"reflect"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// leak returns a way from a type to a place that could hold a sim.Truth, or "".
// Fields are followed, and what the methods of interfaces take and return.
func leak(typ reflect.Type, path string, seen map[reflect.Type]bool) string {
	truth := reflect.TypeFor[sim.Truth]()
	// A context takes any value; that nobody puts the truth there is for
	// TestScrambledTruthChangesNothingThatIsLearned to show.
	if seen[typ] || typ == reflect.TypeFor[context.Context]() {
		return ""
	}
	seen[typ] = true
	if typ.PkgPath() == truth.PkgPath() {
		return path + " is a " + typ.String()
	}
	next := map[string]reflect.Type{}
	switch typ.Kind() {
	case reflect.Interface:
		if truth.Implements(typ) {
			return path + " is a " + typ.String() + ", which takes anything"
		}
		for i := range typ.NumMethod() {
			next["."+typ.Method(i).Name] = typ.Method(i).Type
		}
	case reflect.Func:
		for i := range typ.NumIn() {
			next["("+typ.In(i).String()+")"] = typ.In(i)
		}
		for i := range typ.NumOut() {
			next["() "+typ.Out(i).String()] = typ.Out(i)
		}
	case reflect.Struct:
		for i := range typ.NumField() {
			next["."+typ.Field(i).Name] = typ.Field(i).Type
		}
	case reflect.Map:
		next["[key]"], next["[]"] = typ.Key(), typ.Elem()
	case reflect.Array, reflect.Chan, reflect.Pointer, reflect.Slice:
		next["[]"] = typ.Elem()
	}
	for step, t := range next {
		if p := leak(t, path+step, seen); p != "" {
			return p
		}
	}
	return ""
}

func TestWhatActsScoresAndLearnsHasNoSeatForTheTruth(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[robot.Backend](), reflect.TypeFor[perception.Extractor](), reflect.TypeFor[reward.Scorer](),
		reflect.TypeFor[policy.Policy](), reflect.TypeFor[policy.Learner](),
		reflect.TypeFor[loop.Actor](), reflect.TypeFor[loop.Session](),
		reflect.TypeFor[encoder.Data](), reflect.TypeFor[rapl.Triplet](), reflect.TypeFor[taste](),
		reflect.TypeFor[policy.Episode](), reflect.TypeFor[robot.Observation](),
	} {
		if p := leak(typ, typ.String(), map[reflect.Type]bool{}); p != "" {
			t.Error(p)
		}
	}
	// What people judge by has one, which shows that the walk finds it.
	for _, typ := range []reflect.Type{reflect.TypeFor[demo](), reflect.TypeFor[arm](), reflect.TypeFor[map[string]any]()} {
		if leak(typ, typ.String(), map[reflect.Type]bool{}) == "" {
			t.Errorf("the truth in %v went unnoticed", typ)
		}
	}
}
