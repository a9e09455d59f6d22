package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Door is an open port that nobody serves yet.
type Door struct {
	variable string
	listener net.Listener
}

// closeWithin is how long requests under way may take once a door closes.
const closeWithin = 10 * time.Second

// Open takes the port. Errors are one line that names the variable the
// address came from and says what to do.
func Open(ctx context.Context, variable, addr string) (*Door, error) {
	var net net.ListenConfig
	l, err := net.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return &Door{variable, l}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is in use; stop the other program or choose another address", variable, addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: %s is not open to this user; choose a port above 1023", variable, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: %s is not an address of this machine; choose one that is, such as 127.0.0.1", variable, addr)
	}
	return nil, fmt.Errorf("%s: %s cannot be opened; choose another address such as 127.0.0.1:8080: %w", variable, addr, err)
}

// Addr is where the door is, with the port that was chosen for port 0.
func (d *Door) Addr() string { return d.listener.Addr().String() }

// Close gives the port back if nobody serves it.
func (d *Door) Close() error { return d.listener.Close() }

// Serve serves until ctx ends, then lets requests under way finish, for at
// most closeWithin. It returns nil when it was told to end.
func (d *Door) Serve(ctx context.Context, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second, // above the slowest answer: a check of the whole ledger
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		err := server.Shutdown(within)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		closed <- err
	})
	err := server.Serve(d.listener)
	if !stop() && errors.Is(err, http.ErrServerClosed) {
		err = <-closed
	}
	if err != nil {
		return fmt.Errorf("%s: serve %s: %w", d.variable, d.Addr(), err)
	}
	return nil
}
