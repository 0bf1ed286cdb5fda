package critic

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// Feed draws batches for a learner and makes of them what its networks read:
// normalised rows with the latents of their frames beside them.
type Feed struct {
	Replay *buffer.Buffer
	Batch  *buffer.Batch
	Actor  *bc.Net // whose normalisation counts
	Sight  *Sight  // nil without cameras
	Read   []float32
	Demos  float64 // share of demonstrations in a batch
	Pool   bool    // draw from both sides as from one instead
	Noise  float64 // deviation of noise on normalised rows
}

// NewFeed returns the Feed of batches b from a replay of the actor's view. Its Read
// (B, D') is the batch's rows, or with a Sight an array of its own.
func NewFeed(from *buffer.Buffer, b *buffer.Batch, actor *bc.Net, s *Sight) Feed {
	f := Feed{Replay: from, Batch: b, Actor: actor, Sight: s, Read: b.Obs}
	if s != nil {
		f.Read = make([]float32, len(b.Reward)*actor.Dim())
	}
	return f
}

// Share is how many rows of a batch are to be demonstrations: all of them offline,
// if there are any.
func (f *Feed) Share(offline bool) int {
	c, n := f.Replay.Count(), len(f.Batch.Reward)
	if c.Demo > 0 && offline {
		return n
	}
	return Demos(c, n, f.Demos, f.Pool)
}

// Draw fills the batch with demos rows of demonstrations, then others, and Read and
// next (B, D') with what the networks read of it and of what came next. The batch's
// own rows are normalised. It does not allocate.
func (f *Feed) Draw(next []float32, demos int, rng *rand.Rand) error {
	b := f.Batch
	if err := f.Replay.Sample(b, demos, rng); err != nil {
		return err
	}
	rows := next
	if f.Sight != nil {
		rows = b.Next
	}
	f.Actor.Normalise(b.Obs, b.Obs)
	f.Actor.Normalise(rows, b.Next)
	if s := f.Noise; s > 0 {
		for i := range b.Obs {
			b.Obs[i] += float32(s * rng.NormFloat64())
			rows[i] += float32(s * rng.NormFloat64())
		}
	}
	if v := f.Sight; v != nil {
		v.Now(f.Read, b.Obs, b.Pix, rng)
		v.Next(next, rows, b.NextPix, rng)
	}
	return nil
}
