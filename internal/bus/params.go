package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rapport-rl/rapport/policy"
)

const (
	// KeepParams is how many versions stay; older ones are pruned.
	KeepParams = 8
	// maxParams bounds what LatestParams reads into memory, bytes.
	maxParams = 1 << 30
	// paramsLimit is how long one transfer may take if its context does not say.
	paramsLimit = time.Minute
	// latestKey points to the newest version; the object is stored before.
	latestKey = "latest"
	// pollEvery is how late a version is seen whose announcement was lost.
	pollEvery = 5 * time.Second
)

// pointer is the value of latestKey.
type pointer struct {
	V       int    `json:"v"`
	Version uint64 `json:"version"`
	Object  string `json:"object"`
	Size    int    `json:"size"`
}

func objectName(version uint64) string { return fmt.Sprintf("params-%020d", version) }

// parameters is where versions of a session are kept.
type parameters struct {
	kv  jetstream.KeyValue
	obs jetstream.ObjectStore
}

func (c *Conn) parameters(ctx context.Context, session string) (parameters, error) {
	if err := checkName("session", session); err != nil {
		return parameters{}, err
	}
	kv, err := c.bucket(ctx, streamName(session, "POINTERS"))
	if err != nil {
		return parameters{}, err
	}
	obs, err := c.objects(ctx, streamName(session, "PARAMS"))
	return parameters{kv, obs}, err
}

// PutParams publishes a version of any size and prunes all but the newest
// KeepParams. Publishing the latest version again is harmless; an older one is
// ErrOlder, since watchers would not go back.
func (c *Conn) PutParams(ctx context.Context, session string, p policy.Params) error {
	ctx, cancel := c.within(ctx, paramsLimit)
	defer cancel()
	s, err := c.parameters(ctx, session)
	if err != nil {
		return err
	}
	at, rev, err := s.latest(ctx)
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	if err == nil && at.Version == p.Version && s.holds(ctx, at, p.Data) {
		return nil
	}
	if err := s.checkNewer(ctx, p.Version); err != nil {
		return err
	}
	name := objectName(p.Version)
	if _, err := s.obs.PutBytes(ctx, name, p.Data); err != nil {
		return fmt.Errorf("bus: put parameters %d: %w", p.Version, err)
	}
	b, err := json.Marshal(pointer{version, p.Version, name, len(p.Data)})
	if err != nil {
		return fmt.Errorf("bus: put parameters %d: %w", p.Version, err)
	}
	// Compare and swap: of two learners only the one that saw the latest wins.
	if _, err := s.kv.Update(ctx, latestKey, b, rev); err != nil {
		if err := s.checkNewer(ctx, p.Version); err != nil {
			return err
		}
		return fmt.Errorf("bus: put parameters %d: another process is publishing too: %w", p.Version, err)
	}
	if err := c.nc.Publish(subject(session, "params"), b); err != nil {
		c.log.Warn("bus: parameters are stored, but not announced", "err", err)
	}
	if err := s.prune(ctx, p.Version); err != nil {
		c.log.Warn("bus: old parameters stay", "err", err)
	}
	return nil
}

// holds says whether what is published is data already. To write it again would purge its
// chunks, and who is reading them waits for the rest until paramsLimit: the library's
// reader does not hear of its context's end.
func (s parameters) holds(ctx context.Context, at pointer, data []byte) bool {
	info, err := s.obs.GetInfo(ctx, at.Object)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(data)
	was, err := jetstream.DecodeObjectDigest(info.Digest)
	return err == nil && bytes.Equal(was, sum[:])
}

func (s parameters) checkNewer(ctx context.Context, v uint64) error {
	at, _, err := s.latest(ctx)
	if err == nil && at.Version > v {
		return fmt.Errorf("%w: version %d, the latest is %d; start a new session, or resume from the latest", ErrOlder, v, at.Version)
	}
	return nil
}

// latest reads the pointer and its revision.
func (s parameters) latest(ctx context.Context) (pointer, uint64, error) {
	e, err := s.kv.Get(ctx, latestKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return pointer{}, 0, fmt.Errorf("%w: parameters", ErrNone)
	}
	if err != nil {
		return pointer{}, 0, fmt.Errorf("bus: latest parameters: %w", err)
	}
	p, err := decodePointer(e.Value())
	return p, e.Revision(), err
}

func decodePointer(b []byte) (pointer, error) {
	var p pointer
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("%w: pointer to parameters: %v", ErrWire, err)
	}
	if p.V != version || p.Size < 0 || p.Size > maxParams {
		return p, fmt.Errorf("%w: pointer of version %d to %d bytes", ErrWire, p.V, p.Size)
	}
	return p, nil
}

// read fetches an object; its digest is checked by the library.
func (s parameters) read(ctx context.Context, at pointer) (policy.Params, error) {
	r, err := s.obs.Get(ctx, at.Object)
	if err != nil {
		return policy.Params{}, fmt.Errorf("bus: get parameters %d: %w", at.Version, err)
	}
	b := make([]byte, at.Size)
	_, err = io.ReadFull(r, b)
	if err == nil {
		// The digest is compared at the end of the stream only.
		var rest [1]byte
		if n, e := r.Read(rest[:]); n > 0 || e != io.EOF {
			err = fmt.Errorf("longer than announced: %w", errors.Join(ErrWire, e))
		}
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return policy.Params{}, fmt.Errorf("bus: get parameters %d: %w", at.Version, err)
	}
	return policy.Params{Version: at.Version, Data: b}, nil
}

func (s parameters) prune(ctx context.Context, latest uint64) error {
	all, err := s.obs.List(ctx)
	if err != nil {
		return err
	}
	var have []uint64
	for _, o := range all {
		var v uint64
		if _, err := fmt.Sscanf(o.Name, "params-%d", &v); err == nil && v <= latest {
			have = append(have, v)
		}
	}
	if len(have) <= KeepParams {
		return nil
	}
	slices.Sort(have)
	slices.Reverse(have)
	for _, v := range have[KeepParams:] {
		if err := s.obs.Delete(ctx, objectName(v)); err != nil {
			return err
		}
	}
	return nil
}

// LatestParams reads the newest version; ErrNone before the first.
func (c *Conn) LatestParams(ctx context.Context, session string) (policy.Params, error) {
	ctx, cancel := c.within(ctx, paramsLimit)
	defer cancel()
	s, err := c.parameters(ctx, session)
	if err != nil {
		return policy.Params{}, err
	}
	for {
		at, _, err := s.latest(ctx)
		if err != nil {
			return policy.Params{}, err
		}
		p, err := s.read(ctx, at)
		if now, _, e := s.latest(ctx); err != nil && e == nil && now.Version != at.Version {
			continue // pruned under our hands
		}
		return p, err
	}
}

// WatchParams calls fn for the newest version and then for each newer one,
// until ctx ends, which returns nil, or c is closed. Versions that were overtaken while fn ran
// are left out. It outlives the server's absence. A server that comes back without its store
// counts versions anew: its newest counts, whatever its number is.
func (c *Conn) WatchParams(ctx context.Context, session string, fn func(policy.Params)) error {
	if err := checkName("session", session); err != nil {
		return err
	}
	var last uint64
	var born time.Time // when the server made the store that last is a version in
	some := false
	delay := retryMin
	for ctx.Err() == nil {
		err := c.watch(ctx, session, func(made time.Time, p policy.Params) {
			if !made.Equal(born) {
				born, some = made, false
			}
			if !some || p.Version > last {
				some, last, delay = true, p.Version, retryMin
				fn(p)
			}
		})
		if ctx.Err() != nil {
			break
		}
		if c.nc.IsClosed() {
			return fmt.Errorf("%w: connection, while watching parameters", ErrClosed)
		}
		c.log.Warn("bus: parameters: trying again", "err", err)
		pause(ctx, delay)
		delay = min(2*delay, retryMax)
	}
	return nil
}

// watch reads the pointer now, whenever a publisher says that it moved, and once
// in a while, since what is said can be lost. A watcher of the library would do
// the first two, and stop for 5 s when its server has died. fn is also told when the server
// made its store.
func (c *Conn) watch(ctx context.Context, session string, fn func(time.Time, policy.Params)) error {
	ctx, stop := c.whileConnected(ctx)
	defer stop()
	moved := make(chan *nats.Msg, 1) // a full one says enough
	sub, err := c.nc.Subscribe(subject(session, "params"), func(m *nats.Msg) {
		select {
		case moved <- m:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("bus: watch parameters: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed
	made, err := c.made(ctx, session)
	if err != nil {
		return err
	}
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	var at uint64
	some := false
	for {
		p, err := c.newer(ctx, session, at, some)
		switch {
		case err == nil:
			at, some = p.Version, true
			fn(made, p)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, ErrNone):
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		case <-t.C:
		}
	}
}

// made is when the server made the session's store of parameters.
func (c *Conn) made(ctx context.Context, session string) (at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	s, err := c.parameters(ctx, session)
	if err != nil {
		return at, err
	}
	st, err := s.kv.Status(ctx)
	if err != nil {
		return at, fmt.Errorf("bus: watch parameters: %w", err)
	}
	if b, ok := st.(*jetstream.KeyValueBucketStatus); ok {
		at = b.StreamInfo().Created
	}
	return at, nil
}

// newer reads the latest version, or is ErrNone if that is not above at.
func (c *Conn) newer(ctx context.Context, session string, at uint64, some bool) (policy.Params, error) {
	if some {
		open, cancel := context.WithTimeout(ctx, ackLimit)
		defer cancel()
		s, err := c.parameters(open, session)
		if err != nil {
			return policy.Params{}, err
		}
		now, _, err := s.latest(open)
		if err != nil {
			return policy.Params{}, err
		}
		if now.Version <= at {
			return policy.Params{}, ErrNone
		}
	}
	return c.LatestParams(ctx, session)
}
