package config

import (
	"strings"
	"testing"
)

func TestPasswordsAreNotPartOfTheURL(t *testing.T) {
	for _, c := range []struct {
		name, url string
		want      Bus
		err       string
	}{
		{"none", "nats://host:4222", Bus{URL: "nats://host:4222", User: "anna", Password: "kept"}, ""},
		{"user and password", "nats://arm:sesame77@host:4222", Bus{URL: "nats://host:4222", User: "arm", Password: "sesame77"}, ""},
		{"escaped", "tls://arm:ses%40me77@host", Bus{URL: "tls://host", User: "arm", Password: "ses@me77"}, ""},
		{"a token", "nats://sesame77@host", Bus{}, "names a token"},
		{"one that is no URL", "nats://arm:ses/ame77@host", Bus{}, `is "nats://host"; want`},
		{"one of another kind", "http://arm:sesame77@host", Bus{}, `is "http://host"; want`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, given := range []struct{ environ, sets []string }{
				{nil, []string{"bus.user=anna", "bus.password=kept", "bus.url=" + c.url}},
				{[]string{"RAPPORT_BUS_USER=anna", "RAPPORT_BUS_PASSWORD=kept", "RAPPORT_BUS_URL=" + c.url}, nil},
			} {
				got, err := Load("", given.environ, given.sets)
				if c.err == "" && (err != nil || got.Bus != c.want) {
					t.Errorf("got %+v, %v; want %+v", got.Bus, err, c.want)
				}
				if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "ame77")) {
					t.Errorf("error %v; want %s, and no password", err, c.err)
				}
			}
		})
	}
}
