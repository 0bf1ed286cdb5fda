package web_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
	questions "github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/kagi/click"
	"github.com/rapport-rl/rapport/reward/kagi/click/clicktest"
)

func TestLabelPageOfASessionThatRunsStopsItsArm(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := open(t, w.URL(), 768, 1024)
	b.live()
	b.do(chromedp.Click(chromedp.ID("label")))
	b.posed("")
	b.shows("the dashboard's link", `document.getElementById("dashboard").href.endsWith("/#" + token)`)
	b.key(" ") // plays; it stops nothing here
	b.shows("STOP in sight at the end of the page", `(window.scrollTo(0, 1e6), document.getElementById("halt").getBoundingClientRect().top >= 0)`)
	b.tap("#halt")
	b.says("alarms", "The arm is stopped")
	if f := s.fault(0); !strings.Contains(f.Detail, "ann: STOP on the labelling page") {
		t.Errorf("got %+v", f)
	}
	if f := s.fault(1); f.ID != 0 {
		t.Errorf("stopped twice: %+v", f)
	}
}

// haltInSight says whether STOP can be pressed, from the top of the page to its end.
func (b tab) haltInSight() {
	b.t.Helper()
	b.shows("STOP", `!el("halt").hidden`)
	for _, at := range []string{"0", "300", "1e6"} {
		if !eval[bool](b, fmt.Sprintf(`(() => { scrollTo(0, %s); const r = el("halt").getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight && document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2) === el("halt"); })()`, at)) {
			b.t.Errorf("scrolled to %s, STOP is out of sight", at)
		}
	}
}

func TestStopIsInSightOnAPhoneThatLies(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"}), Clicks: clicktest.Show(t, click.Folder(t.TempDir()))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	for _, url := range []string{w.LabelURL(), w.ClicksURL()} {
		b := open(t, url, 844, 390)
		b.shows("the page", `document.body.dataset.ready || document.body.dataset.scene`)
		for _, size := range [][2]int64{{844, 390}, {667, 375}, {390, 844}, {1024, 768}} {
			b.do(chromedp.EmulateViewport(size[0], size[1]))
			b.haltInSight()
		}
	}
}

func TestStopComesAndGoesWithTheSession(t *testing.T) {
	s := newSession(t, bus.Options{})
	var runs atomic.Bool
	arm := func(context.Context) (*bus.Conn, string) {
		if runs.Load() {
			return s.srv.Conn(), s.name
		}
		return nil, ""
	}
	w, err := web.Start(web.Options{Session: s.name, Arm: arm, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := desktop(t, w.URL())
	b.posed("")
	if !eval[bool](b, `el("halt").hidden`) {
		t.Error("STOP, and no arm")
	}
	runs.Store(true)
	stopIsTold(t, s, b, func() {})
	b.shows("no dashboard", `el("dashboard").hidden`)
	runs.Store(false)
	b.shows("no STOP after the end", `el("halt").hidden`)
}

// Pages with nothing to do are beside an arm all the same.
func TestPagesOfNothingStopTheArmAndLeadBack(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	for url, words := range map[string]string{w.LabelURL(): "nothing can be labelled here", w.ClicksURL(): "nothing is to be clicked here"} {
		b := open(t, url, 390, 844)
		b.says("alarms", words)
		b.haltInSight()
		b.shows("the way back", `!el("dashboard").hidden && el("dashboard").href.endsWith("/#" + token)`)
	}
}

// A stop that failed is told of until it is delivered, and one that was delivered until
// somebody has acknowledged it, whatever else there is to say.
func stopIsTold(t *testing.T, s *session, b tab, meanwhile func()) {
	t.Helper()
	b.shows("STOP", `!el("halt").hidden`)
	s.deafen(errors.New("the arm does not listen"))
	b.tap("#halt")
	b.says("alarms", "STOP WAS NOT DELIVERED")
	meanwhile()
	if !strings.Contains(b.alarms(), "STOP WAS NOT DELIVERED") {
		t.Errorf("the page forgot that the stop was not delivered, and says %q", b.alarms())
	}
	s.deafen(nil)
	b.says("alarms", "The arm is stopped")
	b.shows("the stop delivered", `!el("alarms").textContent.includes("NOT DELIVERED")`)
	meanwhile()
	if !strings.Contains(b.alarms(), "The arm is stopped") {
		t.Errorf("the page forgot that the arm is stopped, and says %q", b.alarms())
	}
	if _, err := s.Acknowledge(t.Context(), bus.Acknowledge{Fault: 1, Who: "ann"}); err != nil {
		t.Fatal(err)
	}
	b.shows("an arm that is not held", `el("alarms").textContent === ""`)
}

func TestStopIsToldOnTheLabelPage(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := desktop(t, w.LabelURL())
	id := b.posed("")
	stopIsTold(t, s, b, func() {
		b.key("1")
		id = b.posed(id)
	})
}
