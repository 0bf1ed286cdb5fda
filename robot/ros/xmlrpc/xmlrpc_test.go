package xmlrpc_test

import (
	"context"
	"errors"
	"math"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// echo answers a call with its arguments.
func echo(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(xmlrpc.Handler(func(_ context.Context, method string, args []any) (any, error) {
		if method == "fail" {
			return nil, errors.New("as asked: <&")
		}
		return args, nil
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestValuesOfEveryKindSurvive(t *testing.T) {
	url := echo(t)
	for _, tt := range []struct {
		name       string
		give, want any
	}{
		{"nothing", nil, nil},
		{"true", true, true},
		{"integer", -5, -5},
		{"small integer", uint8(7), 7},
		{"float", 0.1, 0.1},
		{"whole float", 3.0, 3.0},
		{"largest float", math.MaxFloat64, math.MaxFloat64},
		{"infinite", math.Inf(-1), math.Inf(-1)},
		{"text", "a&<b> é ]]> \" '", "a&<b> é ]]> \" '"},
		{"blank text", "  \n\t", "  \n\t"},
		{"carriage return", "a\r\nb", "a\r\nb"},
		{"no text", "", ""},
		{"bytes", []byte{0, 255}, []byte{0, 255}},
		{"date", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{"list", []any{1, "x", []any{}}, []any{1, "x", []any{}}},
		{"list of floats", [2]float64{1, 2}, []any{1.0, 2.0}},
		{"dictionary", map[string]any{"a<": 1, "b": map[string]any{}}, map[string]any{"a<": 1, "b": map[string]any{}}},
		{"dictionary of texts", map[string]string{"a": "b"}, map[string]any{"a": "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := xmlrpc.Call(t.Context(), url, "echo", tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{tt.want}, got); diff != "" {
				t.Errorf("want, then got:\n%s", diff)
			}
		})
	}
}

func TestWhatXMLRPCCannotSayIsRefused(t *testing.T) {
	url := echo(t)
	deep := any(1)
	for range 100 {
		deep = []any{deep}
	}
	for name, v := range map[string]any{
		"long integer": 1 << 40, "unsigned": uint64(1) << 63, "control character": "\x00", "not UTF-8": "\xff",
		"channel": make(chan int), "deep": deep, "keys of numbers": map[int]int{1: 1}, "inside": map[string]any{"a": 1 << 40},
	} {
		if got, err := xmlrpc.Call(t.Context(), url, "echo", v); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

func TestFaultReachesTheCaller(t *testing.T) {
	_, err := xmlrpc.Call(t.Context(), echo(t), "fail")
	var f *xmlrpc.Fault
	if !errors.As(err, &f) || f.Text != "as asked: <&" {
		t.Errorf("got %v, want the fault's text", err)
	}
}

func TestNoROSNodeIsSaid(t *testing.T) {
	s := httptest.NewServer(nil)
	defer s.Close()
	if _, err := xmlrpc.Call(t.Context(), s.URL, "getPid"); err == nil || !strings.Contains(err.Error(), "is this a ROS node?") {
		t.Errorf("got %v", err)
	}
}

func TestForeignSpellingsAreRead(t *testing.T) {
	for body, want := range map[string]any{
		"<value>plain</value>":                                      "plain",
		"<value></value>":                                           "",
		"<value> <i4> 7 </i4> </value>":                             7,
		"<value><double>1e400</double></value>":                     math.Inf(1),
		"<value><boolean>1</boolean></value>":                       true,
		"<value><string/></value>":                                  "",
		"<value><string>a<![CDATA[<b>]]></string></value>":          "a<b>",
		"<value><array>\n<data>\n</data>\n</array></value>":         []any{},
		"<value><struct></struct></value>":                          map[string]any{},
		"<value><nil/></value>":                                     nil,
		"<value><base64>AP\n8=</base64></value>":                    []byte{0, 255},
		"<value><string>&#233;&amp;&lt;&gt;&apos;</string></value>": "é&<>'",
	} {
		got, err := xmlrpc.DecodeResponse([]byte("<?xml version='1.0'?><methodResponse><params><param>" + body + "</param></params></methodResponse>"))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v; want %v", body, got, err, want)
		}
	}
	for _, call := range []string{
		"<methodCall><methodName>m</methodName></methodCall>",
		"<methodCall><methodName> m </methodName><params/></methodCall>",
	} {
		if m, args, err := xmlrpc.DecodeCall([]byte(call)); err != nil || m != "m" || len(args) != 0 {
			t.Errorf("%s: got %q, %v, %v", call, m, args, err)
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	for _, body := range []string{
		"", "<", "<methodResponse>", "<methodResponse></methodResponse>", "<x/>",
		"<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>",
		"<methodResponse><params><param><value><boolean>2</boolean></value></param></params></methodResponse>",
		"<methodResponse><params><param><value>a<int>1</int></value></param></params></methodResponse>",
		"<methodResponse><params><param><value><frob/></value></param></params></methodResponse>",
		"<methodResponse><params><param><value><array><data><int/></data></array></value></param></params></methodResponse>",
		"<methodResponse><params><param><value><struct><member><value/></member></struct></value></param></params></methodResponse>",
		"<methodResponse><params><param>" + strings.Repeat("<value><array><data>", 1000) + "</param></params></methodResponse>",
		"<?xml version='1.0' encoding='utf-16'?><methodResponse/>",
	} {
		if v, err := xmlrpc.DecodeResponse([]byte(body)); err == nil {
			t.Errorf("%.80s: got %v, want an error", body, v)
		}
	}
	if _, _, err := xmlrpc.DecodeCall([]byte("<methodCall><params/></methodCall>")); err == nil {
		t.Error("a call without a method was read")
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range []any{nil, true, 5, 0.5, "a&<b", []byte{1}, []any{1, []any{}}, map[string]any{"a": map[string]any{"b": 1}}} {
		b, err := xmlrpc.EncodeCall("m", v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(xmlrpc.EncodeResponse(v, nil))
	}
	f.Add(xmlrpc.EncodeResponse(nil, errors.New("x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		method, args, err := xmlrpc.DecodeCall(b)
		if err != nil {
			_, _ = xmlrpc.DecodeResponse(b)
			return
		}
		again, err := xmlrpc.EncodeCall(method, args...)
		if err != nil {
			return // a wide integer, a character that XML lacks
		}
		m2, args2, err := xmlrpc.DecodeCall(again)
		if err != nil {
			t.Fatalf("%q cannot be read again: %v", again, err)
		}
		same := cmp.Equal(args, args2, cmp.Comparer(func(x, y float64) bool { return x == y || x != x && y != y }))
		if m2 != strings.TrimSpace(method) || !same {
			t.Fatalf("got %q %v, want %q %v", m2, args2, method, args)
		}
	})
}
