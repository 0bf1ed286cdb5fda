package config

import (
	"net/url"
	"strings"
)

// split takes user and password out of the URL: that is kept in folders and reports, which
// people pass on, shown in errors and published.
func (b *Bus) split() {
	u, err := url.Parse(b.URL)
	if err != nil || u.User == nil {
		return
	}
	if password, ok := u.User.Password(); ok {
		b.User, b.Password = u.User.Username(), password
		b.URL = bare(b.URL)
	}
}

// bare is a URL without what stands before its host, for errors.
func bare(s string) string {
	from := strings.Index(s, "://")
	at := strings.LastIndex(s, "@")
	if from < 0 || at < from+3 {
		return s
	}
	return s[:from+3] + s[at+1:]
}
