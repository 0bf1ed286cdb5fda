package bag

import "time"

// Decoder reads the messages of one type by its definition. It is safe for
// several goroutines, and Decode allocates nothing.
type Decoder struct{}

// Decoder returns the decoder of the connection's messages, made once from the
// definition that the recording holds.
func (c *Connection) Decoder() (*Decoder, error) { panic("") }

// Decode checks that data is a whole message, and returns a view of it, which
// is valid as long as data.
func (d *Decoder) Decode(data []byte) (Value, error) { panic("") }

// Value is a view of a message, a field or an element of an array. The zero Value is
// what Path returns for a field that is not there; it has no elements and is 0.
type Value struct{}

// Path returns the field of a message at names joined by dots, as
// "header.stamp" or "poses.3.position.x".
func (v Value) Path(path string) Value { panic("") }

func (v Value) Exists() bool                   { panic("") }
func (v Value) Type() string                   { panic("") } // as in the definition: "float64[7]"
func (v Value) Len() int                       { panic("") } // elements of an array, bytes of a string
func (v Value) Index(i int) Value              { panic("") }
func (v Value) Float() float64                 { panic("") } // any number or bool; a time or duration in seconds
func (v Value) Int() int64                     { panic("") } // a time or duration in nanoseconds
func (v Value) Time() time.Time                { panic("") }
func (v Value) Text() string                   { panic("") } // a copy
func (v Value) Bytes() []byte                  { panic("") } // of uint8[], int8[], string: not copied
func (v Value) Floats(dst []float64) []float64 { panic("") } // appended to dst
func (v Value) Any() any                       { panic("") } // maps, slices and numbers, for printing
