package bag

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// db3 reads a file of rosbag2's SQLite storage (rosbag2_storage_sqlite3). The
// messages' order is asked for without their data, which are looked up one by
// one, so that a sort takes numbers alone.
type db3 struct {
	path   string
	size   int64
	opt    Options
	db     *sql.DB
	byID   conns
	wanted string // condition of the query
	counts map[uint32]tallied
	dmg    Damage
	judged bool

	rows *sql.Rows
	get  *sql.Stmt
	left []ordered // instead of rows, of a damaged file
	salv bool
	buf  sql.RawBytes
	data []byte
	last int64
	done bool
}

// tallied is what a topic has.
type tallied struct{ n, start, end int64 }

// ordered is a message's place in time.
type ordered struct {
	time, id int64
	topic    uint32
}

// sqliteMagic begins a SQLite file.
const sqliteMagic = "SQLite format 3\x00"

// maxSalvaged bounds the messages that are put in order where SQLite cannot, 24
// bytes each.
const maxSalvaged = 2 << 20

func openDB3(path string, size int64, opt Options) (d *db3, err error) {
	d = &db3{path: path, size: size, opt: opt, counts: map[uint32]tallied{}}
	defer guard(&err, path)
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("bag: %w", err)
	}
	// A log that a dead recorder left beside the file is read with it if the folder
	// can be written; else the file alone is, as immutable.
	for _, mode := range []string{"mode=ro", "immutable=1"} {
		uri := url.URL{Scheme: "file", Path: abs, RawQuery: mode + "&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_pragma=query_only(1)"}
		if d.db, err = sql.Open("sqlite", uri.String()); err != nil {
			return nil, fmt.Errorf("bag: %w", err)
		}
		d.db.SetMaxOpenConns(2)
		if err = d.begin(); err == nil {
			return d, nil
		}
		d.db.Close()
	}
	return nil, err
}

// guard turns a panic of the library, of which a damaged file may be the reason,
// into an error.
func guard(err *error, path string) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %s: %v", ErrFormat, path, r)
	}
}

// begin reads topics and definitions.
func (d *db3) begin() error {
	var tables int
	if err := d.db.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('topics', 'messages')`).Scan(&tables); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, d.path, err)
	}
	if tables != 2 {
		return fmt.Errorf("%w: %s is a database without the tables topics and messages of rosbag2", ErrFormat, d.path)
	}
	definitions := map[string]*Connection{}
	if rows, err := d.db.Query(`SELECT topic_type, encoding, encoded_message_definition FROM message_definitions`); err == nil {
		for rows.Next() {
			var typ, enc string
			var def []byte
			if rows.Scan(&typ, &enc, &def) == nil && len(def) <= maxDefinition {
				definitions[typ] = &Connection{Schema: enc, Definition: def}
			}
		}
		rows.Close() // older files do not have the table; what is missing is missed later
	}
	rows, err := d.db.Query(`SELECT id, name, type, serialization_format FROM topics ORDER BY id`)
	if err != nil {
		return fmt.Errorf("%w: %s: topics: %w", ErrFormat, d.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		c := &Connection{}
		if err := rows.Scan(&id, &c.Topic, &c.Type, &c.Encoding); err != nil || id < 0 || id > math.MaxUint32 {
			d.dmg.note("a line of the table topics is damaged")
			d.dmg.Unknown = true
			continue
		}
		if def := definitions[c.Type]; def != nil {
			c.Schema, c.Definition = def.Schema, def.Definition
		}
		c.ID, c.Type = uint32(id), plainType(c.Type)
		d.byID.add(c)
	}
	if err := rows.Err(); err != nil {
		d.dmg.note("topics: %v", err)
		d.dmg.Unknown = true
	}
	d.where()
	return d.count()
}

// where makes the query's condition of the options.
func (d *db3) where() {
	var parts []string
	if len(d.opt.Topics) > 0 {
		ids := []string{"-1"}
		for _, c := range d.byID.list {
			if slices.Contains(d.opt.Topics, c.Topic) {
				ids = append(ids, fmt.Sprint(c.ID))
			}
		}
		parts = append(parts, "topic_id IN ("+strings.Join(ids, ",")+")")
	}
	if !d.opt.From.IsZero() {
		parts = append(parts, fmt.Sprintf("timestamp >= %d", d.opt.From.UnixNano()))
	}
	if !d.opt.To.IsZero() {
		parts = append(parts, fmt.Sprintf("timestamp < %d", d.opt.To.UnixNano()))
	}
	if len(parts) > 0 {
		d.wanted = " WHERE " + strings.Join(parts, " AND ")
	}
}

// count reads how many messages topics have, and from when to when.
func (d *db3) count() error {
	rows, err := d.db.Query(`SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages GROUP BY topic_id`)
	if err != nil {
		return d.broken(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var t tallied
		if rows.Scan(&id, &t.n, &t.start, &t.end) != nil {
			continue // other types than rosbag2 writes
		}
		if id < 0 || id > math.MaxUint32 || d.byID.get(uint32(id)) == nil {
			d.dmg.Messages += t.n
			d.dmg.note("%d messages are of topic %d, which is not in the table topics", t.n, id)
			continue
		}
		d.counts[uint32(id)] = t
	}
	if err := rows.Err(); err != nil {
		return d.broken(err)
	}
	return nil
}

// broken notes that SQLite finds the file damaged: then messages are looked for
// one by one.
func (d *db3) broken(err error) error {
	if d.salv {
		return nil
	}
	d.salv, d.dmg.Unknown = true, true
	d.dmg.Chunks++
	d.dmg.note("%v; messages were looked for one by one", err)
	return nil
}

func (d *db3) connections() []*Connection { return slices.Clone(d.byID.list) }
func (d *db3) damage() Damage             { return d.dmg.clone() }

func (d *db3) rewind() error {
	if d.rows != nil {
		d.rows.Close()
	}
	d.rows, d.left, d.done, d.last = nil, nil, false, math.MinInt64
	return nil
}

// start begins to read in order.
func (d *db3) start() error {
	var err error
	if d.get == nil {
		if d.get, err = d.db.Prepare(`SELECT data FROM messages WHERE id = ?`); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFormat, d.path, err)
		}
	}
	if d.salv {
		return d.salvage()
	}
	order := " ORDER BY timestamp, id"
	if d.opt.FileOrder {
		order = " ORDER BY id"
	}
	if d.rows, err = d.db.Query(`SELECT id, topic_id, timestamp FROM messages` + d.wanted + order); err != nil {
		d.broken(err)
		return d.salvage()
	}
	return nil
}

// salvage finds the messages that can be read of a damaged file.
func (d *db3) salvage() error {
	d.left = []ordered{}
	var last int64
	if d.db.QueryRow(`SELECT max(id) FROM messages`).Scan(&last) != nil {
		last = d.size / 8 // a message takes more
	}
	last = min(last, d.size/8, maxSalvaged)
	one, err := d.db.Prepare(`SELECT topic_id, timestamp FROM messages` + d.wanted + and(d.wanted) + `id = ?`)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, d.path, err)
	}
	defer one.Close()
	for id := int64(1); id <= last; id++ {
		var topic, at int64
		if one.QueryRow(id).Scan(&topic, &at) == nil && topic >= 0 && topic <= math.MaxUint32 {
			d.left = append(d.left, ordered{at, id, uint32(topic)})
		}
	}
	if !d.opt.FileOrder {
		slices.SortFunc(d.left, func(a, b ordered) int {
			if a.time != b.time {
				if a.time < b.time {
					return -1
				}
				return 1
			}
			return int(a.id - b.id)
		})
	}
	return nil
}

func and(where string) string {
	if where == "" {
		return " WHERE "
	}
	return " AND "
}

// following returns the next message's place.
func (d *db3) following() (o ordered, err error) {
	for {
		if d.left != nil {
			if len(d.left) == 0 {
				return o, io.EOF
			}
			o, d.left = d.left[0], d.left[1:]
			if o.time < d.last {
				continue // given before the damage was met
			}
			return o, nil
		}
		if !d.rows.Next() {
			if err := d.rows.Err(); err != nil {
				d.rows.Close()
				d.rows = nil
				d.broken(err)
				if err := d.salvage(); err != nil {
					return o, err
				}
				if d.last != math.MinInt64 {
					d.last++ // what was given is not given again
				}
				continue
			}
			return o, io.EOF
		}
		var topic int64
		if err := d.rows.Scan(&o.id, &topic, &o.time); err != nil || topic < 0 || topic > math.MaxUint32 {
			d.lose(1, "a line of the table messages has other types than rosbag2 writes")
			continue
		}
		o.topic = uint32(topic)
		return o, nil
	}
}

// lose counts messages; a second reading does not count them again.
func (d *db3) lose(n int64, why string) {
	if !d.judged {
		d.dmg.Messages += n
		d.dmg.note("%s", why)
	}
}

func (d *db3) next(m *Message) (err error) {
	defer guard(&err, d.path)
	if d.done {
		return io.EOF
	}
	if d.rows == nil && d.left == nil {
		d.last = math.MinInt64
		if err := d.start(); err != nil {
			return err
		}
	}
	for {
		o, err := d.following()
		if errors.Is(err, io.EOF) {
			d.done, d.judged = true, true
			return io.EOF
		}
		if err != nil {
			return err
		}
		c := d.byID.get(o.topic)
		if c == nil {
			continue // counted by count
		}
		if err := d.fetch(o.id); err != nil {
			d.lose(1, fmt.Sprintf("message %d: %v", o.id, err))
			if !d.judged {
				d.dmg.during(unix(o.time), unix(o.time))
			}
			continue
		}
		if !d.opt.FileOrder {
			d.last = o.time
		}
		*m = Message{Topic: c.Topic, Type: c.Type, Time: unix(o.time), Conn: c, Data: d.data}
		return nil
	}
}

// fetch reads a message's data.
func (d *db3) fetch(id int64) error {
	rows, err := d.get.Query(id)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return cmpErr(rows.Err(), errors.New("it is not there"))
	}
	if err := rows.Scan(&d.buf); err != nil {
		return err
	}
	d.data = append(d.data[:0], d.buf...)
	return rows.Err()
}

// cmpErr is the first error that is one.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *db3) info() Info {
	i := Info{Path: d.path, Kind: "rosbag2 sqlite3", Size: d.size, Indexed: true, Damage: d.dmg.clone()}
	for _, c := range d.byID.list {
		t := d.counts[c.ID]
		if t.n > 0 {
			i.span(t.start, t.end)
		}
		i.add(c, t.n, t.start, t.end)
	}
	i.sort()
	return i
}

func (d *db3) close() error {
	if d.db == nil {
		return nil
	}
	if d.rows != nil {
		d.rows.Close()
	}
	err := d.db.Close()
	d.db = nil
	if err != nil {
		return fmt.Errorf("bag: %w", err)
	}
	return nil
}
