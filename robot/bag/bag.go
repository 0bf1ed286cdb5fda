// Package bag reads what robots have recorded: ROS 1 bags (v2.0), MCAP files and
// ROS 2 recordings (rosbag2 folders and .db3 files), as one stream of messages in
// the order of time; and writes bags and MCAP files.
//
// Recordings are damaged in practice: the recorder died, the disk was full, the
// copy broke off. What is whole is read, and what is lost is accounted for
// exactly; nothing that a file holds makes the reader panic or take memory for
// what is not there.
//
//	b, err := bag.Open("monday.bag", bag.Options{Topics: []string{"/joint_states"}})
//	defer b.Close()
//	for m := (bag.Message{}); ; {
//		if err := b.Next(&m); err == io.EOF {
//			break
//		} else if err != nil {
//			return err
//		}
//		d, err := m.Conn.Decoder()
//		v, err := d.Decode(m.Data)
//		fmt.Println(m.Time, v.Path("position").Floats(nil))
//	}
//	fmt.Println(b.Damage())
package bag

import (
	"errors"
	"log/slog"
	"time"
)

// Options says what of a recording is read.
type Options struct {
	Topics   []string  // none: all
	From, To time.Time // messages with From <= Time < To; the zero time is no bound
	// FileOrder gives messages as they lie in the file instead of in the order of
	// time.
	FileOrder bool
	Log       *slog.Logger // nil: silent
}

// Message is one message of a recording.
type Message struct {
	Topic, Type string
	Time        time.Time // when it was recorded, UTC
	Conn        *Connection
	Data        []byte // serialised; valid until the next call of Next
}

// The encodings of messages that are decoded (Connection.Encoding).
const (
	ROS1 = "ros1"
	CDR  = "cdr"
	JSON = "json"
)

// Connection is one publisher of a topic: what is needed to understand its
// messages. A topic has several if several nodes published it, or if its type
// changed.
type Connection struct {
	ID         uint32
	Topic      string
	Type       string // as "sensor_msgs/Image"; of ROS 2 without the "/msg/"
	MD5        string // of ROS 1's definition; empty of others
	Encoding   string // ROS1, CDR, JSON or what the file says
	Schema     string // how Definition is written: "ros1msg", "ros2msg", "jsonschema", ...
	Definition []byte // with the definitions of nested types
	Caller     string // name of the node that published, if it is known
	Latching   bool

	decoder *Decoder
	failed  error // of decoder
}

// Info is what is known of a recording without reading its messages.
type Info struct {
	Path        string
	Kind        string // "rosbag 2.0", "mcap", "rosbag2 sqlite3" or "rosbag2 mcap"
	Size        int64  // bytes
	Indexed     bool   // false: its recorder died, and the index was made anew
	Start, End  time.Time
	Messages    int64
	Topics      []Topic // sorted by name
	Compression []Compression
	Damage      Damage // that has been found until now
}

// Topic is what is known of the messages of one type on one topic.
type Topic struct {
	Name, Type, MD5, Encoding string
	Connections               int
	Count                     int64
	Hz                        float64 // (Count-1)/(End-Start); 0 if that is not known
	Start, End                time.Time
}

// Compression counts the chunks that are compressed in one way.
type Compression struct {
	Name   string // "none", "lz4", "bz2", "zstd"
	Chunks int
}

var (
	// ErrFormat says that a file is no recording of a kind that is read.
	ErrFormat = errors.New("bag: not a recording of a known kind")
	// ErrNoDefinition says that a recording does not tell how messages of a type
	// are laid out.
	ErrNoDefinition = errors.New("bag: the recording has no definition of the type")
)

// Bag is an open recording. It is used by one goroutine.
type Bag struct{ src source }

// source is a recording of one kind.
type source interface {
	next(*Message) error
	rewind() error
	info() Info
	damage() Damage
	connections() []*Connection
	close() error
}

// Next reads the next message into m, or returns io.EOF. Damaged parts are
// skipped, and are in Damage; other errors are those of the disk.
func (b *Bag) Next(m *Message) error { return b.src.next(m) }

// Rewind makes Next begin again at the first message.
func (b *Bag) Rewind() error { return b.src.rewind() }

// Info says what the recording holds.
func (b *Bag) Info() Info { return b.src.info() }

// Connections returns who published what, in the order of their first appearance.
func (b *Bag) Connections() []*Connection { return b.src.connections() }

// Damage says what was found damaged until now: all that was lost, once Next has
// returned io.EOF.
func (b *Bag) Damage() Damage { return b.src.damage() }

// Close closes the files.
func (b *Bag) Close() error { return b.src.close() }
