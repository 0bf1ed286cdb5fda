package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/wire"
)

func (a *app) recordCmd() *cobra.Command {
	var rc wire.RecordConfig
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "record (TOPIC... | --all) --out FILE",
		Short: "Record ROS 1 topics as MCAP or as a bag",
		Long: `Record topics of any type from a ROS 1 graph until interrupted, into an .mcap (of
the profile ros1, as bag2mcap writes it) or a .bag. Chunks end every second: a
recorder that is killed leaves FILE.active without the last second, which rapport
bag repair and rapport replay read. Messages that the disk does not keep up with
are dropped and counted, and a full disk ends the recording.`,
		Example: `  rapport record --all --out monday.mcap
  rapport record /camera/color/image_raw /franka_state_controller/franka_states --out monday.bag`,
		RunE: func(cmd *cobra.Command, args []string) error {
			rc.Topics = append(rc.Topics, args...)
			switch {
			case rc.Out == "":
				return usageError{errors.New("--out is missing: name the file, as --out monday.mcap")}
			case rc.All == (len(rc.Topics) > 0):
				return usageError{errors.New("name topics, or take --all")}
			case limit < 0:
				return usageError{fmt.Errorf("--duration is %v; want a time, or 0 for until interrupted", limit)}
			}
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			o := a.options(newProgress(io.Discard))
			o.Tell = notes(a.stderr)
			r, err := wire.RecordTopics(ctx, rc, o)
			if err != nil {
				return err
			}
			for _, t := range slices.Sorted(maps.Keys(r.Topics)) {
				fmt.Fprintf(a.stdout, "%-40s %d messages\n", t, r.Topics[t])
			}
			for _, t := range r.Silent {
				fmt.Fprintf(a.stdout, "%-40s nothing came; is it published, and is this machine reachable (ROS_IP)?\n", t)
			}
			fmt.Fprintf(a.stdout, "%s: %d messages, %d bytes, %d dropped\n", rc.Out, r.Messages, r.Bytes, r.Dropped)
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&rc.Topics, "topics", nil, "topics to record, also as arguments")
	cmd.Flags().BoolVar(&rc.All, "all", false, "record all topics, also those that appear later")
	cmd.Flags().StringVarP(&rc.Out, "out", "o", "", "file to write, .mcap or .bag, which must not be there yet")
	cmd.Flags().StringVar(&rc.Master, "master", "", "URI of the ROS master; without it ROS_MASTER_URI")
	cmd.Flags().StringVar(&rc.Compression, "compression", "", "of chunks: none, lz4 or zstd (.mcap alone); none for .bag and zstd for .mcap without it")
	cmd.Flags().DurationVar(&limit, "duration", 0, "record for so long, as 10m; 0 is until interrupted")
	return cmd
}

// notes writes a line of progress every ten seconds, since a recording has no end to
// be far from.
func notes(w io.Writer) wire.Progress {
	var mu sync.Mutex
	n := 0
	return func(stage string, _, _ int, note string) {
		mu.Lock()
		defer mu.Unlock()
		if n%10 == 0 {
			fmt.Fprintf(w, "%-16s %s\n", stage, note)
		}
		n++
	}
}
