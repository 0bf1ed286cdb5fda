package encoder

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// blobs draws keypoints: keys (B,2K) in -1..1 over a heatmap of cells by cells
// become (B,K,R,R) images of round blobs of height 1 and standard deviation
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
	line := make([]float32, B*K*2*R) // exp(-(u-x)^2/2s^2) along x, then y
	return g.Custom([]*nn.Node{keys}, []int{B, K, R, R}, func(out *nn.Node) {
		for i, k := range keys.Value {
			at := mid + half*float64(k)
			for u := range R {
				d := float64(u) - at
				line[i*R+u] = float32(math.Exp(-d * d * inv / 2))
			}
		}
		for i := range B * K {
			gx, gy := line[2*i*R:(2*i+1)*R], line[(2*i+1)*R:(2*i+2)*R]
			for v, a := range gy {
				row := out.Value[(i*R+v)*R : (i*R+v+1)*R]
				for u, b := range gx {
					row[u] = a * b
				}
			}
		}
	}, func(out *nn.Node) {
		if keys.Grad == nil {
			return
		}
		for i := range B * K {
			gx, gy := line[2*i*R:(2*i+1)*R], line[(2*i+1)*R:(2*i+2)*R]
			ax, ay := mid+half*float64(keys.Value[2*i]), mid+half*float64(keys.Value[2*i+1])
			var dx, dy float64
			for v, a := range gy {
				var sx, s float32
				row := out.Grad[(i*R+v)*R : (i*R+v+1)*R]
				for u, d := range row {
					p := d * gx[u]
					s += p
					sx += p * float32(float64(u)-ax)
				}
				dx += float64(a * sx)
				dy += float64(a*s) * (float64(v) - ay)
			}
			keys.Grad[2*i] += float32(dx * inv * half)
			keys.Grad[2*i+1] += float32(dy * inv * half)
		}
	})
}
