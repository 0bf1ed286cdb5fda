package buffer

import (
	"testing"

	"github.com/rapport-rl/rapport/policy/view"
)

// unbacked is a buffer as it reads its journal, of a view with one camera.
func unbacked(tb testing.TB) *Buffer {
	b, err := New(Config{
		View: view.Config{
			Embed: 1, Cameras: []view.Camera{{Name: "c", W: 2, H: 1}},
			Action: view.Action{Axes: []int{0}, Scale: 1},
		},
		Gamma: 0.9, Returns: true, Tail: TailSteady, Prioritised: Prioritised{Alpha: 0.5},
	})
	if err != nil {
		tb.Fatal(err)
	}
	b.disk = &folder{journal: new(journal)}
	return b
}

// Whatever a journal says, reading it does not panic, and what was accepted can
// be written and read again.
func FuzzJournal(f *testing.F) {
	// Each record: kind, length of the body (one byte), body.
	one := []byte{flagJPEG, 0, 0, 1, 'a', 1, 0, 1, 0}
	one = append(one, make([]byte, 8+2*4+2*4)...) // a label, sums
	one = append(one, 3, 4)
	entry := func(kind byte, body []byte) []byte { return append([]byte{kind, byte(len(body))}, body...) }
	first := entry(recEpisode, one)
	f.Add(first)
	f.Add(append(append(first, entry(recLabel, make([]byte, 9))...), entry(recRewind, []byte{0})...))
	f.Add(append(append(first, entry(recForget, []byte{0})...), entry(recGone, []byte{1, 'b'})...))
	f.Add(append(entry(recGone, []byte{7, 'b'}), entry(recRewind, []byte{0})...))
	f.Add(append(fileHeadOf(fileHead), 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = readJournal("journal", data, func(byte, []byte) error { return nil })

		b := unbacked(t)
		defer b.Close()
		for len(data) >= 2 && len(data) >= 2+int(data[1]) {
			kind, body := data[0], data[2:2+int(data[1])]
			data = data[2+len(body):]
			if b.apply(kind, body) != nil {
				return // the folder is not opened
			}
		}
		demo, online, human := 0, 0, 0
		for _, e := range b.order {
			if r := e.run; r != nil {
				demo += r.demos()
				human += len(r.human)
				if r.online {
					online += r.len()
				}
			}
		}
		if n := b.Count(); n.Demo != demo || n.Online != online || n.Human != human || n.Episodes != len(b.order) {
			t.Fatalf("count = %+v, of %d demonstration, %d online and %d human transitions held", n, demo, online, human)
		}
		records, err := b.records()
		if err != nil {
			t.Fatal(err)
		}
		again := unbacked(t)
		defer again.Close()
		first := true
		if _, err := readJournal("journal", append(fileHeadOf(fileHead), records...), func(kind byte, body []byte) error {
			if first {
				first = false
				return nil
			}
			return again.apply(kind, body)
		}); err != nil {
			t.Fatal(err)
		}
		if got, want := again.Count(), b.Count(); got != want {
			t.Fatalf("written and read again: %+v, want %+v", got, want)
		}
	})
}
