package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// BeatEvery is the usual time between heartbeats, and DeadAfter after how long
// without one a peer counts as gone: three in a row.
const (
	BeatEvery = 500 * time.Millisecond
	DeadAfter = 3 * BeatEvery
)

// beat is the payload of a heartbeat: JSON, for it carries no arrays.
type beat struct {
	V    int    `json:"v"`
	Role string `json:"role"`
	Name string `json:"name"`
	Seq  uint64 `json:"seq"`
	Bye  bool   `json:"bye,omitempty"`
}

// maxPeers bounds what strangers can make a watcher remember.
const maxPeers = 1024

func decodeBeat(b []byte) (beat, error) {
	var v beat
	if len(b) > 4096 {
		return v, fmt.Errorf("%w: heartbeat of %d bytes", ErrWire, len(b))
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%w: heartbeat: %v", ErrWire, err)
	}
	if v.V != version || checkName("role", v.Role) != nil || v.Name == "" || len(v.Name) > maxID {
		return v, fmt.Errorf("%w: heartbeat of version %d, role %.40q", ErrWire, v.V, v.Role)
	}
	return v, nil
}

// Beat says every so often that this process plays role, until ctx ends or stop
// is called; stopping says good-bye.
func (c *Conn) Beat(ctx context.Context, session, role string, every time.Duration) (stop func(), err error) {
	if err := checkName("session", session); err != nil {
		return nil, err
	}
	if err := checkName("role", role); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	subj := subject(session, "beat."+role)
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for seq := uint64(1); ; seq++ {
			c.beat(subj, beat{version, role, c.name, seq, ctx.Err() != nil})
			if ctx.Err() != nil {
				return
			}
			select {
			case <-ctx.Done():
			case <-t.C:
			}
		}
	})
	return func() { cancel(); wg.Wait() }, nil
}

func (c *Conn) beat(subj string, v beat) {
	b, err := json.Marshal(v)
	if err == nil {
		err = c.nc.Publish(subj, b)
	}
	if err != nil {
		c.log.Debug("bus: heartbeat", "err", err)
	}
}

// Peer is a process of the session.
type Peer struct {
	Role, Name string
	Seen       time.Time // of the last heartbeat, by this process's clock
	Seq        uint64    // of that: how many the peer sent
	Heard      int       // how many of them came here
	Alive      bool
}

// Peers watches the heartbeats of a session.
type Peers struct {
	sub    *nats.Subscription
	dead   time.Duration
	notify func(Peer)
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu  sync.Mutex
	all map[[2]string]Peer
}

// WatchPeers starts watching. A peer is gone after dead without a heartbeat (0
// means DeadAfter). changed, which may be nil, hears of each coming and going;
// it must not block.
func (c *Conn) WatchPeers(session string, dead time.Duration, changed func(Peer)) (*Peers, error) {
	if err := checkName("session", session); err != nil {
		return nil, err
	}
	if dead <= 0 {
		dead = DeadAfter
	}
	if changed == nil {
		changed = func(Peer) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Peers{dead: dead, notify: changed, cancel: cancel, all: make(map[[2]string]Peer)}
	in := make(chan *nats.Msg, 256)
	var err error
	if p.sub, err = c.nc.ChanSubscribe(subject(session, "beat.*"), in); err != nil {
		cancel()
		return nil, fmt.Errorf("bus: watch peers: %w", err)
	}
	if err := c.nc.FlushTimeout(dialLimit); err != nil {
		cancel()
		return nil, fmt.Errorf("bus: watch peers: %w", err)
	}
	p.wg.Go(func() {
		t := time.NewTicker(dead / 4)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-in:
				if b, err := decodeBeat(m.Data); err == nil {
					p.heard(b, time.Now())
				}
			case now := <-t.C:
				p.sweep(now)
			}
		}
	})
	return p, nil
}

func (p *Peers) heard(b beat, now time.Time) {
	key := [2]string{b.Role, b.Name}
	p.mu.Lock()
	old, known := p.all[key]
	if !known && len(p.all) >= maxPeers {
		p.mu.Unlock()
		return
	}
	v := Peer{Role: b.Role, Name: b.Name, Seen: now, Seq: b.Seq, Heard: old.Heard + 1, Alive: !b.Bye}
	p.all[key] = v
	p.mu.Unlock()
	if v.Alive != old.Alive {
		p.notify(v)
	}
}

func (p *Peers) sweep(now time.Time) {
	var gone []Peer
	p.mu.Lock()
	for k, v := range p.all {
		if v.Alive && now.Sub(v.Seen) > p.dead {
			v.Alive = false
			p.all[k] = v
			gone = append(gone, v)
		}
	}
	p.mu.Unlock()
	for _, v := range gone {
		p.notify(v)
	}
}

// Alive says whether anybody plays role just now.
func (p *Peers) Alive(role string) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.all {
		if v.Role == role && v.Alive && now.Sub(v.Seen) <= p.dead {
			return true
		}
	}
	return false
}

// List is every peer that was ever heard, by role and name.
func (p *Peers) List() []Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := make([]Peer, 0, len(p.all))
	for _, v := range p.all {
		l = append(l, v)
	}
	sort.Slice(l, func(i, j int) bool {
		return l[i].Role < l[j].Role || l[i].Role == l[j].Role && l[i].Name < l[j].Name
	})
	return l
}

// Close stops watching.
func (p *Peers) Close() {
	_ = p.sub.Unsubscribe() // fails only where the connection is closed already
	p.cancel()
	p.wg.Wait()
}
