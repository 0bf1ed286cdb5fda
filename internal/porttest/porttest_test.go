package porttest_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/rapport-rl/rapport/internal/porttest"
)

func TestFreePortsCanBeListenedOnAndAreNotTheKernels(t *testing.T) {
	for range 20 {
		port := porttest.Free(t)
		if n, err := strconv.Atoi(port); err != nil || n < 1024 || n >= 32768 {
			t.Errorf("got port %s, %v", port, err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}
