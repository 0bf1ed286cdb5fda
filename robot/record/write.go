package record

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/foxglove/mcap/go/mcap"

	"github.com/rapport-rl/rapport/robot"
)

const (
	// A chunk ends after so many bytes, or so long after its first observation:
	// what is not written yet is what a killed process loses.
	chunk = 16 << 10
	pause = 500 * time.Millisecond
	// quality of the JPEGs: no artefacts that the eye finds at 96x96.
	quality = 90
)

// Writer writes one recording. It is used by one goroutine.
type Writer struct {
	path     string
	info     Info
	file     *os.File
	mcap     *mcap.Writer
	opts     *mcap.WriterOptions
	channels map[string]uint16
	last     time.Time
	flushed  time.Time // the stamp at which a chunk was last ended for its age
	ticks    int
	err      error // the first; a file that lacks something is not finished
	lossless bool
}

// Lossless has frames kept as PNG from now on, bit for bit.
func (w *Writer) Lossless() { w.lossless = true }

// Create begins path, which must not exist yet; a partial file of the same name
// is replaced.
func Create(path string, info Info) (*Writer, error) {
	if _, err := os.Stat(path); err == nil {
		return nil, fmt.Errorf("record: %s exists already; an episode is recorded once", path)
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	w := &Writer{path: path, info: info, file: f, channels: map[string]uint16{}}
	w.opts = &mcap.WriterOptions{
		Chunked: true, ChunkSize: chunk, IncludeCRC: true,
		Compression: mcap.CompressionNone, // JPEG does not shrink, and the rest is little
	}
	w.mcap, err = mcap.NewWriter(f, w.opts)
	if err == nil {
		err = w.mcap.WriteHeader(&mcap.Header{Library: "rapport"})
	}
	for i, s := range schemas {
		if err == nil {
			err = w.mcap.WriteSchema(&mcap.Schema{ID: uint16(i + 1), Name: s.name, Encoding: "jsonschema", Data: []byte(s.data)})
		}
	}
	if err == nil {
		err = w.mcap.WriteMetadata(infoMetadata(info))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("record: %s: %w", w.part(), err), w.Abort())
	}
	return w, nil
}

func (w *Writer) part() string { return w.path + ".part" }

// Tick writes one observation; the first is that of the reset.
func (w *Writer) Tick(t Tick) error {
	stamp := t.State.Stamp
	// The library ends a chunk when it exceeds a size that it asks for anew each
	// time; it has no other way to end one.
	w.opts.ChunkSize = chunk
	if w.ticks == 0 {
		w.flushed = stamp
	} else if stamp.Sub(w.flushed) >= pause {
		w.flushed, w.opts.ChunkSize = stamp, 0
	}
	m := stateMsg{Stamp: stampOf(stamp), Grip: number(t.State.Grip)}
	numbers(m.Q[:], t.State.Q[:])
	numbers(m.DQ[:], t.State.DQ[:])
	numbers(m.Place[:], t.State.EE.P[:])
	numbers(m.Turn[:], t.State.EE.Q[:])
	numbers(m.Wrench[:], t.State.Wrench[:])
	w.send(topicState, "rapport.State", stamp, m)
	if w.ticks > 0 {
		c := commandMsg{Grip: number(t.Applied.Grip), By: t.By.String(), Version: t.Version}
		numbers(c.Delta[:], t.Applied.Delta[:])
		w.send(topicCommand, "rapport.Command", stamp, c)
	}
	w.features(&t)
	for _, f := range t.Frames {
		data, format, err := encode(f, w.lossless)
		if err != nil {
			w.keep(err)
			break
		}
		w.send(topicCamera+f.Camera, "foxglove.CompressedImage", f.Stamp,
			imageMsg{stampOf(f.Stamp), f.Camera, format, data, f.Seq})
	}
	w.last = stamp
	w.ticks++
	return w.err
}

func (w *Writer) features(t *Tick) {
	if t.Embed == nil && t.Keys == nil && t.Seen.IsZero() {
		return
	}
	m := featuresMsg{Stamp: stampOf(t.Seen), Dim: -1}
	if t.Embed != nil {
		m.Dim, m.Embed = len(t.Embed), floats(t.Embed)
	}
	for _, k := range t.Keys {
		m.Keys = append(m.Keys, keyMsg{k.Name, k.Camera, number(k.X), number(k.Y), number(k.Score)})
	}
	w.send(topicFeatures, "rapport.Features", t.State.Stamp, m)
}

// Rewards writes the labels (T,), once the episode is over.
func (w *Writer) Rewards(rs []float64) error {
	for i, r := range rs {
		w.send(topicReward, "rapport.Reward", w.last, rewardMsg{i, number(r)})
	}
	return w.err
}

// Terminal says that the episode ended by itself, which nobody knows when it begins: of
// two records of what it is, the later counts.
func (w *Writer) Terminal() error {
	if !w.info.Terminal && w.err == nil {
		w.info.Terminal = true
		w.keep(w.mcap.WriteMetadata(infoMetadata(w.info)))
	}
	return w.err
}

// Close finishes the file, makes it durable and gives it its name. After an
// error the partial file stays for Read to salvage.
func (w *Writer) Close() error {
	w.keep(w.mcap.Close())
	w.keep(w.file.Sync())
	w.keep(w.file.Close())
	if w.err != nil {
		return w.err
	}
	if err := os.Rename(w.part(), w.path); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return syncDir(filepath.Dir(w.path))
}

// Abort removes the partial file.
func (w *Writer) Abort() error {
	err := w.file.Close()
	if e := os.Remove(w.part()); e != nil && err == nil {
		err = e
	}
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// keep remembers the first error, with the file's name and what to do about it.
func (w *Writer) keep(err error) {
	if err == nil || w.err != nil {
		return
	}
	w.err = fmt.Errorf("record: %s: %w; free space or choose another folder, the recording up to here stays", w.part(), err)
}

func (w *Writer) send(topic, schema string, stamp time.Time, msg any) {
	if w.err != nil {
		return
	}
	id, ok := w.channels[topic]
	if !ok {
		id = uint16(len(w.channels) + 1)
		w.channels[topic] = id
		w.keep(w.mcap.WriteChannel(&mcap.Channel{ID: id, SchemaID: schemaID(schema), Topic: topic, MessageEncoding: "json"}))
	}
	data, err := json.Marshal(msg)
	if err != nil {
		w.keep(fmt.Errorf("%s: %w", topic, err))
		return
	}
	// MCAP counts nanoseconds from 1970; the message has the whole stamp.
	ns := uint64(max(0, stamp.Unix()))*1e9 + uint64(stamp.Nanosecond())
	w.keep(w.mcap.WriteMessage(&mcap.Message{ChannelID: id, LogTime: ns, PublishTime: ns, Data: data}))
}

func stampOf(t time.Time) stampMsg { return stampMsg{t.Unix(), int64(t.Nanosecond())} }

func schemaID(name string) uint16 {
	for i, s := range schemas {
		if s.name == name {
			return uint16(i + 1)
		}
	}
	panic("record: message without a schema")
}

func infoMetadata(i Info) *mcap.Metadata {
	m := map[string]string{
		"id": i.ID, "seq": strconv.FormatUint(i.Seq, 10), "origin": strconv.Itoa(int(i.Origin)),
		"seed": strconv.FormatUint(i.Seed, 10), "terminal": strconv.FormatBool(i.Terminal),
	}
	if i.Encoder != "" {
		m["encoder"] = i.Encoder
	}
	if i.Reward != "" {
		m["reward"] = i.Reward
	}
	return &mcap.Metadata{Name: infoRecord, Metadata: m}
}

func floats(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// encode makes a JPEG of a BGR frame, or a PNG.
func encode(f robot.Frame, lossless bool) (data []byte, format string, err error) {
	if f.W <= 0 || f.H <= 0 || len(f.Pix) != 3*f.W*f.H || strings.TrimSpace(f.Camera) == "" {
		return nil, "", fmt.Errorf("frame of camera %q has %d bytes for %dx%d pixels", f.Camera, len(f.Pix), f.W, f.H)
	}
	img := image.NewRGBA(image.Rect(0, 0, f.W, f.H))
	for i, j := 0, 0; j < len(f.Pix); i, j = i+4, j+3 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = f.Pix[j+2], f.Pix[j+1], f.Pix[j], 255
	}
	var b bytes.Buffer
	if lossless {
		// The quick level, since this happens while the arm moves.
		e := png.Encoder{CompressionLevel: png.BestSpeed}
		err = e.Encode(&b, img)
		return b.Bytes(), "png", err
	}
	err = jpeg.Encode(&b, img, &jpeg.Options{Quality: quality})
	return b.Bytes(), "jpeg", err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
