package ros

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/xmlrpc"
)

// Graph is a master that nodes can use, one that ran already or one of our own.
type Graph struct {
	URI string
	own *master.Master
}

// Attach finds the master at uri (empty: ROS_MASTER_URI or this machine's)
// and starts one where none answers and the address is this machine's.
func Attach(ctx context.Context, uri string) (*Graph, error) {
	if uri == "" {
		uri = MasterURI()
	}
	addr, err := address(uri)
	if err != nil {
		return nil, err
	}
	ask, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	at := "http://" + addr + "/"
	_, err = xmlrpc.Call(ask, at, "getPid", "/rapport")
	if err == nil {
		return &Graph{URI: at}, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	own, bad := master.Start(addr) // fails for other machines' addresses
	if bad != nil {
		return nil, fmt.Errorf("ros: no master answers at %s (%w), and none can be started there: %w", uri, err, bad)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("ros: %w", err)
	}
	if port == "0" {
		at = own.URI()
	}
	return &Graph{URI: at, own: own}, nil
}

// Own says whether the master is one that Attach started.
func (g *Graph) Own() bool { return g.own != nil }

// Close ends a master that Attach started and leaves others alone.
func (g *Graph) Close() error {
	if g.own == nil {
		return nil
	}
	return g.own.Close()
}
