package wire

import (
	"reflect"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
)

// What is known of a rollout's chains does not depend on what is read beside them.
func TestChainsAreReadAtOnce(t *testing.T) {
	a, err := OpenAlign(rolledAlign(t), nil, nil, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.begun(t.Context()); err != nil {
		t.Fatal(err)
	}
	net, err := a.net()
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := align.Tune(net, a.tuning())
	if err != nil {
		t.Fatal(err)
	}
	rec, err := align.NewRecorder(tuned, 7) // of which some hold chunks of two rollouts
	if err != nil {
		t.Fatal(err)
	}
	rollouts := []int{3, 0, 7}
	all, err := a.chains(rollouts, rec)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range rollouts {
		alone, err := a.chains([]int{n}, rec)
		if err != nil {
			t.Fatal(err)
		}
		if len(all[i]) == 0 || all[i][0].Group != n || all[i][0].LogP[0] == 0 || !reflect.DeepEqual(all[i], alone[0]) {
			t.Errorf("the chains of rollout %d are others beside those of %v", n, rollouts)
		}
	}
}
