package vision

import (
	"bytes"
	"image/jpeg"
	"strings"
	"testing"
)

func TestDecodeJPEGGivesThePixelsOfDecode(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {17, 9}, {96, 96}, {128, 128}} {
		data, err := EncodeJPEG(scene(size[0], size[1]), 90)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want.Pix))
		if err := DecodeJPEG(got, size[0], size[1], data); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Pix) {
			t.Errorf("%dx%d: other pixels than OpenCV's", size[0], size[1])
		}
	}
}

func TestDecodeJPEGRefuses(t *testing.T) {
	good, err := EncodeJPEG(scene(64, 48), 90)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-30] = 0xff // a marker amid the scan
	flipped[len(flipped)-29] = 0xd3
	for _, tt := range []struct {
		name, want string
		dst, w, h  int
		data       []byte
	}{
		{"nothing", "0 bytes", 64 * 48 * 3, 64, 48, nil},
		{"text", "Not a JPEG", 64 * 48 * 3, 64, 48, []byte("hello, camera")},
		{"another size", "it is 64x48", 32 * 48 * 3, 32, 48, good},
		{"cut", "Premature end", 64 * 48 * 3, 64, 48, good[:len(good)*2/3]},
		{"a stray marker", "decode JPEG", 64 * 48 * 3, 64, 48, flipped},
		{"short room", "100 bytes", 100, 64, 48, good},
		{"no pixels", "0x48", 0, 0, 48, good},
	} {
		err := DecodeJPEG(make([]byte, tt.dst), tt.w, tt.h, tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestDecodeJPEGDoesNotAllocate(t *testing.T) {
	data, err := EncodeJPEG(scene(64, 48), 90)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 64*48*3)
	if n := testing.AllocsPerRun(100, func() { err = DecodeJPEG(dst, 64, 48, data) }); n != 0 || err != nil {
		t.Errorf("DecodeJPEG allocates %v times (error %v), want 0", n, err)
	}
}

func FuzzDecodeJPEG(f *testing.F) {
	good, err := EncodeJPEG(scene(16, 12), 50)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		dst := make([]byte, 3*16*12+1)
		dst[len(dst)-1] = 77
		if DecodeJPEG(dst[:3*16*12], 16, 12, data) == nil && dst[len(dst)-1] != 77 {
			t.Error("it wrote behind the pixels")
		}
	})
}

// The decoders that a replay could read 128x128 frames with.
func BenchmarkDecodeJPEG(b *testing.B) {
	data, err := EncodeJPEG(scene(128, 128), 90)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 3*128*128)
	b.Run("shim", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := DecodeJPEG(dst, 128, 128, data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("gocv", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("standard-library", func(b *testing.B) { // to YCbCr; BGR would come on top
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
