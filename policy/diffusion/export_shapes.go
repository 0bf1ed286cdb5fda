package diffusion

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
)

// file is an ONNX file that is being written.
type file struct {
	*onnx.Builder
	noise string // (batch, H, k)
	batch string // (batch, 1) of anything, which tells how large the batch is
}

// row is v for every row of the batch.
func (f *file) row(v []float32) string { return f.Same(f.batch, 1, v) }

// bound is x within limit, if there is one.
func (f *file) bound(x string, limit float64) string {
	if math.IsInf(limit, 1) {
		return x
	}
	return f.Clamp(x, limit)
}

func (f *file) linear(x string, a affine) string { return f.Linear(x, a.w, a.b) }

func (f *file) mish(x string) string { return f.Act(x, nn.Mish) }

func (d *mlp) embeds() [2]affine         { return d.step }
func (u *unet) embeds() [2]affine        { return u.step }
func (t *transformer) embeds() [2]affine { return t.step }

func (d *mlp) export(f *file, a Arch, x string, emb []float32, seen string) string {
	H, k := a.Horizon, a.View.Action.Dim()
	h := f.linear(f.Concat(1, f.Reshape(x, -1, H*k), f.row(emb), seen), d.in)
	for _, l := range d.inner {
		h = f.Add(h, f.linear(f.mish(f.linear(f.mish(h), l[0])), l[1]))
	}
	return f.Reshape(f.linear(f.mish(h), d.out), -1, H, k)
}

func (f *file) smooth(x string, s smooth, L int) string {
	return f.mish(f.GroupNorm(f.Conv1D(x, s.conv.w, s.conv.b, 1, kernel/2), s.norm.w, s.norm.b, groups, L))
}

func (f *file) block(x, cond string, b block, L int) string {
	h := f.smooth(x, b.first, L)
	h = f.FiLM(h, f.linear(cond, b.film), b.film.b.Shape[0]/2)
	h = f.smooth(h, b.second, L)
	if b.short.w != nil {
		x = f.Conv1D(x, b.short.w, b.short.b, 1, 0)
	}
	return f.Add(h, x)
}

func (u *unet) export(f *file, a Arch, x string, emb []float32, seen string) string {
	H, k := a.Horizon, a.View.Action.Dim()
	L := H
	cond := f.mish(f.Concat(1, f.row(emb), seen))
	x = f.Reshape(f.Transpose(x, 0, 2, 1), -1, k, 1, H)
	var skip []string
	for i, l := range u.down {
		for _, b := range l.blocks {
			x = f.block(x, cond, b, L)
		}
		skip = append(skip, x)
		if i < len(u.down)-1 {
			x = f.Conv1D(x, l.resize.w, l.resize.b, 2, 1)
			L /= 2
		}
	}
	for _, b := range u.middle {
		x = f.block(x, cond, b, L)
	}
	for i, l := range u.up {
		x = f.Concat(1, x, skip[len(skip)-1-i])
		for _, b := range l.blocks {
			x = f.block(x, cond, b, L)
		}
		x = f.ConvT1D(x, l.resize.w, l.resize.b, 2, 1)
		L *= 2
	}
	x = f.Conv1D(f.smooth(x, u.last, L), u.out.w, u.out.b, 1, 0)
	return f.Transpose(f.Reshape(x, -1, k, H), 0, 2, 1)
}

func (f *file) attend(x, y string, at attention, heads, T, S int, causal bool) string {
	D := at.q.w.Shape[0]
	z := f.Attention(f.Rows(x, T, at.q.w, at.q.b), f.Rows(y, S, at.k.w, at.k.b), f.Rows(y, S, at.v.w, at.v.b), D, heads, T, S, causal)
	return f.Rows(z, T, at.out.w, at.out.b)
}

func (t *transformer) export(f *file, a Arch, x string, emb []float32, seen string) string {
	H, W, S := a.Horizon, t.place.Shape[1], 1+t.inputs
	rows := func(x string, n int, a affine) string { return f.Rows(x, n, a.w, a.b) }
	norm := func(x string, a affine) string { return f.RowNorm(x, H, a.w, a.b) }
	history := rows(f.Reshape(seen, -1, t.inputs, t.in), t.inputs, t.input)
	memory := f.Add(f.Concat(1, f.Reshape(f.row(emb), -1, 1, W), history), f.Const(t.moment.Name, t.moment.Data, 1, S, W))
	memory = rows(f.mish(rows(memory, S, t.memory[0])), S, t.memory[1])
	h := f.Add(rows(x, H, t.action), f.Const(t.place.Name, t.place.Data, 1, H, W))
	for _, l := range t.layers {
		y := norm(h, l.norms[0])
		h = f.Add(h, f.attend(y, y, l.self, t.heads, H, H, true))
		h = f.Add(h, f.attend(norm(h, l.norms[1]), memory, l.cross, t.heads, H, S, false))
		y = rows(norm(h, l.norms[2]), H, l.wide[0])
		h = f.Add(h, rows(f.Act(y, nn.GELU), H, l.wide[1]))
	}
	return rows(norm(h, t.norm), H, t.out)
}
