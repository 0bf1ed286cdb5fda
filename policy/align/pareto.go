package align

import (
	"context"
	"fmt"
	"math"
)

// Front writes to dst which of the n samples with rewards (n, M) no other one dominates:
// none is at least as good in every reward and better in one.
func Front(dst []bool, rewards []float64, n int) {
	M := len(rewards) / n
	for i := range n {
		dst[i] = true
		for j := 0; j < n && dst[i]; j++ {
			no, better := false, false
			for m := range M {
				a, b := rewards[i*M+m], rewards[j*M+m]
				no, better = no || b < a, better || b > a
			}
			dst[i] = no || !better
		}
	}
}

// Pareto is the Judge who knows several rewards that are not to be paid for with each
// other (Parrot, Lee et al. 2024, arXiv:2401.05675, batch-wise Pareto-optimal selection):
// of each Group, the samples that no other one dominates get the sum of their rewards, each
// less its mean in the batch and over its deviation there, and the others 0. DPPO, told
// that these are Advantages, then is the paper's gradient
//
//	1/|P| sum_k sum_(i in P) r_k(x_i) sum_t d log p(x_t-1|x_t)
//
// For a policy with as many Tastes as there are rewards, samples of the k-th user get the
// k-th reward alone, as the paper's reward-specific prompts do; tastes such as (1,0) and
// (0,1) then steer what is traded. With many rewards nearly all is on the front: group
// them into four at most.
func Pareto(rewards ...func(s *Sample) float64) Judge {
	M := len(rewards)
	return func(ctx context.Context, b *Batch) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := len(b.Samples)
		if M == 0 || len(b.Tastes) != 0 && len(b.Tastes) != M {
			return fmt.Errorf("align: pareto: %d rewards for %d users, want some rewards, and as many users, or none", M, len(b.Tastes))
		}
		rs := make([]float64, n*M)
		for i := range b.Samples {
			for m, r := range rewards {
				rs[i*M+m] = r(&b.Samples[i])
			}
		}
		front := make([]bool, n)
		for from := 0; from < n; {
			to := from + 1
			for to < n && b.Samples[to].Group == b.Samples[from].Group {
				to++
			}
			Front(front[from:to], rs[from*M:to*M], to-from)
			from = to
		}
		onFront := 0
		for i := range b.Samples {
			if b.Samples[i].Reward = 0; front[i] {
				onFront++
			}
		}
		for m := range M {
			mean, square := 0.0, 0.0
			for i := range n {
				mean += rs[i*M+m] / float64(n)
			}
			for i := range n {
				square += (rs[i*M+m] - mean) * (rs[i*M+m] - mean) / float64(n)
			}
			for i := range b.Samples {
				s := &b.Samples[i]
				if !front[i] || len(b.Tastes) > 0 && s.User != m {
					continue
				}
				// DPPO's mean is over the batch, the paper's over the front.
				s.Reward += (rs[i*M+m] - mean) / (math.Sqrt(square) + 1e-8) * float64(n) / float64(onFront)
			}
		}
		return nil
	}
}
