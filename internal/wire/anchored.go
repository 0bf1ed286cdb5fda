package wire

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// preferences are the standing answers that tell what is good, and how many do not: a
// triplet asks what is alike, so that its answer tells what is better only beside an
// anchor that people like. That is one of experts, whole, or of a question that the
// session asked by itself. It says so, once of each that is left out.
func (s *Session) preferences(said []label.Label, experts []rapl.Video) (good []label.Label, left int) {
	untold := 0
	for _, l := range label.Standing(said) {
		if l.Query.Kind != label.Triplet || strings.HasPrefix(l.Query.ID, askPrefix) || preferred(l.Query.Clips[0], experts) {
			good = append(good, l)
			continue
		}
		left++
		if _, told := s.deaf.LoadOrStore(l.ID, true); !told {
			untold++
		}
	}
	if untold > 0 {
		s.log.Warn("wire: triplets beside anchors that are no preferred videos are left out: they tell what is alike, and not what is better", "triplets", untold)
	}
	return good, left
}

// preferred says whether a clip is a whole preferred video. A stretch of one may be
// all but the good of it.
func preferred(c label.Clip, experts []rapl.Video) bool {
	i := slices.IndexFunc(experts, func(v rapl.Video) bool { return v.Name == c.Episode })
	return i >= 0 && (whole(c) || c.From == 0 && c.To == experts[i].Len())
}

// besides is what to say of triplets that preferences left out, where too little remains.
func besides(left int) string {
	if left == 0 {
		return ""
	}
	return fmt.Sprintf(" (beside %d triplets whose anchors are no preferred videos, which tell what is alike and not what is better; pairs tell that: rapport label --kind pair)", left)
}

// asides is what to say of answers about recordings beside the session, where too little remains.
func asides(aside int) string {
	if aside == 0 {
		return ""
	}
	return fmt.Sprintf(" (beside %d about recordings that are no episodes of it: begin a session over these, by robot.kind=bag, and label it)", aside)
}
