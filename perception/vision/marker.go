package vision

/*
#include <stdlib.h>
#include "marker.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"github.com/rapport-rl/rapport/robot"
)

// Marker is an ArUco marker in an image.
type Marker struct {
	ID int
	// Corners are clockwise from the marker's own top left, pixels.
	Corners [4][2]float64
}

// dictionaries are OpenCV's of ArUco markers, by bits and how many there are.
var dictionaries = map[string]C.int{
	"4x4_50": 0, "4x4_100": 1, "4x4_250": 2, "4x4_1000": 3, "5x5_50": 4, "5x5_100": 5, "5x5_250": 6, "5x5_1000": 7,
	"6x6_50": 8, "6x6_100": 9, "6x6_250": 10, "6x6_1000": 11, "7x7_50": 12, "7x7_100": 13, "7x7_250": 14, "7x7_1000": 15,
	"original": 16,
}

// Dictionaries lists the names of dictionaries of markers.
func Dictionaries() []string { return slices.Sorted(maps.Keys(dictionaries)) }

func dictionary(name string) (C.int, error) {
	if d, ok := dictionaries[name]; ok {
		return d, nil
	}
	return 0, fmt.Errorf("vision: dictionary of markers is %q, want one of %v", name, Dictionaries())
}

type message [512]C.char

func (m *message) err(what string, rc C.int) error {
	if rc == 0 {
		return nil
	}
	return fmt.Errorf("vision: %s: %s", what, C.GoString(&m[0]))
}

func bytesOf(p []byte) *C.uchar { return (*C.uchar)(unsafe.Pointer(&p[0])) }

// most bounds what is found in an image.
const most = 1024

// Markers finds the markers of a dictionary in f.
func Markers(f robot.Frame, dict string) ([]Marker, error) {
	if err := Check(f); err != nil {
		return nil, err
	}
	d, err := dictionary(dict)
	if err != nil {
		return nil, err
	}
	var ids [most]C.int
	var corners [8 * most]C.float
	var n C.int
	var msg message
	if err := msg.err("find markers", C.vision_markers(bytesOf(f.Pix), C.int(f.W), C.int(f.H), d, &ids[0], &corners[0], most, &n, &msg[0], C.size_t(len(msg)))); err != nil {
		return nil, err
	}
	ms := make([]Marker, n)
	for i := range ms {
		ms[i].ID = int(ids[i])
		for k := range 4 {
			ms[i].Corners[k] = [2]float64{float64(corners[8*i+2*k]), float64(corners[8*i+2*k+1])}
		}
	}
	slices.SortFunc(ms, func(a, b Marker) int { return a.ID - b.ID })
	return ms, nil
}

// DrawMarker is the picture of a marker, side by side pixels, without a margin, which it
// needs to be found: a white one of a bit's width at least.
func DrawMarker(dict string, id, side int) (robot.Frame, error) {
	d, err := dictionary(dict)
	if err != nil {
		return robot.Frame{}, err
	}
	if side < 8 || side > MaxSide {
		return robot.Frame{}, fmt.Errorf("vision: marker of %d pixels, want 8 to %d", side, MaxSide)
	}
	grey := make([]byte, side*side)
	var msg message
	if err := msg.err(fmt.Sprintf("marker %d of %s", id, dict), C.vision_marker_draw(d, C.int(id), C.int(side), bytesOf(grey), &msg[0], C.size_t(len(msg)))); err != nil {
		return robot.Frame{}, err
	}
	return ofGrey(grey, side, side), nil
}

// MarkerCells are the cells of a marker by rows from its top, its black border among
// them; true is white.
func MarkerCells(dict string, id int) ([][]bool, error) {
	n := 5 + 2 // of the original ones
	if dict != "original" && dict != "" {
		n = int(dict[0]-'0') + 2
	}
	const each = 8 // pixels
	f, err := DrawMarker(dict, id, max(n, 1)*each)
	if err != nil {
		return nil, err
	}
	cells := make([][]bool, n)
	for r := range cells {
		cells[r] = make([]bool, n)
		for c := range cells[r] {
			cells[r][c] = f.Pix[3*((r*each+each/2)*f.W+c*each+each/2)] > 127
		}
	}
	return cells, nil
}

func ofGrey(grey []byte, w, h int) robot.Frame {
	f := robot.Frame{W: w, H: h, Pix: make([]byte, 3*w*h)}
	for i, v := range grey {
		f.Pix[3*i], f.Pix[3*i+1], f.Pix[3*i+2] = v, v, v
	}
	return f
}

// Board is a ChArUco board: a chessboard with a marker in every white square.
type Board struct {
	Dictionary     string
	Columns, Rows  int     // squares
	Square, Marker float64 // sides, m
}

// Validate reports what is wrong with b.
func (b Board) Validate() error {
	if _, err := dictionary(b.Dictionary); err != nil {
		return err
	}
	if b.Columns < 3 || b.Rows < 3 || b.Columns > 30 || b.Rows > 30 {
		return fmt.Errorf("vision: board of %dx%d squares, want 3 to 30 each", b.Columns, b.Rows)
	}
	if !(b.Marker > 0 && b.Square > b.Marker && b.Square < 10) {
		return fmt.Errorf("vision: board with squares of %g m and markers of %g m, want markers smaller than squares", b.Square, b.Marker)
	}
	return nil
}

func (b Board) c() C.vision_board {
	return C.vision_board{
		dictionary: dictionaries[b.Dictionary], columns: C.int(b.Columns), rows: C.int(b.Rows), square: C.double(b.Square), marker: C.double(b.Marker),
	}
}

// Draw is the board's picture, filling w by h pixels with its squares.
func (b Board) Draw(w, h int) (robot.Frame, error) {
	if err := b.Validate(); err != nil {
		return robot.Frame{}, err
	}
	if w < 1 || h < 1 || w > MaxSide || h > MaxSide {
		return robot.Frame{}, fmt.Errorf("vision: board of %dx%d pixels, want 1 to %d", w, h, MaxSide)
	}
	grey := make([]byte, w*h)
	var msg message
	c := b.c()
	if err := msg.err("draw board", C.vision_board_draw(&c, C.int(w), C.int(h), bytesOf(grey), &msg[0], C.size_t(len(msg)))); err != nil {
		return robot.Frame{}, err
	}
	return ofGrey(grey, w, h), nil
}

// Corners are where the inner corners are on the board, m, by their numbers.
func (b Board) Corners() ([][3]float64, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	n := (b.Columns - 1) * (b.Rows - 1)
	xyz := make([]C.float, 3*n)
	var msg message
	c := b.c()
	if err := msg.err("corners of a board", C.vision_board_corners(&c, &xyz[0], &msg[0], C.size_t(len(msg)))); err != nil {
		return nil, err
	}
	ps := make([][3]float64, n)
	for i := range ps {
		ps[i] = [3]float64{float64(xyz[3*i]), float64(xyz[3*i+1]), float64(xyz[3*i+2])}
	}
	return ps, nil
}

// Match is a place and the pixel that shows it.
type Match struct {
	Place [3]float64 // m
	Pixel [2]float64
}

// Find is the inner corners of the board that f shows, places on the board.
func (b Board) Find(f robot.Frame) ([]Match, error) {
	places, err := b.Corners()
	if err != nil {
		return nil, err
	}
	if err := Check(f); err != nil {
		return nil, err
	}
	var ids [most]C.int
	var at [2 * most]C.float
	var n C.int
	var msg message
	c := b.c()
	if err := msg.err("find board", C.vision_board_find(bytesOf(f.Pix), C.int(f.W), C.int(f.H), &c, &ids[0], &at[0], most, &n, &msg[0], C.size_t(len(msg)))); err != nil {
		return nil, err
	}
	var ms []Match
	for i := range int(n) {
		if id := int(ids[i]); id >= 0 && id < len(places) {
			ms = append(ms, Match{places[id], [2]float64{float64(at[2*i]), float64(at[2*i+1])}})
		}
	}
	return ms, nil
}

// Intrinsics are a pinhole's, in OpenCV's order.
type Intrinsics struct {
	K [4]float64 // fx, fy, cx, cy, pixels
	D [5]float64 // k1, k2, p1, p2, k3
}

// Sight is the pose of places in a camera: a rotation vector, and where their origin is, m.
type Sight struct{ Turn, Shift [3]float64 }

// errFew says that there are too few points.
var errFew = errors.New("vision: at least four points are needed in each view")

func flatten(views [][]Match) (places, pixels []C.float, counts []C.int, err error) {
	for _, v := range views {
		if len(v) < 4 {
			return nil, nil, nil, errFew
		}
		for _, m := range v {
			places = append(places, C.float(m.Place[0]), C.float(m.Place[1]), C.float(m.Place[2]))
			pixels = append(pixels, C.float(m.Pixel[0]), C.float(m.Pixel[1]))
		}
		counts = append(counts, C.int(len(v)))
	}
	if len(views) == 0 {
		err = errFew
	}
	return places, pixels, counts, err
}

// Lens says how much of a lens Calibrate seeks.
type Lens int

// The lenses.
const (
	Focal  Lens = iota // one focal length alone, the rest as guessed
	Radial             // focal lengths, principal point, k1 and k2
	Whole              // also k3 and the tangential terms
)

// Calibrate finds intrinsics from views of known places (Zhang 2000), w by h pixels, with
// the pose of the places in each and the root mean square of the error, pixels. guess may
// be nil unless the places of a view span more than a plane.
func Calibrate(views [][]Match, w, h int, guess *Intrinsics, lens Lens) (in Intrinsics, at []Sight, rms float64, err error) {
	places, pixels, counts, err := flatten(views)
	if err != nil {
		return in, nil, 0, err
	}
	g := C.int(0)
	if guess != nil {
		in, g = *guess, 1
	}
	turn, shift := make([]float64, 3*len(views)), make([]float64, 3*len(views))
	var msg message
	rc := C.vision_calibrate(&places[0], &pixels[0], &counts[0], C.int(len(views)), C.int(w), C.int(h), g, C.int(lens),
		(*C.double)(&in.K[0]), (*C.double)(&in.D[0]), (*C.double)(&turn[0]), (*C.double)(&shift[0]), (*C.double)(&rms), &msg[0], C.size_t(len(msg)))
	if err := msg.err("calibrate", rc); err != nil {
		return in, nil, 0, err
	}
	for i := range views {
		at = append(at, Sight{[3]float64(turn[3*i:]), [3]float64(shift[3*i:])})
	}
	return in, at, rms, nil
}

// PoseOf finds where places are in a camera from one view of them.
func PoseOf(view []Match, in Intrinsics) (Sight, error) {
	var s Sight
	places, pixels, _, err := flatten([][]Match{view})
	if err != nil {
		return s, err
	}
	var msg message
	rc := C.vision_pose(&places[0], &pixels[0], C.int(len(view)), (*C.double)(&in.K[0]), (*C.double)(&in.D[0]), (*C.double)(&s.Turn[0]), (*C.double)(&s.Shift[0]), &msg[0], C.size_t(len(msg)))
	return s, msg.err("pose", rc)
}

// Rigid is a rotation by rows, then a translation, m.
type Rigid [12]float64

// HandEye finds a camera's pose in the hand from n poses of the hand and, at each, of a
// target that stands still in the camera (Park and Martin 1994).
func HandEye(hand, target []Rigid) (Rigid, error) {
	var x Rigid
	if len(hand) != len(target) || len(hand) < 3 {
		return x, fmt.Errorf("vision: %d poses of the hand and %d of the target, want as many of both and at least 3", len(hand), len(target))
	}
	var msg message
	rc := C.vision_hand_eye(C.int(len(hand)), (*C.double)(&hand[0][0]), (*C.double)(&target[0][0]), (*C.double)(&x[0]), &msg[0], C.size_t(len(msg)))
	return x, msg.err("hand and eye", rc)
}
