package bus

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What the quick reader of envelopes accepts is what encoding/json reads.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"v":1,"kind":"x","meta":{},"arrays":[]}`))
	f.Add([]byte(`{"v":1,"kind":"x","meta":{"names":["a"]},"arrays":[{"name":"b","type":"f4","shape":[1,2]},{"name":"c_","type":"u1","shape":[0]}]}`))
	f.Add([]byte(`{"v":1,"kind":"x","meta":{"names":[",\"arrays\":["]},"arrays":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var quick, slow head[names]
		if !scan("x", b, &quick) {
			return
		}
		if err := json.Unmarshal(b, &slow); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if len(quick.Arrays) == 0 {
			quick.Arrays = slow.Arrays // empty or nil
		}
		if !reflect.DeepEqual(quick, slow) {
			t.Fatalf("got %+v, want %+v", quick, slow)
		}
	})
}

func FuzzBeat(f *testing.F) {
	f.Add([]byte(`{"v":1,"role":"learner","name":"a","seq":1}`))
	f.Add([]byte(`{"v":1,"role":"lea.rner","name":"a"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeBeat(b)
		if err == nil && (checkName("role", v.Role) != nil || v.Name == "" || v.V != version) {
			t.Fatalf("accepted %+v", v)
		}
	})
}

func FuzzPointer(f *testing.F) {
	f.Add([]byte(`{"v":1,"version":7,"object":"params-7","size":10}`))
	f.Add([]byte(`{"v":1,"size":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePointer(b)
		if err == nil && (p.Size < 0 || p.Size > maxParams) {
			t.Fatalf("accepted %+v", p)
		}
	})
}
