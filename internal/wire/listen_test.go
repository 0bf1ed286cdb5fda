package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// A simulator left /use_sim_time set, or starts: no message has a time until there is a clock.
func TestARecordingWaitsForItsClock(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: "talker", Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.SetParam("/use_sim_time", true); err != nil {
		t.Fatal(err)
	}
	p, err := ros.Advertise[std.String](n, "/said", true)
	if err != nil {
		t.Fatal(err)
	}
	p.Publish(&std.String{Data: "hello"})
	dir := t.TempDir()
	rc := RecordConfig{Topics: []string{"/said"}, Out: filepath.Join(dir, "out.mcap"), Master: m.URI()}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = RecordTopics(ctx, rc, Options{Log: slog.New(slog.DiscardHandler), After: time.After, Tell: func(_ string, _, _ int, note string) {
		if !strings.Contains(note, "/use_sim_time") {
			t.Errorf("told %q, want that there is no clock", note)
		}
		cancel()
	}})
	if !errors.Is(err, ros.ErrNoClock) || strings.Contains(err.Error(), "free space") {
		t.Errorf("error %v, want that nobody publishes /clock", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v), want nothing", left, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := RecordTopics(ctx, rc, Options{Log: slog.New(slog.DiscardHandler), After: time.After, Tell: func(_ string, _, _ int, note string) {
		if !strings.Contains(note, "/use_sim_time") {
			cancel() // it records
			return
		}
		c, err := ros.Advertise[std.Clock](n, "/clock", true)
		if err != nil {
			t.Error(err)
			return
		}
		c.Publish(&std.Clock{Clock: time.Unix(100, 0).UTC()})
	}})
	if err != nil || out.Messages != 1 {
		t.Errorf("%d messages, %v; want the one that was said", out.Messages, err)
	}
}

// The master's machine is off when a recording ends: each topic waits a second to tell it.
func TestARecordingEndsWithoutItsMaster(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	way, off := porttest.Leaving(t, m.URI())
	n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: "talker", Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	rc := RecordConfig{Out: filepath.Join(t.TempDir(), "out.mcap"), Master: way}
	for i := range 20 {
		topic := fmt.Sprintf("/topic%d", i)
		p, err := ros.Advertise[std.String](n, topic, true)
		if err != nil {
			t.Fatal(err)
		}
		p.Publish(&std.String{Data: topic})
		rc.Topics = append(rc.Topics, topic)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended time.Time
	o := Options{Log: slog.New(slog.DiscardHandler), After: time.After, Tell: func(_ string, _, _ int, _ string) {
		if ended.IsZero() { // at the first look of a second, when all is heard
			ended = time.Now()
			off()
			cancel()
		}
	}}
	out, err := RecordTopics(ctx, rc, o)
	if err != nil || out.Messages != 20 || len(out.Silent) > 0 {
		t.Errorf("%d messages, silent are %q, %v; want one of each topic", out.Messages, out.Silent, err)
	}
	if took := time.Since(ended); took > 10*time.Second {
		t.Errorf("the recording ended %v after it was to", took)
	}
	b, err := bag.Open(rc.Out, bag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := b.Info(); got.Messages != 20 || !got.Indexed {
		t.Errorf("the file has %d messages, with its index %v; want 20 and one", got.Messages, got.Indexed)
	}
}
