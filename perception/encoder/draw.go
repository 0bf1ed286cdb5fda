package encoder

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// blobs draws keypoints: keys (B,2K) in -1..1 over a heatmap of cells by cells
// become images (B,R,R,K) of round blobs of height 1 and standard deviation
// sigma, in pixels of the R by R image. It is how position becomes picture in
// Jakab et al. 2018 (section 3.2), and what lets gradients move a keypoint.
func blobs(g *nn.Graph, keys *nn.Node, cells, R int, sigma float64) *nn.Node {
	B, K := keys.Shape[0], keys.Shape[1]/2
	// A heatmap cell j lies at input pixel stride*j, drawing pixel u at input
	// pixel (u+1/2)*side/R-1/2, where side = stride*cells.
	scale := float64(R) / float64(stride*cells)
	half := float64(cells-1) / 2 * stride * scale // of -1..1, in drawing pixels
	mid := half + scale/2 - 0.5
	inv := 1 / (sigma * sigma)
	// exp(-(u-x)^2/2s^2) for every keypoint along x, then y: (B,2,R,K).
	line := make([]float32, B*2*R*K)
	ax, ay, s, sx := make([]float32, K), make([]float32, K), make([]float32, K), make([]float32, K)
	return g.Custom([]*nn.Node{keys}, []int{B, R, R, K}, func(out *nn.Node) {
		for i, k := range keys.Value {
			b, c, axis := i/(2*K), i/2%K, i%2
			at := mid + half*float64(k)
			for u := range R {
				d := float64(u) - at
				line[((2*b+axis)*R+u)*K+c] = float32(math.Exp(-d * d * inv / 2))
			}
		}
		for b := range B {
			lx, ly := line[2*b*R*K:(2*b+1)*R*K], line[(2*b+1)*R*K:(2*b+2)*R*K]
			for p := range R * R {
				y := out.Value[(b*R*R+p)*K : (b*R*R+p+1)*K]
				gx, gy := lx[p%R*K:(p%R+1)*K], ly[p/R*K:(p/R+1)*K]
				for c := range y {
					y[c] = gx[c] * gy[c]
				}
			}
		}
	}, func(out *nn.Node) {
		if keys.Grad == nil {
			return
		}
		for b := range B {
			lx, ly := line[2*b*R*K:(2*b+1)*R*K], line[(2*b+1)*R*K:(2*b+2)*R*K]
			for c := range K {
				ax[c] = float32(mid + half*float64(keys.Value[2*(b*K+c)]))
				ay[c] = float32(mid + half*float64(keys.Value[2*(b*K+c)+1]))
			}
			for v := range R {
				clear(s)
				clear(sx)
				for u := range R {
					p := (b*R+v)*R + u
					d, gx := out.Grad[p*K:(p+1)*K], lx[u*K:(u+1)*K]
					for c, g := range gx {
						q := d[c] * g
						s[c] += q
						sx[c] += q * (float32(u) - ax[c])
					}
				}
				for c, g := range ly[v*K : (v+1)*K] {
					keys.Grad[2*(b*K+c)] += g * sx[c] * float32(inv*half)
					keys.Grad[2*(b*K+c)+1] += g * s[c] * (float32(v) - ay[c]) * float32(inv*half)
				}
			}
		}
	})
}
