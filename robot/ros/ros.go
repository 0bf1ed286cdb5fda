// Package ros is a ROS 1 node in Go: topics, services, actions and parameters,
// for robots whose drivers live behind roscore.
//
// Messages are the structs of robot/ros/msgs. The node speaks TCPROS and
// XML-RPC itself, since the library whose message types it uses keeps stale
// frames, sends slow service calls twice and forgets a restarted master (see
// docs/adr/0010). A node registers everything anew when roscore was restarted,
// and connections that broke are tried again for as long as it lives.
//
//	n, err := ros.Open(ctx, ros.Config{Name: "rapport"})
//	defer n.Close()
//	states, err := ros.Watch[franka.FrankaState](n, "/franka_state_controller/franka_states")
//	m, seq, at, err := states.Wait(ctx, 0)
package ros

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
)

// Errors that a caller may want to tell apart.
var (
	ErrClosed    = errors.New("ros: closed")
	ErrNoParam   = errors.New("ros: the parameter is not set")
	ErrNoService = errors.New("ros: nobody serves it")
	ErrNoClock   = errors.New("ros: /use_sim_time is set, but nobody publishes /clock: rosparam set /use_sim_time false, or start what publishes it")
	ErrKind      = errors.New("ros: the other side has another type of message")
)

// Config says which master a node belongs to and how others reach the node.
type Config struct {
	Master string       // empty: ROS_MASTER_URI, else http://127.0.0.1:11311
	Name   string       // without namespace; a random suffix keeps it unique
	Host   string       // empty: ROS_HOSTNAME, ROS_IP, else the address that reaches the master
	Log    *slog.Logger // nil: nothing is logged
	// Rosout publishes the warnings and errors of the node's log on /rosout, as other
	// nodes do.
	Rosout bool
}

// MasterURI is the master that an empty Config.Master stands for.
func MasterURI() string {
	if uri := os.Getenv("ROS_MASTER_URI"); uri != "" {
		return uri
	}
	return "http://127.0.0.1:11311"
}

// address is a master's host and port.
func address(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return "", fmt.Errorf("ros: the master's address %q is not of the form http://HOST:11311; check ROS_MASTER_URI", uri)
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "11311"), nil
	}
	return u.Host, nil
}

// hostTowards is the name under which others reach this machine.
func hostTowards(master string) (string, error) {
	for _, name := range []string{os.Getenv("ROS_HOSTNAME"), os.Getenv("ROS_IP")} {
		if name != "" {
			return name, nil
		}
	}
	c, err := net.Dial("udp4", master) // sends nothing; the kernel picks the interface
	if err != nil {
		c, err = net.Dial("udp", master) // Python's and C++'s nodes hardly know IPv6
	}
	if err != nil {
		return "", fmt.Errorf("ros: no way to the master: %w; set ROS_IP to this machine's address", err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP.String(), nil
}

// bindTo is where to listen so that host reaches it: loopback stays private.
func bindTo(host string) string {
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return net.JoinHostPort(host, "0")
	}
	return ":0"
}

// named says whether ROS takes a name: letters, digits, _ and /, a letter first.
func named(s string) bool {
	for i, r := range strings.TrimPrefix(s, "/") {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '_' && r != '/' && (r < '0' || r > '9')) {
			return false
		}
	}
	return strings.Trim(s, "/") != ""
}

// clean is a name in its one form, /a/b.
func clean(name string) string {
	return "/" + strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '/' }), "/")
}

// Resolve is the full name of a topic, service or parameter: /abs as it is,
// ~private below the node, others below the node's namespace (ROS_NAMESPACE).
func (n *Node) Resolve(name string) string {
	switch {
	case strings.HasPrefix(name, "/"):
		return clean(name)
	case strings.HasPrefix(name, "~"):
		return clean(n.name + "/" + name[1:])
	}
	return clean(n.space + "/" + name)
}
