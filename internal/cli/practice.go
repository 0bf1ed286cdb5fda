package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) practiceCmd() *cobra.Command {
	var resume bool
	cmd := &cobra.Command{
		Use:   "practice",
		Short: "Learn a task and its undoing in turns, without a person between episodes",
		Long: `Learn a task and, as a second session called NAME-back, the task undone, in turns on
one arm: each episode begins where the last one left things. A person is asked to put
the scene back only after practice.reminder episodes in a row without success, and it
stops by itself after practice.hours. On an arm over ROS who is asked stands behind
robot.ros.again, or acknowledges, while the arm is held, that the scene is put back
(docs/practice.md). Ctrl-C ends it cleanly; --resume goes on.`,
		Example: "  rapport practice --set robot.task=stack --set session.end=success --set practice.hours=2",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			read := a.load
			if resume {
				read = a.lies
			}
			c, err := read()
			if err != nil {
				return err
			}
			if !resume {
				if err := a.pinned(c); err != nil {
					return err
				}
			}
			if resume {
				if c.Name == "" {
					return usageError{fmt.Errorf("--resume wants to know which practice goes on; name its first session, as --set name=stack-001")}
				}
				if c, err = wire.PracticeOf(c.Out, c.Name, a.environ, a.sets); err != nil {
					return err
				}
				if err := a.note(filepath.Join(c.Out, c.Name)); err != nil {
					return err
				}
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			o, end := a.driving(bars)
			defer end()
			res, err := wire.Practice(cmd.Context(), c, resume, o)
			if dir := res.Forward.Dir; dir != "" {
				a.keeps(wire.GoOn(dir))
			}
			if err != nil {
				return err
			}
			bars.close()
			if err := a.print(res.Forward); err != nil {
				return err
			}
			if err := a.print(res.Backward); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "a person put the scene back %d times\n", res.Resets)
			return err
		},
	}
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with the practice whose first session name says, as its folder configures it")
	return cmd
}
