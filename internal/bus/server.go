package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startLimit is how long a server may take to be ready: recovering a file
// store of a few GB takes seconds.
const startLimit = 30 * time.Second

// Server is an embedded NATS server with JetStream on a file store.
type Server struct {
	ns   *server.Server
	conn *Conn
	lock *fileLock
	once sync.Once
}

// Start runs a server in this process and connects to it. Its streams live in
// o.StoreDir and are there again after a restart. Ending ctx ends only the
// starting; Close ends the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.defaults()
	if o.StoreDir == "" {
		return nil, errors.New("bus: start: no StoreDir; name a folder of the session")
	}
	if o.MaxPayload < minPayload || o.MaxPayload > maxStored {
		return nil, fmt.Errorf("bus: start: the largest message is %d bytes; want %d (1 MiB) to %d (32 MiB, more than which no stream stores)", o.MaxPayload, minPayload, maxStored)
	}
	opts := &server.Options{
		ServerName:    o.Name,
		JetStream:     true,
		StoreDir:      o.StoreDir,
		DontListen:    true,
		NoSigs:        true,
		MaxPayload:    int32(o.MaxPayload),
		MaxPending:    max(64<<20, int64(4*o.MaxPayload)), // 64 MiB is the server's default
		Username:      o.User,
		Password:      o.Password,
		Authorization: o.Token,
		SyncInterval:  max(o.Sync, time.Second),
		SyncAlways:    o.Sync < 0,
		PingInterval:  pingEvery,
		MaxPingsOut:   maxPings,
		WriteDeadline: 10 * time.Second, // the server's default
	}
	if o.Listen != "" {
		if err := listen(opts, o); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(o.StoreDir, 0o755); err != nil {
		return nil, fmt.Errorf("bus: store: %w", err)
	}
	lock, err := lockFile(filepath.Join(o.StoreDir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("bus: store %s: %w", o.StoreDir, err)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		lock.release()
		return nil, fmt.Errorf("bus: start: %w", err)
	}
	lg := &serverLog{log: o.Log, fatal: make(chan string, 1)}
	ns.SetLogger(lg, false, false)
	s := &Server{ns: ns, lock: lock}
	if err := s.run(ctx, lg); err != nil {
		s.Close()
		return nil, err
	}
	s.conn, err = dial(ctx, ns.ClientURL(), o, nats.InProcessServer(ns))
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// listen fills in the listener of opts, having tried the port: the server
// itself only logs that it is taken.
func listen(opts *server.Options, o Options) error {
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fmt.Errorf("bus: listen %q: want host:port, as 127.0.0.1:4222: %w", o.Listen, err)
	}
	ip := net.ParseIP(host)
	if local := host == "localhost" || ip != nil && ip.IsLoopback(); !local && o.Password == "" && o.Token == "" {
		return fmt.Errorf("bus: listen %s: anybody on that network could command the arm; set a password or a token, or listen on 127.0.0.1", o.Listen)
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("bus: listen %s: %w; stop what uses the port, or choose another (port 0 picks a free one)", o.Listen, err)
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("bus: listen %s: %w", o.Listen, err)
	}
	opts.DontListen, opts.Host = false, host
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("bus: listen %q: port: %w", o.Listen, err)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return nil
}

// run starts the server and waits until it is ready or has failed.
func (s *Server) run(ctx context.Context, lg *serverLog) error {
	s.ns.Start()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(startLimit)
	defer end.Stop()
	for !s.ns.ReadyForConnections(time.Millisecond) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("bus: start: %w", ctx.Err())
		case why := <-lg.fatal:
			return fmt.Errorf("bus: start: %s", why)
		case <-end.C:
			return fmt.Errorf("bus: start: server not ready after %v", startLimit)
		case <-tick.C:
		}
	}
	select {
	case why := <-lg.fatal:
		return fmt.Errorf("bus: start: %s", why)
	default:
	}
	if !s.ns.JetStreamEnabled() {
		return errors.New("bus: start: JetStream is off; is the StoreDir writable and its disk not full?")
	}
	return nil
}

// Conn is the connection inside this process. It closes with the server.
func (s *Server) Conn() *Conn { return s.conn }

// URL is where other processes dial; "" without a listener.
func (s *Server) URL() string {
	if s.ns.Addr() == nil {
		return ""
	}
	return s.ns.ClientURL()
}

// Close ends the connection and the server, and returns when both are gone.
// Streams stay in StoreDir.
func (s *Server) Close() {
	s.once.Do(func() {
		if s.conn != nil {
			s.conn.Close()
		}
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		s.lock.release()
	})
}

// serverLog hands what the server logs to slog, and its fatal faults to Start:
// an embedded server must not end the process.
type serverLog struct {
	log   *slog.Logger
	fatal chan string
}

func (l *serverLog) Noticef(f string, v ...any) { l.log.Debug("bus: " + fmt.Sprintf(f, v...)) }
func (l *serverLog) Warnf(f string, v ...any)   { l.log.Warn("bus: " + fmt.Sprintf(f, v...)) }
func (l *serverLog) Errorf(f string, v ...any)  { l.log.Error("bus: " + fmt.Sprintf(f, v...)) }
func (l *serverLog) Debugf(string, ...any)      {}
func (l *serverLog) Tracef(string, ...any)      {}
func (l *serverLog) Fatalf(f string, v ...any) {
	why := fmt.Sprintf(f, v...)
	l.log.Error("bus: " + why)
	select {
	case l.fatal <- why:
	default:
	}
}
