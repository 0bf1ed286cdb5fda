package store_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/store"
)

func TestFaultsStayOpenUntilAcknowledged(t *testing.T) {
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "a")
	s, err := store.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := store.Fault{ID: 1, Stamp: time.Unix(1, 2).UTC(), At: time.Unix(3, 4).UTC(), Episode: "online-00001", Cause: "stopped", Detail: "smoke"}
	f := want
	f.Report = json.RawMessage(`{"recent":[1]}`)
	if id, err := s.AddFault(ctx, f); err != nil || id != 1 {
		t.Fatalf("id %d, %v", id, err)
	}
	if id, err := s.AddFault(ctx, store.Fault{Cause: "panic"}); err != nil || id != 2 {
		t.Fatalf("id %d, %v", id, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if used, err := store.InUse(dir); err != nil || used {
		t.Errorf("in use %v, %v; want nobody", used, err)
	}
	if s, err = store.Open(dir); err != nil { // another life
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if used, err := store.InUse(dir); err != nil || !used {
		t.Errorf("in use %v, %v; want by this process", used, err)
	}
	open, err := s.OpenFaults(ctx)
	if err != nil || len(open) != 2 || !cmp.Equal(open[0], want) {
		t.Fatalf("open: %+v, %v", open, err)
	}
	if b, err := s.FaultReport(ctx, 1); err != nil || string(b) != string(f.Report) {
		t.Errorf("report %s, %v", b, err)
	}
	if b, err := store.FaultReportOf(ctx, dir, 1); err != nil || string(b) != string(f.Report) {
		t.Errorf("read beside: report %s, %v", b, err)
	}
	if _, err := store.FaultReportOf(ctx, dir, 3); !errors.Is(err, store.ErrNone) {
		t.Errorf("read beside: %v, want ErrNone", err)
	}
	if err := s.Acknowledge(ctx, 1, time.Unix(5, 0), "", ""); err == nil {
		t.Error("nobody acknowledged")
	}
	if err := s.Acknowledge(ctx, 1, time.Unix(5, 0), "anna", "wiped"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []int64{1, 3} {
		if err := s.Acknowledge(ctx, id, time.Unix(6, 0), "ben", ""); !errors.Is(err, store.ErrNone) {
			t.Errorf("acknowledging %d: %v, want ErrNone", id, err)
		}
	}
	if open, err := s.OpenFaults(ctx); err != nil || len(open) != 1 || open[0].ID != 2 {
		t.Errorf("open: %+v, %v", open, err)
	}
	want.By, want.Note, want.Cleared = "anna", "wiped", time.Unix(5, 0).UTC()
	if all, err := s.Faults(ctx); err != nil || len(all) != 2 || !cmp.Equal(all[0], want) {
		t.Errorf("all: %+v, %v", all, err)
	}
}

func TestNewestGateOfAPolicyCounts(t *testing.T) {
	ctx := t.Context()
	s, err := store.Create(filepath.Join(t.TempDir(), "a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.LatestGate(ctx, "p", "l"); !errors.Is(err, store.ErrNone) {
		t.Errorf("before any: %v, want ErrNone", err)
	}
	for i, passed := range []bool{true, false} {
		if err := s.AddGate(ctx, store.Gate{At: time.Unix(int64(i+1), 0), Policy: "p", Limits: "l", Passed: passed, Report: json.RawMessage("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := s.LatestGate(ctx, "p", "l"); err != nil || g.Passed || !g.At.Equal(time.Unix(2, 0)) {
		t.Errorf("got %+v, %v; want the second", g, err)
	}
	if _, err := s.LatestGate(ctx, "p", "wider"); !errors.Is(err, store.ErrNone) {
		t.Errorf("other limits: %v, want ErrNone", err)
	}
}
