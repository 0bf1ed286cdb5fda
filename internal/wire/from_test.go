package wire

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A policy that draws chunks is gone on with by what learns chunks, and no other one is: it is told
// before there is a folder, and not once both were evaluated.
func TestPoliciesOfAnotherSortAreRefusedAtOnce(t *testing.T) {
	for _, tt := range []struct{ was, is, filter, want string }{
		{was: "rlpd", is: "diffusion", want: "is rlpd, whose policy draws no chunks of actions, and is diffusion here; want --set learner.kind=rlpd"},
		{was: "diffusion", is: "iql", want: "is diffusion, whose policy draws chunks of actions, and is iql here; want --set learner.kind=diffusion"},
		{was: "rlpd", is: "iql"},
		{was: "diffusion", is: "diffusion"},
		{was: "rlpd", is: "diffusion", filter: "list.csv"}, // cloned anew
	} {
		c := tiny(t)
		c.Learner.Kind = tt.was
		first := filepath.Join(c.Out, "first")
		st, err := founded(first, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		c.Name, c.Session.From, c.Learner.Kind, c.Demos.Filter = "second", first, tt.is, tt.filter
		if err = alike(c); tt.want == "" {
			if err != nil {
				t.Errorf("%s after %s: %v", tt.is, tt.was, err)
			}
			continue
		}
		if _, err = Create(t.Context(), c, quietly()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s after %s: %v, want %q", tt.is, tt.was, err, tt.want)
		}
		if _, err := os.Stat(filepath.Join(c.Out, c.Name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a folder is left (%v)", err)
		}
	}
}
