package web

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/internal/bus"
)

// What a browser says and passes the check is fit for the bus.
func FuzzWord(f *testing.F) {
	f.Add([]byte(`{"ack":3}`))
	f.Add([]byte(`{"teleop":{"who":"Ada","device":"keys","seq":1,"at":12.5,"deadman":true,"axes":[-1,0.5,1],"buttons":[true]}}`))
	f.Add([]byte(`{"teleop":{"at":1e300,"axes":[1e9]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v word
		if json.Unmarshal(b, &v) != nil || v.Teleop == nil || v.Teleop.check() != nil {
			return
		}
		h := newHand("x")
		if _, err := bus.EncodeTeleop(h.teleop(v.Teleop)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNumbersThatAreNotFiniteAreNull(t *testing.T) {
	b, err := json.Marshal(numbers([]float64{1.5, math.NaN(), math.Inf(1), math.Inf(-1), -2e-9}))
	if want := `[1.5,null,null,null,-2e-09]`; err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}
