//go:build !cgo || purego

package ot

func expAll(x []float64) { goExp(x) }

func spanOf(c []float64) (lo, hi float64, finite bool) { return goSpan(c) }

func (k *kernel) coldRows() { k.goColdRows() }

func (k *kernel) exponentiate() { k.goExponentiate() }

// rows meets the row marginals and sums the columns, in one pass over K.
func (k *kernel) rows() { k.goRows() }

func (k *kernel) curve(dst, v []float64) { k.goCurve(dst, v) }

func (k *kernel) planInto(dst []float64) float64 { return k.goPlanInto(dst) }
