package rapl

import (
	"fmt"

	"github.com/rapport-rl/rapport/perception"
)

// Video is an embedded clip.
type Video struct {
	Name  string
	D     int       // width of an embedding
	Embed []float32 // (T,D), row-major, in order of time
}

// Len is the number of frames T.
func (v Video) Len() int {
	if v.D <= 0 {
		return 0
	}
	return len(v.Embed) / v.D
}

// Validate reports an empty clip and embeddings that are not finite.
func (v Video) Validate() error {
	if v.D <= 0 || len(v.Embed) == 0 || len(v.Embed)%v.D != 0 {
		return fmt.Errorf("video %q has %d numbers for embeddings of %d, want at least one whole frame", v.Name, len(v.Embed), v.D)
	}
	for i, x := range v.Embed {
		if x-x != 0 {
			return fmt.Errorf("video %q, frame %d: embedding[%d] is %v", v.Name, i/v.D, i%v.D, x)
		}
	}
	return nil
}

// VideoOf copies the embeddings of a clip. All its frames count; drop the one
// after the reset to treat an episode as Score does.
func VideoOf(name string, fs []perception.Features) (Video, error) {
	if len(fs) == 0 {
		return Video{}, fmt.Errorf("rapl: video %q has no frames", name)
	}
	v := Video{Name: name, D: len(fs[0].Embed)}
	for i, f := range fs {
		if len(f.Embed) != v.D {
			return Video{}, fmt.Errorf("rapl: video %q, frame %d: embedding of %d numbers, want %d", name, i, len(f.Embed), v.D)
		}
		v.Embed = append(v.Embed, f.Embed...)
	}
	if err := v.Validate(); err != nil {
		return Video{}, fmt.Errorf("rapl: %w", err)
	}
	return v, nil
}
