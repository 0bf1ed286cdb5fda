package web_test

import (
	"testing"

	"github.com/chromedp/chromedp/kb"

	questions "github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/label"
)

// Where all people's answers are waited for together, the page tells how many of them count, and
// at the end leaves the last to be taken back.
func TestThePageCountsWhatIsWaitedFor(t *testing.T) {
	m := &memory{}
	count := func(ls []label.Label) (n questions.Count) {
		n.Asked = 2
		for _, l := range label.Standing(ls) {
			if l.Choice != label.Unsure {
				n.Answers++
			}
		}
		if n.Done = n.Answers >= n.Asked; n.Done {
			n.Note = "That is all."
		}
		return n
	}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann", Ask: 2, Count: count}).URL())
	id := b.posed("")
	b.says("count", "0 of 2 that count")
	for range 2 { // as many as are asked for, and none counts
		b.key("u")
		id = b.posed(id)
	}
	b.says("count", "0 of 2 that count")
	b.shows("no thanks", `el("note").hidden`)
	b.key(kb.ArrowLeft)
	id = b.posed(id)
	b.key(kb.ArrowLeft)
	b.says("note", "That is all.")
	b.says("count", "2 of 2 that count")
	b.shows("no question", `el("shown").hidden && !el("undo").disabled`)
	b.key("z")
	b.posed(id)
	b.says("count", "1 of 2 that count")
}
