package judge

import (
	"context"
	"errors"
	"fmt"

	"github.com/rapport-rl/rapport/reward/vlm"
)

// Over is the Model that a client asks.
func Over(c *vlm.Client) Model { return endpoint{c} }

type endpoint struct{ c *vlm.Client }

func (e endpoint) Ask(ctx context.Context, p Prompt) ([]byte, error) {
	q := vlm.Prompt{System: p.System, Text: p.Text, Schema: p.Schema, Turn: p.Turn}
	for i, f := range p.Images {
		q.Images = append(q.Images, vlm.Image{Name: fmt.Sprintf("image %d of %d, camera %s", i+1, len(p.Images), f.Camera), Frame: f})
	}
	b, _, err := e.c.Ask(ctx, q)
	return b, err
}

// fatal tells errors after which asking on makes no sense.
func fatal(err error) bool {
	return errors.Is(err, vlm.ErrRefused) || errors.Is(err, vlm.ErrNoEndpoint) || errors.Is(err, errKeep)
}
