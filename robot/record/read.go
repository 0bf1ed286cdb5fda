package record

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg" // the formats of frames
	_ "image/png"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/foxglove/mcap/go/mcap"

	"github.com/rapport-rl/rapport/robot"
)

// Bounds of what Read believes, so that a damaged length does not take the
// machine's memory: a 1080p JPEG is below 4 MB.
const (
	maxRecord = 32 << 20
	maxTicks  = 1 << 20
	maxPixels = 1 << 24
)

// Read reads a recording. Of a file whose writer died it returns the ticks that are whole,
// with an error that wraps ErrTruncated; any other damage is ErrCorrupt. Frames
// are what JPEG left of them; all else is bit for bit what was written.
func Read(path string) (Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return Recording{}, fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	r, err := Decode(f)
	if err != nil {
		err = fmt.Errorf("record: %s: %w", path, err)
	}
	return r, err
}

// ReadNumbers is Read without the frames: they are neither decoded nor checked.
func ReadNumbers(path string) (Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return Recording{}, fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	r, err := parse(f, &decoder{})
	if err != nil {
		err = fmt.Errorf("record: %s: %w", path, err)
	}
	return r, err
}

// Encoded is a frame as the file holds it.
type Encoded struct {
	Camera string
	Seq    uint64
	Stamp  time.Time
	Format string // "jpeg"
	Data   []byte
	W, H   int
}

// ReadEncoded is Read with the frames of each tick as they are, for whoever hands
// them on.
func ReadEncoded(path string) (Recording, [][]Encoded, error) {
	f, err := os.Open(path)
	if err != nil {
		return Recording{}, nil, fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	d := &decoder{encoded: true}
	r, err := parse(f, d)
	if err != nil {
		err = fmt.Errorf("record: %s: %w", path, err)
	}
	for len(d.kept) < len(r.Ticks) {
		d.kept = append(d.kept, nil)
	}
	return r, d.kept[:len(r.Ticks)], err
}

// Decode reads a recording from src, as Read does.
func Decode(src io.Reader) (Recording, error) { return parse(src, &decoder{frames: true}) }

func parse(src io.Reader, d *decoder) (rec Recording, err error) {
	d.channels = map[uint16]string{}
	defer func() {
		// The library has panicked on flipped bits.
		if r := recover(); r != nil {
			rec, err = Recording{}, fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	lexer, err := mcap.NewLexer(src, &mcap.LexerOptions{ValidateChunkCRCs: true, MaxRecordSize: maxRecord, MaxDecompressedChunkSize: maxRecord})
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return rec, fmt.Errorf("%w: no header: %w", ErrTruncated, err)
		}
		return rec, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer lexer.Close()
	var buf []byte
	for {
		token, data, err := lexer.Next(buf)
		if err != nil {
			return d.end(err)
		}
		if cap(data) > cap(buf) {
			buf = data
		}
		if token == mcap.TokenFooter {
			return d.whole()
		}
		if err := d.take(token, data); err != nil {
			return Recording{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
}

type decoder struct {
	rec      Recording
	channels map[uint16]string
	named    bool
	frames   bool // wanted
	encoded  bool // wanted, as they are
	kept     [][]Encoded
	pictures int
	// now counts the messages of the last tick, most those that ticks before had.
	now, most parts
}

// parts are the messages of a tick beside its state.
type parts struct{ commands, features, cameras int }

// torn says whether the file may end within its last tick, whose messages may lie in two chunks.
// Of a first one nothing tells, and nothing is learned from it alone. One that a camera was
// slower than is left out, too.
func (d *decoder) torn() bool {
	if len(d.rec.Rewards) > 0 {
		return false // they come after all ticks
	}
	return d.now.commands == 0 || d.now.features < d.most.features || d.now.cameras < d.most.cameras
}

// end says what the lexer's error means for what was read so far.
func (d *decoder) end(err error) (Recording, error) {
	var cut *mcap.ErrTruncatedRecord
	if errors.As(err, &cut) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		rec := d.rec
		if len(rec.Ticks) > 0 && d.torn() {
			rec.Ticks = rec.Ticks[:len(rec.Ticks)-1]
		}
		if n := len(rec.Ticks) - 1; len(rec.Rewards) > 0 && len(rec.Rewards) != n {
			rec.Rewards = nil // labels are of use together
		}
		return rec, fmt.Errorf("%w: salvaged %d observations: %w", ErrTruncated, len(rec.Ticks), err)
	}
	return Recording{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
}

func (d *decoder) whole() (Recording, error) {
	if !d.named {
		return Recording{}, fmt.Errorf("%w: no %s record", ErrCorrupt, infoRecord)
	}
	if n := len(d.rec.Rewards); n > 0 && n != len(d.rec.Ticks)-1 {
		return Recording{}, fmt.Errorf("%w: %d rewards for %d observations", ErrCorrupt, n, len(d.rec.Ticks))
	}
	return d.rec, nil
}

func (d *decoder) take(token mcap.TokenType, data []byte) error {
	switch token {
	case mcap.TokenChannel:
		c, err := mcap.ParseChannel(data)
		if err != nil {
			return err
		}
		d.channels[c.ID] = c.Topic
	case mcap.TokenMetadata:
		m, err := mcap.ParseMetadata(data)
		if err != nil {
			return err
		}
		if m.Name == infoRecord {
			d.named = true
			return d.rec.Info.parse(m.Metadata)
		}
	case mcap.TokenMessage:
		m, err := mcap.ParseMessage(data)
		if err != nil {
			return err
		}
		return d.message(d.channels[m.ChannelID], m.Data)
	}
	return nil
}

func (i *Info) parse(m map[string]string) error {
	var errs [4]error
	var origin uint64
	i.ID, i.Encoder, i.Reward = m["id"], m["encoder"], m["reward"]
	i.Seq, errs[0] = strconv.ParseUint(m["seq"], 10, 64)
	origin, errs[1] = strconv.ParseUint(m["origin"], 10, 8)
	i.Seed, errs[2] = strconv.ParseUint(m["seed"], 10, 64)
	i.Terminal, errs[3] = strconv.ParseBool(m["terminal"])
	i.Origin = uint8(origin)
	return errors.Join(errs[:]...)
}

func (d *decoder) message(topic string, data []byte) error {
	if topic == topicState {
		var m stateMsg
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		if len(d.rec.Ticks) == maxTicks {
			return fmt.Errorf("more than %d observations", maxTicks)
		}
		st := robot.State{Stamp: m.Stamp.time(), Grip: float64(m.Grip)}
		plain(st.Q[:], m.Q[:])
		plain(st.DQ[:], m.DQ[:])
		plain(st.EE.P[:], m.Place[:])
		plain(st.EE.Q[:], m.Turn[:])
		plain(st.Wrench[:], m.Wrench[:])
		d.rec.Ticks = append(d.rec.Ticks, Tick{State: st})
		d.most.features, d.most.cameras = max(d.most.features, d.now.features), max(d.most.cameras, d.now.cameras)
		d.now = parts{}
		return nil
	}
	if len(d.rec.Ticks) == 0 {
		return fmt.Errorf("%s before the first %s", topic, topicState)
	}
	t := &d.rec.Ticks[len(d.rec.Ticks)-1]
	switch topic {
	case topicCommand:
		d.now.commands++
		var m commandMsg
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		by, err := sourceOf(m.By)
		plain(t.Applied.Delta[:], m.Delta[:])
		t.Applied.Grip, t.By, t.Version = float64(m.Grip), by, m.Version
		return err
	case topicFeatures:
		d.now.features++
		var m featuresMsg
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		return t.features(&m)
	case topicReward:
		var m rewardMsg
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		if m.Step != len(d.rec.Rewards) {
			return fmt.Errorf("reward of step %d comes as number %d", m.Step, len(d.rec.Rewards))
		}
		d.rec.Rewards = append(d.rec.Rewards, float64(m.Reward))
	default:
		if !strings.HasPrefix(topic, topicCamera) {
			return nil // somebody else's topic
		}
		d.now.cameras++
		if !d.frames && !d.encoded {
			return nil // not wanted
		}
		var m imageMsg
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		if d.encoded {
			return d.keep(strings.TrimPrefix(topic, topicCamera), &m)
		}
		f, lossless, err := decode(m.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
		d.pictures++
		d.rec.Lossless = lossless && (d.rec.Lossless || d.pictures == 1)
		f.Camera, f.Seq = strings.TrimPrefix(topic, topicCamera), m.Seq
		f.Stamp = m.Timestamp.time()
		t.Frames = append(t.Frames, f)
	}
	return nil
}

func (d *decoder) keep(camera string, m *imageMsg) error {
	c, format, err := image.DecodeConfig(bytes.NewReader(m.Data))
	if err != nil {
		return fmt.Errorf("%s%s: %w", topicCamera, camera, err)
	}
	for len(d.kept) < len(d.rec.Ticks) {
		d.kept = append(d.kept, nil)
	}
	last := &d.kept[len(d.kept)-1]
	*last = append(*last, Encoded{Camera: camera, Seq: m.Seq, Stamp: m.Timestamp.time(), Format: format, Data: m.Data, W: c.Width, H: c.Height})
	return nil
}

// decode makes a BGR frame of a JPEG or a PNG, which has lost nothing.
func decode(data []byte) (f robot.Frame, lossless bool, err error) {
	c, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return f, false, err
	}
	if c.Width > maxPixels || c.Height > maxPixels || c.Width*c.Height > maxPixels {
		return f, false, fmt.Errorf("image of %dx%d pixels", c.Width, c.Height)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return f, false, err
	}
	b := img.Bounds()
	rgba := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(rgba, rgba.Rect, img, b.Min, draw.Src)
	f = robot.Frame{W: b.Dx(), H: b.Dy(), Pix: make([]byte, 3*b.Dx()*b.Dy())}
	for i, j := 0, 0; j < len(f.Pix); i, j = i+4, j+3 {
		f.Pix[j], f.Pix[j+1], f.Pix[j+2] = rgba.Pix[i+2], rgba.Pix[i+1], rgba.Pix[i]
	}
	return f, format == "png", nil
}

func (s stampMsg) time() time.Time { return time.Unix(s.Sec, s.Nsec).UTC() }

func (t *Tick) features(m *featuresMsg) error {
	if m.Dim >= 0 || len(m.Embed) > 0 {
		if len(m.Embed)%4 != 0 || len(m.Embed)/4 != m.Dim {
			return fmt.Errorf("%d bytes of features for %d numbers", len(m.Embed), m.Dim)
		}
		t.Embed = make([]float32, m.Dim)
		for i := range t.Embed {
			t.Embed[i] = math.Float32frombits(binary.LittleEndian.Uint32(m.Embed[4*i:]))
		}
	}
	for _, k := range m.Keys {
		t.Keys = append(t.Keys, Keypoint{k.Name, k.Camera, float64(k.X), float64(k.Y), float64(k.Score)})
	}
	t.Seen = m.Stamp.time()
	return nil
}
