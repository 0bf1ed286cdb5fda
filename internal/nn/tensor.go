package nn

import (
	"fmt"
	"slices"
)

// Tensor is a named array on its way to or from a file, row-major.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32

	param *Param // whose Data it is
}

// Set copies data into t, and tells the Param that t is of, if it is of one.
func (t Tensor) Set(data []float32) {
	copy(t.Data, data)
	if t.param != nil {
		t.param.Push()
	}
}

// Tensors lists params for Save; the arrays are shared.
func Tensors(params []*Param) []Tensor {
	ts := make([]Tensor, len(params))
	for i, p := range params {
		p.Pull()
		ts[i] = Tensor{Name: p.Name, Shape: p.Shape, Data: p.Data, param: p}
	}
	return ts
}

// Assign copies into every param the tensor of its name. It changes nothing if
// one is missing or of another shape; tensors of other names are left aside.
func Assign(params []*Param, ts []Tensor) error {
	from := make([]Tensor, len(params))
	for i, p := range params {
		t, err := find(ts, p.Name, p.Shape)
		if err != nil {
			return fmt.Errorf("nn: assign: %w", err)
		}
		from[i] = t
	}
	for i, p := range params {
		copy(p.Data, from[i].Data)
		p.Push()
	}
	return nil
}

// find returns the tensor of that name and shape.
func find(ts []Tensor, name string, shape []int) (Tensor, error) {
	for _, t := range ts {
		if t.Name != name {
			continue
		}
		if !slices.Equal(t.Shape, shape) {
			return t, fmt.Errorf("tensor %q has shape %v, want %v", name, t.Shape, shape)
		}
		if len(t.Data) != size(shape) {
			return t, fmt.Errorf("tensor %q has %d elements for shape %v", name, len(t.Data), shape)
		}
		return t, nil
	}
	return Tensor{}, fmt.Errorf("no tensor %q", name)
}
