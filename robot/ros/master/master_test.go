package master_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller calls a master under a node's name.
type caller struct {
	t   *testing.T
	uri string
}

func start(t *testing.T) caller {
	t.Helper()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return caller{t, m.URI()}
}

// do calls a method and returns the answer's code, text and value.
func (c caller) do(method string, args ...any) (int, string, any) {
	c.t.Helper()
	v, err := xmlrpc.Call(c.t.Context(), c.uri, method, args...)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	r := v.([]any)
	return r[0].(int), r[1].(string), r[2]
}

// want calls a method that must succeed with a value.
func (c caller) want(want any, method string, args ...any) {
	c.t.Helper()
	code, text, v := c.do(method, args...)
	if code != 1 || !cmp.Equal(v, want) {
		c.t.Errorf("%s %v: got %d %q %v, want %v", method, args, code, text, v, want)
	}
}

// fails calls a method that must be answered by an error.
func (c caller) fails(method string, args ...any) {
	c.t.Helper()
	if code, _, v := c.do(method, args...); code == 1 {
		c.t.Errorf("%s %v: got %v, want an error", method, args, v)
	}
}

// slave is a node that notes what the master tells it.
func slave(t *testing.T) (string, chan string) {
	t.Helper()
	told := make(chan string, 100)
	s := httptest.NewServer(xmlrpc.Handler(func(_ context.Context, method string, args []any) (any, error) {
		told <- fmt.Sprint(method, args[1:])
		return []any{1, "", 0}, nil
	}))
	t.Cleanup(s.Close)
	return s.URL, told
}

func hear(t *testing.T, told chan string, want string) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Errorf("was told %s, want %s", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("was not told %s", want)
	}
}

func TestTopicsAreRegisteredAndFound(t *testing.T) {
	c := start(t)
	a, _ := slave(t)
	b, told := slave(t)
	c.want([]any{}, "registerSubscriber", "/b", "/x", "*", b)
	c.want([]any{b}, "registerPublisher", "/a", "/x", "std_msgs/String", a)
	hear(t, told, "publisherUpdate[/x ["+a+"]]")
	c.want([]any{[]any{"/x", "std_msgs/String"}}, "getPublishedTopics", "/t", "")
	c.want([]any{}, "getPublishedTopics", "/t", "/ns")
	c.want([]any{[]any{"/x", "std_msgs/String"}}, "getTopicTypes", "/t")
	c.want([]any{
		[]any{[]any{"/x", []any{"/a"}}}, []any{[]any{"/x", []any{"/b"}}}, []any{},
	}, "getSystemState", "/t")
	c.want(a, "lookupNode", "/t", "/a")
	c.fails("lookupNode", "/t", "/none")
	c.want(0, "unregisterPublisher", "/a", "/x", "http://elsewhere/")
	c.want(1, "unregisterPublisher", "/a", "/x", a)
	hear(t, told, "publisherUpdate[/x []]")
	c.fails("lookupNode", "/t", "/a")
	c.want(1, "unregisterSubscriber", "/b", "/x", b)
	c.want(0, "unregisterSubscriber", "/b", "/x", b)
}

func TestServicesAreRegisteredAndFound(t *testing.T) {
	c := start(t)
	c.want(1, "registerService", "/a", "/ns/s", "rosrpc://a:1", "http://a/")
	c.want("rosrpc://a:1", "lookupService", "/t", "/ns/s")
	c.want("rosrpc://a:1", "lookupService", "/ns/t", "s")
	c.want(0, "unregisterService", "/a", "/ns/s", "rosrpc://b:1")
	c.want(1, "unregisterService", "/a", "/ns/s", "rosrpc://a:1")
	c.fails("lookupService", "/t", "/ns/s")
}

func TestSecondNodeOfANameEndsTheFirst(t *testing.T) {
	c := start(t)
	old, told := slave(t)
	watch, heard := slave(t)
	c.want([]any{}, "registerSubscriber", "/w", "/x", "*", watch)
	c.want([]any{watch}, "registerPublisher", "/a", "/x", "std_msgs/String", old)
	hear(t, heard, "publisherUpdate[/x ["+old+"]]")
	c.want(1, "registerService", "/a", "/s", "rosrpc://old:1", old)
	c.want([]any{watch}, "registerPublisher", "/a", "/x", "std_msgs/String", "http://new:1/")
	hear(t, told, "shutdown[[/a] Reason: new node registered with same name]")
	hear(t, heard, "publisherUpdate[/x []]")
	hear(t, heard, "publisherUpdate[/x [http://new:1/]]")
	c.fails("lookupService", "/t", "/s")
}

func TestParametersAreATree(t *testing.T) {
	c := start(t)
	for _, preset := range []string{"/run_id", "/rosdistro", "/rosversion"} {
		c.want(true, "hasParam", "/t", preset)
	}
	c.want(0, "setParam", "/ns/n", "~p", map[string]any{"a": 1, "b": map[string]any{"c": "<&"}})
	c.want(map[string]any{"a": 1, "b": map[string]any{"c": "<&"}}, "getParam", "/t", "/ns/n/p")
	c.want("<&", "getParam", "/ns/n", "n/p/b/c")
	c.want("<&", "getParam", "/t", "/ns//n/p/b/c/")
	if _, key, _ := c.do("hasParam", "/ns/n", "n/p"); key != "/ns/n/p" {
		t.Errorf("hasParam tells the key %q, want /ns/n/p", key)
	}
	c.want(false, "hasParam", "/t", "/ns/n/p/a/deeper")
	c.want(0, "setParam", "/t", "/ns/n/p/a/deeper", 2.5) // a value gives way to a namespace
	c.want(2.5, "getParam", "/t", "/ns/n/p/a/deeper")
	_, _, names := c.do("getParamNames", "/t")
	if !slices.Contains(names.([]any), any("/ns/n/p/b/c")) || slices.Contains(names.([]any), any("/ns/n/p")) {
		t.Errorf("the names are %v", names)
	}
	c.want(0, "deleteParam", "/t", "/ns/n/p/b")
	c.fails("getParam", "/t", "/ns/n/p/b/c")
	c.fails("deleteParam", "/t", "/ns/n/p/b")
	c.fails("deleteParam", "/t", "/")
	c.fails("setParam", "/t", "/", 5)
	c.want(0, "setParam", "/t", "/", map[string]any{"only": []any{1, 2.0}})
	c.want(map[string]any{"only": []any{1, 2.0}}, "getParam", "/t", "/")
}

func TestParametersAreSearchedUpwards(t *testing.T) {
	c := start(t)
	c.want(0, "setParam", "/t", "/a/p", 1)
	c.want(0, "setParam", "/t", "/a/b/q/x", 1)
	for _, tt := range []struct{ caller, key, want string }{
		{"/a/b/n", "p", "/a/p"},
		{"/a/b/n", "q/x", "/a/b/q/x"},
		{"/a/b/n", "q/other", "/a/b/q/other"}, // the first part decides
		{"/n", "/a/p", "/a/p"},
	} {
		c.want(tt.want, "searchParam", tt.caller, tt.key)
	}
	c.fails("searchParam", "/n", "p")
	c.fails("searchParam", "/n", "/none")
	c.fails("searchParam", "/n", "")
}

func TestWatchersHearOfWhatChanges(t *testing.T) {
	c := start(t)
	a, told := slave(t)
	c.want(map[string]any{}, "subscribeParam", "/n", a, "/x/y")
	c.want(0, "setParam", "/t", "/x/y", 1)
	hear(t, told, "paramUpdate[/x/y 1]")
	c.want(0, "setParam", "/t", "/x", map[string]any{"y": 2}) // above
	hear(t, told, "paramUpdate[/x/y 2]")
	c.want(0, "setParam", "/t", "/x/y/z", 3) // below
	hear(t, told, "paramUpdate[/x/y/z 3]")
	c.want(0, "setParam", "/t", "/xy", 4) // elsewhere
	c.want(0, "deleteParam", "/t", "/x")
	hear(t, told, "paramUpdate[/x/y map[]]")
	c.want(1, "unsubscribeParam", "/n", a, "/x/y")
	c.want(0, "unsubscribeParam", "/n", a, "/x/y")
	c.want(0, "setParam", "/t", "/x/y", 5)
	select {
	case got := <-told:
		t.Errorf("was told %s", got)
	case <-time.After(50 * time.Millisecond):
	}
}

// A node that hangs delays nobody else.
func TestHungNodeDelaysNobody(t *testing.T) {
	c := start(t)
	stop := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer hung.Close()
	defer close(stop)
	b, told := slave(t)
	c.want([]any{}, "registerSubscriber", "/hung", "/x", "*", hung.URL)
	c.want([]any{}, "registerSubscriber", "/b", "/x", "*", b)
	for i := range 5 {
		api := fmt.Sprintf("http://p%d/", i)
		c.do("registerPublisher", fmt.Sprintf("/p%d", i), "/x", "std_msgs/String", api)
		select {
		case got := <-told:
			if !strings.Contains(got, api) {
				t.Errorf("was told %s, want %s among them", got, api)
			}
		case <-time.After(3 * time.Second):
			t.Fatal("waits for the node that hangs")
		}
	}
}

func TestSeveralCallsInOne(t *testing.T) {
	c := start(t)
	call := func(name string, params ...any) map[string]any {
		return map[string]any{"methodName": name, "params": append([]any{}, params...)}
	}
	got, err := xmlrpc.Call(t.Context(), c.uri, "system.multicall", []any{
		call("setParam", "/t", "/p", 5), call("getParam", "/t", "/p"), call("nonsense"), call("system.multicall"), "junk",
	})
	if err != nil {
		t.Fatal(err)
	}
	r := got.([]any)
	if want := []any{[]any{1, "/p", 5}}; len(r) != 5 || !reflect.DeepEqual(r[1], want) {
		t.Errorf("got %v, want %v second of five", r, want)
	}
	for _, bad := range r[2:] {
		if m, ok := bad.(map[string]any); !ok || m["faultString"] == "" {
			t.Errorf("got %v, want a fault", bad)
		}
	}
}

func TestWrongCallsAreExplained(t *testing.T) {
	c := start(t)
	c.fails("getParam", "/t")
	c.fails("getParam", 5, "/p")
	c.fails("getParam", "/t", 5)
	c.fails("registerPublisher", "/t", "/x", "std_msgs/String")
	c.fails("shutdown", "/t", "why")
	if _, err := xmlrpc.Call(t.Context(), c.uri, "nonsense"); err == nil {
		t.Error("a method that is not there answered")
	}
	if _, err := xmlrpc.Call(t.Context(), c.uri, "system.multicall", 5); err == nil {
		t.Error("a multicall of no list answered")
	}
	if v, err := xmlrpc.Call(t.Context(), c.uri, "system.listMethods"); err != nil || !slices.Contains(v.([]any), any("getParam")) {
		t.Errorf("got %v, %v", v, err)
	}
	c.want(c.uri, "getUri", "/t")
}

func TestTakenPortIsExplained(t *testing.T) {
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	addr := strings.TrimSuffix(strings.TrimPrefix(m.URI(), "http://"), "/")
	if _, err := master.Start(addr); err == nil || !strings.Contains(err.Error(), "another master") {
		t.Errorf("got %v, want that another master may run", err)
	}
}
