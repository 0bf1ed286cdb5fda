package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

// Who fine-tuned a policy into a worse one is told, with what to do about it.
func TestRunSaysWhatIsWorse(t *testing.T) {
	of := func(n int) report.Share { return report.Share{Hits: n, Of: 100} }
	rlpd, calm := config.Learner{Kind: "rlpd"}, config.Learner{Kind: "iql", IQL: config.IQL{Decay: true}}
	for _, tt := range []struct {
		after      int
		by         config.Learner
		told, anew bool
	}{
		{95, rlpd, false, false},
		{50, rlpd, true, true},
		{50, config.Learner{Kind: "iql"}, true, true},
		{50, calm, true, false},
		{50, config.Learner{Kind: "diffusion"}, true, false},
	} {
		var out bytes.Buffer
		a := &app{stdout: &out}
		if err := a.print(wire.Result{Dir: "runs/a", Report: "runs/a/report.html", Before: of(100), After: of(tt.after), Learner: tt.by}); err != nil {
			t.Fatal(err)
		}
		for what, want := range map[string]bool{
			"rapport eval runs/a --policy cloned":                                                     tt.told,
			"-c runs/a/config.yaml --set name=a-iql --set session.from=runs/a --set learner.kind=iql": tt.anew,
		} {
			if strings.Contains(out.String(), what) != want {
				t.Errorf("%d of 100 by %s, %q told: %t, want %t\n%s", tt.after, tt.by.Kind, what, !want, want, out.String())
			}
		}
	}
	var out bytes.Buffer
	a := &app{stdout: &out}
	if err := a.print(wire.Result{Dir: "my runs/a", Report: "r", Before: of(100), After: of(50), Learner: rlpd}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rapport eval 'my runs/a' --policy", "-c 'my runs/a/config.yaml' --set name=a-iql --set 'session.from=my runs/a' --set"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q for a shell:\n%s", want, out.String())
		}
	}
}
