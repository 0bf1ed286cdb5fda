package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
)

// metaEncoder is what a file of parameters says of the encoder whose features its policy sees: the
// SHA-256 that encoderOf gives.
const metaEncoder = "encoder"

// stamp adds to parameters which encoder's features their policy sees, if it sees any.
func (s *Session) stamp(ctx context.Context, p policy.Params) (policy.Params, error) {
	v, _, err := viewOf(p)
	if err != nil || v.Embed == 0 {
		return p, err
	}
	sum, err := encoderOf(ctx, s.store)
	if err != nil {
		return p, err
	}
	ts, meta, err := nn.Decode(p.Data)
	if err != nil {
		return p, fmt.Errorf("wire: parameters: %w", err)
	}
	meta[metaEncoder] = sum
	if p.Data, err = nn.Encode(ts, meta); err != nil {
		return p, fmt.Errorf("wire: parameters: %w", err)
	}
	return p, nil
}

// sameEncoder refuses parameters of a file whose policy sees the features of another encoder than
// the session's: they mean nothing to it. Of files that do not say it nobody knows.
func (s *Session) sameEncoder(ctx context.Context, file string, data []byte) error {
	_, meta, err := nn.Decode(data)
	if err != nil {
		return fmt.Errorf("wire: %s: %w", file, err)
	}
	sum := meta[metaEncoder]
	if sum == "" {
		if sum, err = encoderBeside(ctx, file, s.Dir()); err != nil {
			return err
		}
	}
	own, err := encoderOf(ctx, s.store)
	if err != nil || sum == "" || own == "" || sum == own {
		return err
	}
	return fmt.Errorf("wire: the policy %s sees the features of another encoder, of SHA-256 %s, than that of %s, of %s; name the session that it is of, or one that began from it", file, short(sum), s.Dir(), short(own))
}

// encoderBeside is the encoder of another session than that in dir, of which file is a checkpoint;
// "": it is of none, or of one that runs.
func encoderBeside(ctx context.Context, file, dir string) (sum string, err error) {
	other := filepath.Dir(filepath.Dir(file))
	at, err := os.Stat(filepath.Join(other, database))
	if err != nil {
		return "", nil
	}
	if own, err := os.Stat(filepath.Join(dir, database)); err != nil || os.SameFile(at, own) {
		return "", err
	}
	st, err := store.Open(other)
	if errors.Is(err, store.ErrInUse) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return encoderOf(ctx, st)
}

// encoderOf is the SHA-256 of a session's encoder, or of the backbone that it began with; "": it has
// none yet.
func encoderOf(ctx context.Context, st *store.Session) (string, error) {
	if sum, err := st.Marked(ctx, markONNX); err != nil || sum != "" {
		return sum, err
	}
	sum, err := st.CheckpointSum(ctx, kindEncoder)
	if errors.Is(err, store.ErrNone) {
		return "", nil
	}
	return sum, err
}
