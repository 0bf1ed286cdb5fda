package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// later are the tables that sessions of before do not have yet.
const later = `
CREATE TABLE IF NOT EXISTS fault_reports (fault INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, report TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS acknowledgements (fault INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, operator TEXT NOT NULL, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS gates (
	n INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, policy TEXT NOT NULL, limits TEXT NOT NULL, passed INTEGER NOT NULL, report TEXT NOT NULL
);
`

// Fault is a latched fault of the session.
type Fault struct {
	ID                     int64     // counts from 1; AddFault gives it
	Stamp                  time.Time // of the arm's state, on the backend's clock
	At                     time.Time // on the driver's clock; zero in sessions of before it was kept
	Episode, Cause, Detail string
	// Report holds the state and the two seconds before, JSON. Lists leave it out;
	// see FaultReport.
	Report json.RawMessage
	// By acknowledged it at Cleared, with a Note; "" while it is open.
	By, Note string
	Cleared  time.Time
}

// Open says that nobody has acknowledged f.
func (f *Fault) Open() bool { return f.By == "" }

// AddFault appends a latched fault and returns its number.
func (s *Session) AddFault(ctx context.Context, f Fault) (int64, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, s.fault("store a fault", err)
	}
	var id int64
	res, err := tx.ExecContext(ctx, "INSERT INTO faults (stamp_ns, episode, cause, detail) VALUES (?, ?, ?, ?)", nanos(f.Stamp), f.Episode, f.Cause, f.Detail)
	if err == nil {
		id, err = res.LastInsertId()
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO fault_reports VALUES (?, ?, ?)", id, nanos(f.At), string(f.Report))
	}
	if err != nil {
		return 0, s.fault("store a fault", errors.Join(err, tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return 0, s.fault("store a fault", err)
	}
	return id, nil
}

// nanos are nanoseconds since 1970, 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Faults lists the faults of the session, oldest first.
func (s *Session) Faults(ctx context.Context) ([]Fault, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT n, stamp_ns, episode, cause, detail, coalesce(r.at_ns, 0), coalesce(operator, ''), coalesce(note, ''), coalesce(a.at_ns, 0)
		FROM faults LEFT JOIN fault_reports r ON r.fault = n LEFT JOIN acknowledgements a ON a.fault = n ORDER BY n`)
	if err != nil {
		return nil, s.fault("read faults", err)
	}
	defer rows.Close()
	var out []Fault
	for rows.Next() {
		var f Fault
		var stamp, at, cleared int64
		if err := rows.Scan(&f.ID, &stamp, &f.Episode, &f.Cause, &f.Detail, &at, &f.By, &f.Note, &cleared); err != nil {
			return nil, s.fault("read faults", err)
		}
		f.Stamp, f.At, f.Cleared = instant(stamp), instant(at), instant(cleared)
		out = append(out, f)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fault("read faults", err)
	}
	return out, nil
}

// OpenFaults lists the faults that nobody has acknowledged, oldest first.
func (s *Session) OpenFaults(ctx context.Context) ([]Fault, error) {
	all, err := s.Faults(ctx)
	var open []Fault
	for _, f := range all {
		if f.Open() {
			open = append(open, f)
		}
	}
	return open, err
}

// FaultReport returns what the fault of a number was stored with.
func (s *Session) FaultReport(ctx context.Context, id int64) (json.RawMessage, error) {
	var b string
	err := s.db.QueryRowContext(ctx, "SELECT report FROM fault_reports WHERE fault = ?", id).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: report of fault %d in %s; list them with: rapport fault", ErrNone, id, s.dir)
	}
	if err != nil {
		return nil, s.fault("read a fault", err)
	}
	return json.RawMessage(b), nil
}

// FaultReportOf is FaultReport of a session that another process has open: it reads beside that one,
// and takes no lock.
func FaultReportOf(ctx context.Context, dir string, id int64) (_ json.RawMessage, err error) {
	db, err := connect(dir, "mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return (&Session{dir: dir, db: db}).FaultReport(ctx, id)
}

// Acknowledge notes that an operator has seen to an open fault. The error is
// ErrNone if there is no open fault of this number: the first one counts.
func (s *Session) Acknowledge(ctx context.Context, id int64, at time.Time, operator, note string) error {
	if operator == "" {
		return errors.New("store: a fault is acknowledged by a named operator only")
	}
	res, err := s.db.ExecContext(ctx, `INSERT INTO acknowledgements SELECT n, ?, ?, ? FROM faults WHERE n = ? ON CONFLICT (fault) DO NOTHING`, nanos(at), operator, note, id)
	var rows int64
	if err == nil {
		rows, err = res.RowsAffected()
	}
	if err != nil {
		return s.fault("acknowledge a fault", err)
	}
	if rows == 0 {
		return fmt.Errorf("%w: open fault %d in %s; list them with: rapport fault", ErrNone, id, s.dir)
	}
	return nil
}

// Gate is the result of a dry run of a policy behind the guard.
type Gate struct {
	At     time.Time
	Policy string // SHA-256 of the parameters
	Limits string // SHA-256 of the guard's limits that it was run against
	Passed bool
	Report json.RawMessage
}

// AddGate appends a result.
func (s *Session) AddGate(ctx context.Context, g Gate) error {
	if _, err := s.db.ExecContext(ctx, "INSERT INTO gates (at_ns, policy, limits, passed, report) VALUES (?, ?, ?, ?, ?)", nanos(g.At), g.Policy, g.Limits, g.Passed, string(g.Report)); err != nil {
		return s.fault("store a dry run", err)
	}
	return nil
}

// LatestGate returns the newest result for a policy and limits, or ErrNone.
func (s *Session) LatestGate(ctx context.Context, policy, limits string) (Gate, error) {
	g := Gate{Policy: policy, Limits: limits}
	var at int64
	var report string
	err := s.db.QueryRowContext(ctx, "SELECT at_ns, passed, report FROM gates WHERE policy = ? AND limits = ? ORDER BY n DESC LIMIT 1", policy, limits).Scan(&at, &g.Passed, &report)
	if errors.Is(err, sql.ErrNoRows) {
		return g, fmt.Errorf("%w: dry run of this policy within these limits in %s", ErrNone, s.dir)
	}
	if err != nil {
		return g, s.fault("read a dry run", err)
	}
	g.At, g.Report = instant(at), json.RawMessage(report)
	return g, nil
}
