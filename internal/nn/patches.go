package nn

// patches lays the patches under a sliding kernel out as the columns of a
// matrix (C*KH*KW, OH*OW), so that a convolution is one product (im2col).
type patches struct {
	Window
	c, h, w, kh, kw, oh, ow int
}

func (w Window) norm() Window {
	if w.StrideH == 0 {
		w.StrideH = 1
	}
	if w.StrideW == 0 {
		w.StrideW = 1
	}
	if w.StrideH < 0 || w.StrideW < 0 || w.PadH < 0 || w.PadW < 0 {
		panic("nn: Window: negative stride or padding")
	}
	return w
}

func newPatches(c, h, w, kh, kw int, win Window) patches {
	win = win.norm()
	p := patches{Window: win, c: c, h: h, w: w, kh: kh, kw: kw}
	if kh > h+2*win.PadH || kw > w+2*win.PadW {
		panic("nn: Window: kernel larger than the padded image")
	}
	p.oh, p.ow = (h+2*win.PadH-kh)/win.StrideH+1, (w+2*win.PadW-kw)/win.StrideW+1
	return p
}

func (p *patches) k() int { return p.c * p.kh * p.kw }
func (p *patches) n() int { return p.oh * p.ow }

// plain says whether the image already is its patch matrix.
func (p *patches) plain() bool {
	return p.kh == 1 && p.kw == 1 && p.Window == Window{1, 1, 0, 0}
}

// span returns the range of output columns whose kernel column kx falls inside
// the image.
func (p *patches) span(kx int) (lo, hi int) {
	s := p.StrideW
	if d := p.PadW - kx; d > 0 {
		lo = (d + s - 1) / s
	}
	if last := p.w - 1 + p.PadW - kx; last >= 0 {
		hi = min(p.ow, last/s+1)
	}
	return min(lo, hi), hi
}

// gather writes the patches of output rows r0 up to r1 of one image to columns
// at, at+1, ... of col, whose rows are stride long.
func (p *patches) gather(col, img []float32, r0, r1, at, stride int) {
	row := at
	for c := range p.c {
		ch := img[c*p.h*p.w : (c+1)*p.h*p.w]
		for ky := range p.kh {
			for kx := range p.kw {
				lo, hi := p.span(kx)
				dst := col[row : row+(r1-r0)*p.ow]
				row += stride
				for oy := r0; oy < r1; oy++ {
					d := dst[(oy-r0)*p.ow : (oy-r0+1)*p.ow]
					iy := oy*p.StrideH + ky - p.PadH
					if iy < 0 || iy >= p.h || lo == hi {
						clear(d)
						continue
					}
					clear(d[:lo])
					clear(d[hi:])
					src := ch[iy*p.w+lo*p.StrideW+kx-p.PadW : (iy+1)*p.w]
					if p.StrideW == 1 {
						copy(d[lo:hi], src)
						continue
					}
					stridedCopy(d[lo:hi], src, p.StrideW)
				}
			}
		}
	}
}

// scatter adds columns at, at+1, ... of col back into the image: gather's
// transpose.
func (p *patches) scatter(img, col []float32, r0, r1, at, stride int) {
	row := at
	for c := range p.c {
		ch := img[c*p.h*p.w : (c+1)*p.h*p.w]
		for ky := range p.kh {
			for kx := range p.kw {
				lo, hi := p.span(kx)
				src := col[row : row+(r1-r0)*p.ow]
				row += stride
				if lo == hi {
					continue
				}
				for oy := r0; oy < r1; oy++ {
					iy := oy*p.StrideH + ky - p.PadH
					if iy < 0 || iy >= p.h {
						continue
					}
					s := src[(oy-r0)*p.ow+lo : (oy-r0)*p.ow+hi]
					d := ch[iy*p.w+lo*p.StrideW+kx-p.PadW : (iy+1)*p.w]
					if p.StrideW == 1 {
						add(d[:len(s)], s)
						continue
					}
					stridedAdd(d, s, p.StrideW)
				}
			}
		}
	}
}

func stridedCopy(dst, src []float32, stride int) {
	j := 0
	for i := range dst {
		dst[i] = src[j]
		j += stride
	}
}

func stridedAdd(dst, src []float32, stride int) {
	j := 0
	for _, v := range src {
		dst[j] += v
		j += stride
	}
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// sum32 adds in four float32 lanes.
func sum32(x []float32) float32 {
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v := x[i : i+4 : i+4]
		s0 += v[0]
		s1 += v[1]
		s2 += v[2]
		s3 += v[3]
	}
	for ; i < len(x); i++ {
		s0 += x[i]
	}
	return (s0 + s1) + (s2 + s3)
}
