package cli

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/reward/kagi"
)

// handPlan is a plan of the first pictures that needs no picture: a way of the hand.
const handPlan = `{"scene":1,"plan":{"task":"up","points":[{"name":"hand","hand":true}],"stages":[{"point":"hand","waypoints":[{"at":[0.45,0,0.2]}]}]}}`

// A plan is of one task, so that each line of the example names it.
func TestExampleOfClicksIsOfOneTask(t *testing.T) {
	for line := range strings.Lines((&app{}).clicksCmd().Example) {
		if !strings.Contains(line, "--set robot.task=reach") {
			t.Errorf("%q is of another task", line)
		}
	}
}

func TestPlanIsClickedIntoAFolder(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(l.dir, "reach")
	c := &console{}
	ended := l.running(c, "clicks", dir, "--listen", "127.0.0.1:0")
	m := c.said(t, `clicks  http://(.*)/clicks#(\w+)`)
	c.said(t, `clicks +\.\.\.`)
	w := &watcher{t: t, url: m[1], token: m[2]}
	if code, r := w.post("/clicks/lift", `{"views":[{"camera":"front","pixel":[32,32]}],"height":-3}`); code != 400 || !strings.Contains(r["error"].(string), "outside the workspace") {
		t.Errorf("under the table: %d %v", code, r)
	}
	if code, r := w.post("/clicks/save", handPlan); code != 200 {
		t.Fatalf("save: %d %v", code, r)
	}
	if code := <-ended; code != exitDone {
		t.Fatalf("ended with %d:\n%s", code, c)
	}
	if p, err := kagi.Load(filepath.Join(dir, "plan.json")); err != nil || p.Task != "up" || !strings.Contains(c.String(), filepath.Join(dir, "plan.json")) {
		t.Errorf("got %+v, %v:\n%s", p, err, c)
	}
	// The same folder again is asked for again, and from a tablet.
	again := &console{}
	ended = l.running(again, "clicks", dir, "--listen", "0.0.0.0:0")
	m = again.said(t, `clicks  http://(.*)/clicks#(\w+)`)
	again.said(t, `clicks +\.\.\.`)
	w = &watcher{t: t, url: m[1], token: m[2]}
	if own, err := net.InterfaceAddrs(); err != nil || slices.ContainsFunc(own, func(a net.Addr) bool { n, ok := a.(*net.IPNet); return ok && !n.IP.IsLoopback() && n.IP.To4() != nil }) && !strings.Contains(again.String(), "elsewhere http://") {
		t.Errorf("no link for a tablet (%v, %v):\n%s", own, err, again)
	}
	if code, r := w.post("/clicks/save", strings.Replace(handPlan, `"scene":1`, `"scene":2`, 1)); code != 200 {
		t.Fatalf("save again: %d %v", code, r)
	}
	if code := <-ended; code != exitDone {
		t.Fatalf("ended with %d:\n%s", code, again)
	}
	if code, out := l.run(t.Context(), &console{}, "clicks"); code != exitUsage || !strings.Contains(out, "name the folder") {
		t.Errorf("no folder: %d\n%s", code, out)
	}
	if code, out := l.run(t.Context(), &console{}, "clicks", dir, "--listen", "127.0.0.1:0", "--set", "robot.kind=ros", "--set", "session.from="+dir); code != exitUsage || !strings.Contains(out, "no stop would reach the arm") || !strings.Contains(out, "reward.kagi.source") {
		t.Errorf("an arm over ROS: %d\n%s", code, out)
	}
	if code, out := l.run(t.Context(), &console{}, "clicks", dir, "--listen", "foo"); code != exitFailed || !strings.Contains(out, "want HOST:PORT") || strings.Contains(out, "stop what uses") {
		t.Errorf("no address: %d\n%s", code, out)
	}
}

// A session without a plan says where to click one, takes a stop while it waits, and
// goes on with what was saved beside it.
func TestSessionSaysWhereToClickAndGoesOn(t *testing.T) {
	l := newLab(t)
	c := &console{}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	done := make(chan int, 1)
	go func() {
		code, _ := l.run(ctx, c, "run", "--set", "reward.kind=kagi", "--set", "reward.kagi.source=clicks")
		done <- code
	}()
	m := c.said(t, `stands still until points and waypoints are clicked at http://(.*)/clicks#(\w+)`)
	w := &watcher{t: t, url: m[1], token: m[2]}
	if code, r := w.post("/stop", `{"who":"anna","why":"wait"}`); code != 200 || r["held"] != true {
		t.Errorf("a stop while it waits: %d %v", code, r)
	}
	if code, r := w.post("/acknowledge", `{"fault":1,"who":"anna"}`); code != 200 {
		t.Errorf("acknowledge: %d %v", code, r)
	}
	if code, r := w.post("/clicks/save", handPlan); code != 200 || r["file"] != filepath.Join(l.session(), "clicks", "plan.json") {
		t.Fatalf("save: %d %v", code, r)
	}
	c.said(t, `encoder +\.\.\.`) // demonstrations were shown under the plan
	interrupt()
	if code := <-done; code != exitInterrupted {
		t.Fatalf("ended with %d:\n%s", code, c)
	}
}
