package rlpd_test

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/rlpd"
	"github.com/rapport-rl/rapport/sim"
)

// holds returns a path from typ to a place that could hold a sim.Truth, or "".
func holds(typ reflect.Type, path string, seen map[reflect.Type]bool) string {
	truth := reflect.TypeFor[sim.Truth]()
	if seen[typ] {
		return ""
	}
	seen[typ] = true
	if typ.PkgPath() == truth.PkgPath() {
		return path + " is a " + typ.String()
	}
	var parts []reflect.Type
	switch typ.Kind() {
	case reflect.Interface:
		if truth.Implements(typ) || reflect.PointerTo(truth).Implements(typ) {
			return path + " is a " + typ.String() + ", which takes anything"
		}
	case reflect.Map:
		parts = []reflect.Type{typ.Key(), typ.Elem()}
	case reflect.Array, reflect.Chan, reflect.Pointer, reflect.Slice:
		parts = []reflect.Type{typ.Elem()}
	case reflect.Func:
		for i := range typ.NumIn() {
			parts = append(parts, typ.In(i))
		}
		for i := range typ.NumOut() {
			parts = append(parts, typ.Out(i))
		}
	case reflect.Struct:
		for i := range typ.NumField() {
			if p := holds(typ.Field(i).Type, path+"."+typ.Field(i).Name, seen); p != "" {
				return p
			}
		}
	}
	for _, part := range parts {
		if p := holds(part, path+"[]", seen); p != "" {
			return p
		}
	}
	return ""
}

func TestNothingLearnedFromCanHoldTheTruth(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[policy.Episode](), reflect.TypeFor[policy.Input](), reflect.TypeFor[policy.Params](),
		reflect.TypeFor[rlpd.Config](), reflect.TypeFor[rlpd.Learner](), reflect.TypeFor[bc.Policy](), reflect.TypeFor[buffer.Buffer](),
	} {
		if p := holds(typ, typ.String(), map[reflect.Type]bool{}); p != "" {
			t.Error(p)
		}
	}
	for _, leak := range []reflect.Type{
		reflect.TypeFor[struct{ Extra any }](), reflect.TypeFor[struct{ M map[string][]*sim.Body }](), reflect.TypeFor[func() sim.Truth](),
	} {
		if holds(leak, "leak", map[reflect.Type]bool{}) == "" {
			t.Errorf("%v went unnoticed", leak)
		}
	}
}

func TestLearnersDoNotImportSimulators(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../", "../view", "../buffer", "../bc", "../rlpd").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if !strings.Contains(string(out), "/policy/rlpd\n") {
		t.Fatalf("go list named no learner:\n%s", out)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		if rest, ok := strings.CutPrefix(pkg, "github.com/rapport-rl/rapport/"); ok && (rest == "sim" || strings.HasPrefix(rest, "sim/")) {
			t.Errorf("a learner depends on %s", pkg)
		}
	}
}
