package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ensure makes the stream unless it is there; what an operator made beforehand,
// as with replicas in a cluster, stays as it is.
func (c *Conn) ensure(ctx context.Context, cfg jetstream.StreamConfig) error {
	ctx, cancel := c.within(ctx, ackLimit)
	defer cancel()
	_, err := c.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = c.js.CreateStream(ctx, cfg)
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return fmt.Errorf("bus: stream %s: %w", cfg.Name, err)
	}
	return nil
}

// bucket opens the key-value bucket, or makes it.
func (c *Conn) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	kv, err := c.js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = c.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Storage: jetstream.FileStorage})
	}
	if err != nil {
		return nil, fmt.Errorf("bus: bucket %s: %w", name, err)
	}
	return kv, nil
}

// objects opens the object store, or makes it.
func (c *Conn) objects(ctx context.Context, name string) (jetstream.ObjectStore, error) {
	obs, err := c.js.ObjectStore(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		obs, err = c.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: name, Storage: jetstream.FileStorage})
	}
	if err != nil {
		return nil, fmt.Errorf("bus: objects %s: %w", name, err)
	}
	return obs, nil
}

// whileConnected returns a context that ends when the connection is lost. What
// was asked then will never be answered, and a server that was killed has
// forgotten who watched; the library would wait for its time-outs.
func (c *Conn) whileConnected(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	lost := c.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	go func() {
		defer c.nc.RemoveStatusListener(lost)
		select {
		case <-ctx.Done():
		case <-lost:
			cancel(errDisconnected)
		}
	}()
	return ctx, func() { cancel(nil) }
}

var errDisconnected = errors.New("bus: connection lost")

// within is whileConnected for at most d, unless ctx says itself.
func (c *Conn) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := c.whileConnected(ctx)
	if _, ok := ctx.Deadline(); ok {
		return ctx, stop
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	return ctx, func() { cancel(); stop() }
}
