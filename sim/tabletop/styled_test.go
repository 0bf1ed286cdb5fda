package tabletop

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestExperiment(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SEEDS"))
	for _, task := range []Task{Cup, Chips, Fork} {
		for _, style := range []Style{Good, Bad} {
			t.Run(fmt.Sprint(task, style), func(t *testing.T) {
				w, d := newErrand(t, Config{Task: task}, style)
				s, p, u, last := 0, 0, 0, 0
				for seed := range uint64(n) {
					obs := start(t, w, seed)
					done := -1
					for i := range task.Horizon() {
						var err error
						if obs, err = w.Step(context.Background(), d.Act(obs)); err != nil {
							t.Fatal(err)
						}
						if done < 0 && w.Truth().Success {
							done = i
						}
					}
					last = max(last, done)
					x := w.Truth()
					if x.Success {
						s++
					}
					if x.Preferred {
						p++
					}
					if x.Undesired {
						u++
					}
					if seed < 3 || !x.Success {
						fmt.Println(task, style, seed, x.Success, x.Preferred, x.Undesired, x.Grasp, x.Distance, x.Bodies[0].Pose, done)
					}
				}
				fmt.Println(task, style, "success", s, "preferred", p, "undesired", u, "last", last)
			})
		}
	}
}
