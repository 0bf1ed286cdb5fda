package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/robot/bag"
)

// exitLoss is the exit code of what was done as well as a damaged recording
// allows: something of it is lost.
const exitLoss = 3

// lossError says that a recording is not whole.
type lossError struct{ error }

func (e lossError) Unwrap() error { return e.error }

func (a *app) bagCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bag",
		Short: "Look into recordings, convert and repair them",
		Long: `Recordings are ROS 1 bags (.bag, also .bag.active), MCAP files and rosbag2 folders
or .db3 files; which of them a file is, is told by its content (docs/bags.md).`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.bagInfoCmd(), a.bagConvertCmd(), a.bagRepairCmd())
	return cmd
}

// exactly refuses another number of arguments as wrong usage.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w: %s", err, cmd.UseLine())}
		}
		return nil
	}
}

func (a *app) bagInfoCmd() *cobra.Command {
	check, asMap := false, false
	cmd := &cobra.Command{
		Use:   "info FILE",
		Short: "Say what a recording holds and what of it is damaged",
		Long: `Say what a recording holds: time, topics, types, rates, compression. Without
--check, damage is what the index shows; with it every message is read, and the
exit code is 3 if any is lost.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := bag.Open(args[0], bag.Options{})
			if err != nil {
				return err
			}
			defer b.Close()
			if check {
				if err := drain(cmd.Context(), b); err != nil {
					return err
				}
			}
			info := b.Info()
			if err := printInfo(a.stdout, info, check); err != nil {
				return err
			}
			if asMap {
				_, why := bag.Guess(info)
				for _, line := range why {
					fmt.Fprintln(a.stdout, "guess    "+line)
				}
			}
			if check && info.Damage.Lost() {
				remedy := "rapport bag repair writes what is whole"
				if wire.IsEpisode(args[0]) {
					remedy = "rapport replay shows what is whole"
				}
				return lossError{fmt.Errorf("%s is damaged: %v; %s", args[0], info.Damage, remedy)}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "read every message")
	cmd.Flags().BoolVar(&asMap, "guess", false, "say which topic would be taken for which camera, state and command")
	return cmd
}

// drain reads what is left.
func drain(ctx context.Context, b *bag.Bag) error {
	var m bag.Message
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := b.Next(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func printInfo(out io.Writer, i bag.Info, checked bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "path\t%s\n", i.Path)
	fmt.Fprintf(w, "kind\t%s\n", i.Kind)
	fmt.Fprintf(w, "size\t%d bytes\n", i.Size)
	if i.Messages > 0 {
		fmt.Fprintf(w, "start\t%s\n", i.Start.Format(time.RFC3339Nano))
		fmt.Fprintf(w, "end\t%s\n", i.End.Format(time.RFC3339Nano))
		fmt.Fprintf(w, "duration\t%.3f s\n", i.End.Sub(i.Start).Seconds())
	}
	fmt.Fprintf(w, "messages\t%d\n", i.Messages)
	var packs []string
	for _, c := range i.Compression {
		packs = append(packs, fmt.Sprintf("%s, %d chunks", c.Name, c.Chunks))
	}
	if len(packs) > 0 {
		fmt.Fprintf(w, "packed\t%s\n", strings.Join(packs, "; "))
	}
	damage := i.Damage.String()
	if !checked && i.Damage.None() {
		damage = "none by the index (--check reads every message)"
	}
	fmt.Fprintf(w, "damage\t%s\n", damage)
	if err := w.Flush(); err != nil {
		return err
	}
	printDamage(out, i.Damage)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(i.Topics) > 0 {
		fmt.Fprintf(w, "\ntopic\ttype\tcount\tHz\tencoding\tpublishers\n")
	}
	for _, t := range i.Topics {
		hz := "-"
		if t.Hz > 0 {
			hz = fmt.Sprintf("%.1f", t.Hz)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\n", t.Name, t.Type, t.Count, hz, t.Encoding, t.Connections)
	}
	return w.Flush()
}

// printDamage tells what was lost, line by line.
func printDamage(out io.Writer, d bag.Damage) {
	for _, n := range d.Notes {
		fmt.Fprintln(out, "  "+n)
	}
	for k, r := range d.Ranges {
		if k == 10 {
			fmt.Fprintf(out, "  and from %d more stretches of time\n", len(d.Ranges)-k)
			break
		}
		fmt.Fprintf(out, "  lost between %s and %s\n", r.From.Format(time.RFC3339Nano), r.To.Format(time.RFC3339Nano))
	}
}

func (a *app) bagConvertCmd() *cobra.Command {
	var topics []string
	var from, to, compression string
	cmd := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Write a recording, or a part of it, as .bag or .mcap",
		Long: `Write the messages of the recording IN, in the order of time, to OUT, a .bag or an
.mcap by its name. The exit code is 3 if some of IN is damaged and lost.`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			probe, err := bag.Open(args[0], bag.Options{})
			if err != nil {
				return err
			}
			start := probe.Info().Start
			have := probe.Info().Topics
			if err := probe.Close(); err != nil {
				return err
			}
			opt := bag.Options{Topics: topics}
			if opt.From, err = instant("--from", from, start); err != nil {
				return err
			}
			if opt.To, err = instant("--to", to, start); err != nil {
				return err
			}
			for _, t := range topics {
				if err := among(t, have); err != nil {
					return err
				}
			}
			return a.rewrite(cmd.Context(), args[0], args[1], opt, compression)
		},
	}
	cmd.Flags().StringSliceVar(&topics, "topics", nil, "only these, joined by commas")
	cmd.Flags().StringVar(&from, "from", "", "first instant: seconds from the beginning, or a time as 2026-01-02T15:04:05Z")
	cmd.Flags().StringVar(&to, "to", "", "the instant before which it ends")
	cmd.Flags().StringVar(&compression, "compression", "", "none, lz4 (.bag and .mcap) or zstd (.mcap); the default is none in a .bag and zstd in an .mcap")
	return cmd
}

func among(topic string, have []bag.Topic) error {
	var names []string
	for _, t := range have {
		if t.Name == topic {
			return nil
		}
		names = append(names, t.Name)
	}
	return usageError{fmt.Errorf("--topics: there is no %s; there are %s", topic, strings.Join(names, ", "))}
}

// instant reads a time of the command line.
func instant(flag, s string, start time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(sec) < 1e9 {
		return start.Add(time.Duration(sec * float64(time.Second))), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, usageError{fmt.Errorf("%s %q is neither seconds from the beginning nor a time as 2026-01-02T15:04:05Z", flag, s)}
	}
	return t, nil
}

func (a *app) bagRepairCmd() *cobra.Command {
	var compression string
	cmd := &cobra.Command{
		Use:   "repair IN OUT",
		Short: "Write what is whole of a damaged recording, and say what is lost",
		Long: `Write every message of IN that is whole to OUT, with a new index, and give an
account of what is lost. IN stays as it is. The exit code is 0 if nothing is lost,
3 if something is.`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wire.IsEpisode(args[0]) {
				return fmt.Errorf("%s is an episode of a session, which a repaired recording would not be any more; rapport replay %[1]s --session RUN shows what is whole of it", args[0])
			}
			return a.rewrite(cmd.Context(), args[0], args[1], bag.Options{}, compression)
		},
	}
	cmd.Flags().StringVar(&compression, "compression", "", "none, lz4 (.bag and .mcap) or zstd (.mcap); the default is none in a .bag and zstd in an .mcap")
	return cmd
}

// rewrite copies what can be read of a recording.
func (a *app) rewrite(ctx context.Context, in, out string, opt bag.Options, compression string) (err error) {
	b, err := bag.Open(in, opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	w, err := bag.Create(out, bag.WriteOptions{Compression: compression})
	if err != nil {
		return err
	}
	n, err := bag.Copy(ctx, w, b)
	if err == nil {
		err = w.Close()
	}
	if err != nil { // all of it is in the recording still
		err = errors.Join(fmt.Errorf("%w; nothing was written", err), w.Abort())
		if left := os.Remove(out + ".active"); !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		return err
	}
	d := b.Damage()
	fmt.Fprintf(a.stdout, "%s: %d messages; damage of %s: %v\n", out, n, in, d)
	printDamage(a.stdout, d)
	if d.Lost() {
		return lossError{fmt.Errorf("%s is not whole: %v", in, d)}
	}
	return nil
}
