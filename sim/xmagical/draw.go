package xmagical

import (
	"math"

	"github.com/jakecoffman/cp/v2"
)

// colour is blue, green, red.
type colour [3]byte

// The colours of x-magical's style, which lightens those of Berkeley.
var (
	grey    = colour{175, 163, 162}
	dark    = colour{159, 145, 144}
	pale    = colour{234, 231, 231} // around the arena
	white   = colour{255, 255, 255}
	black   = colour{26, 26, 26}
	red     = colour{165, 128, 245}
	darkRed = colour{141, 94, 243}
	strip   = colour{209, 190, 250} // the goal
	blue    = colour{211, 185, 135} // the zone
	deepSea = colour{202, 170, 110}
)

// zoom shows a little more than the arena.
const zoom = 1.02

// painter fills convex polygons and discs by scanlines, without anti-aliasing, as
// the original does.
type painter struct {
	w, h   int
	dst    []byte
	sx, sy float64 // pixels a metre
}

func newPainter(w, h int) *painter {
	return &painter{w: w, h: h, sx: float64(w) / (2 * Size * zoom), sy: float64(h) / (2 * Size * zoom)}
}

// x and y are pixel coordinates of a place; rows count from the top.
func (p *painter) x(x float64) float64 { return (x + Size*zoom) * p.sx }
func (p *painter) y(y float64) float64 { return (Size*zoom - y) * p.sy }

// paint draws the scene into dst (h,w,3).
func (p *painter) paint(dst []byte, a *arena, s *scene) {
	if len(dst) != 3*p.w*p.h {
		panic("xmagical: an image of another size than its camera's")
	}
	p.dst = dst
	p.fill(0, 0, p.w, p.h, pale)
	p.box(zone{-Size, -Size, Size, Size}, white)
	p.box(zone{-Size, s.bottom, Size, Size}, red)
	const line = 0.012 // of the strip's edge, m
	p.box(zone{-Size + line, s.bottom + line, Size - line, Size - line}, strip)
	if s.off != (zone{}) {
		p.box(s.off, deepSea)
		p.box(zone{s.off.L + line, s.off.B + line, s.off.R - line, s.off.T - line}, blue)
	}
	for _, q := range a.squares {
		p.rect(q.body, Side*1.02, Side*1.02, darkRed)
		p.rect(q.body, Side*0.88, Side*0.88, red)
	}
	if poly, ok := a.shape.Class.(*cp.PolyShape); ok {
		w, h := -2*poly.Vert(0).X, radius/2
		w = math.Abs(w)
		p.rect(a.body, w, h, dark)
		p.rect(a.body, w-0.02, h-0.02, grey)
		p.eyes(a, 0.3*radius, 0)
		return
	}
	for _, f := range a.fingers {
		for _, part := range f.parts {
			p.poly(f.body, part, dark)
		}
	}
	at := a.body.Position()
	p.disc(at, radius, dark)
	p.disc(at, radius-0.01, grey)
	p.eyes(a, 0.4*radius, 0.3*radius)
}

// eyes show where the robot faces.
func (p *painter) eyes(a *arena, x, y float64) {
	for i, side := range sides {
		at := a.body.LocalToWorld(cp.Vector{X: side * x, Y: y})
		p.disc(at, 0.2*radius, white)
		look := cp.Vector{Y: 0.07 * radius}.Rotate(cp.ForAngle(a.pupils[i].Angle()))
		p.disc(at.Add(look), 0.12*radius, black)
	}
}

// rect draws a rectangle of w by h metres around b.
func (p *painter) rect(b *cp.Body, w, h float64, c colour) {
	p.poly(b, []cp.Vector{{X: -w / 2, Y: -h / 2}, {X: w / 2, Y: -h / 2}, {X: w / 2, Y: h / 2}, {X: -w / 2, Y: h / 2}}, c)
}

// poly draws a convex polygon of at most 8 corners in b's frame. A pixel belongs to
// it if its middle does.
func (p *painter) poly(b *cp.Body, local []cp.Vector, c colour) {
	var xs, ys [8]float64
	n := len(local)
	top, bottom := math.Inf(1), math.Inf(-1)
	for i, v := range local {
		v = b.LocalToWorld(v)
		xs[i], ys[i] = p.x(v.X), p.y(v.Y)
		top, bottom = min(top, ys[i]), max(bottom, ys[i])
	}
	for row := max(0, int(math.Ceil(top-0.5))); row < p.h && float64(row)+0.5 <= bottom; row++ {
		y := float64(row) + 0.5
		l, r := math.Inf(1), math.Inf(-1)
		for i := range n {
			k := (i + 1) % n
			y0, y1 := ys[i], ys[k]
			if (y0 <= y) == (y1 <= y) {
				continue
			}
			x := xs[i] + (y-y0)/(y1-y0)*(xs[k]-xs[i])
			l, r = min(l, x), max(r, x)
		}
		p.span(row, l, r, c)
	}
}

// disc draws a disc.
func (p *painter) disc(at cp.Vector, r float64, c colour) {
	cx, cy := p.x(at.X), p.y(at.Y)
	rx, ry := r*p.sx, r*p.sy
	for row := max(0, int(math.Ceil(cy-ry-0.5))); row < p.h && float64(row)+0.5 <= cy+ry; row++ {
		t := (float64(row) + 0.5 - cy) / ry
		half := rx * math.Sqrt(max(0, 1-t*t))
		p.span(row, cx-half, cx+half, c)
	}
}

// span fills the pixels of a row whose middles are between l and r.
func (p *painter) span(row int, l, r float64, c colour) {
	if !(l <= r) {
		return
	}
	p.fill(int(math.Ceil(l-0.5)), row, int(math.Ceil(r-0.5)), row+1, c)
}

// box draws an axis-aligned box.
func (p *painter) box(z zone, c colour) {
	round := func(v float64) int { return int(math.Ceil(v - 0.5)) }
	p.fill(round(p.x(z.L)), round(p.y(z.T)), round(p.x(z.R)), round(p.y(z.B)), c)
}

// fill fills pixels from (x0,y0) up to, but without, (x1,y1).
func (p *painter) fill(x0, y0, x1, y1 int, c colour) {
	x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, p.w), min(y1, p.h)
	if x0 >= x1 || y0 >= y1 {
		return
	}
	first := p.dst[3*(y0*p.w+x0) : 3*(y0*p.w+x1)]
	for i := 0; i < len(first); i += 3 {
		first[i], first[i+1], first[i+2] = c[0], c[1], c[2]
	}
	for y := y0 + 1; y < y1; y++ {
		copy(p.dst[3*(y*p.w+x0):], first)
	}
}
