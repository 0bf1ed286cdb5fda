package cli

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// seedSpan are the seeds of --seeds, first to last: 5 are the seeds 1 to 5, and 4-5 are 4 and 5,
// so that machines may share a study.
type seedSpan struct{ first, last int }

// seedsUsage is said of every --seeds.
const seedsUsage = "how many seeds, from 1 on, or which, as 4-5"

// flag adds a flag of that name for the seeds, which are 1 to 5 without it.
func (s *seedSpan) flag(cmd *cobra.Command, name, usage string) {
	*s = seedSpan{1, 5}
	cmd.Flags().Var(s, name, usage)
}

// all walks through the seeds.
func (s seedSpan) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		for seed := s.first; seed <= s.last && yield(seed); seed++ {
		}
	}
}

func (s seedSpan) count() int { return s.last - s.first + 1 }

// String is what Set takes.
func (s seedSpan) String() string {
	if s.first == 1 {
		return strconv.Itoa(s.last)
	}
	return fmt.Sprintf("%d-%d", s.first, s.last)
}

// Set refuses spans of which nothing would come.
func (s *seedSpan) Set(text string) error {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		first, last = "1", text
	}
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(last)
	if errA != nil || errB != nil || a < 1 || b < a {
		return fmt.Errorf("want a number of seeds from 1 on, 2 or more for an interval, or the first and the last, as 4-5")
	}
	*s = seedSpan{a, b}
	return nil
}

// Type is what help calls the value.
func (*seedSpan) Type() string { return "seeds" }
