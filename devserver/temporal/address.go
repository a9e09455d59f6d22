package temporal

import (
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"syscall"
	"time"

	"go.temporal.io/server/common/primitives"
)

// addresses are where the parts of the server listen. Between reserve and
// release the ports are held, so that none is given out twice.
type addresses struct {
	frontend, history, matching, worker *net.TCPAddr
	ui, metrics                         *net.TCPAddr // nil: not wanted
	held                                []net.Listener
}

// reserve takes the asked ports and picks free ones for the inner services.
func reserve(opts Options) (_ *addresses, err error) {
	at := &addresses{}
	defer func() {
		if err != nil {
			at.release()
		}
	}()
	for _, want := range []struct {
		what, addr string
		to         **net.TCPAddr
	}{
		{"frontend", opts.FrontendAddr, &at.frontend},
		{"web UI", opts.UIAddr, &at.ui},
		{"metrics", opts.MetricsAddr, &at.metrics},
		{"history service", "127.0.0.1:0", &at.history},
		{"matching service", "127.0.0.1:0", &at.matching},
		{"worker service", "127.0.0.1:0", &at.worker},
	} {
		if want.addr == "" {
			continue
		}
		l, err := net.Listen("tcp", want.addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("temporal: %s address %s is in use: stop the program that listens there, or choose another port", want.what, want.addr)
		}
		if err != nil {
			return nil, fmt.Errorf("temporal: %s address %s: %w: choose another address", want.what, want.addr, reason(err))
		}
		at.held = append(at.held, l)
		*want.to = l.Addr().(*net.TCPAddr)
	}
	return at, nil
}

// release gives the ports up for the server to take.
func (at *addresses) release() {
	for _, l := range at.held {
		_ = l.Close()
	}
	at.held = nil
}

// services lists the address of each inner service.
func (at *addresses) services() iter.Seq2[primitives.ServiceName, *net.TCPAddr] {
	return func(yield func(primitives.ServiceName, *net.TCPAddr) bool) {
		_ = yield(primitives.FrontendService, at.frontend) &&
			yield(primitives.HistoryService, at.history) &&
			yield(primitives.MatchingService, at.matching) &&
			yield(primitives.WorkerService, at.worker)
	}
}

// loopback refuses addresses that another machine could reach: this server asks
// nobody for a password.
func loopback(addr string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return ap, fmt.Errorf("%q is not an IP address and port: write it like 127.0.0.1:7233", addr)
	}
	if !ap.Addr().IsLoopback() {
		return ap, fmt.Errorf("%s is not loopback: the server has no authentication, use 127.0.0.1", addr)
	}
	return ap, nil
}

// waitOpen returns once something accepts connections at addr.
func waitOpen(addr string) error {
	for deadline := time.Now().Add(startLimit); ; {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("temporal: web UI: nothing listens at %s after %s: %w", addr, startLimit, reason(err))
		}
		time.Sleep(5 * time.Millisecond)
	}
}
