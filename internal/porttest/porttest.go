// Package porttest finds TCP ports for servers that are started after a test has named
// them, such as another program's, or one that ends and comes again.
package porttest

import (
	"math/rand/v2"
	"net"
	"strconv"
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
