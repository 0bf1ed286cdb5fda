package wire

import "sync"

// counter returns what counts finished parts of a stage, from any goroutine.
func counter(tell Progress, stage string, total int) func(note string) {
	var mu sync.Mutex
	done := 0
	tell(stage, 0, total, "")
	return func(note string) {
		mu.Lock()
		defer mu.Unlock()
		done++
		tell(stage, done, total, note)
	}
}
