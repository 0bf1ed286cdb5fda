package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// exported are the keys that an export may have other values for than its session began with:
// how chunks are drawn.
var exported = []string{"name", "out", "bus.", "policy.diffusion.draws", "policy.diffusion.eta", "policy.diffusion.sampler.", "encoder.onnx"}

// ExportEncoder gives the encoder of the session in dir as an ONNX file, whose
// output exported policies read.
func ExportEncoder(ctx context.Context, dir, program string, environ, sets []string, o Options) (onnx []byte, err error) {
	s, err := visit(dir, exported, "an export", environ, sets, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	x, err := s.openEyes(ctx, nil)
	if err != nil {
		return nil, err
	}
	conv, ok := x.(*encoder.Conv)
	if !ok {
		return nil, fmt.Errorf("wire: the encoder of %s is an ONNX file already: %s", dir, s.cfg.Encoder.ONNX)
	}
	var b bytes.Buffer
	err = conv.ExportONNX(&b, program)
	return b.Bytes(), err
}

// ExportONNX gives a policy of the session in dir as an ONNX file, which other
// programs run without this one. which is Tuned, Cloned or a file of parameters;
// program is the version of this program; environ and sets may change how chunks are drawn. It
// says besides what was exported.
func ExportONNX(ctx context.Context, dir, which, program string, environ, sets []string, o Options) (onnx []byte, what string, err error) {
	s, err := visit(dir, exported, "an export", environ, sets, o)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	var p parts
	if which == Cloned {
		v, b, err := s.latest(ctx, kindPolicy)
		if err != nil {
			return nil, "", err
		}
		p.clone = policy.Params{Version: v, Data: b}
	}
	ps, what, err := s.params(ctx, p, which)
	if err != nil {
		return nil, "", err
	}
	rate := float64(time.Second) / float64(period(s.cfg)) // Hz
	var b bytes.Buffer
	if _, chunks, err := viewOf(ps); err == nil && chunks {
		n, err := diffusion.Decode(ps)
		if err != nil {
			return nil, "", err
		}
		d := s.cfg.Policy.Diffusion
		if err := s.plainly(n.Arch.Process.Kind); err != nil {
			return nil, "", err
		}
		// Parameters of a file may be of shorter chunks than the session's.
		exec := min(d.Exec, n.Arch.Horizon-n.Arch.History+1)
		err = n.ExportONNX(&b, diffusion.Draw{Steps: d.Draws}, diffusion.About{Program: program, Version: ps.Version, Rate: rate, Exec: exec})
		return b.Bytes(), what, err
	}
	n, err := bc.Decode(ps)
	if err != nil {
		return nil, "", err
	}
	err = n.ExportONNX(&b, bc.About{Program: program, Version: ps.Version, Rate: rate})
	return b.Bytes(), what, err
}

// plainly refuses chunks that are drawn otherwise than a file can: with noise on the way, or by a search.
func (s *Session) plainly(process diffusion.Kind) error {
	var errs []error
	d := s.cfg.Policy.Diffusion
	if process == diffusion.Diffusion && d.Eta > 0 {
		errs = append(errs, fmt.Errorf("wire: policy.diffusion.eta is %g, so that %s draws noise on the way, which a file cannot; export what it draws without: --set policy.diffusion.eta=0", d.Eta, s.Dir()))
	}
	if searched(s.cfg) {
		errs = append(errs, fmt.Errorf("wire: policy.diffusion.sampler.kind is %s, so that %s searches among chunks by its critic, which a file cannot; export what it draws without: --set policy.diffusion.sampler.kind=plain", d.Sampler.Kind, s.Dir()))
	}
	return errors.Join(errs...)
}
