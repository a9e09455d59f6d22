package truelayer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	longestBody    = 1 << 20  // bytes of an answer about one thing; theirs are below 10 kB
	longestPage    = 16 << 20 // bytes of a page of transactions: 2,000 lines, each with up to 6 kB of metadata
	longestHeaders = 64 << 10
	dialWithin     = 10 * time.Second
)

var errTooLate = errors.New("the deadline passed before the first byte was sent")

// trail follows one POST through the transport: whether a byte of it may
// have left, and the moment after which none may.
type trail struct {
	began    atomic.Bool
	deadline time.Time
	now      func() time.Time
}

type trailKey struct{}

// follow begins a trail. On a transport that is not ours nobody sees the first
// byte, so it counts as sent.
func (c *Client) follow(ctx context.Context, deadline time.Time) (context.Context, *trail) {
	t := &trail{deadline: deadline, now: c.now}
	t.began.Store(c.blind)
	return context.WithValue(ctx, trailKey{}, t), t
}

// wire is a connection that notes the first byte of a request before it is
// written. Under TLS it lies above the encryption, so that handshakes do not
// count.
type wire struct {
	net.Conn
	trail *trail
}

// Write refuses to begin after the deadline: a process that was frozen between
// dialling and writing must not send what was meanwhile given up.
func (w *wire) Write(p []byte) (int, error) {
	if !w.trail.began.Load() {
		if !w.trail.now().Before(w.trail.deadline) {
			return 0, errTooLate
		}
		w.trail.began.Store(true)
	}
	return w.Conn.Write(p)
}

// createTransport carries every POST, the creates above all. Every request has a connection of its own:
// a kept one may have been closed by them meanwhile, and then nobody knows
// whether the request was read. HTTP/1.1 only, no proxy from the environment.
func createTransport(trust *tls.Config) http.RoundTripper {
	follow := func(ctx context.Context, conn net.Conn, err error) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		t, ok := ctx.Value(trailKey{}).(*trail)
		if !ok { // nobody would learn that bytes left
			conn.Close() //nolint:errcheck // nothing was written
			return nil, errors.New("a POST without a trail")
		}
		return &wire{conn, t}, nil
	}
	return &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: longestHeaders,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return follow(ctx, conn, err)
		},
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialTLS(ctx, network, addr, trust)
			return follow(ctx, conn, err)
		},
	}
}

// readTransport carries what may be repeated, on kept connections.
func readTransport(trust *tls.Config) http.RoundTripper {
	return &http.Transport{
		DisableCompression:     true,
		MaxResponseHeaderBytes: longestHeaders,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        time.Minute,
		TLSHandshakeTimeout:    dialWithin,
		TLSClientConfig:        trust,
		DialContext:            dial,
	}
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, network, addr)
}

func dialTLS(ctx context.Context, network, addr string, trust *tls.Config) (net.Conn, error) {
	raw, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config := trust.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.MinVersion = tls.VersionTLS12
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close() //nolint:errcheck // the handshake's error is the one to tell
		return nil, err
	}
	return conn, nil
}

// call is one request to them.
type call struct {
	op     string // what it is for: "create payout"
	method string
	url    string
	header http.Header
	body   []byte
	most   int64       // bytes taken of the answer; 0: longestBody
	create bool        // its answer is judged by the table of creates
	fields []zap.Field // for the log, beside op, status and trace id
}

// reply is what came back. status is 0 when no answer began.
type reply struct {
	status     int
	header     http.Header
	body       []byte
	whole      bool // the body came to its end, within what is taken
	traceID    string
	retryAfter time.Duration
	err        error // why there is no answer, or why it is not whole
}

// exchange makes one request through one round trip: no redirect is followed
// and no cookie kept. The body cannot be rewound, so that no transport sends
// it twice by itself (Go's does so for requests with an Idempotency-Key).
func (c *Client) exchange(ctx context.Context, over http.RoundTripper, in call) reply {
	began := time.Now()
	r := c.roundTrip(ctx, over, in)
	if r.status != 0 {
		c.pace.heard(r.status, r.retryAfter)
	}
	line := append([]zap.Field{zap.String("op", in.op), zap.Int("http_status", r.status), zap.String("trace_id", r.traceID),
		zap.Int64("took_ms", time.Since(began).Milliseconds()), zap.Error(r.err)}, in.fields...)
	if c.observe != nil {
		c.observe(ctx, Call{Op: in.op, Answer: answered(ctx, in, r), Status: r.status, Took: time.Since(began)})
	}
	if r.status >= 200 && r.status < 300 && r.whole {
		c.log.Debug("provider answered", line...)
	} else {
		c.log.Warn("provider did not say yes", line...)
	}
	return r
}

func (c *Client) roundTrip(ctx context.Context, over http.RoundTripper, in call) reply {
	var body io.Reader
	if in.body != nil {
		body = io.NopCloser(bytes.NewReader(in.body)) // hides the reader's type: no GetBody
	}
	req, err := http.NewRequestWithContext(ctx, in.method, in.url, body)
	if err != nil {
		return reply{err: err}
	}
	req.ContentLength = int64(len(in.body))
	for name, values := range in.header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "payouts")
	resp, err := over.RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	r := reply{status: resp.StatusCode, header: resp.Header, retryAfter: retryAfter(resp.Header, c.now()), traceID: traceID(resp.Header)}
	most := in.most
	if most == 0 || r.status != http.StatusOK {
		most = longestBody
	}
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		r.err = fmt.Errorf("the answer was cut: %w", err)
	case int64(len(r.body)) > most:
		r.body = r.body[:most]
		r.err = fmt.Errorf("the answer is longer than %d bytes", most)
	default:
		r.whole = true
	}
	if r.traceID == "" && r.status >= http.StatusBadRequest {
		if p := readProblem(r.status, r.body); p != nil && visible.MatchString(p.traceID) {
			r.traceID = p.traceID
		}
	}
	return r
}

// traceID is what their support asks for.
func traceID(h http.Header) string {
	for _, name := range []string{"Tl-Trace-Id", "X-Tl-Correlation-Id"} {
		if id := strings.TrimSpace(h.Get(name)); visible.MatchString(id) {
			return id
		}
	}
	return ""
}
