package device

// Conv implements Device: the patches under the kernel are laid out as rows, so
// that a convolution is one product (im2col), tile by tile.
func (d Portable) Conv(s ConvShape) Conv {
	c := &portableConv{d: d, s: s, w: s.W, h: s.H, c: s.C, o: s.O, oh: s.OH, ow: s.OW}
	if s.Transposed { // the gradient of a convolution of y by its input
		c.w, c.h, c.c, c.o, c.oh, c.ow = s.OW, s.OH, s.O, s.C, s.H, s.W
	}
	c.k = s.KH * s.KW * c.c
	c.rows = min(c.oh, max(1, tile/c.k/c.ow))
	return c
}

// tile is how many elements of patches are worked on at a time: 384 KiB, so that
// a second-level cache of 1 MiB holds them and the product's own copy.
const tile = 384 << 10 / 4

// portableConv convolves images (h,w,c) to (oh,ow,o).
type portableConv struct {
	d                  Portable
	s                  ConvShape
	h, w, c, o, oh, ow int
	k                  int // length of a patch
	rows               int // of the result in one tile
}

// Scratch implements Conv: the weights as (o,k), their gradient, and a tile.
func (c *portableConv) Scratch() int { return 2*c.o*c.k + c.rows*c.ow*c.k }

func (c *portableConv) split(scratch []float32) (w, dw, patches []float32) {
	n := c.o * c.k
	return scratch[:n], scratch[n : 2*n], scratch[2*n:]
}

// arrange writes weights (o,c,KH,KW) as (o,KH,KW,c); back adds the other way.
func (c *portableConv) arrange(dst, w []float32) {
	field := c.s.KH * c.s.KW
	for o := range c.o {
		for ch := range c.c {
			for f := range field {
				dst[(o*field+f)*c.c+ch] = w[(o*c.c+ch)*field+f]
			}
		}
	}
}

func (c *portableConv) back(add bool, dw, src []float32) {
	field := c.s.KH * c.s.KW
	for o := range c.o {
		for ch := range c.c {
			for f := range field {
				v := src[(o*field+f)*c.c+ch]
				if add {
					v += dw[(o*c.c+ch)*field+f]
				}
				dw[(o*c.c+ch)*field+f] = v
			}
		}
	}
}

// each calls f for every tile: image b, result rows r0 up to r1.
func (c *portableConv) each(f func(b, r0, r1 int)) {
	for b := range c.s.B {
		for r := 0; r < c.oh; r += c.rows {
			f(b, r, min(c.oh, r+c.rows))
		}
	}
}

// segments calls f for every run of a patch that lies inside the image: n
// elements of it, at patch[p:] and image[i:].
func (c *portableConv) segments(r0, r1 int, f func(p, i, n int)) {
	p := 0
	for oy := r0; oy < r1; oy++ {
		for ox := range c.ow {
			x := ox*c.s.StrideW - c.s.PadW
			lo, hi := max(0, -x), min(c.s.KW, c.w-x)
			for ky := range c.s.KH {
				y := oy*c.s.StrideH + ky - c.s.PadH
				if y >= 0 && y < c.h && lo < hi {
					f(p+lo*c.c, (y*c.w+x+lo)*c.c, (hi-lo)*c.c)
				}
				p += c.s.KW * c.c
			}
		}
	}
}

func (c *portableConv) image() int  { return c.h * c.w * c.c }
func (c *portableConv) result() int { return c.oh * c.ow * c.o }

func (c *portableConv) gather(patches, img []float32, r0, r1 int) {
	clear(patches[:(r1-r0)*c.ow*c.k])
	c.segments(r0, r1, func(p, i, n int) { copy(patches[p:p+n], img[i:i+n]) })
}

func (c *portableConv) scatter(img, patches []float32, r0, r1 int) {
	c.segments(r0, r1, func(p, i, n int) { c.d.Add(img[i:i+n], patches[p:p+n]) })
}

// down is result = image * w, up its transpose, both for all tiles.
func (c *portableConv) down(beta float32, result, image, wt, patches []float32) {
	I, R := c.image(), c.result()
	c.each(func(b, r0, r1 int) {
		n := (r1 - r0) * c.ow
		c.gather(patches, image[b*I:(b+1)*I], r0, r1)
		c.d.Gemm(false, true, n, c.o, c.k, patches, c.k, wt, c.k, beta, result[b*R+r0*c.ow*c.o:], c.o)
	})
}

func (c *portableConv) up(image, result, wt, patches []float32) {
	I, R := c.image(), c.result()
	c.each(func(b, r0, r1 int) {
		n := (r1 - r0) * c.ow
		c.d.Gemm(false, false, n, c.k, c.o, result[b*R+r0*c.ow*c.o:], c.o, wt, c.k, 0, patches, c.k)
		c.scatter(image[b*I:(b+1)*I], patches, r0, r1)
	})
}

// Forward implements Conv.
func (c *portableConv) Forward(y, x, w, b, scratch []float32) {
	wt, _, patches := c.split(scratch)
	c.arrange(wt, w)
	if b != nil {
		c.d.Bias(y, b)
	} else {
		clear(y)
	}
	if c.s.Transposed {
		c.up(y, x, wt, patches)
	} else {
		c.down(1, y, x, wt, patches)
	}
	if c.s.ReLU {
		c.d.Map(ReLU, y, y)
	}
}

// Input implements Conv.
func (c *portableConv) Input(add bool, dx, dy, w, scratch []float32) {
	wt, _, patches := c.split(scratch)
	c.arrange(wt, w)
	var beta float32
	switch {
	case add:
		beta = 1
	case !c.s.Transposed:
		clear(dx)
	}
	if c.s.Transposed {
		c.down(beta, dx, dy, wt, patches)
	} else {
		c.up(dx, dy, wt, patches)
	}
}

// Weight implements Conv.
func (c *portableConv) Weight(add bool, dw, db, dy, x, scratch []float32) {
	if db != nil {
		c.d.ColSum(db, dy)
	}
	_, wt, patches := c.split(scratch)
	clear(wt)
	image, result := x, dy
	if c.s.Transposed {
		image, result = dy, x
	}
	I, R := c.image(), c.result()
	c.each(func(b, r0, r1 int) {
		n := (r1 - r0) * c.ow
		c.gather(patches, image[b*I:(b+1)*I], r0, r1)
		c.d.Gemm(true, false, c.o, c.k, n, result[b*R+r0*c.ow*c.o:], c.o, patches, c.k, 1, wt, c.k)
	})
	c.back(add, dw, wt)
}
