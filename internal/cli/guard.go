package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

// shown is how many violations are printed; --json has more.
const shown = 20

func (a *app) guardCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Look at what stands between a policy and the arm",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	k := wire.Check{}
	asJSON := false
	check := &cobra.Command{
		Use:   "check --policy SESSION|FILE [RECORDING...]",
		Short: "Run a policy over recordings through the guard, without an arm",
		Long: `Run a policy over recorded episodes through the guard's filter: at each recorded
state, what would the policy command, and what would the guard leave of it? No
arm moves. Recordings are episodes of sessions, sessions with all of theirs, or bags (ROS 1 and 2, MCAP) of an
arm over ROS with the topics that robot.ros names. Of a session it is the policy that acts next, over the session's own
episodes if none are named; whether it passed is stored there, for guard.gate.

It passes if every command is finite and the guard alters at most the share
--allow of them. Exit code 1 says that it did not.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if k.Policy == "" {
				return usageError{errors.New("no policy is named; give a session's folder or a file of parameters with --policy")}
			}
			if !(k.Allow >= 0 && k.Allow <= 1) {
				return usageError{fmt.Errorf("--allow is %g; want a share from 0 to 1", k.Allow)}
			}
			k.File, k.Recordings = a.file, args
			dir, err := k.Session()
			if err == nil && dir != "" {
				err = a.unread(dir) // its limits may be wider than the file's
			}
			if err != nil {
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			d, err := wire.CheckPolicy(cmd.Context(), k, a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			bars.close()
			if asJSON {
				err = json.NewEncoder(a.stdout).Encode(d)
			} else {
				err = printDry(a.stdout, d)
			}
			if err == nil && !d.Passed {
				err = fmt.Errorf("the policy did not pass: %d of %d commands would have been altered (%d not finite), and %g %% may be; slow it down (policy.scale) or teach it more in the session that it came from, look at the recordings, or allow more where all of it is harmless (--allow)", d.Altered, d.Steps, d.NonFinite, 100*d.Allow)
			}
			return err
		},
	}
	check.Flags().StringVar(&k.Policy, "policy", "", "a session's folder, or a file of parameters")
	check.Flags().Float64Var(&k.Allow, "allow", 0.05, "share of the commands that the guard may alter")
	check.Flags().BoolVar(&k.Explore, "explore", false, "judge what the policy does while it explores, not its best guess")
	check.Flags().BoolVar(&asJSON, "json", false, "print all of it as JSON")
	cmd.AddCommand(check)
	return cmd
}

func printDry(w io.Writer, d wire.Dry) error {
	var err error
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format, args...)
		}
	}
	for i, v := range d.Violations {
		if i == shown {
			say("... %d more; see all with --json\n", len(d.Violations)-shown+d.Unlisted)
			break
		}
		say("%s step %d: %s %.4g %s, limit %.4g\n  wish    %+.4f\n  applied %+.4f\n", v.Recording, v.Step, v.Limit, float64(v.Got), v.Unit, float64(v.Max), v.Wish, v.Applied)
	}
	verdict := "passed"
	if !d.Passed {
		verdict = "NOT PASSED"
	}
	say("\npolicy      %s (%.12s)\nrecordings  %d, %d steps\naltered     %d (%.1f %%; %.1f %% may be)\nnot finite  %d\n", d.Policy, d.Digest, d.Recordings, d.Steps, d.Altered, 100*float64(d.Altered)/float64(max(d.Steps, 1)), 100*d.Allow, d.NonFinite)
	for _, limit := range slices.Sorted(maps.Keys(d.ByLimit)) {
		say("  %-40s %d\n", limit, d.ByLimit[limit])
	}
	for _, t := range d.Torn {
		say("damaged     %s\n", t)
	}
	say("verdict     %s\n", verdict)
	if d.Kept != "" {
		say("kept in     %s\n", d.Kept)
	}
	return err
}
