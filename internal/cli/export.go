package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) policyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Take policies elsewhere",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var out, which, eyes string
	export := &cobra.Command{
		Use:   "export [SESSION] --onnx FILE",
		Short: "Write a session's policy as an ONNX file",
		Long: `Write a policy of the session in the folder SESSION (without it, the newest) as
an ONNX file for other programs (docs/onnx.md). Its inputs are in SI units, its
output is a command of a tick, or for policies that draw chunks the commands of the
next ticks from noise, and its metadata says what each of them is.
Commands want a guard before they move an arm.`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usageError{errors.New("--onnx is missing: name the file to write, as --onnx policy.onnx")}
			}
			dir, err := a.session(args)
			if err != nil {
				return err
			}
			files := []string{out}
			if eyes != "" {
				files = append(files, eyes)
			}
			if err := wire.Vacant(files...); err != nil { // of both, before either is written
				return err
			}
			bars := newProgress(a.stderr)
			defer bars.close()
			b, what, err := wire.ExportONNX(cmd.Context(), dir, which, version(), a.environ, a.sets, a.options(bars))
			if err != nil {
				return err
			}
			if eyes != "" {
				b, err := wire.ExportEncoder(cmd.Context(), dir, version(), a.environ, a.sets, a.options(bars))
				if err != nil {
					return err
				}
				if err := wire.WriteNew(eyes, b); err != nil {
					return err
				}
			}
			if err := wire.WriteNew(out, b); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s: %s, %d bytes of ONNX\n", out, what, len(b))
			return err
		},
	}
	export.Flags().StringVar(&out, "onnx", "", "file to write, which must not be there yet")
	export.Flags().StringVar(&which, "policy", wire.Tuned, "tuned (the newest), cloned, or a file of parameters")
	export.Flags().StringVar(&eyes, "encoder", "", "file to write the session's encoder to, which policies that see features read")
	cmd.AddCommand(export)
	return cmd
}
