package guard

import (
	"context"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Lease goes with a command of a commander that may be lost: a process on
// another machine, say. The guard applies the command only if it is newer than
// the last one of its holder, has not expired, and no other holder's lease still
// lasts.
type Lease struct {
	// Holder names one life of a commander: a restarted one takes a new name or
	// goes on counting.
	Holder string
	// Seq grows with every command of the holder.
	Seq uint64
	// Expires is when the command is no longer good, on the backend's clock: the
	// stamp of the observation that it answers, plus a term. The guard shortens
	// it to its own Leasing.Term from now.
	Expires time.Time
}

type (
	leaseKey  struct{}
	sourceKey struct{}
)

// WithLease returns a context for a Step whose command goes with l.
func WithLease(ctx context.Context, l Lease) context.Context {
	return context.WithValue(ctx, leaseKey{}, l)
}

// WithSource returns a context for a Step whose command was decided by s, for
// example robot.ByHuman. Without it a command is the policy's.
func WithSource(ctx context.Context, s robot.Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, s)
}

func source(ctx context.Context) robot.Source {
	s, _ := ctx.Value(sourceKey{}).(robot.Source) // ByPolicy is the zero value
	return s
}

// refusal says why a command's lease is no good.
type refusal uint8

const (
	granted  refusal = iota
	missing          // it carries none, but one is required
	expired          // it came too late
	repeated         // a newer one of its holder was seen
	foreign          // another holder's lease lasts
)

// ledger holds who has the arm, and the newest sequence number of the latest
// holders.
type ledger struct {
	Leasing
	holder  string
	held    bool
	expires time.Time
	seen    [16]struct { // the least recently used one makes room
		holder string
		seq    uint64
		used   uint64
	}
	clock uint64
}

// lapsed reports whether a lease was held and is over at now; then it is free.
func (l *ledger) lapsed(now time.Time) bool {
	if l.held && !now.Before(l.expires) {
		l.held = false
		return true
	}
	return false
}

// local renews the lease of a command without one. A human beside the arm takes
// it from whoever has it.
func (l *ledger) local(now time.Time, human bool) refusal {
	switch {
	case l.Required:
		return missing
	case l.held && l.holder != "" && !human:
		return foreign
	}
	l.holder, l.held, l.expires = "", true, now.Add(l.Term)
	return granted
}

// grant judges a lease at now, and notes it if it is good.
func (l *ledger) grant(n *Lease, now time.Time) refusal {
	switch {
	case n.Holder == "":
		return missing
	case l.held && l.holder != n.Holder:
		return foreign
	}
	slot := &l.seen[0]
	for i := range l.seen {
		if s := &l.seen[i]; s.used > 0 && s.holder == n.Holder {
			slot = s
			break
		} else if s.used < slot.used {
			slot = s
		}
	}
	known := slot.used > 0 && slot.holder == n.Holder
	switch {
	case known && n.Seq <= slot.seq:
		return repeated
	case !n.Expires.After(now):
		return expired
	}
	l.clock++
	slot.holder, slot.seq, slot.used = n.Holder, n.Seq, l.clock
	l.holder, l.held, l.expires = n.Holder, true, n.Expires
	if end := now.Add(l.Term); end.Before(l.expires) {
		l.expires = end
	}
	return granted
}
