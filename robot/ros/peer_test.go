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
	for _, tt := range []struct {
		name string
		err  error
		near bool // is the master
		want bool
	}{
		{"another machine refuses", dial("192.0.2.1", syscall.ECONNREFUSED), false, true},
		{"this one does, with the master", dial("127.0.0.1", syscall.ECONNREFUSED), true, true},
		{"this one does, whose localhost may not be meant", dial("127.0.0.1", syscall.ECONNREFUSED), false, false},
		{"no way leads there", dial("192.0.2.1", syscall.EHOSTUNREACH), true, false},
		{"its name is unknown", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "robot"}}, true, false},
		{"it cuts the connection off", dial("192.0.2.1", syscall.ECONNRESET), true, false},
	} {
		p := peer{name: "/left at http://robot:1/", err: tt.err}
		if got := p.gone(func() bool { return tt.near }); got != tt.want {
			t.Errorf("%s: gone %v, want %v", tt.name, got, tt.want)
		}
	}
}
