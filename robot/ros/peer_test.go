package ros

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestOnlyARefusalOfItsMachineSaysThatAPeerIsGone(t *testing.T) {
	dial := func(ip string, e syscall.Errno) error {
		return fmt.Errorf("xmlrpc: %w", &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}, Err: os.NewSyscallError("connect", e)})
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	lan := "" // of this machine, but no loopback
	for _, a := range addrs {
		if in, ok := a.(*net.IPNet); ok && !in.IP.IsLoopback() {
			lan = in.IP.String()
		}
	}
	if lan == "" { // a machine without a network, which has itself alone
		lan = "127.0.0.2"
	}
	for _, tt := range []struct {
		name  string
		err   error
		known string
		near  bool // is the master
		want  bool
	}{
		{"another machine refuses", dial("198.51.100.77", syscall.ECONNREFUSED), "198.51.100.78", false, true},
		{"this one does, with the master", dial("127.0.0.1", syscall.ECONNREFUSED), "", true, true},
		{"this one does, whose localhost may not be meant", dial("127.0.0.1", syscall.ECONNREFUSED), "198.51.100.78", false, false},
		{"this one does, as others know it", dial(lan, syscall.ECONNREFUSED), lan, false, true},
		{"this one does, by what others know as another", dial(lan, syscall.ECONNREFUSED), "198.51.100.78", false, false},
		{"no way leads there", dial("198.51.100.77", syscall.EHOSTUNREACH), "", true, false},
		{"its name is unknown", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "robot"}}, "", true, false},
		{"it cuts the connection off", dial("198.51.100.77", syscall.ECONNRESET), "198.51.100.77", true, false},
	} {
		p := peer{name: "/left at http://robot:1/", err: tt.err}
		if got := p.gone(func() []net.IP { return []net.IP{net.ParseIP(tt.known)} }, func() bool { return tt.near }); got != tt.want {
			t.Errorf("%s: gone %v, want %v", tt.name, got, tt.want)
		}
	}
}
