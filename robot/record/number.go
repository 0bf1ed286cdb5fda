package record

import (
	"fmt"
	"math"
	"strconv"
)

// number is a float64 in JSON. Finite ones are the shortest decimal that reads
// back to the same bits; the others, which JSON lacks, are strings as in the JSON
// form of protobuf: what a fault had in it must be recorded too.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	switch x := float64(n); {
	case math.IsNaN(x):
		return []byte(`"NaN"`), nil
	case math.IsInf(x, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(x, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return strconv.AppendFloat(nil, x, 'g', -1, 64), nil
	}
}

func (n *number) UnmarshalJSON(b []byte) error {
	switch s := string(b); s {
	case `"NaN"`:
		*n = number(math.NaN())
	case `"Infinity"`:
		*n = number(math.Inf(1))
	case `"-Infinity"`:
		*n = number(math.Inf(-1))
	default:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%s is no number", s)
		}
		*n = number(x)
	}
	return nil
}

// numbers and its inverse copy between an array and its JSON form.
func numbers(dst []number, src []float64) {
	for i, x := range src {
		dst[i] = number(x)
	}
}

func plain(dst []float64, src []number) {
	for i, x := range src {
		dst[i] = float64(x)
	}
}
