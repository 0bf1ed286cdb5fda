package tcpros_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/goroslib/v2/pkg/msgs/sensor_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/tf2_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/protocommon"

	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

// every has a field of every kind that ROS has.
type every struct {
	B   bool
	I8  int8
	U8  uint8
	I16 int16
	U16 uint16
	I32 int32
	U32 uint32
	I64 int64
	U64 uint64
	F32 float32
	F64 float64
	S   string
	T   time.Time
	D   time.Duration
	Bs  []uint8
	Is  []int32
	Fs  []float64
	A   [3]float32
	Us  [4]uint8
	Ss  []string
	In  []struct{ X, Y int16 }
}

func full() every {
	return every{
		true, -8, 8, -16, 16, -32, 32, -64, 64, 0.25, math.Pi, "é", time.Unix(12, 34).UTC(), 3*time.Second + 4,
		[]uint8{1, 2}, []int32{-3}, []float64{0.5, 1.5}, [3]float32{1, 2, 3}, [4]uint8{1, 2, 3, 4}, []string{"", "x"},
		[]struct{ X, Y int16 }{{1, 2}, {3, 4}},
	}
}

// The encoding is compared with the library's, which real nodes were compared
// with; its decoder must also take ours.
func TestEncodingIsThatOfTheLibrary(t *testing.T) {
	for _, m := range []any{ptr(full()), &every{}, &sensor_msgs.Image{Data: []byte{1, 2, 3}, Encoding: "rgb8"}, &sensor_msgs.JointState{Name: []string{"a"}, Position: []float64{1}}, &tf2_msgs.TFMessage{}} {
		got, err := tcpros.Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := protocommon.MessageEncode(&want, m); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()[4:]) {
			t.Errorf("%T: got %x, want %x", m, got, want.Bytes()[4:])
		}
		back := reflect.New(reflect.TypeOf(m).Elem()).Interface()
		if err := tcpros.Decode(got, back); err != nil {
			t.Fatal(err)
		}
		again, err := tcpros.Append(nil, back)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%T: got %x after a round trip, %v; want %x", m, again, err, got)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestTimesBeforeAndAfter(t *testing.T) {
	type stamps struct {
		T time.Time
		D time.Duration
	}
	for _, tt := range []struct{ give, want stamps }{
		{stamps{}, stamps{}},
		{stamps{T: time.Unix(-5, 0)}, stamps{}}, // ROS has no time before 1970
		{stamps{T: time.Unix(1<<32-1, 999999999)}, stamps{T: time.Unix(1<<32-1, 999999999).UTC()}},
		{stamps{D: -1500 * time.Millisecond}, stamps{D: -1500 * time.Millisecond}},
		{stamps{D: time.Nanosecond}, stamps{D: time.Nanosecond}},
	} {
		b, err := tcpros.Append(nil, &tt.give)
		if err != nil {
			t.Fatal(err)
		}
		var got stamps
		if err := tcpros.Decode(b, &got); err != nil || got != tt.want {
			t.Errorf("got %v, %v; want %v", got, err, tt.want)
		}
	}
	// -1.5 s is -2 s and half a second, as roscpp writes it.
	b, err := tcpros.Append(nil, &struct{ D time.Duration }{-1500 * time.Millisecond})
	if want := []byte{0xfe, 0xff, 0xff, 0xff, 0, 0x65, 0xcd, 0x1d}; err != nil || !bytes.Equal(b, want) {
		t.Errorf("got %x, %v; want %x", b, err, want)
	}
}

func TestPixelsAreNotCopied(t *testing.T) {
	b, err := tcpros.Append(nil, &sensor_msgs.Image{Data: make([]byte, 1000)})
	if err != nil {
		t.Fatal(err)
	}
	var m sensor_msgs.Image
	if err := tcpros.Decode(b, &m); err != nil {
		t.Fatal(err)
	}
	if b[len(b)-1] = 9; m.Data[999] != 9 {
		t.Error("the pixels were copied")
	}
	if cap(m.Data) != 1000 {
		t.Errorf("the pixels' slice reaches %d bytes, want 1000", cap(m.Data))
	}
}

func TestShortAndLongMessagesAreRefused(t *testing.T) {
	b, err := tcpros.Append(nil, ptr(full()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if err := tcpros.Decode(b[:n], new(every)); err == nil {
			t.Fatalf("%d of %d bytes were taken for a message", n, len(b))
		}
	}
	if err := tcpros.Decode(append(b, 0), new(every)); err == nil {
		t.Error("a byte too many was taken")
	}
	lie := binary.LittleEndian.AppendUint32(nil, 1<<31)
	if err := tcpros.Decode(lie, new(struct{ X []struct{ S string } })); err == nil {
		t.Error("a length beyond the message was believed")
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	if _, err := tcpros.Append(nil, every{}); err == nil {
		t.Error("a message that is no pointer was taken")
	}
	if err := tcpros.Decode(nil, new(int)); err == nil {
		t.Error("an int was taken for a message")
	}
	if _, err := tcpros.KindOf[int](); err == nil {
		t.Error("int has a kind")
	}
	if _, err := tcpros.KindOf[struct{ x int32 }](); err == nil || !strings.Contains(err.Error(), "not exported") {
		t.Errorf("got %v, want that x is not exported", err)
	}
	if _, err := tcpros.KindOf[struct{ M map[string]int }](); err == nil {
		t.Error("a map was taken for a field")
	}
}

func TestHeadersSurvive(t *testing.T) {
	want := tcpros.Header{"callerid": "/a", "md5sum": "*", "message_definition": "a=b\n", "empty": ""}
	var b bytes.Buffer
	if err := tcpros.WriteHeader(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := tcpros.ReadHeader(&b)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

// A length that lies costs no more memory than bytes that came.
func TestLyingLengthTakesNoMemory(t *testing.T) {
	lie := binary.LittleEndian.AppendUint32(nil, 200<<20)
	r := io.MultiReader(bytes.NewReader(lie), bytes.NewReader(make([]byte, 17<<20)))
	if _, err := tcpros.ReadFrame(r); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v, want an unexpected end", err)
	}
	if _, err := tcpros.ReadFrame(bytes.NewReader([]byte{255, 255, 255, 255})); err == nil {
		t.Error("4 GiB were believed")
	}
	frame := make([]byte, 40<<20)
	frame[len(frame)-1] = 1
	var b bytes.Buffer
	if err := tcpros.WriteFrame(&b, frame); err != nil {
		t.Fatal(err)
	}
	got, err := tcpros.ReadFrame(&b)
	if err != nil || !bytes.Equal(got, frame) {
		t.Errorf("a frame of 40 MiB: %d bytes, %v", len(got), err)
	}
}

func FuzzHeader(f *testing.F) {
	var b bytes.Buffer
	if err := tcpros.WriteHeader(&b, tcpros.Header{"callerid": "/a", "topic": "/b"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := tcpros.ReadHeader(bytes.NewReader(in))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := tcpros.WriteHeader(&b, h); err != nil {
			t.Fatal(err)
		}
		if again, err := tcpros.ReadHeader(&b); err != nil || !maps.Equal(again, h) {
			t.Fatalf("got %v, %v; want %v", again, err, h)
		}
	})
}

func FuzzDecode(f *testing.F) {
	b, err := tcpros.Append(nil, ptr(full()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		var m every
		if err := tcpros.Decode(bytes.Clone(in), &m); err != nil {
			return
		}
		out, err := tcpros.Append(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != len(in) {
			t.Fatalf("%d bytes became %d", len(in), len(out))
		}
	})
}

func BenchmarkImage(b *testing.B) {
	m := sensor_msgs.Image{Data: make([]byte, 640*480*3)}
	payload, err := tcpros.Append(nil, &m)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			payload, _ = tcpros.Append(payload[:0], &m)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := tcpros.Decode(payload, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
