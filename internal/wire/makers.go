package wire

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// makers names the encoder and the reward of the session by the SHA-256 of what is
// loaded: their checkpoints, or the file of a frozen backbone.
func (s *Session) makers(ctx context.Context) (encoder, reward string, err error) {
	if s.cfg.Encoder.Kind == "onnx" {
		encoder, err = fileSum("encoder.onnx", s.cfg.Encoder.ONNX)
	} else {
		encoder, err = s.store.CheckpointSum(ctx, kindEncoder)
	}
	if err != nil {
		return "", "", err
	}
	reward, err = s.store.CheckpointSum(ctx, kindReward)
	return encoder, reward, err
}

// keepMakers has the episodes that are recorded from now on name what made their
// features and rewards.
func (s *Session) keepMakers(ctx context.Context) error {
	e, r, err := s.makers(ctx)
	if err != nil {
		return err
	}
	s.store.Made(e, r)
	if s.cfg.Encoder.Kind != "onnx" {
		return nil
	}
	if was, err := s.store.Marked(ctx, markONNX); err != nil || was != "" {
		return err
	}
	return s.store.Mark(ctx, markONNX, e)
}

// markONNX keeps the SHA-256 of the frozen backbone that the session began with.
const markONNX = "encoder.onnx"

// sameONNX is the SHA-256 of the frozen backbone, empty without one. Another file than the
// session's is refused: its embeddings are none that policy and reward know.
func (s *Session) sameONNX(ctx context.Context) (string, error) {
	if s.cfg.Encoder.Kind != "onnx" {
		return "", nil
	}
	sum, err := fileSum("encoder.onnx", s.cfg.Encoder.ONNX)
	if err != nil {
		return "", err
	}
	was, err := s.store.Marked(ctx, markONNX)
	if err == nil && was != "" && was != sum {
		err = fmt.Errorf("wire: encoder.onnx: %s is another file now, of SHA-256 %s, than %s began with, of %s; bring that back, or begin another session", s.cfg.Encoder.ONNX, short(sum), s.Dir(), short(was))
	}
	return sum, err
}

// short are a sum's first digits, for people.
func short(sum string) string { return sum[:min(12, len(sum))] }

// frozen loads the session's frozen backbone.
func (s *Session) frozen(ctx context.Context) (eyes, error) {
	if _, err := s.sameONNX(ctx); err != nil {
		return nil, err
	}
	return openONNX(s.cfg)
}

// fileSum is the SHA-256 of the file that a key names.
func fileSum(key, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("wire: %s: %w", key, err)
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("wire: %s: %w", key, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
