package vlmrm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// MaxFile bounds a file of embeddings in bytes: 1,000 prompts of 4,096 float64 numbers
// fit.
const MaxFile = 64 << 20

// Read reads prompts' embeddings (n,d). The name tells the format: .npy is NumPy's,
// float32 or float64, of one or two axes; anything else is JSON, an array of numbers,
// an array of arrays, or what an OpenAI-like /embeddings endpoint answers
// ({"data":[{"embedding":[…]}]}).
func Read(r io.Reader, name string) ([][]float64, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("vlmrm: %s: %w", name, err)
	}
	if len(b) > MaxFile {
		return nil, fmt.Errorf("vlmrm: %s: more than %d bytes", name, MaxFile)
	}
	var rows [][]float64
	if strings.HasSuffix(strings.ToLower(name), ".npy") {
		rows, err = parseNPY(b)
	} else {
		rows, err = parseJSON(b)
	}
	if err == nil {
		err = sound(rows)
	}
	if err != nil {
		return nil, fmt.Errorf("vlmrm: %s: %w", name, err)
	}
	return rows, nil
}

func sound(rows [][]float64) error {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return errors.New("no embedding; want at least one")
	}
	for i, r := range rows {
		if len(r) != len(rows[0]) {
			return fmt.Errorf("embedding %d has %d numbers, the first %d", i, len(r), len(rows[0]))
		}
		for j, v := range r {
			if v-v != 0 {
				return fmt.Errorf("embedding %d, number %d is %v", i, j, v)
			}
		}
	}
	return nil
}

func parseJSON(b []byte) ([][]float64, error) {
	var rows [][]float64
	if json.Unmarshal(b, &rows) == nil {
		return rows, nil
	}
	var row []float64
	if json.Unmarshal(b, &row) == nil {
		return [][]float64{row}, nil
	}
	var answer struct {
		Data []struct {
			Embedding []float64 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("neither an array of numbers, nor of arrays, nor an answer of /embeddings: %w", err)
	}
	for _, d := range answer.Data {
		rows = append(rows, d.Embedding)
	}
	return rows, nil
}

var (
	npyType  = regexp.MustCompile(`'descr':\s*'([^']*)'`)
	npyOrder = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	npyShape = regexp.MustCompile(`'shape':\s*\(([0-9, ]*)\)`)
)

// parseNPY reads versions 1 to 3 of the format (numpy.lib.format).
func parseNPY(b []byte) ([][]float64, error) {
	if len(b) < 10 || !bytes.HasPrefix(b, []byte("\x93NUMPY")) {
		return nil, errors.New("not a .npy file")
	}
	size, from := int(binary.LittleEndian.Uint16(b[8:])), 10
	if b[6] >= 2 {
		if len(b) < 12 {
			return nil, errors.New("the header is cut off")
		}
		size, from = int(binary.LittleEndian.Uint32(b[8:])), 12
	}
	if b[6] < 1 || b[6] > 3 || size > len(b)-from {
		return nil, fmt.Errorf("version %d with a header of %d bytes of %d; want version 1 to 3, whole", b[6], size, len(b)-from)
	}
	head, data := b[from:from+size], b[from+size:]
	typ, order, shape := npyType.FindSubmatch(head), npyOrder.FindSubmatch(head), npyShape.FindSubmatch(head)
	if typ == nil || order == nil || shape == nil {
		return nil, errors.New("the header lacks descr, fortran_order or shape")
	}
	width := map[string]int{"<f4": 4, "<f8": 8}[string(typ[1])]
	if width == 0 {
		return nil, fmt.Errorf("numbers of type %q; want <f4 or <f8: save with astype('float32')", typ[1])
	}
	var dims []int
	for _, f := range strings.Split(string(shape[1]), ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > MaxFile {
			return nil, fmt.Errorf("an axis of %s", f)
		}
		dims = append(dims, n)
	}
	if len(dims) == 1 {
		dims = []int{1, dims[0]}
	}
	if len(dims) != 2 {
		return nil, fmt.Errorf("%d axes, want (prompts, numbers)", len(dims))
	}
	if string(order[1]) == "True" && dims[0] > 1 {
		return nil, errors.New("the array is in Fortran's order; save numpy.ascontiguousarray of it")
	}
	if len(data)/width/dims[1] != dims[0] || len(data)%(width*dims[1]) != 0 {
		return nil, fmt.Errorf("%d bytes of numbers for a shape of %v", len(data), dims)
	}
	rows := make([][]float64, dims[0])
	for i := range rows {
		rows[i] = make([]float64, dims[1])
		for j := range rows[i] {
			at := data[(i*dims[1]+j)*width:]
			if width == 4 {
				rows[i][j] = float64(math.Float32frombits(binary.LittleEndian.Uint32(at)))
			} else {
				rows[i][j] = math.Float64frombits(binary.LittleEndian.Uint64(at))
			}
		}
	}
	return rows, nil
}
