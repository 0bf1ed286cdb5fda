package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) pictureCmd() *cobra.Command {
	var out string
	var ticks, width, height int
	cmd := &cobra.Command{
		Use:   "picture",
		Short: "Draw the simulated arm at its task as a JPEG",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			for name, v := range map[string]int{"--width": width, "--height": height} {
				if v < 16 || v > 4096 {
					return usageError{fmt.Errorf("%s is %d; want 16 to 4096 pixels", name, v)}
				}
			}
			if ticks < 0 || ticks > 10000 {
				return usageError{fmt.Errorf("--ticks is %d; want 0 to 10000", ticks)}
			}
			b, err := wire.Picture(cmd.Context(), c, ticks, width, height)
			if err != nil {
				return err
			}
			return os.WriteFile(out, b, 0o644)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "arm.jpg", "file to write")
	cmd.Flags().IntVar(&ticks, "ticks", 24, "control ticks of a good demonstration before the picture")
	cmd.Flags().IntVar(&width, "width", 960, "pixels")
	cmd.Flags().IntVar(&height, "height", 540, "pixels")
	return cmd
}
