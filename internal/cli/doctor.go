package cli

import (
	"fmt"
	"net"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) doctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Try on this machine all that a session needs, and say what computes",
		Long: `Use each part that a session of the given configuration needs once, and print
what it is: what networks are computed on, physics, cameras, bus, disk, ports, the
session that it begins from, who writes waypoints and tells success. Ends with 1 if a
part is missing, and says what to do.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "ok    %-16s %s, %s\n", "rapport", version(), runtime.Version())
			bad := 0
			for _, f := range wire.Examine(cmd.Context(), c, a.options(newProgress(a.stderr))) {
				state, detail := "ok", f.Detail
				if f.Err != nil {
					state, detail = "FAIL", f.Err.Error()
					bad++
				}
				fmt.Fprintf(a.stdout, "%-5s %-16s %s\n", state, f.What, detail)
			}
			state, detail := pagePort()
			fmt.Fprintf(a.stdout, "%-5s %-16s %s\n", state, "pages", detail)
			if bad > 0 {
				return fmt.Errorf("%d of the parts that a session needs failed", bad)
			}
			return nil
		},
	}
}

// pagePort says whether pages find their port free. A session needs none, so a taken one
// is no fault.
func pagePort() (state, detail string) {
	l, err := net.Listen("tcp", defaultPage)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		return "note", fmt.Sprintf("%s is taken (%v); give pages another address: rapport run --dashboard=127.0.0.1:0, rapport dashboard --listen 127.0.0.1:0", defaultPage, err)
	}
	return "ok", defaultPage + " is free"
}

// version is this program's, as the build knows it.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "without version"
}
