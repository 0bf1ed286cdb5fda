package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ensure makes the stream unless it is there; what an operator made beforehand,
// as with replicas in a cluster, stays as it is.
func (c *Conn) ensure(ctx context.Context, cfg jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
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

// untilReconnect returns a context that ends when the connection comes back
// after it was lost. What watches a stream begins anew then: a server that was
// killed has forgotten who watched, and the library notices that only after
// tens of seconds.
func (c *Conn) untilReconnect(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	back := c.nc.StatusChanged(nats.CONNECTED)
	go func() {
		defer c.nc.RemoveStatusListener(back)
		select {
		case <-ctx.Done():
		case <-back:
			cancel(errReconnected)
		}
	}()
	return ctx, func() { cancel(nil) }
}

var errReconnected = errors.New("bus: reconnected")
