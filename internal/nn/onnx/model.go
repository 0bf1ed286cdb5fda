// Package onnx reads networks from ONNX files into package nn, where they can be
// trained, and writes networks of nn as ONNX files, which other programs run.
//
// ONNX is how encoders come from other frameworks and how a tuned policy leaves
// for a controller that runs no Go. Reading covers what exporters make of
// convolutional residual networks and of vision transformers; any other node is
// refused by its name and operation. Images are channels-last in nn and
// channels-first in ONNX: the conversion is this package's business.
//
//	m, err := onnx.Open("resnet18.onnx", onnx.Config{})
//	g := nn.NewGraph()
//	x := g.Input(16, 128, 128, 3)
//	y, err := m.Forward(g, x) // (16, 512)
//	adam := nn.NewAdam(m.Params(), nn.AdamConfig{LR: 1e-4})
package onnx

import "slices"

// Model is an ONNX file: a graph and what is said about it.
type Model struct {
	IR       int64 // version of the file format
	Opset    int64 // version of the operations
	Producer string
	Version  string // of the producer
	Doc      string
	Meta     []Entry // in the file's order
	Graph    Graph
}

// Entry is one of a Model's free remarks.
type Entry struct{ Key, Value string }

// Graph computes Outputs from Inputs. Nodes come after what they read.
type Graph struct {
	Name    string
	Nodes   []Node
	Init    []Tensor // the weights
	Inputs  []Port
	Outputs []Port
}

// Node is one operation on named values. An empty input is one left out.
type Node struct {
	Name, Op, Domain string
	Inputs, Outputs  []string
	Attrs            []Attr
}

// attr finds an attribute.
func (n *Node) attr(name string) (Attr, bool) {
	i := slices.IndexFunc(n.Attrs, func(a Attr) bool { return a.Name == name })
	if i < 0 {
		return Attr{}, false
	}
	return n.Attrs[i], true
}

// Kind says which field of an Attr counts. The numbers are ONNX's.
type Kind uint8

// The kinds of attributes that are read. Whole graphs, as in If and Loop, are not.
const (
	Float   Kind = 1
	Int     Kind = 2
	String  Kind = 3
	OfArray Kind = 4
	Floats  Kind = 6
	Ints    Kind = 7
)

// Attr is a constant of a Node.
type Attr struct {
	Name   string
	Kind   Kind
	F      float32
	I      int64
	S      string
	T      *Tensor
	Floats []float32
	Ints   []int64
}

// Tensor is a constant array, row-major, of float32, or of int64 if Whole. Other
// number types are converted to those when read.
type Tensor struct {
	Name   string
	Shape  []int
	Whole  bool
	Floats []float32
	Ints   []int64
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	if t.Whole {
		return len(t.Ints)
	}
	return len(t.Floats)
}

// Port is an input or output of a Graph. An axis of any length is -1 and has a
// name in Free, where the file gives one.
type Port struct {
	Name  string
	Doc   string
	Shape []int
	Free  []string // as long as Shape
	Whole bool     // int64 instead of float32
}
