package vision

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// codecs are what is tried for a container, the best first: H.264 where ffmpeg has
// it, MPEG-4 elsewhere.
func codecs(path string) ([]string, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".mp4":
		return []string{"avc1", "mp4v"}, nil
	case ".avi":
		return []string{"MJPG"}, nil
	default:
		return nil, fmt.Errorf("vision: %s: a film ends in .mp4 (H.264) or .avi (Motion JPEG), not %q", path, ext)
	}
}

// Film writes a video file. It is used by one goroutine. A film is whole once Close
// has returned nil; its writer's death leaves a file that cannot be played.
type Film struct {
	path, codec string
	out         *gocv.VideoWriter
	fps         float64
	w, h, n     int
}

// CreateFilm begins a film at path, .mp4 or .avi, of fps frames a second and w by h
// pixels, both even as the codecs' halved colours want it.
func CreateFilm(path string, fps float64, w, h int) (*Film, error) {
	if !(fps > 0 && fps <= 1000) || w <= 0 || h <= 0 || w > MaxSide || h > MaxSide || w%2 != 0 || h%2 != 0 {
		return nil, fmt.Errorf("vision: film of %dx%d pixels at %v Hz, want even sides up to %d and a rate up to 1000", w, h, fps, MaxSide)
	}
	names, err := codecs(path)
	if err != nil {
		return nil, err
	}
	// OpenCV tells no reason; the file system's is the likeliest.
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("vision: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("vision: %w", err)
	}
	for _, c := range names {
		out, err := gocv.VideoWriterFile(path, c, fps, w, h, true)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("vision: %w", err), os.Remove(path))
		}
		if out.IsOpened() {
			return &Film{path: path, codec: c, out: out, fps: fps, w: w, h: h}, nil
		}
		out.Close()
	}
	return nil, errors.Join(fmt.Errorf("vision: OpenCV writes no %s here; install ffmpeg's codecs, or write .avi", strings.Join(names, " or ")), os.Remove(path))
}

// Codec is the four letters of the codec that was found.
func (f *Film) Codec() string { return f.codec }

// Len is how many frames were written.
func (f *Film) Len() int { return f.n }

// Write adds a frame.
func (f *Film) Write(fr robot.Frame) error {
	if err := Check(fr); err != nil {
		return err
	}
	if fr.W != f.w || fr.H != f.h {
		return fmt.Errorf("vision: %s: frame %d has %dx%d pixels, the film %dx%d", f.path, f.n, fr.W, fr.H, f.w, f.h)
	}
	v, err := look(fr.Pix, fr.W, fr.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return err
	}
	defer v.done()
	if err := f.out.Write(v.mat); err != nil {
		return fmt.Errorf("vision: %s: frame %d: %w", f.path, f.n, err)
	}
	f.n++
	return nil
}

// Close ends the film and makes it durable. OpenCV hides what goes wrong while it
// writes, as a full disk, so that Close opens the file and counts.
func (f *Film) Close() error {
	if err := f.out.Close(); err != nil {
		return fmt.Errorf("vision: %s: %w", f.path, err)
	}
	v, err := OpenVideo(f.path)
	if err != nil {
		return fmt.Errorf("vision: %s was not written whole; free space or choose another folder: %w", f.path, err)
	}
	n := v.Frames()
	if err := v.Close(); err != nil {
		return err
	}
	if n != f.n {
		return fmt.Errorf("vision: %s holds %d of %d frames; free space or choose another folder", f.path, n, f.n)
	}
	file, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("vision: %w", err)
	}
	return errors.Join(file.Sync(), file.Close())
}

// Abort ends the film and removes its file.
func (f *Film) Abort() error {
	return errors.Join(f.out.Close(), os.Remove(f.path))
}
