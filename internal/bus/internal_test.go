package bus

import "testing"

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
