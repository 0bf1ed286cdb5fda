package cli

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/internal/wire"
)

// printStyles is the lines that tell how the task was done: nothing where it has no
// styles.
func printStyles(ev wire.Evaluation) string {
	if !ev.Styled {
		return ""
	}
	preferred, undesired := report.Share{Of: len(ev.Trials)}, report.Share{Of: len(ev.Trials)}
	for _, t := range ev.Trials {
		if t.Preferred {
			preferred.Hits++
		}
		if t.Undesired {
			undesired.Hits++
		}
	}
	return fmt.Sprintf("preferred %v\nundesired %v\n", preferred, undesired)
}
