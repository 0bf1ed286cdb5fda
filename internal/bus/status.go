package bus

// Status is how a session stands, for who looks at it: sent at every tick while
// an arm moves, and twice a second while it does not.
type Status struct {
	Role  string `json:"role"` // who drives: "run" or "actor"
	Stage string `json:"stage"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
	Note  string `json:"note,omitempty"`
	// Moving says that an arm takes commands in this stage.
	Moving  bool   `json:"moving"`
	Episode string `json:"episode,omitempty"` // the online one under way, or the last; none where an arm moves that no hand takes
	Step    int    `json:"step"`
	// Way is that of the episode where two sessions practise in turns: forward or backward.
	Way     string `json:"way,omitempty"`
	By      string `json:"by,omitempty"` // who decided the last command: policy, human, guard, log
	Version uint64 `json:"version"`      // of the parameters that act
	// Human counts the steps of this episode that a person decided, and Humans
	// those of the session's online episodes; an actor in a process of its own counts
	// those since it began.
	Human  int `json:"human"`
	Humans int `json:"humans"`
	// Fault is the latched one; while it is there the arm holds.
	Fault *Fault      `json:"fault,omitempty"`
	Guard GuardCounts `json:"guard"`
	// Bad counts frames that were frozen, dark, blurred or otherwise unfit.
	Bad uint64 `json:"bad_frames"`
}

// GuardCounts is how often the guard had to act since this process began.
type GuardCounts struct {
	Steps   uint64 `json:"steps"`
	Clipped uint64 `json:"clipped"`
	Scaled  uint64 `json:"scaled"`
	Held    uint64 `json:"held"`
	Lapsed  uint64 `json:"lapsed"`
	Faults  uint64 `json:"faults"`
}

// StatusTopic carries how the session stands.
func StatusTopic() Topic[Status] {
	return Topic[Status]{
		"status",
		func(s Status) ([]byte, error) { return encode("status", s, &writer{}) },
		func(b []byte) (Status, error) {
			s, r, err := decode[Status]("status", b)
			if err != nil {
				return Status{}, err
			}
			return s, r.done("status")
		},
	}
}
