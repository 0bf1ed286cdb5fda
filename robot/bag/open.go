package bag

// Open opens a recording, whose kind is told by its content, not by its name. A
// folder is one of rosbag2.
func Open(path string, opt Options) (*Bag, error) { panic("") }

// Create begins a recording at path, a .bag or an .mcap by its name.
func Create(path string, opt WriteOptions) (*Writer, error) { panic("") }

// Guess says which topic is which, and why.
func Guess(info Info) (Mapping, []string) { panic("") }
