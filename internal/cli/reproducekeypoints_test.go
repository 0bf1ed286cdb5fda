package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/wire"
)

func TestReproduceKeypointsRefusesWhatItCannotDo(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--seeds", "0"}, "--seeds is 0"},
		{[]string{"--tasks", ""}, "--tasks names nothing"},
		{[]string{"--set", "robot.layout=narrow"}, "--set robot.layout=narrow: of a session's settings this study goes by robot.render alone; leave it out"},
		{[]string{"--set", "seed=7"}, "the seeds are those of --seeds"},
		{[]string{"--set", "robot.render=crayon"}, "robot.render"},
		{[]string{"-c", "nowhere.yaml"}, "nowhere.yaml"},
		{[]string{"--tasks", "fly"}, `"fly"; want some of group, clutter, reach, stack, almonds, spatula, cover`},
	} {
		var out, errs bytes.Buffer
		if code := Main(append([]string{"reproduce", "keypoints"}, tt.args...), nil, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs.String())
		}
	}
}

func TestKeypointRowsCountByHand(t *testing.T) {
	var b bytes.Buffer
	r := wire.KeypointResult{Trouble: wire.Plain, Points: 5, Pixels: []float64{1, 2, 3, 20}, Lost: 1, Wrong: 1, Again: 1, Ends: 2, Hidden: 4, Blind: 1, Lift: []float64{0.001}, Both: []float64{0.002}}
	if err := keypointRows(&b, "stack", []wire.KeypointResult{r}); err != nil {
		t.Fatal(err)
	}
	want := "| stack | plain | 5 | 2.50 | 20.00 | 25.00 % | 20.00 % | 50.0 % | 25.0 % of 4 | 1.0 | 1.0 | 2.0 | 2.0 |"
	if !strings.Contains(b.String(), want) {
		t.Errorf("got\n%swant a row\n%s", b.String(), want)
	}
}
