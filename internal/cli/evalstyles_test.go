package cli

import (
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/wire"
)

func TestEvaluationTellsStylesWhereThereAreSome(t *testing.T) {
	ev := wire.Evaluation{Trials: []wire.Trial{
		{N: 0, Success: true, Preferred: true},
		{N: 1, Success: true, Undesired: true},
		{N: 2, Undesired: true},
		{N: 3, Success: true, Preferred: true},
	}}
	for _, styled := range []bool{false, true} {
		ev.Styled = styled
		var out strings.Builder
		if err := printEvaluation(&out, ev, ""); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "success  3 of 4") {
			t.Errorf("no success in\n%s", out.String())
		}
		for _, want := range []string{"preferred 2 of 4", "undesired 2 of 4"} {
			if got := strings.Contains(out.String(), want); got != styled {
				t.Errorf("styled %v, but %q is there: %v\n%s", styled, want, got, out.String())
			}
		}
		var b strings.Builder
		if err := writeTrials(&b, ev); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "return,cut_off,preferred,undesired\n0,0,true,0,false,true,false\n"); got != styled {
			t.Errorf("styled %v, table\n%s", styled, b.String())
		}
	}
}
