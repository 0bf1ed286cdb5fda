// Package porttest finds TCP ports for servers that are started after a test has named
// them, such as another program's, or one that ends and comes again.
package porttest

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
)

// Kernels give out ports from here on: Linux from 32768 (net.ipv4.ip_local_port_range),
// the IANA's dynamic ports from 49152. One below is given to nobody who does not name it.
const given = 32768

// Free is a port of 127.0.0.1 that nobody listens on, which no other test's connection or
// server of any port gets before it is used.
func Free(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(given-20000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue // taken
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatalf("a hundred ports from 20000 to %d are all taken", given)
	return ""
}

// Address is 127.0.0.1 with a Free port.
func Address(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + Free(t)
}

// Silent is the address of a server that takes connections and never answers, until the
// test ends: to a caller it is like a program that hangs.
func Silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// Leaving is where the HTTP server at uri is reached, until off: from then on requests are taken and
// not answered before their callers give up, as by a machine that is off.
func Leaving(t *testing.T, uri string) (way string, off func()) {
	t.Helper()
	to, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	var gone atomic.Bool
	pass := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !gone.Load() {
			pass.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is seen
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	return s.URL, func() { gone.Store(true) }
}
