// Package bus carries the ports, the telemetry and what must not be lost over
// NATS, so that one session can run on several machines.
//
// What: an embedded JetStream server (or a connection to one elsewhere); the
// ports perception.Extractor, reward.Scorer, policy.Policy and policy.Learner
// served and called by request and reply; episodes as a durable work queue;
// parameters as versioned objects; labels and operator acts as a journal that
// discards nothing; lossy telemetry; heartbeats. docs/bus.md is the public
// contract of subjects and encodings.
//
// Why: an actor beside the arm, a learner beside a GPU and a person beside a
// screen are different machines, and either of them may die in an afternoon.
// What is asked again can be lost; what happened once cannot.
//
//	srv, err := bus.Start(ctx, bus.Options{StoreDir: "runs/a/nats", Listen: "127.0.0.1:4222"})
//	defer srv.Close()
//	stop, err := bus.ServeScorer(ctx, srv.Conn(), "a", scorer)
//	defer stop()
//	// elsewhere
//	c, err := bus.Dial(ctx, "nats://127.0.0.1:4222", bus.Options{})
//	defer c.Close()
//	err = bus.Scorer(c, "a").Score(ctx, rewards, trajectory)
package bus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

// MaxPayload is the default limit of one message, and with it of one episode.
// Source: NATS advises at most 8 MB per message.
const MaxPayload = 8 << 20

const (
	// minPayload is the limit of a NATS server left at its defaults, which RawFrames go by; with
	// a few bytes no stream could be made.
	minPayload = 1 << 20
	// maxStored bounds a record of a stream on a disk (nats-server's filestore.go, rlBadThresh),
	// whatever the server takes as a message.
	maxStored = 32 << 20
)

// Options say how to serve or to connect. The zero value connects without
// credentials; Start needs a StoreDir.
type Options struct {
	// StoreDir is where Start keeps its streams. One server at a time.
	StoreDir string
	// Listen is host:port for other processes, port 0 picks a free one; ""
	// listens nowhere. Beyond the loopback interface it needs credentials.
	Listen string
	// User and Password, or Token, are what clients must show.
	User, Password, Token string
	// MaxPayload bounds a message, 1 to 32 MiB in bytes; 0 means MaxPayload. A
	// client obeys its server's limit.
	MaxPayload int
	// Sync is how often the server's files reach the disk, so what a power cut
	// may take; a killed process loses nothing. 0 means 1 s, negative means
	// before every acknowledgement.
	Sync time.Duration
	// Name tells this process from others in errors, logs and heartbeats; ""
	// means program-pid-token@host: containers that share a host share pids, too.
	Name string
	// Await makes Dial return while no server answers; it connects when one
	// does. Otherwise an absent server is an error.
	Await bool
	// Log receives the changes of the connection; nil discards them.
	Log *slog.Logger
}

func (o Options) defaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = MaxPayload
	}
	if o.Sync == 0 {
		o.Sync = time.Second
	}
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		o.Name = fmt.Sprintf("rapport-%d-%s@%s", os.Getpid(), rand.Text()[:8], host)
	}
	return o
}

var (
	// ErrNoService says that nobody serves what was called.
	ErrNoService = errors.New("bus: no such service")
	// ErrTaken says that somebody else serves what only one may.
	ErrTaken = errors.New("bus: served by another process")
	// ErrBusy says that a server's queue is full.
	ErrBusy = errors.New("bus: server is busy")
	// ErrLost says that a server went silent in the middle of a call, or that there
	// is no connection to call it by.
	ErrLost = errors.New("bus: server lost")
	// ErrLarge says that a message is above the payload limit.
	ErrLarge = errors.New("bus: message too large")
	// ErrWire says that bytes are no message of this protocol.
	ErrWire = errors.New("bus: malformed message")
	// ErrNone says that there is nothing yet, as parameters before the first.
	ErrNone = errors.New("bus: there is none")
	// ErrOlder says that newer parameters were published already.
	ErrOlder = errors.New("bus: older than the latest")
	// ErrReject, wrapped by a handler of episodes, sends the episode to the
	// dead letters instead of trying it again.
	ErrReject = errors.New("bus: rejected")
	// ErrExpired says that a command came after its lease.
	ErrExpired = errors.New("bus: command expired")
	// ErrClosed says that the object was closed.
	ErrClosed = errors.New("bus: closed")
)

// root heads every subject. Its number is the version of docs/bus.md and grows
// with incompatible changes.
const root = "rapport.v1."

// subject joins the session and the rest to a NATS subject.
func subject(session, rest string) string { return root + session + "." + rest }

// streamName is the JetStream name for what of a session.
func streamName(session, what string) string { return "RAPPORT_" + session + "_" + what }

// checkName reports whether s can be one token of a subject and part of a
// stream's name.
func checkName(what, s string) error {
	ok := len(s) > 0 && len(s) <= 64
	for i := 0; i < len(s) && ok; i++ {
		b := s[i] | 0x20 // lower case of a letter
		ok = 'a' <= b && b <= 'z' || '0' <= s[i] && s[i] <= '9' || s[i] == '-' || s[i] == '_'
	}
	if !ok {
		return fmt.Errorf("bus: %s %q: want 1 to 64 of letters, digits, - and _", what, s)
	}
	return nil
}

// MsgIDHeader carries an episode's or a journal entry's id, by which the server
// removes duplicates.
const MsgIDHeader = nats.MsgIdHdr
