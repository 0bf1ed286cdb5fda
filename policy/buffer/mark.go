package buffer

import (
	"bytes"
	"fmt"
)

// Mark is what a learner's checkpoint tells of its replay: how much was taken and
// held, and the priorities if Config.Prioritised is set.
type Mark struct {
	Episodes     int // taken
	Demo, Online int // transitions held
	Priorities   []byte
}

// Mark describes b as it is now.
func (b *Buffer) Mark() (Mark, error) {
	c := b.Count()
	m := Mark{Episodes: c.Episodes, Demo: c.Demo, Online: c.Online}
	if !b.cfg.Prioritised.on() {
		return m, nil
	}
	var out bytes.Buffer
	err := b.Save(&out)
	m.Priorities = out.Bytes()
	return m, err
}

// Fits tells whether b can go back to m. In memory, without priorities, anything
// fits, as the episodes are the caller's to add.
func (b *Buffer) Fits(m Mark) error {
	c, on := b.Count(), b.cfg.Prioritised.on()
	switch {
	case b.closed:
		return ErrClosed
	case m.Episodes < 0:
		return fmt.Errorf("buffer: a checkpoint of %d episodes", m.Episodes)
	case on != (len(m.Priorities) > 0):
		return fmt.Errorf("buffer: the checkpoint has priorities: %v, but Config.Prioritised is set: %v: want both or none", !on, on)
	case b.disk == nil && !on:
		return nil
	case c.Episodes < m.Episodes:
		return fmt.Errorf("buffer: the checkpoint is of %d episodes, and here are %d: add those of the session first", m.Episodes, c.Episodes)
	case b.disk == nil && c.Episodes > m.Episodes:
		return fmt.Errorf("buffer: the checkpoint is of %d episodes, and here are %d already: restore before adding the later ones", m.Episodes, c.Episodes)
	case on && c.Episodes == m.Episodes && (c.Demo != m.Demo || c.Online != m.Online):
		return fmt.Errorf("buffer: the checkpoint's priorities are of %d demonstration and %d online transitions, and here are %d and %d: use the Capacity and the episodes of then",
			m.Demo, m.Online, c.Demo, c.Online)
	}
	return nil
}

// Return goes back to m, which Fits. A folder is rewound to the episodes of
// then; where some of those were evicted since, the others have equal priorities.
func (b *Buffer) Return(m Mark) error {
	if err := b.Fits(m); err != nil {
		return err
	}
	if b.disk != nil {
		if err := b.Rewind(m.Episodes); err != nil {
			return err
		}
	}
	if c := b.Count(); !b.cfg.Prioritised.on() || c.Demo != m.Demo || c.Online != m.Online {
		return nil
	}
	return b.Restore(bytes.NewReader(m.Priorities))
}
