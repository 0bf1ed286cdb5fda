package bag

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// rosbag2 is a folder as ros2 bag record makes it: files of SQLite or MCAP, of
// which each begins about where the one before ends, and metadata.yaml.
type rosbag2 struct {
	path  string
	parts []*part
	opt   Options
	conns []*Connection
	ids   map[*Connection]*Connection // of a file, and of the folder
	extra Damage                      // of the folder itself
	kind  string
	given *part // whose message was given last
	ready bool
}

// part is one file.
type part struct {
	src   source
	start int64
	m     Message
	have  bool // m is its next message
	began bool
	ended bool
}

// metadata is what is used of metadata.yaml.
type metadata struct {
	Bag struct {
		Storage     string   `yaml:"storage_identifier"`
		Files       []string `yaml:"relative_file_paths"`
		Compression string   `yaml:"compression_format"`
		Mode        string   `yaml:"compression_mode"`
		Topics      []struct {
			Topic struct {
				Name string `yaml:"name"`
			} `yaml:"topic_metadata"`
			Count int64 `yaml:"message_count"`
		} `yaml:"topics_with_message_count"`
	} `yaml:"rosbag2_bagfile_information"`
}

const (
	maxMetadata = 8 << 20
	maxParts    = 4096
)

// readMetadata reads metadata.yaml; ok is false if there is none, as beside a
// recorder that died.
func readMetadata(path string) (m metadata, ok bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("bag: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMetadata+1))
	if err != nil {
		return m, false, fmt.Errorf("bag: %w", err)
	}
	m, err = parseMetadata(b)
	if err != nil {
		return m, false, fmt.Errorf("bag: %s: %w", path, err)
	}
	return m, true, nil
}

func parseMetadata(b []byte) (m metadata, err error) {
	defer func() {
		if r := recover(); r != nil { // of the library
			m, err = metadata{}, fmt.Errorf("no metadata of rosbag2: %v", r)
		}
	}()
	if len(b) > maxMetadata {
		return m, fmt.Errorf("more than %d bytes", maxMetadata)
	}
	err = yaml.Unmarshal(b, &m)
	return m, err
}

func openRosbag2(dir string, opt Options) (_ *rosbag2, err error) {
	r := &rosbag2{path: dir, opt: opt, ids: map[*Connection]*Connection{}}
	meta, ok, err := readMetadata(filepath.Join(dir, "metadata.yaml"))
	if err != nil {
		r.extra.note("%v", err)
	}
	if !ok {
		r.extra.Unindexed = true
		r.extra.note("there is no metadata.yaml: the recorder died")
	}
	if strings.EqualFold(meta.Bag.Mode, "file") || strings.EqualFold(meta.Bag.Mode, "message") {
		return nil, fmt.Errorf("%w: %s is compressed by %s as a whole %s; write it anew with ros2 bag convert, or as MCAP, whose chunks are compressed",
			ErrFormat, dir, meta.Bag.Compression, strings.ToLower(meta.Bag.Mode))
	}
	files, err := r.files(meta)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for _, name := range files {
		src, err := openSource(filepath.Join(dir, name), opt)
		if errors.Is(err, ErrFormat) {
			r.extra.Chunks++
			r.extra.Unknown = true
			r.extra.note("%v", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		p := &part{src: src, start: math.MinInt64}
		if i := src.info(); i.Messages > 0 {
			p.start = i.Start.UnixNano()
		}
		r.parts = append(r.parts, p)
		r.kind = "rosbag2 " + strings.TrimPrefix(src.info().Kind, "rosbag2 ")
		for _, c := range src.connections() {
			r.join(c)
		}
	}
	if len(r.parts) == 0 {
		return nil, fmt.Errorf("%w: none of the files in %s can be read", ErrFormat, dir)
	}
	slices.SortStableFunc(r.parts, func(a, b *part) int { return cmp.Compare(a.start, b.start) })
	r.compare(meta)
	return r, nil
}

// files lists the files of the folder: those that the metadata name, or those that
// look like them.
func (r *rosbag2) files(meta metadata) ([]string, error) {
	found, err := os.ReadDir(r.path)
	if err != nil {
		return nil, fmt.Errorf("bag: %w", err)
	}
	var files []string
	for _, f := range meta.Bag.Files {
		f = filepath.Base(f) // older versions wrote the folder too
		if !slices.ContainsFunc(found, func(e os.DirEntry) bool { return e.Name() == f }) {
			r.extra.Chunks++
			r.extra.Unknown = true
			r.extra.note("%s is missing", f)
			continue
		}
		files = append(files, f)
	}
	if len(meta.Bag.Files) == 0 {
		for _, e := range found {
			if ext := filepath.Ext(e.Name()); ext == ".db3" || ext == ".mcap" {
				files = append(files, e.Name())
			}
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: there is no .db3 or .mcap in the folder %s", ErrFormat, r.path)
	}
	if len(files) > maxParts {
		return nil, fmt.Errorf("%w: more than %d files in %s", ErrFormat, maxParts, r.path)
	}
	return files, nil
}

// join finds or makes the folder's connection for one of a file.
func (r *rosbag2) join(c *Connection) *Connection {
	if j := r.ids[c]; j != nil {
		return j
	}
	for _, o := range r.conns {
		if o.Topic == c.Topic && o.Type == c.Type && o.Encoding == c.Encoding && o.Caller == c.Caller {
			r.ids[c] = o
			return o
		}
	}
	n := *c
	n.ID = uint32(len(r.conns))
	r.conns = append(r.conns, &n)
	r.ids[c] = &n
	return &n
}

// compare looks for messages that the metadata count and the files do not have.
func (r *rosbag2) compare(meta metadata) {
	have := map[string]int64{}
	for _, p := range r.parts {
		for _, t := range p.src.info().Topics {
			have[t.Name] += t.Count
		}
	}
	for _, t := range meta.Bag.Topics {
		if n := t.Count - have[t.Topic.Name]; n > 0 {
			r.extra.Messages += n
			r.extra.note("%s: %d messages less than metadata.yaml tells", t.Topic.Name, n)
		}
	}
}

func (r *rosbag2) next(m *Message) error {
	if !r.ready {
		for _, p := range r.parts {
			p.have, p.began, p.ended = false, false, false
		}
		r.given, r.ready = nil, true
	}
	if r.given != nil {
		r.given.have, r.given = false, nil
	}
	var best *part
	for _, p := range r.parts {
		if p.ended {
			continue
		}
		// A file that begins later is not looked into yet.
		if !p.began && best != nil && (r.opt.FileOrder || p.start > best.m.Time.UnixNano()) {
			break
		}
		if p.began = true; !p.have {
			err := p.src.next(&p.m)
			if errors.Is(err, io.EOF) {
				p.ended = true
				continue
			}
			if err != nil {
				return err
			}
			p.have = true
		}
		if best == nil || !r.opt.FileOrder && p.m.Time.Before(best.m.Time) {
			best = p
		}
	}
	if best == nil {
		return io.EOF
	}
	*m = best.m
	m.Conn = r.join(m.Conn)
	r.given = best
	return nil
}

func (r *rosbag2) rewind() error {
	r.ready = false
	for _, p := range r.parts {
		if err := p.src.rewind(); err != nil {
			return err
		}
	}
	return nil
}

func (r *rosbag2) connections() []*Connection { return slices.Clone(r.conns) }

func (r *rosbag2) damage() Damage {
	d := r.extra.clone()
	for _, p := range r.parts {
		o := p.src.damage()
		d.Chunks += o.Chunks
		d.Bytes += o.Bytes
		d.Messages += o.Messages
		d.Disordered += o.Disordered
		d.Unknown = d.Unknown || o.Unknown
		d.Truncated = d.Truncated || o.Truncated
		d.Unindexed = d.Unindexed || o.Unindexed
		for _, x := range o.Ranges {
			d.during(x.From, x.To)
		}
		for _, n := range o.Notes {
			d.note("%s: %s", filepath.Base(p.src.info().Path), n)
		}
	}
	return d
}

func (r *rosbag2) info() Info {
	all := Info{Path: r.path, Kind: r.kind, Indexed: true, Damage: r.damage()}
	for _, p := range r.parts {
		i := p.src.info()
		all.Size += i.Size
		all.Indexed = all.Indexed && i.Indexed
		if i.Messages > 0 {
			all.span(i.Start.UnixNano(), i.End.UnixNano())
		}
		for _, t := range i.Topics {
			c := &Connection{Topic: t.Name, Type: t.Type, MD5: t.MD5, Encoding: t.Encoding}
			all.add(c, t.Count, t.Start.UnixNano(), t.End.UnixNano())
		}
		for _, c := range i.Compression {
			if k := slices.IndexFunc(all.Compression, func(o Compression) bool { return o.Name == c.Name }); k >= 0 {
				all.Compression[k].Chunks += c.Chunks
			} else {
				all.Compression = append(all.Compression, c)
			}
		}
	}
	for k := range all.Topics { // counted by files until here
		t := &all.Topics[k]
		t.Connections = 0
		for _, c := range r.conns {
			if c.Topic == t.Name && c.Type == t.Type && c.Encoding == t.Encoding {
				t.Connections++
			}
		}
	}
	all.sort()
	return all
}

func (r *rosbag2) close() error {
	var errs []error
	for _, p := range r.parts {
		errs = append(errs, p.src.close())
	}
	return errors.Join(errs...)
}
