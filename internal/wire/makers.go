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
		encoder, err = fileSum(s.cfg.Encoder.ONNX)
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
	return nil
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("wire: encoder.onnx: %w", err)
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("wire: encoder.onnx: %w", err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
